"""What ``solve_ivp`` returns: times and states, statistics of the solve, and the solution as a function of time."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.steps.step import Interpolant, Step


class Piece:
    """An accepted step as a curve, up to the time ``end``, where an event may have cut it short."""

    def __init__(self, step: Step, interpolate: Callable[[Step], Interpolant]) -> None:
        self.step = step
        self.end = step.t1
        self._interpolate = interpolate

    @cached_property
    def curve(self) -> Interpolant:
        """The dense output of the method over the whole step."""
        return self._interpolate(self.step)

    def at(self, t: float) -> Tensor:
        """Return the state at ``t``, (*)."""
        return self.step.y1 if t == self.step.t1 else self.curve((t - self.step.t) / self.step.h)


class DenseSolution:
    """The solution at any time of the solve: ``sol(t)``, with ``t`` a number or a tensor (T,), gives (*) or (T, *).

    At the very time of a reset it is the state before.
    """

    def __init__(self, pieces: Sequence[Piece], unflatten: Callable[[Tensor], Any]) -> None:
        self._pieces = list(pieces)
        self._unflatten = unflatten
        self.t0, self.t1 = self._pieces[0].step.t, self._pieces[-1].end
        self._direction = 1.0 if self.t1 >= self.t0 else -1.0
        self._ends = [self._direction * piece.end for piece in self._pieces]

    def __call__(self, t: float | Tensor) -> Any:
        """Return the state at ``t``. Raises ``ValueError`` for a time outside the solve."""
        times = torch.as_tensor(t, dtype=torch.float64)
        states = [self._at(time) for time in times.reshape(-1).tolist()]
        y0 = self._pieces[0].step.y
        stacked = torch.stack(states) if states else y0.new_zeros((0, *y0.shape))
        return self._unflatten(stacked.reshape(times.shape + y0.shape))

    def _at(self, t: float) -> Tensor:
        low, high = sorted((self.t0, self.t1))
        if not low <= t <= high:
            raise ValueError(f"t = {t:.10g} is outside the solve, which went from {self.t0:.10g} to {self.t1:.10g}")
        first = self._pieces[0].step
        return first.y if t == first.t else self._pieces[bisect_left(self._ends, self._direction * t)].at(t)


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of :func:`ndelib.solve_ivp`."""

    t: Tensor
    """the times of ``y``, (T,), float64, on the CPU: those asked for and reached, or else the ends of all steps; there
    the time of a reset stands twice, with the states before and after, and that of a terminal event is the last"""
    y: Any
    """the states, (T, *); a tuple of them if ``y0`` is a tuple"""
    status: str
    """``"finished"``, or ``"event"`` if a terminal event ended the solve"""
    message: str
    """the same in a sentence"""
    steps: int | Tensor
    """accepted steps; with ``batch="independent"`` this and the next two are (B,), one number a sample"""
    rejected: int | Tensor
    """steps that were made and thrown away, their error being too large"""
    nfe: int | Tensor
    """evaluations of f (a batch counts once)"""
    jacobians: int
    """evaluations of ∂f/∂y"""
    factorizations: int
    """LU decompositions in Newton's method"""
    t_events: list[Any] = field(default_factory=list)
    """for each event the times at which it happened, (n,), float64, on the CPU; a list of B such tensors for an event
    with a value for each sample"""
    y_events: list[Any] = field(default_factory=list)
    """for each event the states at those times, before a reset, (n, *); in a list of B the states of the sample"""
    dense: DenseSolution | None = None

    def sol(self, t: float | Tensor) -> Any:
        """Return the solution at ``t``, a number or (T,). Needs ``solve_ivp(..., dense=True)``."""
        if self.dense is None:
            raise ValueError("this solution was not kept as a function of time: call solve_ivp(..., dense=True)")
        return self.dense(t)
