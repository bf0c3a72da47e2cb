"""NAdam in nopython code: NAdam.step's bits, in functions, in parallel loops, compiled once."""

import ctypes
import math
import pathlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from marks import needs_compiler
from numba import njit, prange
from numba.core.errors import TypingError
from numba.experimental import jitclass
from numba.extending import is_jitted

from nadam_numba import NAdam, schedules
from nadam_numba.embed import c_functions, include_folder, nadam_init, nadam_step


@njit
def descend(x, steps, learning_rate):
    state = nadam_init(x, learning_rate=learning_rate)
    for _ in range(steps):
        nadam_step(x, x * x - 2.0 * x, state)
    return state


@njit(parallel=True)
def descend_rows(rows, steps, learning_rate):
    for i in prange(rows.shape[0]):
        descend(rows[i], steps, learning_rate)


def stepped(x, steps, **hyperparameters):
    x = x.copy()
    optimizer = NAdam(x, **hyperparameters)
    for _ in range(steps):
        optimizer.step(x * x - np.array(2.0, x.dtype) * x)
    return x


@pytest.mark.parametrize("dtype", [np.float64])
def test_same_bits_as_the_optimizer(dtype):
    rows = np.random.default_rng(0).uniform(0.5, 3.0, (50, 4)).astype(dtype)
    expected = np.array([stepped(row, 100, learning_rate=0.03) for row in rows])
    one_by_one = rows.copy()
    for row in one_by_one:
        descend(row, 100, 0.03)
    np.testing.assert_array_equal(one_by_one, expected)
    descend_rows(rows, 100, 0.03)
    np.testing.assert_array_equal(rows, expected)


def test_from_python_with_every_hyperparameter_in_float32():
    x = np.array([0.5, 3.0], np.float32)
    hyperparameters = {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4, "momentum_decay": 1.0}
    expected = stepped(x, 30, **hyperparameters)
    state = nadam_init(x, **hyperparameters)
    for _ in range(30):
        nadam_step(x, x * x - np.float32(2.0) * x, state)
    np.testing.assert_array_equal(x, expected, strict=True)
    assert state.iterations[0] == 30


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_of_long_arrays_lie_apart_in_their_pages(dtype):
    x = np.ones(500_000 // np.dtype(dtype).itemsize, dtype)
    state = nadam_init(x, amsgrad=True)
    moments = state.first_moment, state.second_moment, state.largest_moment
    assert [(moment.ctypes.data - x.ctypes.data) % 4096 for moment in moments] == [1024, 2048, 3072]
    assert not any(moment.any() for moment in moments)
    assert [moment.size for moment in moments] == [x.size] * 3
    assert numba.typeof(state) == numba.typeof(nadam_init(np.ones(3, dtype)))


def test_learning_rate_can_be_changed_between_steps():
    x, y = np.array([0.5]), np.array([0.5])
    state, optimizer = nadam_init(x, learning_rate=0.1), NAdam(y, learning_rate=0.1)
    for rate in (0.1, 0.01, 0.0):
        state.learning_rate[0] = optimizer.learning_rate = rate
        nadam_step(x, 2 * x, state)
        optimizer.step(2 * y)
    np.testing.assert_array_equal(x, y)


OPTIONS = [
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"amsgrad": True},
    {"amsgrad": True, "weight_decay": 0.01, "decoupled_weight_decay": True, "momentum_decay": math.inf},
]


@njit
def descend_with(x, steps, rates, weight_decay, decoupled_weight_decay, amsgrad, momentum_decay, lower, upper):
    state = nadam_init(
        x,
        rates,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
        amsgrad=amsgrad,
        momentum_decay=momentum_decay,
        lower=lower,
        upper=upper,
    )
    two = x.dtype.type(2.0)
    for _ in range(steps):
        nadam_step(x, x * x - two * x, state)
    return state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_have_the_bits_of_the_optimizer(options, dtype):
    x = np.random.default_rng(3).uniform(0.5, 3.0, 7).astype(dtype)
    schedule = schedules.cosine_decay(0.1, 40, alpha=0.05)
    expected = stepped(x, 60, learning_rate=schedule, **options)
    given = {
        "weight_decay": 0.0,
        "decoupled_weight_decay": False,
        "amsgrad": False,
        "momentum_decay": 4e-3,
        "lower": None,
        "upper": None,
        **options,
    }
    descend_with(x, 60, schedules.rates(schedule, range(41)), *given.values())
    np.testing.assert_array_equal(x, expected, strict=True)


