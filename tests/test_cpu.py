"""The kernels: the same bits however they run, vectorised, without double arithmetic in float32, compiled once."""

import re

import naive
import numba
import numpy as np
import pytest
from marks import needs_x86
from numba.extending import is_jitted

from nadam_numba import cpu, jit, rule
from nadam_numba.rule import Scalars

COMPILED = is_jitted(cpu.update_serial)
needs_compiler = pytest.mark.skipif(not COMPILED, reason="reads compiled code, and NUMBA_DISABLE_JIT is set")
DTYPES = [np.float32, np.float64]
HYPERPARAMETERS = (0.01, 0.9, 0.999, 1e-8)


def random_arrays(size, dtype, seed=0):
    generator = np.random.default_rng(seed)
    p, m, v, g = (generator.standard_normal(size).astype(dtype) for _ in range(4))
    return p, m, v * v, g


def run(update, arrays, step=3, mu_product=0.2, **scalars):
    p, m, v, g = arrays
    coefficients = rule.step_coefficients(step, mu_product, 0.9, 0.999, 4e-3)
    update(p, m, v, None, None, None, g, None, *Scalars(*HYPERPARAMETERS, *coefficients[1:], **scalars))


@pytest.fixture
def restore_threads():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 31, 1000, 4097])
def test_serial_parallel_and_reference_give_the_same_bits(size, dtype, restore_threads):
    arrays = random_arrays(size, dtype)
    p, m, v, g = (array.copy() for array in arrays)
    expected = naive.nadam_step(p, m, v, g, 3, 0.2, lr=0.01)[:3]

    results = {"serial": [array.copy() for array in arrays]}
    run(cpu.update_serial, results["serial"])
    for threads in range(1, min(2, numba.config.NUMBA_NUM_THREADS) + 1):
        numba.set_num_threads(threads)
        results[f"{threads} threads"] = [array.copy() for array in arrays]
        run(cpu.update_parallel, results[f"{threads} threads"])
    for result in results.values():
        for array, reference in zip(result, (*expected, g), strict=True):
            np.testing.assert_array_equal(array, reference, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_may_be_the_parameter_itself(dtype):
    p, m, v, _ = random_arrays(1000, dtype)
    expected = naive.nadam_step(p, m, v, p.copy(), 3, 0.2, lr=0.01)[0]
    run(cpu.update_serial, (p, m, v, p))
    np.testing.assert_array_equal(p, expected)


# The gradients of both are the same, but those of the second are multiplied.
@pytest.mark.parametrize("conditions", [{}, {"gradient_scale": -1.0, "gradient_factor": -1.0}])
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_follow_the_formulas(dtype, conditions):
    g = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, np.finfo(dtype).tiny, np.finfo(dtype).max], dtype)
    p, m, v = (np.zeros_like(g) for _ in range(3))
    with np.errstate(all="ignore"):
        expected = naive.nadam_step(p, m, v, g, 1, 1.0, lr=0.01)[:3]
        run(cpu.update_serial, (p, m, v, g), step=1, mu_product=1.0, **conditions)
    for array, reference in zip((p, m, v), expected, strict=True):
        np.testing.assert_array_equal(array, reference)


@needs_compiler
@pytest.mark.parametrize("order", cpu.ORDERS)
def test_threads_change_no_bit_in_the_order_of_any_peer(order):
    ends = []
    for parallel in (False, True):
        arrays = random_arrays(1000, np.float32)
        run(cpu._KERNELS[order, parallel], arrays)
        ends.append(arrays)
    np.testing.assert_array_equal(*ends)


# Of the arrays that a kernel may do without, in the order of its arguments, which there are.
PLAIN, ALL = (False,) * 4, (True,) * 4
SOME = [
    (True, False, False, False),
    (False, True, False, False),
    (False, False, True, False),
    (True, True, True, False),
]


