"""A run of the benchmark: for each case make the contenders, check them, and time them in turn."""

import datetime
import functools
import importlib.util
import time

from nadam_numba import info
from nadam_numba.bench import c_loop, memory, solves, steps, threads, timing, torch_peer, verify

# What each peer needs.
PEERS = {"cc": (), "torch": ("torch",), "optax": ("jax", "optax"), "keras": ("jax", "keras")}
_PACKAGES = ("torch", "jax", "optax", "keras")
_DIGITS = 4


def available_peers():
    """What is installed, and what is not, with the reason.

    Returns
    -------
    available : list of str
    left_out : dict of str
    """
    left_out = {}
    for peer, packages in PEERS.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            left_out[peer] = f"{' and '.join(missing)} not installed"
    if c_loop.compiler() is None:
        left_out["cc"] = "no C compiler"
    return [peer for peer in PEERS if peer not in left_out], left_out


def run(selected, available, left_out, thread_count, effort, progress=iter):
    """Measure cases.

    Parameters
    ----------
    selected : list of Case
    available : list of str
        The peers that take part.
    left_out : dict of str
        Those that do not, and why.
    thread_count : int
    effort : timing.Effort
    progress : function
        From the list of cases to an iterable of the same.

    Returns
    -------
    dict
        What stands in the report, as plain data.

    Raises
    ------
    Disagreement
        If a contender does not compute what ours does.
    """
    load = info.load()
    contenders = 2 + sum(needed in available for needed, _ in steps.PEERS)
    told = threads.settle(thread_count, [torch_peer.load] if "torch" in available else [])
    measured, too_large = [], []
    for case in progress(selected):
        limit = memory.memory_available()
        if limit is not None and memory.memory_needed(case, contenders) > limit:
            too_large.append(f"{case.group}: {case.name}, {case.dtype}")
        else:
            measured.append(measure(case, available, thread_count, effort))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": {"CPU": info.cpu_name(), "cores": info.usable_cores(), "load": load},
        "versions": info.versions(_PACKAGES),
        "threads": {"count": thread_count, "layer": info.threading_layer(), "how": told},
        "left_out": {**left_out, **({"memory": too_large} if too_large else {})},
        "effort": effort._asdict(),
        "cases": measured,
    }


def measure(case, available, thread_count, effort, clock=time.perf_counter, sleep=time.sleep):
    """Check the contenders of one case, and time them.

    Returns
    -------
    dict
        The case, and for each contender what `timing.summarise` tells.
    """
    makers = {"sparse": steps.sparse_contenders, "minimize": solves.contenders}
    contenders = []
    for contender in makers.get(case.group, steps.contenders)(case, available, thread_count):
        verify.check(contender)
        contenders.append(contender)
    runs = [functools.partial(_run, contender) for contender in contenders]
    multiple = case.options.get("gradient_accumulation_steps", 1)
    counts, seconds = zip(
        *(timing.calls_per_sample(run, effort.sample_seconds, multiple, clock) for run in runs), strict=True
    )
    rounds = timing.rounds_for(sum(seconds) + effort.pause * len(runs), effort)
    samples = timing.interleave(runs, counts, rounds, effort.pause, clock, sleep)
    per_iteration = [
        [sample / contender.iterations for sample in column]
        for contender, column in zip(contenders, samples, strict=True)
    ]
    return {
        "group": case.group,
        "name": case.name,
        "dtype": case.dtype,
        "elements": case.elements,
        "bytes_per_element": case.bytes_per_element,
        "contenders": [
            {"name": contender.name, "iterations": contender.iterations, "calls": calls, **_rounded(summary)}
            for contender, calls, summary in zip(contenders, counts, timing.summarise(per_iteration, 0), strict=True)
        ],
    }


def _run(contender, calls):
    step = contender.step
    for _ in range(calls):
        step()
    contender.finish()


def _rounded(summary):
    """With as many digits as mean something, so that files stay small."""
    return {
        key: [_round(number) for number in value] if isinstance(value, list) else _round(value)
        for key, value in summary.items()
    }


def _round(number):
    return number if isinstance(number, int) else float(f"{number:.{_DIGITS}g}")
