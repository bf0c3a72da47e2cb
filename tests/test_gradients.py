"""Gradients that are not plain arrays: missing ones, and rows of them."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from nadam_numba import NAdam

FORMATS = [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array, scipy.sparse.lil_matrix]
STATE = ("first_moment", "second_moment", "largest_moment", "average")


def rows_of(generator, shape, count):
    return generator.integers(0, shape[0], count), generator.standard_normal((count, *shape[1:]))


def densified(pair, shape):
    gradient = np.zeros(shape)
    np.add.at(gradient, *pair)
    return gradient


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 2), (7, 0)])
def test_rows_have_the_effect_of_the_dense_gradient(shape, order):
    generator = np.random.default_rng(0)
    sparse = np.asarray(generator.standard_normal(shape), order=order)
    dense = sparse.copy()
    optimizers = [NAdam(p, 0.1, weight_decay=0.1, amsgrad=True, clipvalue=0.5) for p in (sparse, dense)]
    for _ in range(10):
        pair = rows_of(generator, shape, 5)
        optimizers[0].step(pair)
        optimizers[1].step(densified(pair, shape))
    np.testing.assert_array_equal(sparse, dense)


@pytest.mark.parametrize("make", FORMATS)
def test_scipy_matrices(make):
    generator = np.random.default_rng(1)
    sparse, dense = np.ones((6, 4)), np.ones((6, 4))
    optimizers = NAdam({"w": sparse}, 0.1), NAdam({"w": dense}, 0.1)
    for _ in range(5):
        gradient = generator.standard_normal((6, 4)) * (generator.random((6, 4)) < 0.3)
        optimizers[0].step({"w": make(gradient)})
        optimizers[1].step({"w": gradient})
    np.testing.assert_array_equal(sparse, dense)


def test_a_class_derived_from_a_sparse_one():
    class Mine(scipy.sparse.csr_array):
        pass

    p = np.ones((3, 2))
    NAdam(p).step(Mine(np.eye(3, 2)))
    assert (p != 1.0).tolist() == [[True, False], [False, True], [False, False]]


def test_scipy_vector_with_repeated_entries():
    p = np.ones(4)
    reference = p.copy()
    NAdam(p).step(scipy.sparse.coo_array((np.array([1.0, 2.0, 3.0]), (np.array([2, 0, 2]),)), shape=(4,)))
    NAdam(reference).step(np.array([2.0, 0.0, 4.0, 0.0]))
    np.testing.assert_array_equal(p, reference)


def test_scipy_matrices_have_a_dtype_and_a_shape():
    optimizer = NAdam(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"grads has shape \(2, 3\)"):
        optimizer.step(scipy.sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(TypeError, match="grads has dtype float32"):
        optimizer.step(scipy.sparse.csr_array(np.ones((3, 2), np.float32)))


@pytest.mark.parametrize("layout", [lambda a: a, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]])
@pytest.mark.parametrize(
    "options", [{}, {"amsgrad": True, "clipnorm": 0.5}, {"weight_decay": 0.1, "use_ema": True, "maximize": True}]
)
def test_the_lazy_rule_steps_the_touched_rows_as_if_they_were_all(options, layout):
    generator = np.random.default_rng(2)
    start = generator.standard_normal((8, 3))
    lazy, dense = layout(start.copy()), start[[1, 4]].copy()
    optimizer, reference = NAdam(lazy, 0.1, lazy_sparse=True, **options), NAdam(dense, 0.1, **options)
    for _ in range(6):
        values = generator.standard_normal((3, 3))
        optimizer.step((np.array([4, 1, 4]), values))
        reference.step(np.array([values[1], values[0] + values[2]]))
    np.testing.assert_array_equal(lazy[[1, 4]], dense)
    untouched = [0, 2, 3, 5, 6, 7]
    np.testing.assert_array_equal(lazy[untouched], start[untouched])
    state, expected = (o.state_dict()["param_groups"][0]["arrays"][0] for o in (optimizer, reference))
    for name in ("first_moment", "second_moment", "largest_moment", "average"):
        if expected[name] is not None:
            np.testing.assert_array_equal(state[name][[1, 4]], expected[name])
    if options.get("use_ema"):
        optimizer.finalize()
        np.testing.assert_array_equal(lazy[untouched], start[untouched])


def test_the_lazy_rule_overwrites_by_averages():
    p = np.array([[1.0], [2.0]])
    optimizer = NAdam(p, 0.5, lazy_sparse=True, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    optimizer.step((np.array([0]), np.ones((1, 1))))
    first = p.copy()
    optimizer.step((np.array([1]), np.ones((1, 1))))
    average = optimizer.states[0].average.reshape(2, 1)
    np.testing.assert_array_equal(p, average)
    assert average[0] == first[0]
    assert average[1] < 2.0


def test_complex_rows():
    generator = np.random.default_rng(3)
    sparse = generator.standard_normal((4, 2)) + 1j * generator.standard_normal((4, 2))
    dense, lazy = sparse.copy(), sparse.copy()
    optimizers = NAdam(sparse), NAdam(dense), NAdam(lazy, lazy_sparse=True)
    values = np.array([[1 + 2j, 3.0], [0.5j, -1.0]])
    optimizers[0].step(([2, 0], values))
    optimizers[1].step(np.array([values[1], [0, 0], values[0], [0, 0]]))
    optimizers[2].step(([2, 0], values))
    np.testing.assert_array_equal(sparse, dense)
    np.testing.assert_array_equal(lazy, dense)


def test_no_rows_are_no_gradient_but_a_step():
    p, reference = np.ones((3, 2)), np.ones((3, 2))
    optimizers = NAdam(p), NAdam(reference)
    for gradient in (np.ones((3, 2)), None):
        empty = (np.zeros(0, int), np.zeros((0, 2))) if gradient is None else gradient
        optimizers[0].step(empty)
        optimizers[1].step(np.zeros((3, 2)) if gradient is None else gradient)
    np.testing.assert_array_equal(p, reference)


def test_rows_that_are_views_of_a_parameter():
    a, b = np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])
    c, d = a.copy(), b.copy()
    NAdam([a, b]).step([b, ([0, 1], a)])
    NAdam([c, d]).step([d.copy(), c.copy()])
    np.testing.assert_array_equal(b, d)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (([0],), TypeError, "tuple of 1"),
        (([0], np.ones((2, 2))), ValueError, r"grads\[1\] has shape \(2, 2\)"),
        (([0], np.ones(2)), ValueError, r"grads\[1\] has shape \(2,\)"),
        (([3], np.ones((1, 2))), ValueError, r"grads\[0\] has the index 3"),
        (([-1], np.ones((1, 2))), ValueError, r"grads\[0\] has the index -1"),
        (([0.0], np.ones((1, 2))), TypeError, r"grads\[0\] has dtype float64"),
        (([[0]], np.ones((1, 2))), TypeError, r"grads\[0\] has dtype int64 and shape \(1, 1\)"),
        (([0], np.ones((1, 2), np.float32)), TypeError, r"grads\[1\] has dtype float32"),
        (([True], np.ones((1, 2))), TypeError, r"grads\[0\] has dtype bool"),
        (([0, 1], [[1.0, 2.0], [3.0]]), ValueError, "indices and rows must be arrays"),
        (scipy.sparse.linalg.aslinearoperator(np.ones((3, 2))), TypeError, "must be a NumPy array"),
        (np.ma.masked_array(np.ones((3, 2))), TypeError, "must be a NumPy array"),
    ],
)
def test_bad_rows(gradient, error, message):
    p = np.ones((3, 2))
    optimizer = NAdam(p)
    with pytest.raises(error, match=message):
        optimizer.step(gradient)
    assert (p == 1.0).all()
    assert optimizer.iterations == 0


def test_a_scalar_has_no_rows():
    with pytest.raises(TypeError, match="has no rows"):
        NAdam(np.array(1.0)).step(([0], np.ones(1)))


def test_a_missing_gradient_leaves_an_array_alone():
    a, b = np.ones(3), np.ones(3)
    optimizer = NAdam([a, b], weight_decay=0.5, decoupled_weight_decay=True)
    optimizer.step([np.ones(3), None])
    assert (a < 1.0).all()
    assert (b == 1.0).all()
    # Its count is its own: its first step is like the first one of the other.
    optimizer.step([None, np.ones(3)])
    np.testing.assert_array_equal(a, b)
    assert [state.iterations for state in optimizer.states] == [1, 1]
    assert optimizer.iterations == 2


def test_none_in_the_parameters():
    params = {"w": np.ones(2), "frozen": None}
    optimizer = NAdam(params)
    optimizer.step({"w": np.ones(2), "frozen": None})
    assert (params["w"] < 1.0).all()
    with pytest.raises(ValueError, match=r"grads\['frozen'\]=1.0: it must be None"):
        optimizer.step({"w": np.ones(2), "frozen": 1.0})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_that_are_not_finite(bad, sparse):
    def gradient():
        return ([1], np.array([[bad, 1.0]])) if sparse else np.array([[0.0, 0.0], [bad, 1.0]])

    for choice in ("raise", "skip", "propagate"):
        a, b = np.ones(3), np.ones((2, 2))
        optimizer = NAdam([a, b], nonfinite=choice, lazy_sparse=True)
        if choice == "raise":
            with pytest.raises(FloatingPointError, match=r"params\[1\]"):
                optimizer.step([np.ones(3), gradient()])
        else:
            with np.errstate(all="ignore"):  # NumPy would warn where the kernels run uncompiled
                optimizer.step([np.ones(3), gradient()])
        assert np.isnan(b[1, 0]) == (choice == "propagate")
        assert (a == 1.0).all() == (choice != "propagate")
        assert optimizer.iterations == (choice == "propagate")


@pytest.mark.parametrize("size", [1e-200, 1e154, 1.2e154, 1e200, 1e300])
@pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
def test_norms_neither_overflow_nor_vanish(name, size):
    a, b = np.zeros(2), np.zeros(2)
    optimizer = NAdam([a, b], 0.1, epsilon=0.0, nonfinite="raise", **{name: size / 100})
    with np.errstate(all="ignore"):  # NumPy would warn where the kernels run uncompiled
        optimizer.step([np.array([3.0, 4.0]) * size, np.array([0.0, 12.0]) * size])
    # The first moment is a tenth of the clipped gradient.
    norms = np.array([5.0, 5.0, 12.0, 12.0]) if name == "clipnorm" else 13.0
    found = np.concatenate([state.first_moment for state in optimizer.states])
    np.testing.assert_allclose(found, np.array([3.0, 4.0, 0.0, 12.0]) / norms * (size / 1000), rtol=1e-14)


@pytest.mark.parametrize("micro_steps", [None, 2])
def test_large_norms_with_sums(micro_steps):
    p = np.zeros(1)
    optimizer = NAdam(p, clipnorm=1.0, gradient_accumulation_steps=micro_steps)
    with np.errstate(all="ignore"):
        for _ in range(micro_steps or 1):
            optimizer.step(np.array([1e200]))
    assert optimizer.states[0].first_moment[0] == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_global_norm_that_is_not_finite_spoils_all(bad):
    a, b = np.ones(2), np.ones(2)
    with np.errstate(all="ignore"):
        NAdam([a, b], global_clipnorm=1.0).step([np.array([bad, 1.0]), np.ones(2)])
    assert np.isnan(a).all()
    assert np.isnan(b).all()
