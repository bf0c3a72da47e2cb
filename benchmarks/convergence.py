"""Data profiles of minimize and of SciPy's methods on the published test problems, by evaluations and by wall time.

    python benchmarks/convergence.py            # writes benchmarks/results/convergence.json and docs/convergence/
    python benchmarks/convergence.py --peers    # also torch.optim.NAdam and optax.nadam, where installed
    python benchmarks/convergence.py --quick    # a few problems, nothing is written
    python benchmarks/convergence.py --stages peers    # one part anew; the rest as it was measured before

Problems: the 35 of Moré, Garbow and Hillstrom, and NIST's 27 nonlinear regressions from both starts. Each is minimised
in its own units; with every variable rescaled by a random factor, log-uniform between 1e-3 and 1e3, as is x0; and in
random units from the origin x0, so that the start is 0 and tells nothing about scales; each without bounds and within a
box that cuts the minimiser off (`data_profiles.cases.make_box` has the rule).

A problem is solved at tau when f(x0) - f(x) >= (1 - tau) * (f(x0) - fL), where fL is the lowest value that any solver
(but the peers) has found within 20,000 evaluations, in any units, from that x0 and within that box; tables against the
published minimum have that in place of fL. Every call of the objective counts as one evaluation, of value and gradient
alike.

New counts keep the wall times of the same problems, and the rows of the peers where cases and fL are the same too.
"""

import argparse
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import sys

# Threads of BLAS cost L-BFGS-B more than they give at this size.
if __name__ == "__main__":
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT))  # at the end, where it does not hide an installed nadam_numba

from benchmarks.data_profiles import figures, peers, study, tables, timing  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "convergence.json"
DOCS = ROOT / "docs" / "convergence"
# Places of problems in the list.
QUICK = (0, 4, 8, 35, 36)
# In this order: peers are measured against the values that counts found.
STAGES = ("counts", "times", "peers")


def main(arguments=None):
    options = _parse(arguments)
    if options.quick:
        results = _count(list(QUICK), 1, 1)
        print(tables.render(results))
        return
    places = list(range(len(study.all_problems())))
    everything = [stage for stage in STAGES if stage != "peers" or options.peers]
    for stage in everything if options.stages is None else options.stages:
        if stage == "counts":
            results = _count(places, options.seeds, options.processes)
            if RESULTS.exists():
                _keep(results, read(RESULTS))
        else:
            results = read(RESULTS)
        if stage == "times":
            results["seconds"] = timing.seconds_of_solves(places, _progress("wall time", len(places)))
        if stage == "peers":
            packages = peers.installed()
            results["versions"].update(_versions(packages))
            study.run_peers(results, places, packages, options.processes, _progress("peers", len(places)))
        write(results, RESULTS)
    results = read(RESULTS)
    for error in sorted(set(results["errors"])):
        print(error, file=sys.stderr)
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "table.md").write_text(tables.render(results))
    for path in figures.draw(results, DOCS):
        print(path.relative_to(ROOT))


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="random units in which each problem is seen (default 3)")
    parser.add_argument("--peers", action="store_true", help="run the installed packages with fixed learning rates too")
    parser.add_argument("--processes", type=int, default=None, help="for counting; times are taken by one")
    parser.add_argument("--quick", action="store_true", help="a few problems, printed")
    parser.add_argument(
        "--stages",
        nargs="*",
        choices=STAGES,
        help="run these alone, on the results of earlier ones; none of them: write tables and figures anew",
    )
    return parser.parse_args(arguments)


def _count(places, seeds, processes):
    results = study.run_all(places, seeds, processes, _progress("evaluations", len(places)))
    results["versions"] = {"Python": platform.python_version(), **_versions(["numpy", "scipy", "numba"])}
    results["settings"] = {"seeds": seeds}
    return results


def _keep(results, before):
    """Add what the other stages found `before`, where it still holds."""
    if before.get("seconds"):
        if before["problems"] == results["problems"]:
            results["seconds"] = before["seconds"]
        else:
            print("wall times are dropped: the problems have changed", file=sys.stderr)
    if not study.keep_peers(results, before):
        print("the rows of the peers are dropped: cases or lowest values have changed", file=sys.stderr)


def _versions(packages):
    return {package: importlib.metadata.version(package) for package in packages}


def write(results, path):
    """As JSON, where null stands for infinity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_with_nulls(results), separators=(",", ":"), allow_nan=False)
    # A line for each solver: changes are seen.
    path.write_text(text.replace('],"', '],\n"').replace('},"', '},\n"') + "\n")


def read(path):
    """What `write` wrote."""
    return json.loads(path.read_text())


def _with_nulls(node):
    if isinstance(node, dict):
        return {key: _with_nulls(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_nulls(value) for value in node]
    if isinstance(node, float):
        if math.isinf(node):
            return None
        return int(node) if node.is_integer() and abs(node) < 1e15 else node
    return node


def _progress(title, total):
    try:
        from tqdm import tqdm
    except ImportError:
        return iter
    return functools.partial(tqdm, desc=title, total=total)


if __name__ == "__main__":
    main()
