"""What is warmed up is not compiled again: neither in the same process nor in a later one."""

import os
import subprocess
import sys
import textwrap

import numba.core.event
import numpy as np
import pytest
from marks import needs_compiler
from numba import njit

from nadam_numba import NAdam, minimize, warmup

# Prints the names of the functions that are compiled, and how many were looked for in the cache in vain.
SECOND_PROCESS = """
import numba.core.event
import numpy as np
from numba import njit
from nadam_numba import NAdam, cpu, minimize
from nadam_numba.minimize import auto

def value(x):
    return (x[0] - 1.0) ** 4 + x[1] * x[1]

with numba.core.event.install_recorder("numba:compile") as recorder:
    for dtype in (np.float32, np.float64):
        NAdam(np.ones(3, dtype)).step(np.ones(3, dtype))
    results = [minimize(fun, [3.0, 4.0]) for fun in (value, njit(value))]
print([event.data["dispatcher"].py_func.__name__ for _, event in recorder.buffer if event.is_start])
kernels = cpu.update_serial, cpu.copy_into, auto.open_run, auto._propose, auto._digest, auto._accept
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
print(all(result.nit > 0 for result in results))
"""


def run_python(code, cache):
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@needs_compiler
def test_a_second_process_compiles_only_the_users_function(tmp_path):
    warm = """
    from nadam_numba import warmup
    warmup(minimize=False)
    warmup(step=False, dtypes="float64", gradients="2-point", bounds=False)
    """
    assert run_python(warm, tmp_path) == []
    files = sorted(path.name for path in tmp_path.rglob("*.nb?"))
    assert run_python(SECOND_PROCESS, tmp_path) == ["['value']", "0", "True"]
    assert sorted(path.name for path in tmp_path.rglob("*.nb?")) == files


@needs_compiler
def test_the_settings_decide_what_is_compiled():
    warmup(step={"amsgrad": True, "use_ema": True}, minimize={"learning_rate": 0.1}, dtypes="float64", gradients="pair")
    function = njit(lambda x: (x[0] * x[0], 2.0 * x))
    function(np.ones(1))
    with numba.core.event.install_recorder("numba:compile") as recorder:
        NAdam(np.ones(3), amsgrad=True, use_ema=True).step(np.ones(3))
        for bounds in (None, [(0.5, 3.0)]):
            minimize(function, [2.0], jac=True, bounds=bounds, options={"learning_rate": 0.01, "maxiter": 3})
    assert not recorder.buffer


@needs_compiler
def test_arrays_that_are_updated_in_threads(tmp_path):
    code = """
    import numpy as np
    from nadam_numba import NAdam, cpu, table_kernels, warmup
    warmup(minimize=False, dtypes="float32", threads=True)
    kernels = *table_kernels.step, cpu.update_serial, cpu.update_parallel
    print([len(kernel.signatures) for kernel in kernels])
    """
    assert run_python(code, tmp_path) == ["[1, 1, 2, 1]"] if numba.config.NUMBA_NUM_THREADS > 1 else ["[1, 0, 2, 0]"]


@needs_compiler
def test_without_a_folder_for_the_cache_the_present_process_is_warmed(tmp_path):
    code = """
    import os
    os.environ["NADAM_NUMBA_CACHE"] = "0"
    import numpy as np
    from nadam_numba import NAdam, table_kernels, warmup
    warmup(minimize=False, dtypes="float64")
    NAdam(np.ones(3)).step(np.ones(3))
    print(len(table_kernels.step[0].signatures))
    """
    assert run_python(code, tmp_path) == ["1"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_do():
    warmup(step=False, minimize=False)
    warmup(dtypes=[])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step": 1}, TypeError, "step=1 is a int: it must be True, False or a dict"),
        ({"minimize": "auto"}, TypeError, "minimize='auto' is a str"),
        ({"dtypes": "float16"}, ValueError, "an entry of dtypes='float16': it must be one of 'float64', 'float32'"),
        ({"dtypes": 64}, TypeError, "dtypes=64 is a int: it must be some of"),
        ({"gradients": ["2-point", True]}, TypeError, "an entry of gradients=True is a bool"),
        ({"bounds": None}, TypeError, "bounds=None is a NoneType"),
        ({"threads": 4}, TypeError, "threads=4 is a int"),
        ({"step": {"beta_1": 2.0}, "dtypes": "float64"}, ValueError, "beta_1=2.0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        warmup(**arguments)
