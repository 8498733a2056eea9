"""The regression of the table: the equations of Lorenz from samples of a trajectory, by SINDy.

NumPy and SciPy only. Source: Brunton, Proctor & Kutz, PNAS 113 (2016), whose example it is.
"""

import functools

import numpy as np
from scipy.integrate import solve_ivp

DEGREE, THRESHOLD = 5, 0.1
"""of the polynomials, 56 terms in three variables; below which a coefficient is taken to be zero"""
STEP = 0.002


@functools.cache
def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the times, (n,), and states, (n, 3), of one trajectory."""
    t = STEP * np.arange(n)

    def lorenz(t: float, y: np.ndarray) -> list[float]:
        return [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]

    solution = solve_ivp(lorenz, (0, t[-1]), [-8.0, 8.0, 27.0], "DOP853", t, rtol=1e-10, atol=1e-10)
    return t, solution.y.T


def coefficients() -> np.ndarray:
    """Return the true ones, (3, 56): of 1, x, y, z, x², xy, xz, y², yz, z², and of what has a higher degree."""
    found = np.zeros((3, 56))
    found[0, [1, 2]] = -10, 10
    found[1, [1, 2, 6]] = 28, -1, -1
    found[2, [3, 5]] = -8 / 3, 1
    return found
