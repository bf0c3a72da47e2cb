"""The results as figures."""

import numpy as np

from . import peers
from .profiles import data_profile
from .solvers import OURS, SCIPY_DEFAULT
from .study import BUDGETS, TOLERANCES
from .tables import BLOCKS, best_rates, costs, peer_places, select, solver_names, times

_MIDDLE = TOLERANCES.index(1e-5)
# The colours of Okabe and Ito, which are told apart without red or green, and line styles, which need no colour.
_STYLES = {
    OURS: ("#D55E00", "-"),
    "L-BFGS-B": ("#0072B2", "-"),
    SCIPY_DEFAULT: ("#0072B2", ":"),
    "L-BFGS-B on x / abs(x0)": ("#56B4E9", (0, (6, 1.5))),
    "BFGS": ("#009E73", "--"),
    "CG": ("#CC79A7", "-."),
    "TNC": ("#009E73", "-."),
    "SLSQP": ("#CC79A7", "--"),
    "Nelder-Mead": ("#000000", (0, (1, 1.5))),
    "torch": ("#E69F00", "--"),
    "optax": ("#8C6D00", ":"),
}
_SETTINGS = {"font.size": 11, "axes.grid": True, "grid.color": "#dddddd", "svg.hashsalt": "data profiles"}


def draw(results, folder):
    """Write the figures to `folder`, and return their paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(_SETTINGS):
        paths = [_save(_evaluations(results, pyplot), folder / "evaluations.svg", pyplot)]
        if results.get("seconds"):
            paths.append(_save(_wall_time(results, pyplot), folder / "wall_time.svg", pyplot))
    return paths


def _save(figure, path, pyplot):
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _evaluations(results, pyplot):
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8.6), sharex=True, sharey=True, layout="constrained")
    for axis, (title, block) in zip(axes.flat, BLOCKS.items(), strict=True):
        places = select(results, *block)
        for name in solver_names(results, places):
            if name in _STYLES:
                _step(axis, costs(results, name, places, _MIDDLE), BUDGETS[-1], name)
        _draw_peers(axis, results, block)
        axis.set_title(title, fontsize=12)
    for axis in axes[1]:
        axis.set_xlabel("evaluations of value and gradient")
    figure.suptitle("Share of cases solved to tau = 1e-5")
    _finish(figure, axes)
    axes[0, 0].set_xlim(1, BUDGETS[-1])
    return figure


def _draw_peers(axis, results, block):
    places = peer_places(results, *block)
    for package, name in peers.PACKAGES.items():
        rate, _, per_problem = best_rates(results, package, places, _MIDDLE, peers.LARGEST_BUDGET)
        if rate is not None:
            colour, line = _STYLES[package]
            label = f"{name}, best rate for each problem"
            _step(axis, per_problem, peers.LARGEST_BUDGET, label, colour=colour, line=line)


def _wall_time(results, pyplot):
    figure, axes = pyplot.subplots(
        1, 2, figsize=(11, 6.2), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    longest = 1.0
    for axis, is_bounded in zip(axes.flat, (False, True), strict=True):
        for kind, width in (("compiled", 1.0), ("NumPy", 1.8)):
            for name in results["seconds"][kind]:
                seconds = times(results, kind, name, is_bounded, _MIDDLE) if name in _STYLES else None
                if seconds is None or (name == SCIPY_DEFAULT):
                    continue
                colour, line = _STYLES[name]
                if name == OURS:
                    width_here, label = (
                        (3.0, f"{OURS}, compiled objective")
                        if kind == "compiled"
                        else (1.2, f"{OURS}, NumPy objective")
                    )
                else:
                    width_here, label = width, f"{name}, {kind} objective"
                _step(axis, seconds * 1e3, longest * 1e3, label, colour=colour, line=line, width=width_here)
        axis.set_title("With bounds" if is_bounded else "Without bounds", fontsize=12)
        axis.set_xlabel("milliseconds")
    axes[0, 0].set_xlim(0.03, longest * 1e3)
    figure.suptitle("Share of problems solved to tau = 1e-5; thin lines: compiled objective called by SciPy")
    _finish(figure, axes)
    return figure


def _step(axis, costs_of_cases, longest, label, colour=None, line=None, width=None):
    if colour is None:
        colour, line = _STYLES[label]
    moments, shares = data_profile(costs_of_cases)
    moments, shares = np.append(moments, longest), np.append(shares, shares[-1] if shares.size else 0.0)
    keep = moments <= longest
    width = width or (2.8 if label == OURS else 1.6)
    axis.step(
        moments[keep],
        100.0 * shares[keep],
        where="post",
        label=label,
        color=colour,
        linestyle=line,
        linewidth=width,
        zorder=3 if label.startswith(OURS) else 2,
    )


def _finish(figure, axes):
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.set_ylim(0, 101)
    for row in axes:
        row[0].set_ylabel("% solved")
    entries = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, fontsize=10, frameon=False)
