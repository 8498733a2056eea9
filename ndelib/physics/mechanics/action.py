"""The action of a path that is given at discrete times.

Source: Marsden & West, Discrete mechanics and variational integrators, Acta Numerica 10 (2001), 357–514.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ndelib.physics.mechanics.euler_lagrange import Lagrangian


def action(
    L: Lagrangian, path: Tensor, t: Tensor | Sequence[float], rule: Literal["midpoint", "trapezoid"] = "midpoint"
) -> Tensor:
    """Return the action of a path, a sum of second order in the steps: (T, *, n) -> (*).

    With v = (qₖ₊₁ − qₖ)/hₖ the rule ``"midpoint"`` is Σ hₖ L((qₖ + qₖ₊₁)/2, v), and ``"trapezoid"`` is
    Σ hₖ (L(qₖ, v) + L(qₖ₊₁, v))/2. A path that makes the sum stationary, at all times but the first and the last, is a
    solution of the implicit midpoint rule or, for L = v·Mv/2 − V(q) with a constant M, of leapfrog.

    Args:
        L: the Lagrangian ``L(q, v)``.
        path: positions at the times, (T, *, n).
        t: the times, (T,), increasing.
        rule: where L is taken in a step.

    Raises:
        ValueError: path and t do not fit, t does not increase, or the rule is unknown.

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
    v = path.diff(dim=0) / h
    if rule == "midpoint":
        mean = L((path[1:] + path[:-1]) / 2, v)
    elif rule == "trapezoid":
        mean = (L(path[:-1], v) + L(path[1:], v)) / 2
    else:
        raise ValueError(f'rule must be "midpoint" or "trapezoid", got {rule!r}')
    return (h[..., 0] * mean).sum(0)
