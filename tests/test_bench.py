"""The benchmark of speed: how it takes turns, what it makes of samples, whom it checks, what it writes."""

import importlib.util
import json
import os
import sys

import numba
import numpy as np
import pytest
import scipy.optimize
from marks import needs_compiler

from nadam_numba import NAdam
from nadam_numba.bench import (
    c_loop,
    cases,
    command,
    copy_kernel,
    figures,
    memory,
    report,
    solves,
    steps,
    study,
    threads,
    timing,
    verify,
)
from nadam_numba.bench.cases import Case, make_cases
from nadam_numba.bench.contender import FACTORS, OURS, WITHOUT_OPTION, Contender, Inputs, scaler
from nadam_numba.progress import bar_over

SMALL = {
    "sizes": Case("sizes", "10", "float64", 1, 10),
    "arrays": Case("arrays", "3 x 4", "float32", 3, 4),
    "options": Case("options", "moving average", "float32", 1, 10, {"use_ema": True}),
    "sparse": Case("sparse", "3 rows of 9", "float32", 9, 3),
    "minimize": Case("minimize", "to the minimum", "float64"),
}
needs_c_compiler = pytest.mark.skipif(c_loop.compiler() is None, reason="there is no C compiler")


class Machine:
    """A clock that moves when somebody works or sleeps."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.log.append("sleep")
        self.now += seconds

    def run(self, name, seconds):
        """What takes so many seconds for each step; `seconds` may be a list, from which each sample takes one."""

        def run(calls):
            self.log.append((name, calls))
            each = seconds.pop(0) if isinstance(seconds, list) else seconds
            self.now += calls * each

        return run


@pytest.fixture
def settings():
    """Put back what a run settles for the whole process."""
    count, environment = numba.get_num_threads(), dict(os.environ)
    yield
    numba.set_num_threads(count)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def results(settings, monkeypatch):
    """Of a run of small cases without peers."""
    # Compiling our loops would take ten seconds, and how they are run is not theirs to say.
    monkeypatch.setattr(solves, "njit", lambda function: function)
    monkeypatch.setattr(solves, "minimize", scipy.optimize.minimize)
    effort = timing.Effort(0.0, 0.0, 2, 2, 0.0)
    return study.run(list(SMALL.values()), [], {"torch": "torch not installed"}, 1, effort)


def test_contenders_take_turns():
    machine = Machine()
    runs = [machine.run("A", 2.0), machine.run("B", 3.0)]
    samples = timing.interleave(runs, [5, 1], 2, 0.25, machine.clock, machine.sleep)
    turn = ["sleep", ("A", 1), ("A", 5), "sleep", ("B", 1), ("B", 1)]
    assert machine.log == turn * 2
    assert samples == [[2.0, 2.0], [3.0, 3.0]]


def test_step_before_a_sample_is_not_timed():
    machine = Machine()
    run = machine.run("A", [100.0, 1.0, 50.0, 2.0])
    assert timing.interleave([run], [4], 2, clock=machine.clock, sleep=machine.sleep) == [[1.0, 2.0]]
    assert "sleep" not in machine.log


def test_summary_of_samples():
    ours, theirs = [1.0, 10.0, 2.0], [3.0, 20.0, 8.0]
    first, second = timing.summarise([ours, theirs], 0)
    assert first == {"median": 2.0, "minimum": 1.0, "ratio": 1.0, "spread": [1.0, 1.0], "rounds": 3}
    # Of the ratios 3, 2 and 4, which are of samples that were taken together; the ratio of the medians is 4.
    assert second == {"median": 8.0, "minimum": 3.0, "ratio": 3.0, "spread": [2.5, 3.5], "rounds": 3}


def test_summary_of_a_single_round():
    assert timing.summarise([[2.0], [3.0]], 0)[1]["spread"] == [1.5, 1.5]


@pytest.mark.parametrize(("seconds", "multiple", "least"), [(1.0, 1, 1), (0.1, 1, 8), (0.01, 4, 64), (2e-5, 1, 40000)])
def test_samples_are_long_enough(seconds, multiple, least):
    machine = Machine()
    calls, taken = timing.calls_per_sample(machine.run("A", seconds), 0.8, multiple, machine.clock)
    assert least <= calls <= 12 * least
    assert calls % multiple == 0
    assert taken == pytest.approx(calls * seconds)
    assert taken >= 0.8


def test_samples_of_a_coarse_clock():
    machine = Machine()
    calls, _ = timing.calls_per_sample(machine.run("A", 1e-3), 2.0, 1, lambda: float(int(machine.now)))
    assert calls >= 2000


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 9), (0.1, 9), (2.0, 5), (100.0, 3)])
def test_rounds_fit_into_the_time(seconds, rounds):
    assert timing.rounds_for(seconds, timing.Effort(0.0, 10.0, 3, 9, 0.0)) == rounds


def stepped(wrong=None, **options):
    """A contender that is our optimizer, with other options than expected if they are given."""
    parameters, gradients = cases.make_arrays(SMALL["arrays"])
    arrays = [array.copy() for array in parameters]
    optimizer = NAdam(arrays, **{"learning_rate": 1e-3, **options})

    def expected():
        others = [array.copy() for array in parameters]
        ours = NAdam(others, 1e-3)
        for factor in FACTORS:
            ours.step([np.float32(factor) * gradient for gradient in gradients])
        return others

    def step():
        optimizer.step(gradients)
        if wrong is not None:
            wrong(arrays[1])

    return Contender("someone", step, lambda: arrays, expected, scaler(gradients))


def test_equal_results_pass():
    verify.check(stepped())


@pytest.mark.parametrize(
    "options",
    [
        {"nesterov": False},
        {"momentum_decay": 1.0},
        {"momentum_decay": np.inf},
        {"beta_1": 0.91},
        {"beta_2": 0.99},
        {"learning_rate": 1.1e-3},
        {"learning_rate": 0.0},
        {"maximize": True},
        {"weight_decay": 0.1},
        {"clipvalue": 0.5},
    ],
)
def test_other_rules_are_found_out(options):
    with pytest.raises(verify.Disagreement, match="someone: after 4 steps its array 0 deviates"):
        verify.check(stepped(**options))


def test_gradients_are_as_before_after_a_check():
    gradients = cases.make_arrays(SMALL["arrays"])[1]
    scale = scaler(gradients)
    before = [gradient.copy() for gradient in gradients]
    for factor in (*FACTORS, 1.0):
        scale(factor)
        np.testing.assert_array_equal(gradients, [np.float32(factor) * gradient for gradient in before])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_wrong_elements_are_found_out(value):
    def spoil(array):
        array[2] = value

    with pytest.raises(verify.Disagreement, match="array 1"):
        verify.check(stepped(spoil))


def test_parameters_that_stay_are_no_agreement():
    resting = stepped()
    start = [array.copy() for array in resting.result()]
    with pytest.raises(verify.Disagreement):
        verify.check(Contender("idle", lambda: None, lambda: start, lambda: start))


def test_wrong_contender_ends_the_run(monkeypatch, settings, capsys):
    def wrong(case, inputs, count):
        return Contender("wrong", lambda: None, lambda: inputs.parameters, lambda: inputs.expected(1.0))

    monkeypatch.setattr(steps, "PEERS", (("cc", wrong),))
    monkeypatch.setattr(study, "available_peers", lambda: (["cc"], {}))
    monkeypatch.setattr(timing, "interleave", lambda *arguments: pytest.fail("it was timed"))
    with pytest.raises(verify.Disagreement, match="wrong"):
        study.run([SMALL["sizes"]], ["cc"], {}, 1, timing.QUICK)


def test_copy_kernel_reads_four_arrays_and_writes_three():
    arrays = [np.arange(5.0), np.full(5, 10.0), np.full(5, 20.0), np.full(5, 0.5)]
    before = [array.copy() for array in arrays]
    copy_kernel.move_serial(*arrays[:3], None, arrays[3])
    # What is written depends on what was there, and once on the gradient: all four are read.
    for old, new, change in zip(before[:3], arrays[:3], (before[3], 1.0, 1.0), strict=True):
        np.testing.assert_array_equal(new, old + change)
    np.testing.assert_array_equal(arrays[3], before[3])


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 3), ({"clipvalue": 1.0}, 3), ({"weight_decay": 0.1}, 3), ({"amsgrad": True}, 4), ({"use_ema": True}, 4)],
)
def test_copy_kernel_has_the_traffic_of_the_options(options, count):
    case = SMALL["arrays"]._replace(options=options)
    contender = copy_kernel.make(case)
    before = [array.copy() for array in contender.result()]
    assert [(array.size, array.dtype) for array in before] == [(12, np.float32)] * count
    contender.step()
    assert all((new != old).all() for new, old in zip(contender.result(), before, strict=True))


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 7), ({"clipvalue": 1.0}, 7), ({"amsgrad": True, "use_ema": True}, 11), ({"global_clipnorm": 1.0}, 8)],
)
def test_bytes_are_those_of_the_arrays(options, count):
    for itemsize, dtype in ((4, "float32"), (8, "float64")):
        assert SMALL["arrays"]._replace(options=options, dtype=dtype).bytes_per_element == count * itemsize


def test_moments_in_bfloat16_have_two_bytes():
    case = SMALL["arrays"]._replace(options={"state_dtype": "bfloat16"})
    assert (case.bytes_per_element, case._replace(dtype="float64").bytes_per_element) == (20, 32)
    assert case._replace(options=case.options | {"amsgrad": True}).bytes_per_element == 24


def test_bytes_are_not_told_where_steps_differ():
    assert SMALL["sizes"]._replace(options={"gradient_accumulation_steps": 4}).bytes_per_element is None
    assert SMALL["sparse"].bytes_per_element is SMALL["minimize"].bytes_per_element is None


def test_copy_kernel_moves_moments_in_bfloat16():
    contender = copy_kernel.make(SMALL["arrays"]._replace(options={"state_dtype": "bfloat16"}))
    contender.step()
    parameter, *moments = contender.result()
    assert parameter.dtype == np.float32
    for moment in moments:
        np.testing.assert_array_equal(moment, np.ones(12, np.uint16), strict=True)


@pytest.mark.parametrize("option", [{"global_clipnorm": 1.0}, {"gradient_accumulation_steps": 4}])
def test_copy_kernel_sits_out_where_traffic_differs(option):
    assert copy_kernel.make(SMALL["arrays"]._replace(options=option)) is None
    names = [contender.name for contender in steps.contenders(SMALL["arrays"]._replace(options=option), [], 1)]
    assert names == [OURS, WITHOUT_OPTION]


@needs_c_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3])
def test_c_loop_is_nadam(dtype, count):
    case = SMALL["arrays"]._replace(dtype=dtype, size=100)
    found = [contender for contender in steps.contenders(case, ["cc"], count) if contender.name == "C loop"]
    verify.check(found[0])


@needs_c_compiler
@pytest.mark.parametrize("size", [65_536, 65_539])
def test_c_loop_is_the_same_in_threads(size):
    case = Case("sizes", "long", "float32", 1, size)
    parameters, gradients = cases.make_arrays(case)
    inputs = Inputs(parameters, gradients, scaler(gradients), lambda momentum_decay: None)
    single, several = (c_loop.make(case, inputs, count) for count in (1, 3))
    for contender in (single, several):
        contender.step()
    assert (single.result()[0] == several.result()[0]).all()
    assert (single.result()[0] != parameters[0]).all()


def test_c_loop_has_no_options():
    assert c_loop.make(SMALL["options"], None, 1) is None


@needs_c_compiler
def test_failing_compiler_is_told(monkeypatch):
    monkeypatch.setattr(c_loop, "FLAGS", ("-no-such-flag",))
    with pytest.raises(OSError, match="the C compiler failed"):
        c_loop.library("float32", 17)


def test_missing_peers_are_left_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "jax") else object())
    monkeypatch.setattr(c_loop, "compiler", lambda: None)
    available, left_out = study.available_peers()
    assert available == []
    assert left_out == {
        "cc": "no C compiler",
        "torch": "torch not installed",
        "optax": "jax not installed",
        "keras": "jax not installed",
    }


def test_installed_peers_take_part(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(c_loop, "compiler", lambda: "cc")
    assert study.available_peers() == (["cc", "torch", "optax", "keras"], {})


def test_cases_of_groups():
    everything = make_cases(list(cases.GROUPS))
    assert {case.group for case in everything} == set(cases.GROUPS)
    assert [case.elements for case in make_cases(["sizes"])] == 2 * [10**exponent for exponent in range(1, 9)]
    assert {case.name for case in make_cases(["arrays"])} == {"100 x 10,000", "2,000 x 1,000", "2,000 x 10"}
    assert max(case.elements for case in make_cases(list(cases.GROUPS), quick=True)) <= 100_000
    assert max(case.elements for case in make_cases(["sizes", "sparse"], largest=10**6)) == 10**6
    assert make_cases([]) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_lie_at_cache_lines_and_apart_in_their_pages(dtype):
    values = np.arange(10_000, dtype=dtype)
    copies = [memory.aligned_copy(values, place) for place in range(4)]
    assert [copy.ctypes.data % 4096 for copy in copies] == [0, 1024, 2048, 3072]
    assert all(copy.dtype == dtype and (copy == values).all() and copy.flags.writeable for copy in copies)
    assert all(memory.aligned_copy(values[:10], place).ctypes.data % 64 == 0 for place in range(4))


def test_cases_beyond_memory_are_left_out(monkeypatch, settings):
    monkeypatch.setattr(memory, "memory_available", lambda: 100_000)
    effort = timing.Effort(0.0, 0.0, 1, 1, 0.0)
    results = study.run([SMALL["sizes"], SMALL["sizes"]._replace(name="1,000", size=1000)], [], {}, 1, effort)
    assert [case["name"] for case in results["cases"]] == ["10"]
    assert results["left_out"] == {"memory": ["sizes: 1,000, float64"]}
    assert "Left out, memory: sizes: 1,000, float64." in report.render(results)


def test_available_memory_is_told():
    assert memory.memory_available() is None or memory.memory_available() > 2**20


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_threads_must_be_there(count):
    with pytest.raises(ValueError, match=f"threads={count}: must be from 1 to"):
        threads.check_threads(count)


def test_threads_are_those_of_numba_by_default():
    assert threads.check_threads(None) == numba.config.NUMBA_NUM_THREADS
    assert threads.check_threads(1) == 1


def test_all_packages_are_told_their_threads(settings, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_user")
    seen = []
    told = threads.settle(1, [lambda count: seen.append((count, os.environ["OMP_NUM_THREADS"]))])
    assert seen == [(1, "1")]
    assert numba.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == os.environ["NPROC"] == "1"
    # XLA takes a first word without dashes for a file.
    assert os.environ["XLA_FLAGS"].startswith("--xla_of_the_user --xla_cpu_multi_thread_eigen=false intra_op")
    assert set(told) == {"numba", "torch", "XLA", "C"}


def test_results_state_their_conditions(results):
    assert [case["group"] for case in results["cases"]] == list(SMALL)
    assert set(results["versions"]) >= {"Python", "nadam_numba", "numba", "numpy", "scipy"}
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["CPU"]
    assert results["threads"]["count"] == 1
    assert results["left_out"] == {"torch": "torch not installed"}
    for case in results["cases"]:
        ours = case["contenders"][0]
        assert ours["name"].startswith(OURS)
        assert ours["ratio"] == 1.0
        for contender in case["contenders"]:
            assert 0.0 < contender["minimum"] <= contender["median"]
            assert contender["rounds"] == 2


def test_peers_that_are_missing_have_no_rows(results):
    names = {contender["name"] for case in results["cases"] for contender in case["contenders"]}
    assert {name for name in names if not name.startswith((OURS, "SciPy"))} == {"copy kernel"}


def test_fixed_rate_is_that_of_the_class(monkeypatch):
    monkeypatch.setattr(solves, "_COMPILED_ITERATIONS", 60)
    monkeypatch.setattr(solves, "_PYTHON_ITERATIONS", 40)
    found = list(solves.contenders(SMALL["minimize"]._replace(name="fixed rate"), [], 1))
    assert [contender.iterations for contender in found] == [60, 60, 40]
    for contender in found:
        verify.check(contender)


def test_accumulation_is_timed_in_whole_updates():
    case = SMALL["arrays"]._replace(options={"gradient_accumulation_steps": 4})
    effort = timing.Effort(0.0, 0.0, 1, 1, 0.0)
    assert study.measure(case, [], 1, effort)["contenders"][0]["calls"] % 4 == 0


def test_json_has_a_line_for_each_case(results, tmp_path):
    path = tmp_path / "new" / "speed.json"
    report.write_json(results, path)
    assert json.loads(path.read_text(encoding="utf-8")) == results
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum('"group"' in line for line in lines) == len(SMALL)


def test_markdown_has_a_table_for_each_group(results):
    text = report.render(results, ["speed/sizes.svg"])
    for title in cases.GROUPS.values():
        assert f"## {title}" in text
    assert f"![{cases.GROUPS['sizes']}](speed/sizes.svg)" in text
    assert "options.svg" not in text
    assert "Threads: 1 for each" in text
    assert "Left out, torch: torch not installed." in text
    assert "| 10, float64 | " in text
    iterations = results["cases"][-1]["contenders"][0]["iterations"]
    assert iterations > 1
    assert f" x {iterations} |" in text


def test_contenders_that_sit_a_case_out_have_an_empty_cell():
    with_floor = {"name": "a", "dtype": "float32", "contenders": [summary(OURS, 1.0), summary("copy kernel", 0.5)]}
    without = {"name": "b", "dtype": "float32", "contenders": [summary(OURS, 2.0)]}
    lines = report._tables([with_floor, without]).splitlines()
    assert lines[2] == "| a, float32 | 0.5 (0.5 to 0.5) |"
    assert lines[3] == "| b, float32 | - |"
    assert lines[-1] == "| b, float32 | 2 s (2 s) | - |"


def test_options_stand_beside_their_bytes():
    plain = {"name": "none, 9", "dtype": "float32", "bytes_per_element": 28, "contenders": [summary(OURS, 1.0)]}
    contenders = [summary(OURS, 1.0), summary(WITHOUT_OPTION, 0.5)]
    amsgrad = {**plain, "name": "amsgrad, 9", "bytes_per_element": 36, "contenders": contenders}
    (table,) = report._beside_bytes([plain, amsgrad])
    assert table.splitlines()[2:] == ["| amsgrad, 9, float32 | 36 | 1.29 | 2 (2 to 2) | 1.56 |"]
    assert report._beside_bytes([plain]) == []


def test_short_table_has_the_ratios(results):
    case = results["cases"][0]
    short = {**case, "dtype": "float32", "contenders": [summary(OURS, 2e-6), summary("optax", 5.0)]}
    lines = report.render_short({**results, "cases": [short, *results["cases"]]}).splitlines()
    assert lines[0] == "| theirs / ours | nadam_numba takes | optax |"
    assert lines[2] == "| 10 float32 | 2 µs | 5 |"
    assert lines[4].startswith(f"Measured on {results['date']} on ")
    assert lines[4].endswith("in one thread for each.")


def summary(name, median):
    times = {"median": median, "minimum": median, "ratio": median, "spread": [median, median], "rounds": 1}
    return {"name": name, "iterations": 1, "calls": 1, **times}


def test_markdown_replaces_what_is_between_the_markers(tmp_path):
    path = tmp_path / "speed.md"
    path.write_text(f"# Speed\n\n{report.BEGIN}\nold\n{report.END}\n\nThe end.\n", encoding="utf-8")
    report.write_markdown("new\n", path)
    once = path.read_text(encoding="utf-8")
    assert once == f"# Speed\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nThe end.\n"
    report.write_markdown("new\n", path)
    assert path.read_text(encoding="utf-8") == once


def test_markdown_file_is_made(tmp_path):
    report.write_markdown("new", tmp_path / "folder" / "speed.md")
    assert (tmp_path / "folder" / "speed.md").read_text(encoding="utf-8").splitlines()[2] == "new"


@pytest.mark.parametrize(
    ("number", "text"), [(2.5, "2.5 s"), (1e-3, "1 ms"), (1.234e-5, "12.3 µs"), (5e-8, "50 ns"), (2e-10, "0.2 ns")]
)
def test_durations_are_told_in_their_unit(number, text):
    assert report.seconds(number) == text


@pytest.mark.parametrize(("number", "text"), [(0.0123, "0.0123"), (1.0, "1"), (12.34, "12.3"), (1234.0, "1234")])
def test_ratios_have_three_digits(number, text):
    assert report.ratio(number) == text


def test_figures_are_drawn_for_each_group(results, tmp_path):
    pytest.importorskip("matplotlib")
    paths = figures.draw(results, tmp_path)
    assert [path.stem for path in paths] == list(SMALL)
    assert all("</svg>" in path.read_text(encoding="utf-8") for path in paths)


def test_missing_matplotlib_names_the_extra(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"nadam_numba\[plot\]"):
        figures.draw(results, tmp_path)
    command.write(results, tmp_path / "speed.json", tmp_path / "speed.md", tmp_path)
    assert "nadam_numba[plot]" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]


def test_bar_is_optional(monkeypatch):
    assert list(bar_over([1, 2])) == [1, 2]
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert list(bar_over([1, 2])) == [1, 2]


@needs_compiler
def test_copy_kernel_is_compiled_to_vectors():
    arrays = [np.ones(64) for _ in range(4)]
    copy_kernel.move_serial(*arrays[:3], None, arrays[3])
    assert "vaddp" in copy_kernel.move_serial.inspect_asm(copy_kernel.move_serial.signatures[0]) or not _has_avx()


def _has_avx():
    import llvmlite.binding

    return llvmlite.binding.get_host_cpu_features().get("avx", False)
