"""The compile policy, tried in processes of their own: caches that cannot be written, forks, threads, stale entries."""

import gc
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import weakref
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import is_jitted

import nadam_numba
from nadam_numba import NAdam, jit, minimize, minimize_batch

PACKAGE = pathlib.Path(nadam_numba.__file__).parent
needs_compiler = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")

STEP = """
    import numpy as np
    from nadam_numba import NAdam, jit

    def step(size=max(jit.PARALLEL_CROSSOVER.values())):
        p = np.ones(size)
        NAdam(p, learning_rate=0.5).step(p.copy())
        return p[0], p[-1]
"""

START_THREADS = """
    import numba, numpy as np

    @numba.njit(parallel=True)
    def double(x):
        for i in numba.prange(x.size):
            x[i] *= 2.0

    double(np.ones(10))
"""


def run_python(code, cwd=None, **environment):
    """The standard output of a new interpreter; fails with its error output if it does."""
    process = subprocess.run(
        # Python 3.12 warns of every fork of a process that has threads: the forks here are on purpose.
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@needs_compiler
@pytest.mark.parametrize(
    "environment",
    [
        {"NADAM_NUMBA_CACHE": "0"},
        {"NUMBA_CACHE_DIR": "/dev/null/no_folder", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"},
    ],
    ids=["switched off", "no writable folder"],
)
def test_works_without_a_cache(environment):
    code = STEP + "    print(step(10), jit.kernel(lambda x: x)._cache.cache_path)"
    assert run_python(code, **environment).split(") ")[1].strip() == "None"


@needs_compiler
def test_the_import_writes_nothing(tmp_path):
    run_python("import nadam_numba, nadam_numba.compat.torch", NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_second_process_loads_the_cache(tmp_path):
    code = (
        STEP
        + """
    from nadam_numba import table_kernels
    step(10), step()
    print(sum(sum(kernel.stats.cache_misses.values()) for kernel in table_kernels.step))
    """
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    assert [run_python(code, **environment).strip() for _ in range(2)] == ["2", "0"]


@needs_compiler
def test_address_drivers_are_cached(tmp_path):
    code = """
    import numba
    from numba import njit, types
    from nadam_numba import jit

    def twice(function, x):
        return _call(function, x) + _call(function, x)

    function_type = types.FunctionType(types.float64(types.float64))
    function_at = jit.function_at(function_type)
    call = njit(lambda address, x: function_at(address)(x))
    driver = jit.address_driver(twice, (types.int64, types.float64), _call=call)
    double = njit(lambda x: 2.0 * x)
    print(driver(jit.address_of(double, function_type), 3.0), sum(driver.stats.cache_hits.values()))
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(code))
    found = [run_python("import script", cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).split() for _ in range(2)]
    assert found == [["12.0", "0"], ["12.0", "1"]]


def durations_of(choice, seconds_with, seconds_without, steps):
    """The ways that a choice takes where the durations are as given, by functions of the number of the call."""
    ways = []
    for step in range(steps):
        way = choice.pick()
        choice.tell(way, (seconds_with if way else seconds_without)(step))
        ways.append(way)
    return ways


@pytest.mark.parametrize("quicker", [True, False])
def test_the_quicker_way_is_found_and_kept(quicker):
    durations = {quicker: lambda step: 1e-3, not quicker: lambda step: 8e-3}
    ways = durations_of(jit.ThreadChoice(), durations[True], durations[False], 5000)
    # The slower way is tried again, for about a hundredth of the time.
    trials = [step for step, way in enumerate(ways) if way is not quicker and step >= 10]
    assert 5 <= len(trials) <= 7


def test_a_hiccup_changes_nothing_and_a_busy_machine_does():
    choice = jit.ThreadChoice()
    ways = durations_of(choice, lambda step: 1.0 if step == 50 else 1e-3, lambda step: 2e-3, 150)
    assert ways[10:].count(False) == 0
    ways = durations_of(choice, lambda step: 8e-3 if step < 1000 else 1e-3, lambda step: 2e-3, 2000)
    assert ways[:3] == [True] * 3
    assert ways[3:300].count(False) >= 295
    assert ways[-500:].count(True) >= 495


@needs_compiler
def test_an_address_is_that_of_the_present_code():
    factor = 2.0
    function = numba.njit(lambda x: factor * x)
    function_type = types.FunctionType(types.float64(types.float64))
    function_at = jit.function_at(function_type)
    call = numba.njit(lambda address, x: function_at(address)(x))
    first = jit.address_of(function, function_type)
    assert jit.address_of(function, function_type) == first
    assert call(first, 3.0) == 6.0
    factor = 4.0
    function.recompile()
    assert call(jit.address_of(function, function_type), 3.0) == 12.0


@needs_compiler
@pytest.mark.parametrize(
    "function", [lambda x: 1, lambda x: x[0], lambda x, y: x], ids=["returns another type", "fails", "takes another"]
)
def test_what_is_of_another_type_has_no_address(function):
    assert jit.address_of(numba.njit(function), types.FunctionType(types.float64(types.float64))) is None


@needs_compiler
def test_to_ask_for_an_address_keeps_no_function_alive():
    function = numba.njit(lambda x: x)
    assert jit.address_of(function, types.FunctionType(types.float64(types.float64))) is not None
    alive = weakref.ref(function)
    del function
    gc.collect()
    assert alive() is None


@needs_compiler
def test_a_cache_folder_that_vanishes_or_fills_is_not_an_error(tmp_path):
    code = (
        STEP
        + f"""
    import pathlib, shutil
    from nadam_numba import cpu
    assert cpu.update_serial._cache.cache_path.startswith({str(tmp_path)!r})  # from here on it is settled
    shutil.rmtree({str(tmp_path / "cache")!r})
    pathlib.Path({str(tmp_path / "cache")!r}).touch()  # a file where the folder should be: every write fails
    print(step(10))
    """
    )
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).startswith("(")


@needs_compiler
def test_an_edited_rule_is_not_answered_from_the_old_cache(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "nadam_numba", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; sys.path.insert(0, '.')\n" + textwrap.dedent(STEP) + "print(step(10)[0])"
    before = float(run_python(code, cwd=tmp_path))
    rule = tmp_path / "nadam_numba" / "rule.py"
    rule.write_text(
        rule.read_text().replace("parameter - scalars.gradient_weight", "parameter + scalars.gradient_weight")
    )
    assert float(run_python(code, cwd=tmp_path)) > before


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_child_steps_after_its_parent_used_threads():
    code = (
        STEP
        + """
    import os
    expected = step()
    child = os.fork()
    if child == 0:
        os._exit(0 if step() == expected else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    )
    assert run_python(code, NUMBA_NUM_THREADS="2").strip() == "0"


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_worker_that_imports_the_package_itself_is_serial_if_its_parent_used_threads():
    code = (
        START_THREADS
        + """
    import multiprocessing

    def work(size):
        from nadam_numba import NAdam, jit
        p = np.ones(size)
        NAdam(p, learning_rate=0.5).step(p.copy())
        return jit.use_threads(size), p[0]

    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply_async(work, (2**20,)).get(60))
    """
    )
    assert run_python(code, NUMBA_NUM_THREADS="2").startswith("(False, ")


@needs_compiler
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the platform does not tell what was forked")
@pytest.mark.parametrize(
    "before_import", ["pass", "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()"]
)
def test_a_raw_fork_that_imports_the_package_itself_is_serial_if_its_parent_used_threads(before_import):
    code = (
        START_THREADS
        + """
    import os, threading, time
    child = os.fork()
    if child == 0:
        exec(BEFORE_IMPORT)
        from nadam_numba import NAdam, jit
        p = np.ones(2**20)
        NAdam(p, learning_rate=0.5).step(p.copy())
        os._exit(1 if jit.use_threads(2**20) else 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    )
    code = f"BEFORE_IMPORT = {before_import!r}\n" + textwrap.dedent(code)
    assert run_python(code, NUMBA_NUM_THREADS="2").strip() == "0"


@needs_compiler
def test_threads_the_same_process_started_before_the_import_are_used():
    code = (
        START_THREADS
        + """
    from nadam_numba import jit
    print(jit.use_threads(2**20))
    """
    )
    assert run_python(code, NUMBA_NUM_THREADS="2").strip() == "True"


@needs_compiler
def test_without_sources_kernels_are_compiled_but_not_cached():
    frozen = SimpleNamespace(__spec__=SimpleNamespace(loader=None, origin="frozen"))
    kernel = jit.kernel(lambda x: x + 1.0, frozen)
    assert kernel(2.0) == 3.0
    assert kernel._cache.cache_path is None


CACHED_KERNEL = """
    from nadam_numba import jit

    kernel = jit.kernel(lambda x: 2.0 * x)
    print(kernel(3.0), sum(kernel.stats.cache_misses.values()))
"""


@needs_compiler
@pytest.mark.parametrize("damage", [b"", b"not a pickle"], ids=["empty", "garbled"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_mended(tmp_path, suffix, damage):
    (tmp_path / "script.py").write_text(textwrap.dedent(CACHED_KERNEL))
    found = []
    for is_damaged in (False, True, False):
        if is_damaged:
            (path,) = tmp_path.rglob(f"*.{suffix}")
            path.write_bytes(damage)
        found.append(run_python("import script", cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).split())
    assert found == [["6.0", "1"], ["6.0", "1"], ["6.0", "0"]]


@needs_compiler
@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_four_python_threads_step_at_once(layer):
    code = (
        STEP
        + """
    from concurrent.futures import ThreadPoolExecutor
    expected = step()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(step) for _ in range(40)]
        here = [step() for _ in range(20)]
    print({future.result() for future in futures} | set(here) == {expected})
    """
    )
    output = run_python(code, NUMBA_NUM_THREADS="2", NUMBA_THREADING_LAYER=layer)
    assert output.strip() == "True"


def test_a_threading_layer_that_is_not_installed_means_one_thread():
    code = (
        STEP
        + """
    import numba

    def not_installed():
        raise ValueError("No threading layer could be loaded.")

    numba.get_num_threads = not_installed
    print(jit.use_threads(10**9), step(10)[0] < 1.0)
    """
    )
    assert run_python(code).split() == ["False", "True"]


def dispatchers_in(thing, depth=2):
    """Compiled functions among the values of a module, and in its lists, tuples and dicts."""
    if is_jitted(thing):
        yield thing
    elif depth and isinstance(thing, (dict, list, tuple)):
        for value in thing.values() if isinstance(thing, dict) else thing:
            yield from dispatchers_in(value, depth - 1)


def holds_an_array(kind):
    return isinstance(kind, types.Array) or (isinstance(kind, types.BaseTuple) and any(map(holds_an_array, kind)))


@needs_compiler
def test_what_returns_arrays_counts_references():
    """Without counting, an array that is returned would have one reference too few, and its memory be freed in use."""
    fun = numba.njit(lambda x: (x[0] ** 2, 2.0 * x))
    for options in ({}, {"learning_rate": 0.1, "maxiter": 3}):
        minimize(fun, [1.0], jac=True, bounds=[(0.5, 2.0)], options=options)
        minimize(numba.njit(lambda x: x[0] ** 2), [1.0], jac="3-point", options=options)
        minimize_batch(fun, [[1.0], [2.0]], jac=True, bounds=[(0.5, 2.0)], options=options)
    for options in ({}, {"global_clipnorm": 1.0, "amsgrad": True}, {"state_dtype": "bfloat16"}):
        NAdam([np.ones(3)], **options).step([np.ones(3)])
    modules = [module for name, module in sys.modules.items() if name.startswith("nadam_numba.")]
    seen = {id(each): each for module in modules for each in dispatchers_in(vars(module), 3)}.values()
    without = [each for each in seen if each.targetoptions.get("_nrt") is False]
    signatures = [(each, overload.signature) for each in without for overload in each.overloads.values()]
    assert len(signatures) > 20
    assert [(each, signature) for each, signature in signatures if holds_an_array(signature.return_type)] == []
