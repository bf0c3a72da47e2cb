"""The speed of steps and solves beside a C loop, torch, optax, Keras and SciPy, as docs/speed.md shows it.

    python benchmarks/speed.py            # writes benchmarks/results/speed.json, docs/speed.md, docs/speed/, README
    python benchmarks/speed.py --quick    # small cases, in seconds

The same as ``python -m nadam_numba bench``, which takes the same options; with ``--output FOLDER`` it writes there.
"""

import argparse
import pathlib

from nadam_numba.bench import command, report

ROOT = pathlib.Path(__file__).parents[1]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.output is not None:
        command.run(options, parser)
        return
    results = command.measure(options, parser)
    command.write(
        results, ROOT / "benchmarks" / "results" / "speed.json", ROOT / "docs" / "speed.md", ROOT / "docs" / "speed"
    )
    report.write_markdown(report.render_short(results), ROOT / "README.md")


if __name__ == "__main__":
    main()
