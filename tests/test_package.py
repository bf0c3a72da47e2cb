"""The package as a whole: what importing it pulls in, that it says what it exports, and that its examples run."""

import doctest
import importlib
import pathlib
import pkgutil
import subprocess
import sys

import numba
import pytest

import nadam_numba

MODULES = ["nadam_numba"] + [module.name for module in pkgutil.walk_packages(nadam_numba.__path__, "nadam_numba.")]


# Modules that are imported only together with another package.
NEEDED = {
    "nadam_numba.compat._torch_tensors": ["torch"],
    "nadam_numba.compat._torch_cpus": ["torch"],
    "nadam_numba.compat._torch_gpus": ["torch", "numba_cuda"],
    "nadam_numba.compat._torch_prepared": ["torch"],
    "nadam_numba.batch.on_gpu": ["numba_cuda"],
    **{name: ["numba_cuda"] for name in MODULES if name.startswith("nadam_numba.gpu_arrays.")},
}

# Modules with examples of what there is in compiled form alone.
NEED_THE_COMPILER = {"nadam_numba.embed"}


def test_import_is_light():
    code = """
import sys
import nadam_numba, nadam_numba.embed, nadam_numba.datasets, nadam_numba.compat.torch
heavy = ["numba.cuda", "matplotlib", "dask", "mpi4py", "torch", "jax", "tqdm", "scipy.optimize"]
print([name for name in heavy if name in sys.modules])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert process.stdout.strip() == "[]"


def test_public_names():
    assert nadam_numba.__all__ == [
        "NAdam",
        "best_of",
        "load_checkpoint",
        "minimize",
        "minimize_batch",
        "nadam",
        "schedules",
        "warmup",
    ]
    for name in nadam_numba.__all__:
        assert getattr(nadam_numba, name).__doc__


def test_typing_marker_is_installed():
    assert (pathlib.Path(nadam_numba.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    if name in NEED_THE_COMPILER and numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled")
    module = importlib.import_module(name)
    # Dispatchers and re-exported names are found through the plain functions they were made from.
    finder = doctest.DocTestFinder(recurse=True)
    globs = vars(module).copy()
    tests = finder.find(module, name, globs=globs)
    for attribute, value in vars(module).items():
        function = getattr(value, "py_func", None)
        if function is not None and function.__module__ == name:
            tests += finder.find(function, f"{name}.{attribute}", module=module, globs=globs)
    for test in tests:
        results = doctest.DocTestRunner().run(test)
        assert results.failed == 0


def test_there_are_examples_in_docstrings():
    documented = [nadam_numba.minimize, nadam_numba.NAdam, nadam_numba.schedules.cosine_decay]
    assert all(">>>" in item.__doc__ for item in documented)
