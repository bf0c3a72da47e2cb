"""The benchmark of speed beside the installed packages: all of them compute what ours does."""

import json
import subprocess
import sys

import pytest

for package in ("torch", "optax", "keras"):
    pytest.importorskip(package)


def test_all_peers_agree(tmp_path):
    # In a process of its own, as Keras has one backend in each.
    arguments = ["bench", "--quick", "--peers", "torch", "optax", "keras", "--threads", "1", "--output", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "nadam_numba", *arguments], check=True, timeout=300, capture_output=True)
    results = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    names = {contender["name"] for case in results["cases"] for contender in case["contenders"]}
    for package in ("torch NAdam, for-loop", "torch NAdam, foreach", "torch SparseAdam", "optax", "Keras", "SciPy"):
        assert any(name.startswith(package) for name in names)