def assembly_of_update(arrays, order, parallel, dtype, monkeypatch, **bound):
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")  # a kernel loaded from the cache shows no assembly
    update = jit.kernel(cpu._update, rule, parallel=parallel, **cpu.ORDERS[order], **bound)
    p, m, v, g = random_arrays(8, dtype)
    largest, average, accumulated, square = (np.zeros(8, dtype) if is_there else None for is_there in arrays)
    update(p, m, v, largest, average, accumulated, g, square, *Scalars(*HYPERPARAMETERS, 0.5, 0.5, 1.5))
    (assembly,) = update.inspect_asm().values()
    return assembly


def has_packed(operation, dtype, assembly):
    """Whether vectors go through an operation."""
    suffix = {np.float32: "ps", np.float64: "pd"}[dtype]
    return re.search(rf"\bv?{operation}{suffix}\b", assembly) is not None


@needs_compiler
@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arrays", [PLAIN, ALL])
@pytest.mark.parametrize("order", cpu.ORDERS)
def test_kernel_is_vectorised_and_stays_in_its_precision(order, arrays, dtype, monkeypatch):
    check_assembly(assembly_of_update(arrays, order, False, dtype, monkeypatch), dtype)


@needs_compiler
@needs_x86
@pytest.mark.parametrize("only_clips", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_loops_of_a_kernel_are_vectorised(only_clips, dtype, monkeypatch):
    only = jit.scalar((lambda scalars: True) if only_clips else (lambda scalars: False))
    check_assembly(assembly_of_update(PLAIN, "native", False, dtype, monkeypatch, _only_clips=only), dtype)


# Each takes twice as long to compile, and its loop has the body of the serial one.
@needs_compiler
@needs_x86
@pytest.mark.parametrize(("arrays", "dtype"), [(PLAIN, np.float32), (ALL, np.float64)])
@pytest.mark.parametrize("order", cpu.ORDERS)
def test_kernel_for_threads_is_vectorised_and_stays_in_its_precision(order, arrays, dtype, monkeypatch):
    check_assembly(assembly_of_update(arrays, order, True, dtype, monkeypatch), dtype)


@needs_compiler
@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arrays", SOME)
def test_kernel_with_some_arrays_is_vectorised(arrays, dtype, monkeypatch):
    check_assembly(assembly_of_update(arrays, "native", False, dtype, monkeypatch), dtype)


def check_assembly(assembly, dtype):
    assert has_packed("sqrt", dtype, assembly)
    assert has_packed("div", dtype, assembly)
    if dtype is np.float32:
        assert not re.search(r"\bv?cvt(ss2sd|ps2pd)\b", assembly)
        assert not re.search(r"\bv?(add|sub|mul|div|sqrt)pd\b", assembly)


@needs_compiler
@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_accumulated", [False, True])
@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
def test_sums_of_squares_are_vectorised(parallel, is_accumulated, dtype, monkeypatch):
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")
    sum_of_squares = jit.kernel(cpu._sum_of_squares, rule, parallel=parallel, makes_arrays=True)
    gradient = np.ones(8, dtype)
    accumulated = np.ones(8, dtype) if is_accumulated else None
    sum_of_squares(gradient, accumulated, *Scalars(*HYPERPARAMETERS, 0.5, 0.5, 1.5))
    (assembly,) = sum_of_squares.inspect_asm().values()
    assert has_packed("mul", np.float64, assembly)
    assert has_packed("add", np.float64, assembly)
    if dtype is np.float32:
        assert re.search(r"\bv?cvtps2pd\b", assembly)


SUMS_OF_SQUARES = [
    jit.kernel(cpu._sum_of_squares, rule, parallel=parallel, makes_arrays=True) for parallel in (False, True)
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 31, 33, 4096, 4097, 20_000])
def test_sums_of_squares_are_those_of_the_reference(size, dtype):
    gradient, accumulated = random_arrays(size, dtype)[:2]
    for limit, factor in ((np.inf, 1.0), (0.8, -1.0)):
        scalars = Scalars(*HYPERPARAMETERS, 0.5, 0.5, 1.5, gradient_limit=limit, gradient_factor=factor)
        for others, total in ((None, gradient), (accumulated, gradient + accumulated)):
            expected = naive.sum_of_squares(np.clip(total, -dtype(limit), dtype(limit)))
            for kernel in SUMS_OF_SQUARES:
                assert kernel(gradient, others, *scalars) == expected


