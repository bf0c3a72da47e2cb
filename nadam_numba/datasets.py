"""Nonlinear regressions with certified answers, from the Statistical Reference Datasets (StRD) of NIST.

Source: NIST/ITL StRD, Nonlinear Least Squares Regression, datasets Misra1a (D. Misra, NIST 1978, "Dental Research
Monomolecular Adsorption") and Thurber (R. Thurber, NIST, "Semiconductor electron mobility modeling"): works of the
United States government, in the public domain. NIST computed the certified values in 128-bit precision and gives
eleven digits.
"""

from typing import NamedTuple

import numpy as np


class Regression(NamedTuple):
    """A regression ``y = model(x, b) + error`` whose least-squares answer is certified.

    Attributes
    ----------
    name : str
    model : str
        The formula, in the notation of NIST.
    x, y : ndarray, shape (m,)
        The observed numbers.
    starts : tuple of two tuples of n floats
        Starting values of the parameters; the first is far from the answer, the second near.
    parameters : tuple of n floats
        Certified least-squares parameters.
    residual_sum_of_squares : float
        Certified.
    """

    name: str
    model: str
    x: np.ndarray
    y: np.ndarray
    starts: tuple
    parameters: tuple
    residual_sum_of_squares: float


def _numbers(text):
    return np.array(text.split(), dtype=np.float64)


MISRA1A = Regression(
    name="Misra1a",
    model="y = b1 (1 - exp(-b2 x))",
    x=_numbers("77.6 114.9 141.1 190.8 239.9 289.0 332.8 378.4 434.8 477.3 536.8 593.1 689.1 760.0"),
    y=_numbers("10.07 14.73 17.94 23.93 29.61 35.18 40.02 44.82 50.76 55.05 61.01 66.40 75.47 81.78"),
    starts=((500.0, 0.0001), (250.0, 0.0005)),
    parameters=(2.3894212918e2, 5.5015643181e-4),
    residual_sum_of_squares=1.2455138894e-1,
)

THURBER = Regression(
    name="Thurber",
    model="y = (b1 + b2 x + b3 x**2 + b4 x**3) / (1 + b5 x + b6 x**2 + b7 x**3)",
    x=_numbers(
        """
        -3.067 -2.981 -2.921 -2.912 -2.840 -2.797 -2.702 -2.699 -2.633 -2.481 -2.363 -2.322 -1.501 -1.460 -1.274
        -1.212 -1.100 -1.046 -0.915 -0.714 -0.566 -0.545 -0.400 -0.309 -0.109 -0.103  0.010  0.119  0.377  0.790
         0.963  1.006  1.115  1.572  1.841  2.047  2.200
        """
    ),
    y=_numbers(
        """
          80.574   84.248   87.264   87.195   89.076   89.608   89.868   90.101   92.405   95.854  100.696  101.060
         401.672  390.724  567.534  635.316  733.054  759.087  894.206  990.785 1090.109 1080.914 1122.643 1178.351
        1260.531 1273.514 1288.339 1327.543 1353.863 1414.509 1425.208 1421.384 1442.962 1464.350 1468.705 1447.894
        1457.628
        """
    ),
    starts=((1000.0, 1000.0, 400.0, 40.0, 0.7, 0.3, 0.03), (1300.0, 1500.0, 500.0, 75.0, 1.0, 0.4, 0.05)),
    parameters=(
        1.2881396800e3,
        1.4910792535e3,
        5.8323836877e2,
        7.5416644291e1,
        9.6629502864e-1,
        3.9797285797e-1,
        4.9727297349e-2,
    ),
    residual_sum_of_squares=5.6427082397e3,
)