@pytest.mark.parametrize(
    ("lower", "upper"), [(0.9, None), (None, np.linspace(1.0, 2.5, 7)), (np.full(7, 1.2), np.full(7, 1.4)), (-1, 5)]
)
def test_each_step_is_projected_to_the_bounds(lower, upper):
    x = np.random.default_rng(4).uniform(0.5, 3.0, 7)
    expected = x.copy()
    optimizer = NAdam(expected, learning_rate=0.05)
    for _ in range(30):
        optimizer.step(expected * expected - 2.0 * expected)
        np.clip(expected, lower, upper, out=expected)
    state = descend_with(x, 30, 0.05, 0.0, False, False, 4e-3, lower, upper)
    np.testing.assert_array_equal(x, expected)
    assert numba.typeof(state) == numba.typeof(nadam_init(x))


def test_a_step_that_is_no_number_stays_within_no_bounds():
    x = np.ones(2)
    nadam_step(x, np.array([math.nan, 1.0]), nadam_init(x, lower=0.0, upper=2.0))
    assert math.isnan(x[0])
    assert x[1] < 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lower": np.ones(3)}, "lower and upper must be numbers or of the size of x"),
        ({"upper": np.ones(1)}, "lower and upper must be numbers or of the size of x"),
        ({"lower": 2.0, "upper": 1.0}, "lower must not be above upper"),
        ({"lower": math.nan}, "lower and upper must not be NaN"),
        ({"upper": np.array([1.0, math.nan])}, "lower and upper must not be NaN"),
        ({"lower": np.empty(0)}, "lower and upper must be numbers or of the size of x"),
        ({"learning_rate": np.empty(0)}, "learning_rate must have a rate"),
        ({"learning_rate": np.array([0.1, -0.1])}, "learning_rate must be a finite number >= 0"),
    ],
)
def test_bad_bounds_and_rates(arguments, message):
    with pytest.raises(ValueError, match=message):
        nadam_init(np.ones(2), **arguments)


def test_bounds_and_rates_are_vectors():
    for name in ("learning_rate", "lower", "upper"):
        with pytest.raises(
            (ValueError, TypingError), match="learning_rate, lower and upper must be numbers or vectors"
        ):
            nadam_init(np.ones(2), **{name: np.ones((2, 1))})


@needs_compiler
def test_a_state_is_a_member_of_a_class():
    x = np.array([0.5, 3.0])

    @jitclass([("x", numba.float64[::1]), ("state", numba.typeof(nadam_init(x)))])
    class Model:
        def __init__(self, x, learning_rate):
            self.x = x
            self.state = nadam_init(x, learning_rate)

        def descend(self, steps):
            for _ in range(steps):
                nadam_step(self.x, self.x * self.x - 2.0 * self.x, self.state)

    model = Model(x.copy(), 0.03)
    model.descend(50)
    np.testing.assert_array_equal(model.x, stepped(x, 50, learning_rate=0.03))
    assert model.state.iterations[0] == 50


@needs_compiler
def test_functions_that_step_are_kept_on_disk(tmp_path):
    (tmp_path / "simulation.py").write_text(
        "from numba import njit\n"
        "from nadam_numba.embed import nadam_init, nadam_step\n"
        "@njit(cache=True)\n"
        "def descend(x, steps):\n"
        "    state = nadam_init(x, amsgrad=True)\n"
        "    for _ in range(steps):\n"
        "        nadam_step(x, 2.0 * x, state)\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy, simulation\n"
        "simulation.descend(numpy.ones(3), 2)\n"
        "print(sum(simulation.descend.stats.cache_hits.values()))"
    )
    hits = [
        subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert list(map(int, hits)) == [0, 1]


def test_threads_of_python():
    rows = np.random.default_rng(5).uniform(0.5, 3.0, (8, 4))
    expected = np.array([stepped(row, 50, learning_rate=0.03) for row in rows])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda row: _descend_without_lock(row, 50, 0.03), rows))
    np.testing.assert_array_equal(rows, expected)


