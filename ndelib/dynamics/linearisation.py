"""The linear flow next to a solution: the Jacobian of a field at given states, in any dimension.

Source: Strogatz, *Nonlinear Dynamics and Chaos* (2015), section 6.3. What the Jacobian at a fixed point says about
stability is in ``classification.py``, and how fixed points are found in ``fixed_points.py``.
"""

from torch import Tensor

from ndelib.dynamics.frozen import frozen, precision
from ndelib.dynamics.zeros import jacobians
from ndelib.solvers.steps.step import VectorField


def jacobian(f: VectorField, y: Tensor, *, t: float = 0.0) -> Tensor:
    """Return ∂f/∂y at the states ``y``: (*, d) -> (*, d, d), in float64.

    Args:
        f: the vector field ``f(t, y)``, called on batches (n, d). It computes in float64, or in float32 if it
            refuses that (a network with its default weights).
        y: one state (d,) or a batch (*, d).
        t: the time at which a field that depends on time is frozen.

    Raises:
        ValueError: ``y`` is a single number, or ``f`` returns another shape than that of its argument.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import classify, jacobian
        >>> def pendulum(t, y):
        ...     q, v = y.unbind(-1)
        ...     return torch.stack([v, -torch.sin(q) - v / 2], dim=-1)
        >>> J = jacobian(pendulum, torch.zeros(2))
        >>> [[round(entry, 6) + 0.0 for entry in row] for row in J.tolist()]
        [[0.0, 1.0], [-1.0, -0.5]]
        >>> classify(J)
        'stable spiral'
    """
    if y.ndim == 0:
        raise ValueError("y must hold at least one state, (d,) or (*, d); got a single number: use y[None]")
    rows = y.detach().double().reshape(-1, y.shape[-1])
    J = jacobians(frozen(f, t, precision(f, t, rows)), rows)
    return J.reshape(*y.shape, y.shape[-1])
