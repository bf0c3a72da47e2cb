"""numba.cuda, which this module alone imports; what a machine needs for kernels to run on a GPU, and whether it has it.

The kernels and what launches them are in ``gpu_arrays``. Nothing imports either before there is a GPU array, for it
loads CUDA.
"""

import importlib.util

from numba import config, cuda

SIMULATES = bool(config.ENABLE_CUDASIM)
_INSTALL = "pip install 'nadam_numba[cuda]', or 'nadam_numba[cuda12]' where the driver is older than CUDA 13"
_NOT_INSTALLED = f"the package numba-cuda is not installed: {_INSTALL}"


def missing() -> str | None:
    """What this machine lacks, and what helps; None if nothing."""
    if SIMULATES:
        return None
    if not _has_numba_cuda():
        return _NOT_INSTALLED
    if cuda.is_available():
        return None
    error = " ".join((cuda.cuda_error() or "").split())
    if not error:
        return f"numba-cuda finds no NVVM, the compiler of the CUDA toolkit: {_INSTALL}"
    if "NO_DEVICE" in error:
        return f"the NVIDIA driver finds no GPU: {error}"
    return f"there is no NVIDIA driver that can be used: {error}"


def require(what: str) -> None:
    """Raise RuntimeError, with what is asked for and what is missing, where kernels cannot run."""
    lacking = missing()
    if lacking is not None:
        raise RuntimeError(f"{what} needs a GPU that Numba can use: {lacking}")


def require_compiler() -> None:
    """Raise ImportError where functions for kernels cannot be made."""
    if not (SIMULATES or _has_numba_cuda()):
        raise ImportError(_NOT_INSTALLED)


def _has_numba_cuda():
    return importlib.util.find_spec("numba_cuda") is not None


def extensions():
    """What functions of LLVM code for kernels are made with: `intrinsic`, and `from_dtype`, the type of a dtype."""
    # The simulator has neither.
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.numpy_support import from_dtype

    return intrinsic, from_dtype


def describe() -> str:
    """The GPUs, for a report, or what is missing."""
    lacking = missing()
    if lacking is not None:
        return lacking
    if SIMULATES:
        return "simulated by Numba, as NUMBA_ENABLE_CUDASIM is set"
    devices = []
    for manager in cuda.gpus:
        name, capability = manager.name, manager.compute_capability
        devices.append(f"{name.decode() if isinstance(name, bytes) else name} (sm_{capability[0]}{capability[1]})")
    return f"{', '.join(devices)}; toolkit {'.'.join(map(str, cuda.runtime.get_version()))}"
