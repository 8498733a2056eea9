"""Newton's method for one system with as many equations as unknowns, to rounding, from a good guess.

Two others in this library have other jobs: that of ``dynamics/zeros.py`` runs from every point of a grid at once and
keeps the best place of each row; that of ``solvers/steps/newton.py`` stops at a share of a step's tolerance and keeps
its Jacobian and factorisation over many steps.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jacfwd

SMALL = 1e-8
"""A Newton step this small, relative to 1 + |x|, is the last: the next would be about its square."""
NEAR = 1e-3
"""A rough step this small, relative to 1 + |x|, is the last rough one."""

System = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (n,) -> values (n,), and their derivative (n, n)."""


class Solved(NamedTuple):
    """How Newton's method ended."""

    x: Tensor | None
    """the solution; ``None`` where the steps did not become small"""
    steps: int
    """how many were made"""
    length: float
    """of the last one"""
    derivative: Tensor | None
    """at the place where the last step began"""


def newton(system: System, x: Tensor, iterations: int = 10, *, rough: System | None = None) -> Solved:
    """Solve ``system(x) = 0``.

    ``rough``: nearly the same equations, which cost less (a solve at a loose tolerance): it begins with these. The
    first step of the exact ones after them is not counted, as it stands for their error.
    """
    length, uncounted = math.inf, 0
    for i in range(1, iterations + 1):
        values, J = (rough or system)(x)
        step, info = torch.linalg.solve_ex(J, values)
        if info.item() != 0 or not step.isfinite().all():
            return Solved(None, i - uncounted, length, None)
        x, length = x - step, step.norm().item()
        size = 1 + x.norm().item()
        if rough is not None and length <= NEAR * size:
            rough, uncounted = None, 1
        elif length <= SMALL * size:
            return Solved(x, i - uncounted, length, J)
    return Solved(None, iterations - uncounted, length, None)


def with_derivative(equations: Callable[[Tensor], Tensor]) -> System:
    """Turn ``equations(x)`` into the function of values and derivative that :func:`newton` takes."""
    return lambda x: (equations(x), jacfwd(equations)(x))
