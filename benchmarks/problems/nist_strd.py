"""The 27 nonlinear regressions of the Statistical Reference Datasets (StRD) of NIST, as sums of squared residuals.

Source: NIST/ITL StRD, Nonlinear Least Squares Regression, https://www.itl.nist.gov/div898/strd/. The files in the
folder ``nist_strd`` are NIST's own, works of the United States government in the public domain: each holds the
formula, two starts, the observations, and the least-squares parameters and residual sum of squares, certified to
eleven digits.

Every model has the signature ``model(b, x) -> (prediction, derivatives with respect to b)`` for one observation, and
becomes a compiled objective ``objective(b, x, y) -> (value, gradient)``.
"""

import pathlib
import re

import numpy as np
from numba import njit

from nadam_numba.datasets import Regression

from .problem import Problem

FOLDER = pathlib.Path(__file__).parent / "nist_strd"

# Parameters outside a model's domain must give inf or NaN, as in NumPy, rather than ZeroDivisionError.
_compiled = njit(error_model="numpy")

# The uncompiled model behind each objective.
MODELS = {}


def _sum_of_squares(model):
    """Compile the sum of squared residuals of ``model``, and its gradient."""
    uncompiled, model = model, _compiled(model)

    @_compiled
    def objective(b, x, y):
        value = 0.0
        gradient = np.zeros(b.size)
        for i in range(y.size):
            prediction, derivatives = model(b, x[i])
            residual = y[i] - prediction
            value += residual * residual
            for k in range(b.size):
                gradient[k] -= 2.0 * residual * derivatives[k]
        return value, gradient

    MODELS[objective] = uncompiled
    return objective


@_sum_of_squares
def misra1a(b, x):
    decay = np.exp(-b[1] * x)
    rise = -np.expm1(-b[1] * x)
    return b[0] * rise, (rise, b[0] * x * decay)


@_sum_of_squares
def misra1b(b, x):
    base = 1.0 + 0.5 * b[1] * x
    rise = 1.0 - base**-2.0
    return b[0] * rise, (rise, b[0] * x * base**-3.0)


@_sum_of_squares
def misra1c(b, x):
    base = 1.0 + 2.0 * b[1] * x
    rise = 1.0 - base**-0.5
    return b[0] * rise, (rise, b[0] * x * base**-1.5)


@_sum_of_squares
def misra1d(b, x):
    base = 1.0 + b[1] * x
    rise = b[1] * x / base
    return b[0] * rise, (rise, b[0] * x / (base * base))


@_sum_of_squares
def chwirut(b, x):
    denominator = b[1] + b[2] * x
    y = np.exp(-b[0] * x) / denominator
    return y, (-x * y, -y / denominator, -x * y / denominator)


@_sum_of_squares
def lanczos(b, x):
    e1 = np.exp(-b[1] * x)
    e2 = np.exp(-b[3] * x)
    e3 = np.exp(-b[5] * x)
    y = b[0] * e1 + b[2] * e2 + b[4] * e3
    return y, (e1, -x * b[0] * e1, e2, -x * b[2] * e2, e3, -x * b[4] * e3)


@_compiled
def _bell(x, height, center, width):
    """A Gaussian, and its derivatives with respect to height, center and width."""
    z = (x - center) / width
    shape = np.exp(-z * z)
    slope = 2.0 * height * shape * z / width
    return height * shape, shape, slope, slope * z


@_sum_of_squares
def gauss(b, x):
    decay = np.exp(-b[1] * x)
    first, height1, center1, width1 = _bell(x, b[2], b[3], b[4])
    second, height2, center2, width2 = _bell(x, b[5], b[6], b[7])
    y = b[0] * decay + first + second
    return y, (decay, -x * b[0] * decay, height1, center1, width1, height2, center2, width2)


@_sum_of_squares
def danwood(b, x):
    power = x ** b[1]
    return b[0] * power, (power, b[0] * power * np.log(x))


@_sum_of_squares
def kirby2(b, x):
    """A ratio of quadratics."""
    denominator = 1.0 + x * (b[3] + x * b[4])
    y = (b[0] + x * (b[1] + x * b[2])) / denominator
    u = 1.0 / denominator
    return y, (u, x * u, x * x * u, -x * y * u, -x * x * y * u)


