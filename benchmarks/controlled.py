"""The controlled equation of the table, dz = tanh(W₂ tanh(W₁ z + b₁) + b₂) dX along a path through random observations.

NumPy and SciPy only: what torch solves is compared with ``solution``.
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline

LENGTH, CHANNELS, HIDDEN, WIDTH = 51, 4, 16, 32
"""observations at t = 0, 1, …, 50, of so many channels; the size of z, and of the layer between"""


def observations(batch: int) -> np.ndarray:
    """Return random walks that end about two away from where they began, (batch, LENGTH, CHANNELS)."""
    steps = np.random.default_rng(2).normal(size=(batch, LENGTH, CHANNELS))
    return 2 * steps.cumsum(axis=1) / np.sqrt(LENGTH)


def initial(batch: int) -> np.ndarray:
    """Return z₀, (batch, HIDDEN)."""
    return np.random.default_rng(3).normal(size=(batch, HIDDEN))


def weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the weights (out, in) and biases (out,) of both layers."""
    random = np.random.default_rng(4)
    sizes = [(WIDTH, HIDDEN), (HIDDEN * CHANNELS, WIDTH)]
    return [(random.normal(size=size) / np.sqrt(size[1]), 0.1 * random.normal(size=size[0])) for size in sizes]


def slope(z: np.ndarray, dX: np.ndarray) -> np.ndarray:
    """Return dz/dt, (batch, HIDDEN), for dX/dt, (batch, CHANNELS)."""
    for weight, bias in weights():
        z = np.tanh(z @ weight.T + bias)
    return np.einsum("bhc,bc->bh", z.reshape(len(z), HIDDEN, CHANNELS), dX)


def solution(t: np.ndarray, batch: int, cubic: bool) -> np.ndarray:
    """Return z at the whole numbers ``t``, (T, batch, HIDDEN), along the linear or the Hermite path."""
    x, z = observations(batch), initial(batch)
    rise = np.diff(x, axis=1)
    before = np.concatenate([rise[:, :1], rise], axis=1)  # what arrives at an observation, leaves it
    path = CubicHermiteSpline(np.arange(LENGTH), x, before, axis=1).derivative()
    states = [z]
    for i in range(LENGTH - 1):
        piece = solve_ivp(
            lambda s, z, i=i: slope(z.reshape(batch, -1), path(s) if cubic else rise[:, i]).ravel(),
            (i, i + 1),
            states[-1].ravel(),
            "DOP853",
            rtol=1e-11,
            atol=1e-11,
        )
        states.append(piece.y[:, -1].reshape(batch, HIDDEN))
    return np.stack([states[round(time)] for time in t])
