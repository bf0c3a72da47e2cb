"""NAdam from C: compile a loop with gcc, hand it the functions' addresses, and compare its bits with NAdam's.

python examples/from_c/run.py
"""

import ctypes
import pathlib
import subprocess
import tempfile

import numpy as np

from nadam_numba import NAdam
from nadam_numba.embed import c_functions, include_folder

STEPS, RATE = 5000, 0.01


def rosenbrock_gradient(x):
    bend, slack = x[1] - x[0] * x[0], 1.0 - x[0]
    return np.array([-400.0 * bend * x[0] - 2.0 * slack, 200.0 * bend])


def in_c(x):
    """Run the loop in C from `x`, which is overwritten."""
    source = pathlib.Path(__file__).with_name("descend.c")
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "descend.so"
        # Without contraction into fused operations, for the same bits as NumPy.
        flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{include_folder()}"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
        descend = ctypes.CDLL(str(library)).descend
        descend.restype = ctypes.c_double
        functions = c_functions()
        return descend(
            ctypes.c_void_p(functions.init.address),
            ctypes.c_void_p(functions.step.address),
            ctypes.c_int64(x.size),
            ctypes.c_void_p(x.ctypes.data),
            ctypes.c_double(RATE),
            ctypes.c_int64(STEPS),
        )


def in_python(x):
    """The same steps by NAdam."""
    optimizer = NAdam(x, learning_rate=RATE)
    for _ in range(STEPS):
        optimizer.step(rosenbrock_gradient(x))


def main():
    from_c, from_python = np.array([-1.2, 1.0]), np.array([-1.2, 1.0])
    value = in_c(from_c)
    in_python(from_python)
    print(f"C:      x = {from_c}, f = {value:.3e} after {STEPS} steps; the minimum is 0 at (1, 1)")
    print(f"Python: x = {from_python}, the same bits: {bool(np.array_equal(from_c, from_python))}")
    if not np.array_equal(from_c, from_python) or value > 1e-5:
        raise SystemExit("the loop in C has gone another way")


if __name__ == "__main__":
    main()
