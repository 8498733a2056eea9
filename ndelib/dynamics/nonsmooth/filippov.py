"""``Filippov``: two smooth fields on the two sides of a surface, and Filippov's convex combination on it.

Sources: Filippov, *Differential Equations with Discontinuous Righthand Sides* (1988), section 4; Dieci & Lopez, *J.
Comput. Appl. Math.* 236 (2012), for sliding in numbers. How a solution is followed is told in ``march.py``.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ndelib.dynamics.nonsmooth.fields import Choice, TwoFields
from ndelib.dynamics.nonsmooth.march import march
from ndelib.dynamics.nonsmooth.solution import FilippovSolution


class Filippov(TwoFields):
    """The system ẏ = f₋(t, y) where h(y) < 0 and ẏ = f₊(t, y) where h(y) > 0.

    On the surface the signs of σ₋ = ∇h·f₋ and σ₊ = ∇h·f₊ decide. If they are equal, a solution crosses. If σ₋ > 0 > σ₊
    both fields push onto the surface, and the solution slides along it with

        f_s = (1 − α) f₋ + α f₊,   α = σ₋ / (σ₋ − σ₊),   so that ∇h·f_s = 0,

    until α reaches 0 or 1, where it leaves tangentially with f₋ or f₊. If σ₋ < 0 < σ₊ both push away: the future is not
    unique there.

    Args:
        f_minus: f₋(t, y), y of the shape (d,) in a solve; for the methods below it takes batches (*, d) as well.
        f_plus: f₊(t, y), likewise.
        surface: h(y), (*, d) -> (*,), differentiable with ∇h ≠ 0 where it is zero.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import Filippov
        >>> def right(t, y):  # a block on a belt, slower than the belt
        ...     return torch.stack([y[..., 1], 1 - y[..., 0]], dim=-1)
        >>> def left(t, y):  # faster
        ...     return torch.stack([y[..., 1], -1 - y[..., 0]], dim=-1)
        >>> block = Filippov(right, left, surface=lambda y: y[..., 1] - 0.5)
        >>> y = torch.tensor([0.2, 0.5], dtype=torch.float64)
        >>> block.kind(y), block.sliding_field(y)
        ('sliding', tensor([0.5000, 0.0000], dtype=torch.float64))
        >>> [(e.kind, round(e.t, 6)) for e in block.solve(y, (0, 3)).events]
        [('leaving', 1.6)]
    """

    def solve(
        self,
        y0: Tensor,
        t_span: tuple[float, float] | Sequence[float],
        *,
        t_eval: Tensor | Sequence[float] | None = None,
        dense: bool = False,
        repelling: Choice = "error",
        max_events: int = 10_000,
        **options: Any,
    ) -> FilippovSolution:
        """Follow the solution from ``y0``, (d,), over ``t_span``; backwards if its last time is the earlier.

        Between events the field is smooth, and each piece is a solve of :func:`ndelib.solve_ivp` that ends at an event.
        On the surface the state is moved back onto it, so that sliding does not drift. The result can be
        differentiated with respect to ``y0`` and to what the fields and the surface depend on: the time of each event
        carries its gradient, which makes the derivative that of the saltation matrix.

        Args:
            y0: the state at ``t_span[0]``, (d,).
            t_span: the first and the last time.
            t_eval: times of the states to return, as in ``solve_ivp``; ``None`` returns the ends of all steps.
            dense: keep the solution as a function, ``solution.sol(t)``.
            repelling: what to do where the future is not unique, because both fields point away from the surface (a
                start there, or a sliding solution that reaches a point where both are tangent): ``"error"``, or go on
                with the field on the ``"minus"`` or the ``"plus"`` side.
            max_events: after how many events to give up.
            **options: those of :func:`ndelib.odeint`, and ``method``.

        Raises:
            ValueError: ``y0`` is not a finite state (d,); the surface has no gradient; the future is not unique.
            SolverError: more than ``max_events`` events, and all that ``solve_ivp`` raises.
        """
        return march(
            self, y0, t_span, t_eval=t_eval, dense=dense, repelling=repelling, max_events=max_events, options=options
        )
