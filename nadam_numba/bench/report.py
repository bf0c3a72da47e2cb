"""The results as JSON and as Markdown."""

import json
import pathlib

from nadam_numba.bench.cases import GROUPS

BEGIN, END = "<!-- speed: begin, written by the benchmark -->", "<!-- speed: end -->"
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
            parts += [f"## {title}", *figure, *(_tables(part) for part in _of_one_kind(cases))]
    return "\n\n".join(parts)


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
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ratio_cell(contender):
    low, high = contender["spread"]
    return f"{ratio(contender['ratio'])} ({ratio(low)} to {ratio(high)})"


def _time_cell(contender):
    cell = f"{seconds(contender['median'])} ({seconds(contender['minimum'])})"
    return cell if contender["iterations"] == 1 else f"{cell} x {contender['iterations']:,}"
