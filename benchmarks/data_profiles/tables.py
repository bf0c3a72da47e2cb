"""The results as Markdown, and the numbers that tables and figures have in common."""

import numpy as np

from . import peers
from .profiles import data_profile, halves, share_solved
from .solvers import OURS, SCIPY_DEFAULT
from .study import BUDGETS, TOLERANCES

RIVAL = "L-BFGS-B"
KINDS = {
    "all": "all problems",
    "first": "first half",
    "second": "second half",
}
BLOCKS = {
    "Without bounds": (False, "own"),
    "Without bounds, every variable rescaled": (False, "rescaled"),
    "With bounds": (True, "own"),
    "With bounds, every variable rescaled": (True, "rescaled"),
}
FROM_ZERO = {
    "Without bounds, rescaled, started from 0": (False, "from zero"),
    "With bounds, rescaled, started from 0": (True, "from zero"),
}
_MIDDLE = TOLERANCES.index(1e-5)
_TIMES = (3e-4, 1e-3, 3e-3, 1e-2, 1e-1)


def select(results, is_bounded, units, half="all", has_zeros=None):
    """The places of the cases of one kind."""
    names = [problem["name"] for problem in results["problems"]]
    chosen = dict(zip(("first", "second"), halves(names), strict=True)).get(half, range(len(names)))
    chosen = set(map(int, chosen))
    return [
        place
        for place, (problem, bounded, case_units, _) in enumerate(results["cases"])
        if bounded == is_bounded
        and case_units == units
        and problem in chosen
        and (has_zeros is None or has_zeros == (results["problems"][problem]["zeros"] > 0))
    ]


def costs(results, solver, places, tolerance, reference="lowest"):
    """Evaluations that the solver needs in the cases at `places`; None if it did not take part in them all."""
    column = results["evaluations"][reference].get(solver, [])
    found = [column[place] for place in places if place < len(column)]
    if not places or len(found) < len(places) or any(row is None for row in found):
        return None
    # None inside a row is what JSON has for infinity.
    return np.array([np.inf if row[tolerance] is None else row[tolerance] for row in found])


def solver_names(results, places, reference="lowest"):
    """The solvers that took part in these cases, without the peers."""
    return [
        name
        for name in results["evaluations"][reference]
        if not peers.is_peer(name) and costs(results, name, places, 0, reference) is not None
    ]


def times(results, kind, solver, is_bounded, tolerance):
    """Seconds that a solver needs on each problem in its own units; None where it does not take part."""
    evaluations = costs(results, solver, select(results, is_bounded, "own"), tolerance)
    seconds = results["seconds"][kind].get(solver)
    if evaluations is None or seconds is None:
        return None
    middle = len(seconds) // 2
    part = seconds[middle:] if is_bounded else seconds[:middle]
    if any(value is None for value in part):
        return None
    begin, slope = np.array(part).T
    # Where nothing is solved a slope of 0 would make NaN of infinity.
    is_solved = np.isfinite(evaluations)
    return np.where(is_solved, begin + np.where(is_solved, evaluations, 0.0) * slope, np.inf)


def render(results):
    """All tables."""
    parts = [_origin(results), "## Against L-BFGS-B\n", _verdict(results)]
    for title, block in BLOCKS.items():
        parts += [f"## {title}\n"]
        for half, name in KINDS.items():
            parts += [_counts(results, name, select(results, *block, half))]
    parts += ["## Against the published minimum\n", _published_note()]
    for title, block in list(BLOCKS.items())[:2]:
        places = _with_published(results, select(results, *block))
        parts += [_counts(results, title.lower(), places, "published")]
    parts += ["## Where x0 tells nothing about the scale\n"]
    for title, block in BLOCKS.items():
        parts += [
            _counts(results, f"{title[0].lower()}{title[1:]}, some of x0 is 0", select(results, *block, has_zeros=True))
        ]
    for title, block in FROM_ZERO.items():
        parts += [_counts(results, f"{title[0].lower()}{title[1:]}", select(results, *block))]
    parts += _peer_tables(results)
    if results.get("seconds"):
        parts += ["## By wall time\n", *(_times_table(results, bounded) for bounded in (False, True))]
        parts += [_margins(results)]
    parts += ["## What is not solved\n", _unsolved(results)]
    return "\n".join(part for part in parts if part)


