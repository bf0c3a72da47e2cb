"""The kernels as the compiler of the CUDA toolkit leaves them: what can be asserted without a card."""

import re
import runpy
import types as python_types
from pathlib import Path

import numpy as np
import pytest
from numba import config, njit, typeof, types

pytest.importorskip("numba_cuda", reason="needs the extra: pip install 'nadam_numba[cuda]'")
if config.ENABLE_CUDASIM:
    pytest.skip("the simulator compiles nothing: NUMBA_ENABLE_CUDASIM is set", allow_module_level=True)
if config.DISABLE_JIT:
    pytest.skip("nothing is compiled with NUMBA_DISABLE_JIT", allow_module_level=True)

from numba import cuda  # noqa: TID251

from nadam_numba import gpu, minimize_batch, schedules
from nadam_numba.gpu_arrays import device, kernels

CAPABILITY = (9, 0)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
DTYPES = [FLOAT32, FLOAT64]
FLAGS = [(False,) * 4, (False, True, False, True), (True,) * 4]
ADDRESS = types.int64


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    """Functions that kernels call are compiled for the present device, and there need not be one."""
    device = python_types.SimpleNamespace(compute_capability=CAPABILITY)
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)


def ptx_of(kernel, arguments):
    signature = (ADDRESS,) * arguments if isinstance(arguments, int) else arguments
    return cuda.compile_ptx(kernel.py_func, signature, cc=CAPABILITY)[0]


def assembled(ptx):
    """What the assembler says of the code of a kernel: registers, and bytes of spilled ones."""
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink")
    options = [f"-arch=sm_{CAPABILITY[0]}{CAPABILITY[1]}", "-verbose", "-Xptxas=-v"]
    handle = nvjitlink.create(len(options), options)
    try:
        code = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    (registers,) = re.findall(r"Used (\d+) registers", log.decode())
    (spilled,) = re.findall(r"(\d+) bytes spill stores", log.decode())
    return int(registers), int(spilled)


@pytest.mark.parametrize("order", kernels.ORDERS)
@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_update_moves_vectors_and_stays_in_its_precision_and_registers(dtype, flags, order):
    ptx = ptx_of(kernels.update(order, dtype, *flags), 5)
    vector = "v4.f32" if dtype == FLOAT32 else "v2.f64"
    arrays = 3 + sum(flags[:3])
    per_array = 1 if dtype == FLOAT32 else 2
    assert ptx.count(f"ld.global.{vector}") == (arrays + 1) * per_array
    assert ptx.count(f"st.global.{vector}") == arrays * per_array
    # What is not in registers or in the card's memory would be in slower memory; scalars are read before the loop.
    assert not re.search(r"\b(ld|st)\.local|\b(ld|st)\.(f|u)\d+|\bcall\b", ptx)
    assert "ld.global.nc" in ptx
    if dtype == FLOAT32:
        assert ".f64" not in ptx
    registers, spilled = assembled(ptx)
    # As many threads as a multiprocessor of 65,536 registers needs to keep its memory busy: at least 1,024 and 384.
    assert registers <= (96 if dtype == FLOAT32 else 168)
    assert spilled == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moments_in_bfloat16_take_two_bytes(dtype):
    ptx = ptx_of(kernels.update("native", dtype, True, False, False, False, True), 5)
    assert ptx.count("ld.global.v4.u16") == ptx.count("st.global.v4.u16") == 3
    assert dtype == FLOAT64 or ".f64" not in ptx
    registers, spilled = assembled(ptx)
    assert registers <= 168
    assert spilled == 0


