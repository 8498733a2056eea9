"""What the tests of gradients share: a problem that every method can solve, and solves of it as plain functions."""

import math
from collections import Counter

import torch

from ndelib import odeint
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.conftest import full

UNDOABLE = [
    "symplectic_euler",
    "leapfrog",
    "yoshida4",
    "implicit_midpoint",
    "tao",
    "asynchronous_leapfrog",
    "reversible_heun",
    "reversible_rk4",
    "reversible_dopri5",
]
"""methods whose steps can be undone: the first five because they are symmetric or a composition of shears"""
IN_PAIRS = [name for name, method in METHODS.items() if "split" in method.options]
"""those that want y = (q, p)"""
IMPLICIT = [name for name, method in METHODS.items() if method.solves_stages]
EXACT = ("backprop", "checkpoint", "reversible")
"""gradients of the numbers that were computed; the others are of the solution"""


def works(method, gradient):
    """Whether ``gradient`` can be had with ``method`` and no further option: what theory says."""
    if gradient == "reversible":
        return method in UNDOABLE
    if gradient in ("adjoint", "interpolated"):  # (y, a) is no separable system, and no pair (q, p)
        return method not in IN_PAIRS
    return True


WORKING = [(method, gradient) for method in METHODS for gradient in GRADIENTS if works(method, gradient)]
REFUSED = [(method, gradient) for method in METHODS for gradient in GRADIENTS if not works(method, gradient)]


def kind(method):
    """What decides how the steps of a method are differentiated: the code that makes them, what they hand on."""
    found = METHODS[method]
    made_by = getattr(found.start, "func", found.start)  # without the table
    return made_by, found.tableau is not None and found.tableau.fsal, found.reverse is None


def each_kind(cells):
    """Return the cells (method, gradient) of the long form, or enough of them: every method, each kind with each way.

    Of the methods of one kind another one takes its turn with each gradient. They differ in tables only, and those are
    tested by their orders.
    """
    turns, kept = Counter(), []
    for gradient in GRADIENTS:
        kinds = {}
        for method in (method for method, way in cells if way == gradient):
            kinds.setdefault(kind(method), []).append(method)
        for of_kind, methods in kinds.items():
            kept.append((methods[turns[of_kind] % len(methods)], gradient))
            turns[of_kind] += 1
    seen = {method for method, _ in kept}
    missing = {method: gradient for method, gradient in cells if method not in seen}
    return full(cells, [*kept, *missing.items()])


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def velocity(t, p, k):
    return k[0] * p * (1 + t)


def force(t, q, k):
    return torch.cos(2 * t) - torch.sin(k[1] * q)


def swing(t, y, k):
    """A pendulum with forcing in which time matters everywhere; it is separable: y = [q, p], k two numbers."""
    q, p = y.chunk(2, -1)
    return torch.cat([velocity(t, p, k), force(t, q, k)], -1)


def swing_of_pairs(t, state, k):
    q, p = state
    return velocity(t, p, k), force(t, q, k)


Y0, K = vector(0.8, -0.3), vector(1.1, 1.3)


def solve(method, gradient, y0, t, k, f=swing, **options):
    """Return the solution of ``swing`` at ``t``, (T, 2), in whatever form ``method`` wants its state."""
    if method in IMPLICIT:
        options = {"rtol": 1e-12, "atol": 1e-12} | options  # of Newton's method, where steps are fixed
    if gradient == "adjoint" and "step_size" in options:  # chosen for a test, and not to keep a tolerance
        options = {"deviation": "ignore"} | options
    options = {"method": method, "gradient": gradient, "args": (k,)} | options
    if method not in IN_PAIRS:
        return odeint(f, y0, t, **options)
    q, p = odeint(swing_of_pairs if f is swing else f, tuple(y0.chunk(2, -1)), t, **options)
    return torch.cat([q, p], -1)


def leaves(*tensors):
    """Return copies that want a gradient."""
    return tuple(x.detach().clone().requires_grad_() for x in tensors)


def total(ys):
    """A loss that hangs on every state in another way."""
    weights = torch.linspace(1, 2, ys.numel(), dtype=ys.dtype.to_real()).reshape(ys.shape)
    return (weights * torch.sin(ys)).sum() if not ys.is_complex() else (weights * (1 + 0.5j) * ys**2).real.sum()


def apart(found, expected):
    """Return how far gradients are from others, relative to the size of each of them; the worst."""
    return max(((g - e).norm() / e.norm().clamp_min(1e-300)).item() for g, e in zip(found, expected, strict=True))


def slope(errors, factor=2.0):
    """The power of h with which an error fell, when h fell by ``factor``."""
    return math.log(errors[0] / errors[1]) / math.log(factor)