@_sum_of_squares
def thurber(b, x):
    """A ratio of cubics."""
    denominator = 1.0 + x * (b[4] + x * (b[5] + x * b[6]))
    y = (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / denominator
    u = 1.0 / denominator
    v = -y * u
    return y, (u, x * u, x * x * u, x * x * x * u, x * v, x * x * v, x * x * x * v)


@_sum_of_squares
def nelson(b, x):
    time, temperature = x[0], x[1]
    rate = time * np.exp(-b[2] * temperature)
    return b[0] - b[1] * rate, (1.0, -rate, b[1] * rate * temperature)


@_sum_of_squares
def mgh17(b, x):
    e1 = np.exp(-x * b[3])
    e2 = np.exp(-x * b[4])
    return b[0] + b[1] * e1 + b[2] * e2, (1.0, e1, e2, -x * b[1] * e1, -x * b[2] * e2)


@_sum_of_squares
def roszman1(b, x):
    distance = x - b[3]
    square = np.pi * (distance * distance + b[2] * b[2])
    y = b[0] - b[1] * x - np.arctan(b[2] / distance) / np.pi
    return y, (1.0, -x, -distance / square, -b[2] / square)


@_compiled
def _cycle(x, period, cosine, sine):
    """A cycle, and its derivatives with respect to period and the amplitudes of cosine and sine."""
    phase = 2.0 * np.pi * x / period
    c = np.cos(phase)
    s = np.sin(phase)
    return cosine * c + sine * s, (cosine * s - sine * c) * phase / period, c, s


@_sum_of_squares
def enso(b, x):
    year, _, cosine0, sine0 = _cycle(x, 12.0, b[1], b[2])
    first, period1, cosine1, sine1 = _cycle(x, b[3], b[4], b[5])
    second, period2, cosine2, sine2 = _cycle(x, b[6], b[7], b[8])
    y = b[0] + year + first + second
    return y, (1.0, cosine0, sine0, period1, cosine1, sine1, period2, cosine2, sine2)


@_sum_of_squares
def mgh09(b, x):
    u = 1.0 / (x * x + x * b[2] + b[3])
    ratio = (x * x + x * b[1]) * u
    y = b[0] * ratio
    return y, (ratio, b[0] * x * u, -y * x * u, -y * u)


@_sum_of_squares
def rat42(b, x):
    z = b[1] - b[2] * x
    share = 1.0 / (1.0 + np.exp(z))
    # 1 - share, which would cancel; exp(z) * share would be NaN where exp(z) overflows.
    rest = 1.0 / (1.0 + np.exp(-z))
    slope = -b[0] * share * rest
    return b[0] * share, (share, slope, -x * slope)


@_sum_of_squares
def rat43(b, x):
    z = b[1] - b[2] * x
    # The logarithm of 1 + exp(z), finite where exp(z) overflows.
    log = np.logaddexp(0.0, z)
    share = np.exp(-log / b[3])
    y = b[0] * share
    slope = -y / (b[3] * (1.0 + np.exp(-z)))
    return y, (share, slope, -x * slope, y * log / (b[3] * b[3]))


@_sum_of_squares
def mgh10(b, x):
    u = 1.0 / (x + b[2])
    growth = np.exp(b[1] * u)
    y = b[0] * growth
    return y, (growth, y * u, -y * b[1] * u * u)


@_sum_of_squares
def eckerle4(b, x):
    z = (x - b[2]) / b[1]
    shape = np.exp(-0.5 * z * z) / b[1]
    y = b[0] * shape
    return y, (shape, y * (z * z - 1.0) / b[1], y * z / b[1])


@_sum_of_squares
def bennett5(b, x):
    base = b[1] + x
    power = base ** (-1.0 / b[2])
    y = b[0] * power
    return y, (power, -y / (b[2] * base), y * np.log(base) / (b[2] * b[2]))


# The certified 1.4307867721e-25 is beyond double precision: residuals of 1e-13 carry roundings of 4e-16. Those of the
# observations take the minimum to 1.42955e-25; those of the model scatter it, to as low as this.
_LOWEST_COMPUTED = {"Lanczos1": 1.4266e-25}

# In NIST's order: of lower, average and higher difficulty.
OBJECTIVES = {
    "Misra1a": misra1a,
    "Chwirut2": chwirut,
    "Chwirut1": chwirut,
    "Lanczos3": lanczos,
    "Gauss1": gauss,
    "Gauss2": gauss,
    "DanWood": danwood,
    "Misra1b": misra1b,
    "Kirby2": kirby2,
    "Hahn1": thurber,
    "Nelson": nelson,
    "MGH17": mgh17,
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Gauss3": gauss,
    "Misra1c": misra1c,
    "Misra1d": misra1d,
    "Roszman1": roszman1,
    "ENSO": enso,
    "MGH09": mgh09,
    "Thurber": thurber,
    "BoxBOD": misra1a,
    "Rat42": rat42,
    "MGH10": mgh10,
    "Eckerle4": eckerle4,
    "Rat43": rat43,
    "Bennett5": bennett5,
}


def read(name):
    """Read a regression from NIST's file.

    Parameters
    ----------
    name : str
        A key of `OBJECTIVES`.

    Returns
    -------
    nadam_numba.datasets.Regression
        Where there are two predictors (Nelson), ``x`` has two columns; where the formula is one for the logarithm of
        the response (Nelson too), ``y`` is that logarithm.
    """
    text = (FOLDER / f"{name}.dat").read_text(encoding="ascii")
    lines = text.splitlines()

    def section(title):
        first, last = re.search(rf"{title}\s+\(lines\s+(\d+)\s+to\s+(\d+)\)", text).groups()
        return lines[int(first) - 1 : int(last)]

    model = re.search(r"Model:.*?((?:log\[y\]|y) +=.*?) *\+ +e$", text, re.DOTALL | re.MULTILINE)[1]
    table = np.loadtxt([line.split("=")[1] for line in section("Starting Values")])
    y, *x = np.loadtxt(section("Data"), unpack=True)
    return Regression(
        name=name,
        model=" ".join(model.split()),
        x=x[0] if len(x) == 1 else np.column_stack(x),
        y=np.log(y) if model.startswith("log[y]") else y,
        starts=(tuple(table[:, 0].tolist()), tuple(table[:, 1].tolist())),
        parameters=tuple(table[:, 2].tolist()),
        residual_sum_of_squares=float(re.search(r"Residual Sum of Squares:\s+(\S+)", text)[1]),
    )


def problems() -> list[Problem]:
    """Every regression from both of its starts, the far one first.

    The minimum is the certified residual sum of squares; it is rounded, and a computed value may lie below it by 1e-10
    of itself. Lanczos1 alone has a lower one, that of double precision.
    """
    return [
        Problem(
            name=f"{name}, start {number}",
            objective=objective,
            x0=np.array(start),
            args=(regression.x, regression.y),
            minimum=_LOWEST_COMPUTED.get(name, regression.residual_sum_of_squares),
        )
        for name, objective in OBJECTIVES.items()
        for regression in [read(name)]
        for number, start in enumerate(regression.starts, 1)
    ]