def _origin(results):
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    settings = ", ".join(f"{name} {value}" for name, value in results["settings"].items())
    return f"<!-- Written by benchmarks/convergence.py: {settings}. -->\n\nMeasured with {versions}; {settings}.\n"


def _row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def _table(head, alignment, rows):
    return "\n".join([_row(*head), "|" + "|".join(alignment) + "|", *(_row(*row) for row in rows)]) + "\n"


def _percent(share):
    return f"{100.0 * share:.1f}"


def _cells(results, solver, places, reference="lowest"):
    """Shares solved for each tolerance and budget."""
    return np.array(
        [
            [share_solved(costs(results, solver, places, tolerance, reference), budget) for budget in BUDGETS]
            for tolerance in range(len(TOLERANCES))
        ]
    )


def _budget_head():
    return [f"{tolerance:.0e}: {budget:,}".replace("e-0", "e-") for tolerance in TOLERANCES for budget in BUDGETS]


def _counts(results, title, places, reference="lowest"):
    if not places:
        return ""
    problems = len({results["cases"][place][0] for place in places})
    rows = []
    best = {}
    for name in solver_names(results, places, reference):
        best[name] = np.round(_cells(results, name, places, reference).ravel(), 9)
    highest = np.max(list(best.values()), axis=0)
    for name, shares in best.items():
        rows.append(
            [
                name,
                *(
                    f"**{_percent(share)}**" if share == top else _percent(share)
                    for share, top in zip(shares, highest, strict=True)
                ),
            ]
        )
    head = f"{len(places)} cases of {problems} problems, {title}"
    return _table([head, *_budget_head()], ["---", *["---:"] * (len(TOLERANCES) * len(BUDGETS))], rows)


def _verdict(results):
    """Cell by cell against the rival."""
    rows = []
    for title, block in {**BLOCKS, **FROM_ZERO}.items():
        for half, name in KINDS.items():
            places = select(results, *block, half)
            if not places:
                continue
            ours = _cells(results, OURS, places)
            for rival in (RIVAL, SCIPY_DEFAULT):
                gain = np.round(100.0 * (ours - _cells(results, rival, places)), 6)
                middle = gain[_MIDDLE, BUDGETS.index(2_000)]
                counts = [int(np.sum(gain > 0)), int(np.sum(gain == 0)), int(np.sum(gain < 0))]
                rows.append([title, name, rival, *counts, f"{gain.min():+.1f}", f"{middle:+.1f}"])
    head = ["", "", f"{OURS} against", "cells with more", "as many", "fewer", "smallest gain", "gain at 1e-5: 2,000"]
    return _table(head, ["---", "---", "---", *["---:"] * 5], rows)


def _published_note():
    return (
        "Solved here means the same distance from the published global minimum in place of the lowest value found; "
        "who ends in another minimum has not solved the problem.\n"
    )


def _with_published(results, places):
    column = results["evaluations"]["published"].get(OURS, [])
    return [place for place in places if place < len(column) and column[place] is not None]


def best_rates(results, package, places, tolerance, budget):
    """Of a peer: the rate that solves most, and the costs at it and at the best rate of each problem.

    Returns
    -------
    rate : float or None
        None if the package took no part.
    at_rate, per_problem : ndarray
    """
    by_rate = {
        rate: found
        for rate in peers.RATES
        if (found := costs(results, peers.solver_name(package, rate), places, tolerance)) is not None
    }
    if not by_rate:
        return None, None, None
    rate = max(by_rate, key=lambda rate: (share_solved(by_rate[rate], budget), -np.median(by_rate[rate])))
    return rate, by_rate[rate], np.min(list(by_rate.values()), axis=0)


def peer_places(results, is_bounded, units):
    """The cases in which the peers take part."""
    return [place for place in select(results, is_bounded, units) if results["cases"][place][3] == 0]


