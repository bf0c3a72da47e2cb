"""The results as JSON and as Markdown."""

import json
import pathlib

from nadam_numba.bench.cases import GROUPS
from nadam_numba.bench.contender import OURS, WITHOUT_OPTION

BEGIN, END = "<!-- speed: begin, written by the benchmark -->", "<!-- speed: end -->"
# What README shows: group, name and dtype of cases, and what it calls them.
_SHORT = {
    ("sizes", "10", "float32"): "10 float32",
    ("sizes", "1,000", "float32"): "1,000 float32",
    ("sizes", "10,000,000", "float32"): "10 million float32",
    ("sizes", "10,000,000", "float64"): "10 million float64",
    ("arrays", "2,000 x 1,000", "float32"): "2,000 arrays of 1,000 float32",
    ("arrays", "2,000 x 10", "float32"): "2,000 arrays of 10 float32",
}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def write_json(results, path):
    """Write the results, a line for each case."""
    head = {key: value for key, value in results.items() if key != "cases"}
    lines = [json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ',\n "cases": [']
    lines.append(",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in results["cases"]))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, " ]\n}\n"]), encoding="utf-8")


def write_markdown(text, path):
    """Write `text` between the markers of a file; a file without them is made anew, with nothing but that."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = "", "\n"
    if path.exists():
        old = path.read_text(encoding="utf-8")
        if BEGIN in old and END in old.partition(BEGIN)[2]:
            before, after = old.partition(BEGIN)[0], old.partition(BEGIN)[2].partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}", encoding="utf-8")


def seconds(number):
    """A duration as one reads it."""
    factor, unit = next((pair for pair in _UNITS if number >= pair[0]), _UNITS[-1])
    return f"{number / factor:.3g} {unit}"


def ratio(number):
    """A ratio as one reads it."""
    return f"{number:.0f}" if number >= 100.0 else f"{number:.3g}"


def render(results, figures=()):
    """All tables, as Markdown.

    Parameters
    ----------
    results : dict
        As of `study.run`.
    figures : sequence of str
        Links to files that are named after the groups.
    """
    links = {pathlib.PurePosixPath(link).stem: link for link in figures}
    parts = [_conditions(results)]
    for group, title in GROUPS.items():
        cases = [case for case in results["cases"] if case["group"] == group]
        if cases:
            figure = [f"![{title}]({links[group]})"] if group in links else []
            parts += [f"## {title}", *figure, *_beside_bytes(cases), *map(_tables, _of_one_kind(cases))]
    return "\n\n".join(parts)


def render_short(results):
    """The ratios of some cases that tell most, as Markdown, with the conditions in one sentence."""
    names, rows = [], []
    for case in results["cases"]:
        title = _SHORT.get((case["group"], case["name"], case["dtype"]))
        if title is not None:
            found = {contender["name"]: contender for contender in case["contenders"]}
            rows.append((title, found))
            names += [name for name in found if name not in names and not name.startswith(OURS)]
    table = [["theirs / ours", f"{OURS} takes", *names], ["---", *["---:"] * (len(names) + 1)]]
    for title, found in rows:
        ratios = [ratio(found[name]["ratio"]) if name in found else "-" for name in names]
        table.append([title, seconds(next(iter(found.values()))["median"]), *ratios])
    machine, count = results["machine"], results["threads"]["count"]
    threads = "one thread" if count == 1 else f"{count} threads"
    return f"{_as_table(table)}\n\nMeasured on {results['date']} on {machine['CPU']}, in {threads} for each."


def _beside_bytes(cases):
    """A table of what options cost beside the bytes that they make a step move."""
    rows = []
    plain = {case["dtype"]: case["bytes_per_element"] for case in cases if case["name"].startswith("none")}
    for case in cases:
        without = next((one for one in case["contenders"] if one["name"] == WITHOUT_OPTION), None)
        moved = case["bytes_per_element"]
        if without is None or moved is None or case["dtype"] not in plain:
            continue
        explained = moved / plain[case["dtype"]]
        low, high = sorted(1.0 / bound for bound in without["spread"])
        cost = 1.0 / without["ratio"]
        cells = str(moved), ratio(explained), f"{ratio(cost)} ({ratio(low)} to {ratio(high)})", ratio(cost / explained)
        rows.append([f"{case['name']}, {case['dtype']}", *cells])
    if not rows:
        return []
    head = ["option", "bytes per element", "beside none", "time beside none", "time beside its bytes"]
    return [_as_table([head, ["---", *["---:"] * 4], *rows])]


def _of_one_kind(cases):
    """The cases apart whose first contenders differ: those have no columns in common."""
    kinds = {}
    for case in cases:
        kinds.setdefault(case["contenders"][0]["name"], []).append(case)
    return kinds.values()


def _conditions(results):
    machine, threads = results["machine"], results["threads"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    how = "; ".join(f"{name}: `{value}`" for name, value in threads["how"].items())
    load = "" if machine["load"] is None else f" (load before: {machine['load']:g})"
    lines = [
        f"Measured on {results['date']} on {machine['CPU']}, {machine['cores']} cores{load}, with {versions}.",
        f"Threads: {threads['count']} for each; {how}; Numba's layer is {threads['layer']}.",
        "Ratios are times divided by ours: more than 1 is slower than ours. Contenders take turns; the ratio is the "
        "median over the rounds, in brackets its quartiles. Times are medians, in brackets the minimum.",
    ]
    for name, reason in results["left_out"].items():
        told = ", ".join(reason) if isinstance(reason, list) else reason
        lines.append(f"Left out, {name}: {told}.")
    return "\n\n".join(lines)


def _tables(cases):
    names = list(dict.fromkeys(contender["name"] for case in cases for contender in case["contenders"]))
    return "\n\n".join(
        [_table("ratio to ours", names[1:], cases, _ratio_cell), _table("time", names, cases, _time_cell)]
    )


def _table(title, names, cases, cell):
    rows = [[title, *names], ["---", *["---:"] * len(names)]]
    for case in cases:
        found = {contender["name"]: contender for contender in case["contenders"]}
        cells = [cell(found[name]) if name in found else "-" for name in names]
        rows.append([f"{case['name']}, {case['dtype']}", *cells])
    return _as_table(rows)


def _as_table(rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ratio_cell(contender):
    low, high = contender["spread"]
    return f"{ratio(contender['ratio'])} ({ratio(low)} to {ratio(high)})"


def _time_cell(contender):
    cell = f"{seconds(contender['median'])} ({seconds(contender['minimum'])})"
    return cell if contender["iterations"] == 1 else f"{cell} x {contender['iterations']:,}"
