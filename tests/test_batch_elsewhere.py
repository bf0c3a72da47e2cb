"""minimize_batch in processes of all kinds, in threads and in clusters: the right results, and nobody is killed."""

import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from marks import needs_compiler

# What runs in other processes is not traced, for which alone tests are run uncompiled.
pytestmark = needs_compiler

# Other processes import the package and this module, as the users' processes do.
PRELUDE = """
import concurrent.futures, multiprocessing, sys
import numpy as np
from numba import njit, prange
from nadam_numba import minimize, minimize_batch
from test_batch_elsewhere import fit_some, fun, TARGETS, expected

def check(x):
    np.testing.assert_array_equal(x, expected())
"""


def fun(x, target):
    value, gradient = 0.0, np.empty_like(x)
    for i in range(x.size):
        value += (x[i] - target) * (x[i] - target)
        gradient[i] = 2.0 * (x[i] - target)
    return value, gradient


TARGETS = np.linspace(-1.0, 1.0, 24)


def expected():
    from nadam_numba import minimize

    return np.array([minimize(fun, np.zeros(2), args=(target,), jac=True).x for target in TARGETS])


def fit_some(_=None):
    from numba import njit

    from nadam_numba import minimize_batch

    return minimize_batch(njit(fun), np.zeros((24, 2)), batch_args=TARGETS, jac=True).x


def run(code):
    """Run a script in a process of its own, whose exit tells whether all went well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=pathlib.Path(__file__).parent,  # where a script finds this module
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_forked_process_after_threads_of_all_kinds():
    run("""
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

    @njit(parallel=True)
    def threads_of_numba(values):
        for i in prange(values.size):
            values[i] = i
    threads_of_numba(np.zeros(1000))
    check(fit_some())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for x in pool.map(fit_some, range(3)):
            check(x)
    """)


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_and_parallel_loops(layer):
    run(f"""
    import numba
    numba.config.THREADING_LAYER = {layer!r}
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        for x in executor.map(fit_some, range(4)):
            check(x)

    compiled = njit(fun)

    @njit(parallel=True)
    def each_in_a_loop(targets):
        ends = np.empty((targets.size, 2))
        for i in prange(targets.size):
            ends[i] = minimize(compiled, np.zeros(2), args=(targets[i],), jac=True).x
        return ends
    check(each_in_a_loop(TARGETS))
    """)


@pytest.mark.parametrize(
    ("backend", "start"),
    [("loky", None), ("threading", None), ("multiprocessing", "fork"), ("multiprocessing", "spawn")],
)
def test_joblib(backend, start, monkeypatch):
    pytest.importorskip("joblib")
    if start is not None:
        monkeypatch.setenv("JOBLIB_START_METHOD", start)
    run(f"""
    import joblib, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
    for x in joblib.Parallel(2, backend={backend!r})(joblib.delayed(fit_some)(i) for i in range(2)):
        check(x)
    """)


def test_dask():
    pytest.importorskip("distributed")
    run("""
    import warnings
    warnings.simplefilter("default")  # of Dask itself
    if __name__ == "__main__":
        from distributed import Client, LocalCluster
        settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**settings) as cluster, Client(cluster) as client:
            for x in client.gather(client.map(fit_some, range(2), pure=False)):
                check(x)
            def mapper(function, parts):
                return client.gather(client.map(function, list(parts)))
            check(minimize_batch(njit(fun), np.zeros((24, 2)), batch_args=TARGETS, jac=True, workers=mapper).x)
            check(minimize_batch(fun, np.zeros((24, 2)), batch_args=TARGETS, jac=True, workers=mapper).x)
    """)
