"""The action of a path that is given at discrete times.

Source: Marsden & West, Discrete mechanics and variational integrators, Acta Numerica 10 (2001), 357–514.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.physics.mechanics.euler_lagrange import Lagrangian


def action(L: Lagrangian, path: Tensor, t: Tensor | Sequence[float]) -> Tensor:
    """Return the action Σ hₖ L((qₖ + qₖ₊₁)/2, (qₖ₊₁ − qₖ)/hₖ), of second order in the steps hₖ: (T, *, n) -> (*).

    A path whose interior points make it stationary is a solution of the implicit midpoint rule.

    Args:
        L: the Lagrangian ``L(q, v)``.
        path: positions at the times, (T, *, n).
        t: the times, (T,), increasing.

    Raises:
        ValueError: path and t do not fit, or t does not increase.

    Example:
        >>> import torch
        >>> from ndelib.physics import action
        >>> t = torch.linspace(0, 1, 101)
        >>> L = lambda q, v: (v**2).sum(-1) / 2
        >>> action(L, t[:, None], t)  # at speed 1 for a time of 1
        tensor(0.5000)
    """
    t = torch.as_tensor(t, dtype=path.dtype, device=path.device)
    if path.ndim < 2 or t.ndim != 1 or len(t) != len(path) or len(t) < 2:
        raise ValueError(
            f"path must be (T, *, n) and t (T,) with T ≥ 2: got {tuple(path.shape)} and {tuple(t.shape)}; "
            "one coordinate has n = 1, path[:, None]"
        )
    h = t.diff().reshape(-1, *[1] * (path.ndim - 1))
    if not bool((h > 0).all()):
        raise ValueError("t must increase from one time to the next")
    middle, velocity = (path[1:] + path[:-1]) / 2, path.diff(dim=0) / h
    return (h[..., 0] * L(middle, velocity)).sum(0)
