"""The examples of README.md run as they are printed."""

import os
import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the fits of a thousand rows take minutes in Python"
)
@pytest.mark.parametrize("example", EXAMPLES, ids=[str(number) for number in range(len(EXAMPLES))])
def test_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # In a file, because Numba reads the source of what it compiles.
    path = tmp_path / "example.py"
    path.write_text(example, encoding="utf-8")
    names = {"__name__": "example", "__file__": str(path)}
    exec(compile(example, str(path), "exec"), names)


def test_each_kind_of_user_has_an_example():
    assert len(EXAMPLES) == 9
