"""The same number of threads for all packages."""

import os

import numba


def check_threads(threads):
    """`threads`, or as many as Numba takes by itself if it is None; no thread is started.

    Raises
    ------
    ValueError
        If it is not from 1 to the number that Numba was started with.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if threads is None:
        return most
    if not 1 <= threads <= most:
        raise ValueError(f"threads={threads}: must be from 1 to {most}, which NUMBA_NUM_THREADS sets")
    return threads


def settle(threads, imports=()):
    """Give every package so many threads; to be called before any of the peers is imported, or a loop runs in threads.

    Parameters
    ----------
    threads : int
    imports : sequence of function
        Called with the number before Numba's threads start. torch brings an OpenMP of its own: where Numba has loaded
        the system's first, a step of torch.optim.NAdam in two threads took thirty times as long.

    Returns
    -------
    dict
        How each was told.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    # XLA's pool has as many threads as this says, or as there are cores.
    os.environ["NPROC"] = str(threads)
    # A word without dashes that came first would be taken for a file.
    flags = [f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}", f"intra_op_parallelism_threads={threads}"]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip()
    for load in imports:
        load(threads)
    numba.set_num_threads(threads)
    return {
        "numba": f"numba.set_num_threads({threads})",
        "torch": f"torch.set_num_threads({threads})",
        "XLA": f"NPROC={threads} XLA_FLAGS='{' '.join(flags)}'",
        "C": f"omp parallel for num_threads({threads})" if threads > 1 else "no threads",
    }
