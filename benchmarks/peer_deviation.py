"""How far the faces in nadam_numba.compat are from the packages whose interfaces and numbers they have.

    python benchmarks/peer_deviation.py             # against the recorded trajectories; needs no other package
    python benchmarks/peer_deviation.py --live 50   # also runs the installed packages on so many random combinations

Prints a Markdown table. Parameters are float64, and a run has 200 steps; "excess" is the largest deviation of an
element as a multiple of the tolerance, 1e-15 + 1e-14 of its magnitude.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS / "peers"))

import cases  # noqa: E402
import ours  # noqa: E402
import recorded  # noqa: E402

NEEDED = {
    "torch": ["torch"],
    "keras_jax": ["keras", "jax"],
    "keras_tensorflow": ["keras", "tensorflow"],
    "keras_torch": ["keras", "torch"],
    "tf_legacy_nadam": ["tf_keras"],
    "tf_legacy_adam": ["tf_keras"],
    "optax": ["optax"],
}


def live_folder(peer, combinations, folder):
    """Where the peer's runs are: recorded anew if `combinations` are asked for and the peer is installed."""
    is_there = all(importlib.util.find_spec(name) for name in NEEDED.get(peer, ["no such package"]))
    if not combinations or not is_there:
        return recorded.FOLDER
    command = [sys.executable, str(TESTS / "reference" / "record.py"), peer, "--folder", folder]
    subprocess.run([*command, "--random", str(combinations)], check=True, stdout=subprocess.DEVNULL)
    return folder


def has_rates_we_can_compute(case):
    return not (ours.has_cosine_of_single_precision(case) or ours.has_power_of_single_precision(case))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--live", type=int, default=0, metavar="COMBINATIONS")
    combinations = parser.parse_args().live
    print("| peer | runs | equal in all bits | largest deviation | largest excess |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for peer in cases.PEERS:
            source = live_folder(peer, combinations, folder)
            runs = [run for run in recorded.records(peer, source).values() if has_rates_we_can_compute(run.case)]
            steps = recorded.metadata(peer, source)["steps"]
            deviations, excesses = zip(*(ours.deviation_from_record(run, steps) for run in runs), strict=True)
            equal = sum(deviation == 0.0 for deviation in deviations)
            versions = recorded.metadata(peer, source)["versions"]
            told = ", ".join(
                f"{name} {version}" for name, version in versions.items() if name not in ("python", "numpy")
            )
            print(
                f"| {peer} ({told}) | {len(runs)} | {equal} | {max(deviations):.1e} | {max(excesses):.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