@njit(nogil=True)
def _descend_without_lock(x, steps, learning_rate):
    descend(x, steps, learning_rate)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -0.1),
        ("weight_decay", -0.1),
        ("learning_rate", math.inf),
        ("beta_1", 1.0),
        ("beta_2", math.nan),
        ("epsilon", -1.0),
        ("momentum_decay", -1.0),
    ],
)
def test_bad_hyperparameters(name, value):
    with pytest.raises(ValueError, match=name) as error:
        nadam_init(np.ones(2), **{name: value})
    assert str(value) in str(error.value)


def test_bad_arrays():
    with pytest.raises(ValueError, match="float32 or float64"):
        nadam_init(np.arange(3))
    x = np.ones(3)
    state = nadam_init(x)
    for bad_x, bad_gradient in ((x, np.ones(2)), (np.ones(2), np.ones(2))):
        with pytest.raises(ValueError, match="one size"):
            nadam_step(bad_x, bad_gradient, state)
    integers = np.full(3, 5)
    for bad_x, bad_gradient in ((x, np.ones(3, np.float32)), (x, integers), (integers, np.ones(3))):
        with pytest.raises(ValueError, match="one dtype"):
            nadam_step(bad_x, bad_gradient, state)
    assert integers.tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match="one dtype"):
        nadam_step(x, np.ones(3), nadam_init(np.ones(3, np.float32)))
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert state.iterations[0] == 0


@pytest.mark.skipif(not is_jitted(nadam_step), reason="nothing is compiled with NUMBA_DISABLE_JIT")
def test_complex_arrays_do_not_compile():
    with pytest.raises(TypingError):
        nadam_init(np.ones(3, complex))


@pytest.mark.skipif(not is_jitted(nadam_step), reason="nothing is compiled with NUMBA_DISABLE_JIT")
def test_compiles_once():
    x = np.ones(3)
    descend(x, 2, 0.1)
    counts = [len(function.signatures) for function in (descend, nadam_init, nadam_step)]
    descend(np.zeros(10), 5, 0.2)
    assert [len(function.signatures) for function in (descend, nadam_init, nadam_step)] == counts
    assert numba.typeof(nadam_init(x)) == numba.typeof(nadam_init(np.ones(5), beta_1=0, epsilon=1))


# From C.


def c_state(rate):
    functions, state = c_functions(), np.zeros(7)
    init = functions.init.ctypes
    assert init(state.ctypes.data, rate, 0.9, 0.999, 1e-8, 4e-3) == 0
    return functions, state


@needs_compiler
@pytest.mark.parametrize(("dtype", "name"), [(np.float64, "step"), (np.float32, "step_float")])
def test_c_functions_step_as_nadam(dtype, name):
    functions, state = c_state(0.05)
    step = getattr(functions, name)
    pointers = [ctypes.c_void_p] * 4
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, *pointers)(step.address)
    rng = np.random.default_rng(5)
    x = rng.standard_normal(7).astype(dtype)
    expected, first, second = x.copy(), np.zeros_like(x), np.zeros_like(x)
    optimizer = NAdam(expected, learning_rate=0.05)
    for _ in range(20):
        gradient = rng.standard_normal(7).astype(dtype)
        call(state.ctypes.data, 7, *(array.ctypes.data for array in (x, gradient, first, second)))
        optimizer.step(gradient)
    assert x.tolist() == expected.tolist()
    assert state.view(np.int64)[0] == 20


@needs_compiler
def test_c_init_tells_which_argument_is_out_of_range():
    state = np.full(7, 3.0)
    init = c_functions().init.ctypes
    good = [0.1, 0.9, 0.999, 1e-8, 4e-3]
    for place, bad in enumerate([-1.0, 1.0, np.nan, np.inf, -1.0]):
        given = [*good[:place], bad, *good[place + 1 :]]
        assert init(state.ctypes.data, *given) == place + 2
    assert state.tolist() == [3.0] * 7


def test_the_header_is_there():
    assert (pathlib.Path(include_folder()) / "nadam_numba.h").is_file()


@needs_compiler
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_example_in_c():
    example = pathlib.Path(__file__).parents[1] / "examples" / "from_c" / "run.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "the same bits: True" in done.stdout
