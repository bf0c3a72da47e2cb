"""The command line: what info tells, what bench writes, and what is an error."""

import json
import platform
import subprocess
import sys
import types

import numba
import pytest
from test_bench import settings  # noqa: F401

import nadam_numba
from nadam_numba import gpu, info, jit
from nadam_numba.__main__ import main
from nadam_numba.bench import study, verify

LINES = (
    *("Python", "nadam_numba", "numpy", "scipy", "numba", "system", "CPU", "cores", "threads", "threading layer"),
    *("compiled code", "cache folder", "CUDA"),
)


def test_info_prints_each_line():
    command = [sys.executable, "-m", "nadam_numba", "info"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    told = {name: line[16:] for name, line in zip(LINES, lines, strict=True) if line[:16].rstrip() == name}
    assert tuple(told) == LINES
    assert all(told.values())
    assert told["Python"] == platform.python_version()
    assert told["nadam_numba"] == nadam_numba.__version__
    assert told["numba"] == numba.__version__
    assert int(told["threads"]) == numba.config.NUMBA_NUM_THREADS


def test_info_tells_what_gpus_lack(monkeypatch):
    monkeypatch.setattr(gpu, "SIMULATES", False)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert "the package numba-cuda is not installed: pip install 'nadam_numba[cuda]'" in info.cuda()
    with pytest.raises(ImportError, match="numba-cuda"):
        gpu.require_compiler()
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: object())
    gpu.require_compiler()
    monkeypatch.setattr(gpu.cuda, "is_available", lambda: False)
    for error, told in [
        ("\nCUDA driver library cannot be found.", "there is no NVIDIA driver that can be used: CUDA driver library"),
        ("Call to cuInit results in CUDA_ERROR_NO_DEVICE", "the NVIDIA driver finds no GPU"),
        (None, "finds no NVVM, the compiler of the CUDA toolkit: pip install"),
    ]:
        monkeypatch.setattr(gpu.cuda, "cuda_error", lambda error=error: error)
        assert told in info.cuda()
        with pytest.raises(RuntimeError, match="needs a GPU that Numba can use"):
            gpu.require("this")
    monkeypatch.setattr(gpu, "SIMULATES", True)
    assert "simulated" in info.cuda()


@pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU, or its simulator")
def test_gpu_arrays_without_a_gpu():
    class Elsewhere:
        @property
        def __cuda_array_interface__(self):
            return {"shape": (2,), "typestr": "<f8", "data": (4096, False), "version": 3}

    with pytest.raises(RuntimeError, match="needs a GPU that Numba can use"):
        nadam_numba.NAdam(Elsewhere())


def test_info_tells_where_kernels_are_cached(monkeypatch):
    is_compiled = jit.is_compiled(jit.kernel(info.describe))
    # tests/conftest.py has all caches in one folder.
    assert ("nadam_numba_tests_" in (info.cache_folder() or "")) == is_compiled
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")
    assert info.cache_folder() is None
    assert info.describe()["cache folder"] == "none"


def test_info_tells_of_a_missing_layer(monkeypatch):
    def missing():
        raise ValueError("No threading layer could be loaded.")

    monkeypatch.setattr(info, "numba", types.SimpleNamespace(get_num_threads=missing))
    assert info.threading_layer() == "none: No threading layer could be loaded."


def test_info_does_without_linux(monkeypatch):
    monkeypatch.setattr(info.pathlib.Path, "read_text", lambda self: (_ for _ in ()).throw(OSError))
    monkeypatch.setattr(info.platform, "processor", lambda: "a processor")
    monkeypatch.setattr(info, "os", types.SimpleNamespace(cpu_count=lambda: 3))
    assert info.cpu_name() == "a processor"
    assert info.usable_cores() == 3
    assert info.load() is None


@pytest.mark.usefixtures("settings")
def test_bench_writes_three_files(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    main(["bench", "--quick", "--only", "arrays", "--threads", "1", "--peers", "--output", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.svg", "speed.json", "speed.md"]
    results = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [case["name"] for case in results["cases"]] == ["20 x 1,000"]
    assert results["threads"]["count"] == 1
    printed = capsys.readouterr()
    assert "## Many arrays" in printed.out
    assert "](arrays.svg)" in (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "arrays.svg" in printed.err


def test_bench_tells_who_is_left_out(monkeypatch, capsys):
    asked = {}

    def run(selected, available, left_out, *others):
        asked.update(groups={case.group for case in selected}, available=available, left_out=left_out)
        raise verify.Disagreement("enough")

    monkeypatch.setattr(study, "available_peers", lambda: (["cc", "torch"], {"keras": "keras not installed"}))
    monkeypatch.setattr(study, "run", run)
    for arguments, available, left_out in [
        ([], ["cc", "torch"], {"keras": "keras not installed"}),
        (["--peers", "torch", "keras"], ["torch"], {"keras": "keras not installed", "cc": "not asked for"}),
    ]:
        with pytest.raises(SystemExit):
            main(["bench", "--only", "sizes", "sparse", *arguments])
        assert asked == {"groups": {"sizes", "sparse"}, "available": available, "left_out": left_out}
        assert "keras is left out: keras not installed" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_bench_ends_with_an_error_if_somebody_is_wrong(monkeypatch, capsys):
    def disagree(*arguments):
        raise verify.Disagreement("someone: wrong")

    monkeypatch.setattr(study, "run", disagree)
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--peers"])
    assert end.value.code == 1
    assert "someone: wrong" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command"),
        (["run"], "invalid choice: 'run'"),
        (["info", "--quick"], "--quick"),
        (["bench", "--only", "everything"], "invalid choice: 'everything'"),
        (["bench", "--only"], "expected at least one argument"),
        (["bench", "--threads", "0"], "0: must be at least 1"),
        (["bench", "--threads", "two"], "two"),
        (["bench", "--threads", "99999"], "threads=99999: must be from 1 to"),
        (["bench", "--largest", "-5"], "-5: must be at least 1"),
        (["bench", "--peers", "numpy"], "invalid choice: 'numpy'"),
    ],
)
def test_bad_options_are_errors(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