def test_the_plain_update_in_single_precision_is_lean():
    registers, _ = assembled(ptx_of(kernels.update("native", FLOAT32, *FLAGS[0]), 5))
    assert registers <= 64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (kernels.accumulate, 5),
        (kernels.average, 5),
        (kernels.mark_nonfinite, 5),
        (lambda dtype: kernels.copy_strided(dtype, False), 4),
        (lambda dtype: kernels.copy_strided(dtype, True), 4),
        (kernels.sum_rows, 7),
        (lambda dtype: kernels.move_rows(dtype, False), 5),
        (lambda dtype: kernels.move_rows(dtype, True), 5),
        (kernels.set_zero, 2),
    ],
)
def test_other_kernels_compile_in_their_precision(kernel, arguments, dtype):
    ptx = ptx_of(kernel(dtype), arguments)
    assert "st.global" in ptx
    assert dtype == FLOAT64 or ".f64" not in ptx


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norms_are_summed_in_double_precision_in_shared_memory(dtype):
    for has_sums in (False, True):
        ptx = ptx_of(kernels.sum_of_squares(dtype, has_sums), 5)
        assert "st.shared.f64" in ptx
        assert "bar.sync" in ptx
    assert "ld.global" in ptx_of(kernels.norms, 5)
    limits = (ADDRESS, ADDRESS, types.float64, ADDRESS, ADDRESS, ADDRESS)
    assert "st.global.f32" in ptx_of(kernels.clip_factors, limits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_steps_are_counted_in_double_precision(dtype):
    assert "st.global.f64" in ptx_of(kernels.advance(dtype), 4)


# Batches: what is sent to a card stays here, and the kernel is compiled where it would be launched.


@pytest.fixture
def launched(monkeypatch):
    """The PTX code of all kernels that would be launched."""
    compiled = []

    def launch(kernel, threads, stream, *arguments, block):
        compiled.append(ptx_of(kernel, tuple(map(typeof, arguments))))

    monkeypatch.setattr(gpu, "require", lambda what: None)
    monkeypatch.setattr(device, "sent", lambda name, values, number: values)
    monkeypatch.setattr(device, "empty", lambda name, size, dtype, number: np.zeros(size, dtype))
    monkeypatch.setattr(device, "stream", lambda number, handle: None)
    monkeypatch.setattr(device, "fetched", lambda array: array)
    monkeypatch.setattr(device, "launch", launch)
    return compiled


@njit
def valley(x, height, weights):
    return weights[0] * (height - x[0]) ** 2 + weights[1] * (x[1] - x[0] ** 2) ** 2


@njit
def slope_of_valley(x, height, weights):
    across = 2.0 * weights[1] * (x[1] - x[0] ** 2)
    return -2.0 * weights[0] * (height - x[0]) - 2.0 * x[0] * across, across


@njit
def valley_and_slope(x, height, weights):
    return valley(x, height, weights), slope_of_valley(x, height, weights)


@njit
def valley_that_writes(x, slope, height, weights):
    slope[0], slope[1] = slope_of_valley(x, height, weights)
    return valley(x, height, weights)


WAYS = [
    (valley_and_slope, True),
    (valley_that_writes, True),
    (valley, slope_of_valley),
    (valley, None),
    (valley, "3-point"),
]
LOWER, UPPER = np.full((3, 2), -1.0), np.full((3, 2), 2.0)


def compile_batch(fun, jac, dtype=FLOAT64, **settings):
    arrays = np.zeros((3, 2), dtype), np.ones(2), np.ones(3)
    minimize_batch(fun, *arrays, jac=jac, device="cuda", **settings)


BOUNDS = [None, [(0.0, 1.0)] * 2, np.stack([LOWER, UPPER], axis=-1)]


@pytest.mark.parametrize(("fun", "jac", "bounds"), [(*way, BOUNDS[k % 3]) for k, way in enumerate([*WAYS, WAYS[0]])])
def test_a_batch_compiles_into_the_memory_of_its_threads(fun, jac, bounds, launched):
    compile_batch(fun, jac, bounds=bounds)
    (ptx,) = launched
    (room,) = map(int, re.findall(r"\.local .*__local_depot\d+\[(\d+)\]", ptx))
    assert room <= 640  # 19 vectors, 8 numbers of pairs, the rooms of differences
    assert "malloc" not in ptx


def test_a_batch_compiles_for_single_precision_and_functions_for_kernels(launched):
    compile_batch(cuda.jit(device=True)(valley_and_slope.py_func), True, FLOAT32)
    compile_batch(valley_and_slope, True, FLOAT32, options={"memory": 0})
    assert len(launched) == 2


@pytest.mark.parametrize(
    ("method", "learning_rate"),
    [
        ("nadam", 0.1),
        ("amsgrad", 0.1),
        ("nadamw", schedules.cosine_decay(0.1, 50)),
        ("adam", schedules.reduce_on_plateau(0.1)),
    ],
)
def test_a_batch_at_given_rates_compiles(method, learning_rate, launched):
    settings = {"learning_rate": learning_rate, "maxiter": 50}
    compile_batch(valley_and_slope, True, method=method, bounds=[(0.0, 1.0)] * 2, options=settings)
    assert len(launched) == 1


@pytest.mark.parametrize("unknown", [np.isfinite, np.zeros, np.linalg.norm])
def test_what_does_not_compile_for_a_card_is_told(unknown, launched):
    @njit
    def objective(x, height, weights):
        return np.sum(unknown(x[:1].size)) + x[0]

    with pytest.raises(TypeError, match="does not compile for a GPU, where it can make no arrays"):
        compile_batch(objective, None)


def test_python_functions_are_none_for_a_card(launched):
    with pytest.raises(TypeError, match=r"fun=.*device='cuda' takes functions of @njit or of cuda\.jit"):
        compile_batch(valley.py_func, None)
    with pytest.raises(TypeError, match=r"jac=.*device='cuda' takes functions of @njit or of cuda\.jit"):
        compile_batch(valley, slope_of_valley.py_func)
    assert launched == []


def test_the_example_compiles():
    path = Path(__file__).parent.parent / "examples" / "one_problem_per_thread.py"
    kernel = runpy.run_path(str(path))["fit_decays"]
    matrix = types.float64[:, ::1]
    assert "sqrt.rn.f64" in ptx_of(kernel, (types.float64[::1], matrix, matrix, types.int64, types.float64))