def _peer_tables(results):
    parts = []
    for title, block in list(BLOCKS.items())[:2]:
        places = peer_places(results, *block)
        rows = []
        budgets = [budget for budget in BUDGETS if budget <= peers.LARGEST_BUDGET]
        for package, name in peers.PACKAGES.items():
            single, each = [], []
            for tolerance in range(len(TOLERANCES)):
                for budget in budgets:
                    rate, at_rate, per_problem = best_rates(results, package, places, tolerance, budget)
                    if rate is None:
                        break
                    share = share_solved(at_rate, budget)
                    single.append(f"{_percent(share)} ({rate:g})" if share else _percent(share))
                    each.append(_percent(share_solved(per_problem, budget)))
            if single:
                rows += [[f"{name}, best rate for all", *single], [f"{name}, best rate for each problem", *each]]
        if not rows:
            continue
        for name in (OURS, RIVAL):
            shares = _cells(results, name, places)[:, : len(budgets)].ravel()
            rows.append([name, *map(_percent, shares)])
        head = [f"{tolerance:.0e}: {budget:,}".replace("e-0", "e-") for tolerance in TOLERANCES for budget in budgets]
        parts.append(_table([f"{len(places)} cases, {title.lower()}", *head], ["---", *["---:"] * len(head)], rows))
    return ["## Fixed learning rates\n", *parts] if parts else []


def _timed(results, is_bounded, tolerance):
    """(kind of objective, solver) -> seconds on each problem."""
    found = {
        (kind, name): times(results, kind, name, is_bounded, tolerance)
        for kind, by_solver in results["seconds"].items()
        for name in by_solver
    }
    return {key: value for key, value in found.items() if value is not None}


def _times_table(results, is_bounded):
    timed = _timed(results, is_bounded, _MIDDLE)
    rows = [
        [name, f"{kind} objective", *(_percent(share_solved(seconds, limit)) for limit in _TIMES)]
        for (kind, name), seconds in timed.items()
    ]
    title = "with bounds" if is_bounded else "without bounds"
    head = [f"solved at 1e-5, {title}", "", *(f"{limit * 1e3:g} ms" for limit in _TIMES)]
    return _table(head, ["---", "---", *["---:"] * len(_TIMES)], rows)


def smallest_margin(ours, theirs):
    """The least of our share less theirs, over all times at which either changes, and the time."""
    moments = np.unique(np.concatenate([data_profile(ours)[0], data_profile(theirs)[0]]))
    margins = [share_solved(ours, moment) - share_solved(theirs, moment) for moment in moments]
    worst = int(np.argmin(margins))
    return margins[worst], float(moments[worst])


def _margins(results):
    """How far our profile, with compiled objectives, stays above the others."""
    rows = []
    for is_bounded in (False, True):
        per_tolerance = [_timed(results, is_bounded, tolerance) for tolerance in range(len(TOLERANCES))]
        for key in per_tolerance[0]:
            if key[1].startswith(OURS):
                continue
            cells = []
            for timed in per_tolerance:
                margin, moment = smallest_margin(timed["compiled", OURS], timed[key])
                cells.append(f"{100.0 * margin:+.1f} at {moment * 1e3:.2g} ms")
            rows.append(["with bounds" if is_bounded else "without bounds", key[1], f"{key[0]} objective", *cells])
    head = [
        "smallest margin of our profile by time, compiled",
        "over",
        "",
        *(f"{t:.0e}".replace("e-0", "e-") for t in TOLERANCES),
    ]
    return _table(head, ["---", "---", "---", *["---:"] * len(TOLERANCES)], rows)


def _unsolved(results):
    rows = []
    for title, block in BLOCKS.items():
        places = select(results, *block)
        if not places:
            continue
        both = {name: costs(results, name, places, _MIDDLE) > 2_000 for name in (OURS, RIVAL)}
        for name, other in ((OURS, RIVAL), (RIVAL, OURS)):
            which = {}
            for place, mine, yours in zip(places, both[name], both[other], strict=True):
                if mine:
                    problem = results["problems"][results["cases"][place][0]]["name"]
                    which.setdefault(problem, []).append("" if yours else "*")
            told = "; ".join(
                f"{problem}{max(marks)}" + (f" ({len(marks)})" if len(marks) > 1 else "")
                for problem, marks in which.items()
            )
            rows.append([title, name, told or "none"])
    note = "At 1e-5 within 2,000 evaluations; * where the other one of the two solves it.\n"
    return note + "\n" + _table(["", "not solved by", "problems (times)"], ["---", "---", "---"], rows)
