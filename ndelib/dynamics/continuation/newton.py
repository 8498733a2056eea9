"""Newton's method for one system with as many equations as unknowns, to rounding, from a good guess.

Two others in this library have other jobs: that of ``dynamics/zeros.py`` runs from every point of a grid at once and
keeps the best place of each row; that of ``solvers/steps/newton.py`` stops at a share of a step's tolerance and keeps
its Jacobian and factorisation over many steps.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacfwd

SMALL = 1e-8
"""A Newton step this small, relative to 1 + |x|, is the last: the next would be about its square."""


def newton(
    system: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, iterations: int = 10
) -> tuple[Tensor | None, int, float]:
    """Solve ``system(x) = 0``, where ``system`` returns values (n,) and derivative (n, n).

    Returns:
        The solution, or ``None`` where the steps did not become small; the number of steps made; the length of the
        last one.
    """
    length = math.inf
    for i in range(1, iterations + 1):
        values, J = system(x)
        step, info = torch.linalg.solve_ex(J, values)
        if info.item() != 0 or not step.isfinite().all():
            return None, i, length
        x, length = x - step, step.norm().item()
        if length <= SMALL * (1 + x.norm().item()):
            return x, i, length
    return None, iterations, length


def with_derivative(equations: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Turn ``equations(x)`` into the function of values and derivative that :func:`newton` takes."""
    return lambda x: (equations(x), jacfwd(equations)(x))
