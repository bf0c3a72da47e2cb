"""What a report of a bug or a time must say: versions, machine, threads, caches."""

import importlib.metadata
import os
import pathlib
import platform

import numba

import nadam_numba
from nadam_numba import jit

_REQUIRED = ("numpy", "scipy", "numba")


def versions(packages):
    """The versions of Python, of this package, of what it needs, and of installed `packages`."""
    found = {"Python": platform.python_version(), "nadam_numba": nadam_numba.__version__}
    for package in (*_REQUIRED, *packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cpu_name():
    """The processor, as its maker calls it where the system knows."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def usable_cores():
    """The cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def load():
    """How many cores were busy during the last minute, or None."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows
        return None


def threading_layer():
    """The layer that Numba's parallel loops run on; why there is none, if so."""
    try:
        numba.get_num_threads()  # starts the threads, which settles the layer
        return numba.threading_layer()
    except ValueError as error:
        return f"none: {error}"


def cache_folder():
    """Where compiled kernels are kept, or None."""

    def probe():
        pass

    # Numba files compiled functions by the folder of their source, which for the kernels is this one.
    statistics = getattr(jit.kernel(probe), "stats", None)
    return None if statistics is None else statistics.cache_path


def cuda():
    """The version of numba-cuda and the GPUs that kernels can run on; or what is missing."""
    from nadam_numba import gpu  # loads CUDA

    try:
        version = f"numba-cuda {importlib.metadata.version('numba-cuda')}; "
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return version + gpu.describe()


def describe():
    """All of it.

    Returns
    -------
    dict of str
        By the name of each line.
    """
    return {
        **versions(()),
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": cpu_name(),
        "cores": f"{usable_cores()} of {os.cpu_count()}",
        "threads": str(numba.get_num_threads()),
        "threading layer": threading_layer(),
        "compiled code": "yes" if jit.is_compiled(jit.kernel(describe)) else "no: NUMBA_DISABLE_JIT is set",
        "cache folder": cache_folder() or "none",
        "CUDA": cuda(),
    }
