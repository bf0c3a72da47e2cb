"""The same number of threads for all packages."""

import os

import numba


def check_threads(threads):
    """`threads`, or as many as Numba's loops take now if it is None.

    Raises
    ------
    ValueError
        If it is not from 1 to the number that Numba was started with.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if threads is None:
        return numba.get_num_threads()
    if not 1 <= threads <= most:
        raise ValueError(f"threads={threads}: must be from 1 to {most}, which NUMBA_NUM_THREADS sets")
    return threads


def settle(threads):
    """Give every package so many threads; to be called before any of the peers is imported.

    Returns
    -------
    dict
        How each was told.
    """
    numba.set_num_threads(threads)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    # XLA's pool has as many threads as this says, or as there are cores.
    os.environ["NPROC"] = str(threads)
    # A word without dashes that came first would be taken for a file.
    flags = [f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}", f"intra_op_parallelism_threads={threads}"]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip()
    return {
        "numba": f"numba.set_num_threads({threads})",
        "torch": f"torch.set_num_threads({threads})",
        "XLA": f"NPROC={threads} XLA_FLAGS='{' '.join(flags)}'",
        "C": f"omp parallel for num_threads({threads})" if threads > 1 else "no threads",
    }