@needs_compiler
@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
@pytest.mark.parametrize("has_all", [False, True], ids=["plain", "all options"])
def test_kernel_with_moments_in_bfloat16_is_vectorised(has_all, parallel, dtype, monkeypatch):
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")
    update = jit.kernel(cpu._update_bfloat16, rule, parallel=parallel, **cpu.ORDERS["native"])
    p, m, v, g = random_arrays(8, dtype)
    first, second, largest = (np.zeros(8, np.uint16) for _ in range(3))
    largest, *others = [largest, m, v, np.zeros(8, dtype)] if has_all else [None] * 4
    average, accumulated, square = others
    scalars = Scalars(*HYPERPARAMETERS, 0.5, 0.5, 1.5)
    update(p, first, second, largest, average, accumulated, g, square, 1, 2, 3, *scalars)
    (assembly,) = update.inspect_asm().values()
    suffix = {np.float32: "ps", np.float64: "pd"}[dtype]
    assert re.search(rf"\bv?sqrt{suffix}\b", assembly)
    assert re.search(rf"\bv?div{suffix}\b", assembly)
    if dtype is np.float32:
        assert not re.search(r"\bv?cvt(ss2sd|ps2pd)\b", assembly)


@needs_compiler
@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
def test_a_kernel_compiles_once_per_dtype(parallel):
    update = jit.kernel(cpu._update, rule, parallel=parallel, **cpu.ORDERS["torch"])
    for dtype in DTYPES * 2:
        for size in (0, 5, 100):
            run(update, random_arrays(size, dtype))
    assert len(update.signatures) == len(DTYPES)


@needs_compiler
def test_kernels_let_other_python_threads_run():
    assert cpu.update_serial.targetoptions["nogil"]
    assert cpu.update_parallel.targetoptions["nogil"]


def test_threads_are_used_from_the_layers_crossover_on():
    numba.get_num_threads()
    crossover = jit.PARALLEL_CROSSOVER[numba.threading_layer()]
    threaded = cpu.update_parallel if numba.config.NUMBA_NUM_THREADS > 1 else cpu.update_serial
    assert cpu.update_for(crossover) is threaded
    assert cpu.update_for(crossover - 1) is cpu.update_serial


def test_one_thread_means_the_serial_kernel(restore_threads):
    numba.set_num_threads(1)
    assert cpu.update_for(10**9) is cpu.update_serial


@pytest.mark.parametrize(
    ("values", "largest"),
    [([], 0.0), ([0.0, -0.0], 0.0), ([1.0, -3.0, 2.0], 3.0), ([-np.inf, 1.0], np.inf), ([1.0, np.nan, 5.0], np.nan)],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_largest_magnitude(values, largest, dtype):
    np.testing.assert_equal(float(cpu.largest_magnitude(np.array(values, dtype))), largest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_first_moment_may_come_multiplied_by_beta_1(dtype):
    arrays = random_arrays(1000, dtype)
    expected = [array.copy() for array in arrays]
    run(cpu.update_serial, expected)
    p, m, v, g = arrays
    coefficients = rule.step_coefficients(3, 0.2, 0.9, 0.999, 4e-3)
    scalars = Scalars(*HYPERPARAMETERS, *coefficients[1:], has_decayed=True)
    m *= dtype(0.9)
    cpu.update_serial(p, m, v, None, None, None, g, None, *scalars)
    for array, reference in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, reference, strict=True)
