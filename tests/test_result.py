"""The result of minimize where scipy.optimize has not been imported: nobody can tell."""

import subprocess
import sys
import textwrap

import scipy.optimize

from nadam_numba import minimize

BEGIN = """
import sys
from nadam_numba import minimize
result = minimize(lambda x: (x @ x, 2.0 * x), [3.0, 4.0], jac=True, bounds=[(-5.0, 5.0), (-5.0, None)])
"""


def run_python(code):
    """The standard output of a new interpreter that has minimised something."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_a_run_that_only_reads_its_result_does_not_import_scipy_optimize():
    code = """
    result.more = 1
    del result.more
    absent = [hasattr(result, "more"), "more" in result, "scipy.optimize" in sys.modules]
    print(absent, result.success, result["status"], sorted(result) == sorted(result.keys()))
    """
    assert run_python(code) == "[False, False, False] True 0 True\n"


QUESTIONS = [
    "isinstance(result, scipy.optimize.OptimizeResult)",
    "result.__class__ is scipy.optimize.OptimizeResult",
    "type(copy.copy(result)) is scipy.optimize.OptimizeResult",
    "type(copy.deepcopy(result)) is scipy.optimize.OptimizeResult",
    "type(pickle.loads(pickle.dumps(result))) is scipy.optimize.OptimizeResult",
    "repr(result) == repr(scipy.optimize.OptimizeResult(result))",
    "dir(result) == dir(scipy.optimize.OptimizeResult(result))",
]


def test_whatever_else_is_asked_it_answers_as_an_optimize_result():
    code = f"""
    import copy, pickle
    import scipy.optimize
    print([question for question in {QUESTIONS} if not eval(question)])
    """
    assert run_python(code) == "[]\n"


def test_where_scipy_optimize_has_been_imported_results_are_optimize_results():
    assert type(minimize(lambda x: (x @ x, 2.0 * x), [3.0], jac=True)) is scipy.optimize.OptimizeResult
