"""The command line of the benchmark."""

import argparse
import pathlib
import sys

from nadam_numba.bench import cases, figures, report, study, threads, timing, verify
from nadam_numba.progress import bar_over


def add_arguments(parser):
    """Tell an argparse parser the options of the benchmark."""
    parser.add_argument("--quick", action="store_true", help="small cases, in seconds")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(cases.GROUPS),
        default=list(cases.GROUPS),
        metavar="GROUP",
        help=f"of {', '.join(cases.GROUPS)}",
    )
    parser.add_argument("--largest", type=_positive, metavar="N", help="leave out cases of more elements")
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="for every package (default: as many as Numba takes)"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=study.PEERS,
        metavar="PEER",
        help=f"of {', '.join(study.PEERS)} (default: those that are installed; none: ours and the floor alone)",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, metavar="FOLDER", help="write speed.json, speed.md and figures there"
    )


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number


def measure(options, parser):
    """Make the run that the options ask for.

    Returns
    -------
    dict
        The results, as of `study.run`; the program ends with an error if they cannot be had.
    """
    try:
        count = threads.check_threads(options.threads)
    except ValueError as error:
        parser.error(str(error))
    available, left_out = study.available_peers()
    if options.peers is not None:
        left_out = {peer: why for peer, why in left_out.items() if peer in options.peers}
        left_out |= {peer: "not asked for" for peer in available if peer not in options.peers}
        available = [peer for peer in available if peer in options.peers]
    for peer, why in left_out.items():
        print(f"{peer} is left out: {why}", file=sys.stderr)
    selected = cases.make_cases(options.only, options.quick, options.largest)
    effort = timing.QUICK if options.quick else timing.FULL
    try:
        return study.run(selected, available, left_out, count, effort, bar_over)
    except verify.Disagreement as error:
        parser.exit(1, f"nothing more is measured: {error}\n")


def write(results, json_path, markdown_path, figure_folder):
    """Write all that a run has given, and say where."""
    figure_folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    try:
        drawn = figures.draw(results, figure_folder)
    except ImportError as error:
        print(error, file=sys.stderr)
    links = [path.relative_to(markdown_path.parent).as_posix() for path in drawn]
    report.write_json(results, json_path)
    report.write_markdown(report.render(results, links), markdown_path)
    for path in (json_path, markdown_path, *drawn):
        print(path, file=sys.stderr)


def run(options, parser):
    """The whole command: measure, print, and write."""
    results = measure(options, parser)
    print(report.render(results))
    if options.output is not None:
        folder = options.output
        write(results, folder / "speed.json", folder / "speed.md", folder)
