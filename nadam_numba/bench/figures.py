"""The results as figures, one for each group."""

from nadam_numba.bench.cases import GROUPS
from nadam_numba.bench.contender import OURS

# The colours of Okabe and Ito, which are told apart without red or green, with markers, which need no colour.
_STYLES = {
    "copy kernel": ("#999999", "x", ":"),
    "C loop": ("#000000", "v", "--"),
    "torch NAdam, for-loop": ("#E69F00", "s", "-"),
    "torch NAdam, foreach": ("#8C6D00", "D", "-"),
    "torch Adam, fused": ("#CC79A7", "^", "--"),
    "torch SparseAdam": ("#CC79A7", "^", "--"),
    "torch NAdam loop, Python objective": ("#E69F00", "s", "-"),
    "optax nadam, jitted": ("#0072B2", "P", "-"),
    "optax nadam, lax.while_loop": ("#0072B2", "P", "-"),
    "Keras Nadam on JAX, jitted": ("#009E73", "*", "-."),
    "SciPy L-BFGS-B, @njit objective": ("#0072B2", "P", "-"),
    "SciPy L-BFGS-B, Python objective": ("#56B4E9", "X", "-"),
}
_OUR_STYLES = (("#D55E00", "o", "-"), ("#A03000", "o", "--"), ("#E69070", "d", ":"))
_LONG_LABEL = 30
_SETTINGS = {"font.size": 11, "axes.grid": True, "grid.color": "#dddddd", "svg.hashsalt": "speed"}


def draw(results, folder):
    """Write an SVG for each group that was measured, and return the paths.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'nadam_numba[plot]'") from error
    paths = []
    with matplotlib.rc_context(_SETTINGS):
        for group in GROUPS:
            cases = [case for case in results["cases"] if case["group"] == group]
            if cases:
                figure = (_sizes if group == "sizes" else _ratios)(cases, GROUPS[group])
                paths.append(folder / f"{group}.svg")
                figure.savefig(paths[-1], metadata={"Date": None})
    return paths


def _style(name, cases):
    if name in _STYLES:
        return _STYLES[name]
    ours = [other for other in _names(cases) if other.startswith(OURS)]
    return _OUR_STYLES[ours.index(name) % len(_OUR_STYLES)]


def _names(cases):
    return list(dict.fromkeys(contender["name"] for case in cases for contender in case["contenders"]))


def _figure(width, height):
    """Made without pyplot, which keeps figures, and a backend, for the whole process."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _sizes(cases, title):
    """Time per element by size, a panel for each dtype."""
    dtypes = list(dict.fromkeys(case["dtype"] for case in cases))
    figure = _figure(5.5 * len(dtypes), 6)
    axes = figure.subplots(1, len(dtypes), sharey=True, squeeze=False)
    for axis, dtype in zip(axes[0], dtypes, strict=True):
        for name in _names(cases):
            points = [
                (case["elements"], 1e9 * contender["median"] / case["elements"])
                for case in cases
                for contender in case["contenders"]
                if case["dtype"] == dtype and contender["name"] == name
            ]
            colour, marker, line = _style(name, cases)
            width, order = (2.8, 3) if name == OURS else (1.4, 2)
            axis.plot(*zip(*points, strict=True), line, color=colour, marker=marker, label=name, lw=width, zorder=order)
        axis.set(title=dtype, xscale="log", yscale="log", xlabel="elements")
    axes[0, 0].set_ylabel("ns per element and step")
    return _finish(figure, axes[0], title)


def _ratios(cases, title):
    """Times divided by ours, with the quartiles of the rounds, a line for each case."""
    figure = _figure(9, 2.2 + 0.45 * len(cases))
    axis = figure.subplots()
    names = _names(cases)
    for place, name in enumerate(names):
        rows = [
            (row, contender)
            for row, case in enumerate(cases)
            for contender in case["contenders"]
            if contender["name"] == name
        ]
        # Beside each other, where they would hide each other.
        shift = 0.6 * (place / max(1, len(names) - 1) - 0.5)
        heights = [row + shift for row, _ in rows]
        colour, marker, _ = _style(name, cases)
        axis.hlines(heights, *zip(*(contender["spread"] for _, contender in rows), strict=True), color=colour)
        axis.plot([contender["ratio"] for _, contender in rows], heights, marker, color=colour, label=name)
    axis.set(xscale="log", xlabel="time divided by ours", ylim=(len(cases) - 0.5, -0.5))
    axis.set_yticks(range(len(cases)), [f"{case['name']}, {case['dtype']}" for case in cases])
    axis.axvline(1.0, color="#D55E00", lw=1)
    return _finish(figure, [axis], title)


def _finish(figure, axes, title):
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    columns = 3 if max(map(len, labels)) < _LONG_LABEL else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=10, frameon=False)
    return figure
