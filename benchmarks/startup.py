"""What it takes from ``python`` to a first result, in fresh processes, with an empty and with a filled disk cache.

    python benchmarks/startup.py [--runs 7] [--cold-runs 3]

Any program that uses Numba waits for its import and for the set-up of its compiler, which comes with the first function
that is compiled or loaded. That is the floor, taken in each process before anything of nadam_numba is imported: the
columns "import" and "first call" come on top of it. New functions of the user's are compiled in any case, which the
rows "alone" tell. Beside them SciPy, and torch where it is installed, which have no such floor.

The cases take turns. Of each column the median of the runs, and in brackets the minimum.
"""

import argparse
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PACKAGE = pathlib.Path(__file__).parents[1]

FLOOR = """
from numba import njit

@njit(cache=True)
def increment(x):
    return x + 1.0
"""

PROCESS = """
import time
marks = [time.perf_counter()]
{floor}
marks.append(time.perf_counter())
{imports}
marks.append(time.perf_counter())
{call}
marks.append(time.perf_counter())
print(*(end - begin for begin, end in zip(marks, marks[1:])), {compiled})
"""

NUMBA_FLOOR = """
import floor
floor.increment(1.0)
import numba.core.event
compilations = numba.core.event.RecordingListener()
numba.core.event.register("numba:compile", compilations)
"""
COMPILED = "len(compilations.buffer) // 2"

VALUE = """
from numba import njit

@njit
def rosenbrock(x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2
"""
GRADIENT = """
import numpy as np

@njit
def gradient(x):
    bend = x[1] - x[0] ** 2
    return np.array([-2.0 * (1.0 - x[0]) - 400.0 * bend * x[0], 200.0 * bend])
"""
PYTHON_VALUE, PYTHON_GRADIENT = (code.replace("@njit", "").replace("from numba", "#") for code in (VALUE, GRADIENT))

NADAM = "import nadam_numba"
SCIPY = "import scipy.optimize"
STEP = """
import numpy as np
x = np.ones(100)
{optimizer}
"""
# Name -> what is imported, and what is called.
CASES = {
    "import alone": (NADAM, ""),
    "new objective alone": ("import numpy as np", VALUE + "rosenbrock(np.ones(2))"),
    "new objective, jac alone": (
        "import numpy as np",
        VALUE + GRADIENT + "rosenbrock(np.ones(2)), gradient(np.ones(2))",
    ),
    "NAdam step": (NADAM, STEP.format(optimizer="nadam_numba.NAdam(x).step(np.ones(100))")),
    "minimize, @njit": (NADAM, VALUE + "nadam_numba.minimize(rosenbrock, [-1.2, 1.0])"),
    "minimize, @njit, jac": (NADAM, VALUE + GRADIENT + "nadam_numba.minimize(rosenbrock, [-1.2, 1.0], jac=gradient)"),
    "minimize, @njit, bounds": (
        NADAM,
        VALUE + "nadam_numba.minimize(rosenbrock, [-1.2, 1.0], bounds=[(-2.0, 2.0), (-2.0, 0.5)])",
    ),
    "minimize, @njit, rate": (
        NADAM,
        VALUE + "nadam_numba.minimize(rosenbrock, [-1.2, 1.0], options={'learning_rate': 0.01, 'maxiter': 100})",
    ),
    "minimize, Python": (NADAM, PYTHON_VALUE + "nadam_numba.minimize(rosenbrock, [-1.2, 1.0])"),
}
PEERS = {
    "scipy minimize, Python": (SCIPY, PYTHON_VALUE + "scipy.optimize.minimize(rosenbrock, [-1.2, 1.0])"),
    "scipy minimize, @njit": (SCIPY, VALUE + "scipy.optimize.minimize(rosenbrock, [-1.2, 1.0])"),
    "torch NAdam step": (
        "import torch",
        STEP.format(
            optimizer="x = torch.ones(100, requires_grad=True)\nx.grad = torch.ones(100)\ntorch.optim.NAdam([x]).step()"
        ),
    ),
}


def seconds_and_compilations(case, folder, cache):
    """Run a case in a process of its own: the seconds of floor, import and call, and the functions it compiled."""
    imports, call = {**CASES, **PEERS}[case]
    floor, compiled = (NUMBA_FLOOR, COMPILED) if case in CASES else ("", 0)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{PACKAGE}{os.pathsep}{folder}"}
    # An installed package has its byte code.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.run(
        [sys.executable, "-c", PROCESS.format(floor=floor, imports=imports, call=call, compiled=compiled)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    *seconds, compilations = process.stdout.split()
    return [float(second) for second in seconds], int(compilations)


def measure(cases, folder, runs, is_cold):
    """Case -> its seconds in all runs, and the functions compiled in the last one."""
    seconds, compilations = {case: [] for case in cases}, {}
    warm = folder / "warm"
    if not is_cold:
        for case in cases:
            seconds_and_compilations(case, folder, warm)
    for _ in range(runs):
        for case in cases:
            with tempfile.TemporaryDirectory(dir=folder) as cold:
                found, compilations[case] = seconds_and_compilations(case, folder, cold if is_cold else warm)
            seconds[case].append(found)
    return seconds, compilations


def print_table(title, seconds, compilations):
    print(f"\n{title}")
    print(f"{'':26}{'floor':>14}{'import':>14}{'first call':>14}{'over floor':>14}{'total':>14}{'compiled':>10}")
    for case, rows in seconds.items():
        columns = [*zip(*rows, strict=True), [sum(row[1:]) for row in rows], [sum(row) for row in rows]]
        cells = "".join(f"{statistics.median(column):7.2f} ({min(column):.2f})" for column in columns)
        print(f"{case:26}{cells}{compilations[case]:10d}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--cold-runs", type=int, default=3, help="those with an empty cache, of a minute each")
    arguments = parser.parse_args()
    is_installed = importlib.util.find_spec("torch") is not None
    cases = [*CASES, *(peer for peer in PEERS if is_installed or not peer.startswith("torch"))]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "floor.py").write_text(FLOOR)
        if arguments.runs:
            print_table("Cache filled, seconds", *measure(cases, folder, arguments.runs, is_cold=False))
        if arguments.cold_runs:
            print_table("Cache empty, seconds", *measure(list(CASES), folder, arguments.cold_runs, is_cold=True))


if __name__ == "__main__":
    main()
