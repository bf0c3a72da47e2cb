"""Each example checks itself against a known answer, draws its figure, and is gone in under a minute."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest
from marks import needs_compiler

FOLDER = pathlib.Path(__file__).parents[1] / "examples"
SIZES = {"decay_image": ["--size", "64"]}


@needs_compiler
@pytest.mark.parametrize("name", ["decay_image", "lotka_volterra", "inverse_heat", "helium", "digits_mlp"])
def test_the_example_holds_its_own_check(name, tmp_path):
    draws = importlib.util.find_spec("matplotlib") is not None
    command = [sys.executable, str(FOLDER / f"{name}.py"), *[str(tmp_path)] * draws, *SIZES.get(name, [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert draws == (tmp_path / f"{name}.png").exists()
