"""``python -m nadam_numba info`` and ``python -m nadam_numba bench``."""

import argparse

from nadam_numba import info
from nadam_numba.bench import command


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m nadam_numba", description="NAdam compiled with Numba")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print versions, threads, caches and what else a report of a bug should say")
    bench = commands.add_parser("bench", help="measure speed beside the packages that are installed")
    command.add_arguments(bench)
    options = parser.parse_args(arguments)
    if options.command == "info":
        for name, value in info.describe().items():
            print(f"{name:16}{value}")
    else:
        command.run(options, bench)


if __name__ == "__main__":
    main()
