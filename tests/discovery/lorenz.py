"""The Lorenz system for several tests: its coefficients in the library of degree 2, and a trajectory of it."""

import functools

import numpy as np
import torch
from scipy.integrate import solve_ivp

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
TRUE = np.zeros((3, 10))  # terms 1, x, y, z, x², xy, xz, y², yz, z²
TRUE[0, [1, 2]] = -SIGMA, SIGMA
TRUE[1, [1, 2, 6]] = RHO, -1.0, -1.0
TRUE[2, [3, 5]] = -BETA, 1.0


def field(t, y):
    x, y, z = y[..., 0], y[..., 1], y[..., 2]
    slopes = [SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z]
    return torch.stack(slopes, dim=-1) if isinstance(x, torch.Tensor) else np.array(slopes)


@functools.cache
def _solved(h, end):
    t = np.arange(0, end, h)
    options = {"t_eval": t, "method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    return t, solve_ivp(lambda t, y: field(t, np.asarray(y)), (0, end), [-8.0, 8.0, 27.0], **options).y.T


def trajectory(h=0.002, end=10.0, noise=0.0, seed=0):
    """Times and states; with noise of a size on all variables."""
    t, x = _solved(h, end)
    return t, x + noise * np.random.default_rng(seed).normal(size=x.shape)


def error(model):
    """The largest error of a coefficient."""
    return np.abs(model.coefficients() - TRUE).max()


def is_exact(model):
    """Whether the model has the terms of the Lorenz system and no others."""
    return bool(((model.coefficients() != 0) == (TRUE != 0)).all())
