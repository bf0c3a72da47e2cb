"""Run the real packages and write what they give: ``python tests/reference/record.py PEER [PEER ...]``.

Each peer runs in a process of its own, because Keras takes its backend from the environment when it is imported. Runs
on Python 3.7 too, for TensorFlow 1.13. Needs nothing of nadam_numba.
"""

import argparse
import importlib
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "peers"))

import cases  # noqa: E402 - found on the path just set
import recorded  # noqa: E402

STEPS = 200
KEPT = [1, 2, 3, 10, 50, 100, 200]


def driver(peer):
    """The module that runs a peer."""
    if peer in cases.KERAS:
        os.environ["KERAS_BACKEND"] = peer.replace("keras_", "")
    name = "keras" if peer in cases.KERAS else "tf_legacy" if peer.startswith("tf_legacy") else peer
    return importlib.import_module("real_" + name)


def record(peer, folder, random_cases):
    """Write the file of one peer."""
    real = driver(peer)
    runs = []
    for case in cases.single_cases(peer) + [cases.random_case(peer, seed) for seed in range(random_cases)]:
        try:
            runs.append((case, real.run(case, *cases.data(case, STEPS))))
        except Exception:
            print("failed:", case)
            raise
    recorded.write(peer, real.versions(), runs, STEPS, KEPT, folder)
    size = os.path.getsize(os.path.join(folder, peer + ".npz"))
    print(f"{peer}: {len(runs)} cases, {size} bytes, {real.versions()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="+", choices=cases.PEERS, metavar="PEER", help=", ".join(cases.PEERS))
    parser.add_argument("--folder", default=HERE, help="where to write (default: beside this script)")
    parser.add_argument("--random", type=int, default=10, metavar="N", help="random combinations (default: 10)")
    arguments = parser.parse_args()
    if len(arguments.peers) == 1:
        record(arguments.peers[0], arguments.folder, arguments.random)
        return
    for peer in arguments.peers:
        options = [peer, "--folder", arguments.folder, "--random", str(arguments.random)]
        subprocess.run([sys.executable, os.path.abspath(__file__), *options], check=True)


if __name__ == "__main__":
    main()
