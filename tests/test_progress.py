"""The progress bar: what it shows, that it is closed, and what is said where tqdm is missing."""

import sys

import pytest
from marks import WRAPS
from numba import njit
from problems import rosenbrock, rosenbrock_gradient

from nadam_numba import minimize
from nadam_numba.progress import progress_bar

tqdm = pytest.importorskip("tqdm")


def run(wrap=njit, fun=rosenbrock, callback=None, **arguments):
    options = {"learning_rate": 0.05, "maxiter": 300, "gtol": 0.0}
    return minimize(
        wrap(fun), [-1.2, 1.0], jac=wrap(rosenbrock_gradient), options=options, callback=callback, **arguments
    )


@WRAPS
@pytest.mark.parametrize("callback", [None, lambda x: None])
def test_bar_shows_iterations_value_and_gradient(wrap, callback, capsys):
    plain = run(wrap)
    assert capsys.readouterr().err == ""
    result = run(wrap, callback=callback, progress=True)
    shown = capsys.readouterr().err
    assert shown.startswith("\rnadam: 0 iterations")
    last = shown.rstrip().rpartition("\r")[2]
    assert last.startswith("nadam: 300 iterations [00:0")
    assert f"f={result.fun:.6g}" in last
    assert "|g|=" in last
    assert shown.endswith("\n")
    assert (result.x == plain.x).all()


def test_bar_is_closed_after_an_error(capsys):
    def callback(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(callback=callback, progress=True)
    assert capsys.readouterr().err.endswith("\n")
    assert not list(getattr(tqdm.tqdm, "_instances", ()))


def test_missing_tqdm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"nadam_numba\[progress\]"), progress_bar("nadam"):
        pass
    with pytest.raises(ImportError, match=r"nadam_numba\[progress\]"):
        run(progress=True)


@pytest.mark.parametrize("method", ["BFGS", None, lambda *args, **kwargs: None])
def test_methods_of_scipy_show_no_progress(method):
    with pytest.raises(ValueError, match="progress=True with method="):
        minimize(rosenbrock, [-1.2, 1.0], method=method, progress=True)


def test_progress_is_true_or_false():
    with pytest.raises(TypeError, match="progress=1"):
        run(progress=1)
