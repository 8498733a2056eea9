"""What ``solve_ivp`` returns: times and states, statistics of the solve, and the solution as a function of time."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.steps.step import Interpolant, Step

Shapes = tuple[tuple[int, ...], ...] | None
"""The shapes of the parts of a state that is a tuple; ``None`` if it is a tensor."""


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


class Arc(NamedTuple):
    """An accepted step as data: what of a piece is kept for dense output."""

    t: float
    t1: float
    end: float
    y: Tensor
    y1: Tensor
    curve: Interpolant

    def at(self, t: float) -> Tensor:
        """Return the state at ``t``, (*)."""
        return self.y1 if t == self.t1 else self.curve((t - self.t) / (self.t1 - self.t))


class DenseSolution:
    """The solution at any time of the solve: ``sol(t)``, with ``t`` a number or a tensor (T,), gives (*) or (T, *).

    At the very time of a reset it is the state before.
    """

    def __init__(self, pieces: Sequence[Piece], shapes: Shapes) -> None:
        self._arcs = [Arc(p.step.t, p.step.t1, p.end, p.step.y, p.step.y1, p.curve) for p in pieces]
        self._shapes = shapes
        self.t0, self.t1 = self._arcs[0].t, self._arcs[-1].end
        self._direction = 1.0 if self.t1 >= self.t0 else -1.0
        self._ends = [self._direction * arc.end for arc in self._arcs]

    def __call__(self, t: float | Tensor) -> Any:
        """Return the state at ``t``. Raises ``ValueError`` for a time outside the solve."""
        times = torch.as_tensor(t, dtype=torch.float64)
        states = [self._at(time) for time in times.reshape(-1).tolist()]
        y0 = self._arcs[0].y
        stacked = torch.stack(states) if states else y0.new_zeros((0, *y0.shape))
        return in_parts(stacked.reshape(times.shape + y0.shape), self._shapes)

    def _at(self, t: float) -> Tensor:
        low, high = sorted((self.t0, self.t1))
        if not low <= t <= high:
            raise ValueError(f"t = {t:.10g} is outside the solve, which went from {self.t0:.10g} to {self.t1:.10g}")
        first = self._arcs[0]
        return first.y if t == first.t else self._arcs[bisect_left(self._ends, self._direction * t)].at(t)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle, ``torch.save`` and ``copy`` keep: the numbers without their graph."""
        return {name: detached(value) for name, value in self.__dict__.items()}


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of :func:`ndelib.solve_ivp`.

    It can be pickled, saved by ``torch.save`` (and loaded with ``weights_only=False``) and copied by ``copy.deepcopy``:
    the copy has the same numbers, dense output included, and no graph to differentiate. f and the events are not in it.
    """

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

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle, ``torch.save`` and ``copy`` keep: the numbers without their graph."""
        return {name: detached(value) for name, value in self.__dict__.items()}


def in_parts(y: Tensor, shapes: Shapes) -> Any:
    """Give ``y``, (…, n), the form of a tuple of tensors of ``shapes`` behind leading dimensions."""
    if shapes is None:
        return y
    parts = y.split([math.prod(shape) for shape in shapes], dim=-1)
    return tuple(part.reshape(y.shape[:-1] + shape) for part, shape in zip(parts, shapes, strict=True))


def detached(x: Any) -> Any:
    """Return ``x`` with every tensor in its lists and tuples replaced by its values."""
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(detached, x))
    return type(x)(map(detached, x)) if isinstance(x, (list, tuple)) else x
