"""benchmarks/gpu.py: its checks and measurements run, here in the simulator; without a card it says so in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_arrays import SIMULATES, quick_simulator  # noqa: F401

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import gpu as benchmark
from nadam_numba import gpu

PATH = Path(benchmark.__file__)


def test_without_a_card_it_says_what_is_missing():
    if not SIMULATES and gpu.missing() is None:
        pytest.skip("there is a card")
    process = subprocess.run([sys.executable, PATH], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.startswith("nothing measured: ")


@pytest.mark.skipif(not SIMULATES, reason="needs the simulator: NUMBA_ENABLE_CUDASIM=1")
def test_its_parts_run(quick_simulator, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr(
        benchmark, "seconds_of", lambda contenders, *rest: {name: run() or 1.0 for name, run in contenders.items()}
    )
    assert benchmark.check(steps=2, sizes=(1, 6)) <= benchmark.ULP_PER_STEP
    overhead = benchmark.measure_overhead(rounds=1, has_torch=False, calls=2)
    assert overhead["launches"] == 1
    report = {
        "check": {"largest ulp per step": 0.5},
        "sanitizer": {"memcheck": "clean"},
        "bandwidth": benchmark.measure_bandwidth(8, 1, least=0.0),
        "torch": [{"what": "two", "seconds": {"ours": 1.0}, "ratios": {"ours": 1.0}, "failed": {"other": "why"}}],
        "overhead": overhead,
        "batch": benchmark.measure_batch(2, 1),
    }
    benchmark.print_table(json.loads(json.dumps(report)))
    printed = capsys.readouterr().out
    assert all(
        text in printed for text in ("float32", "clean", "not measured: why", "NAdam, Numba's array", "per second")
    )
