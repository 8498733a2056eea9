"""What a solution of a Filippov system is: states with the field that led to them, meetings, and a function of time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.solution import Solution


@dataclass(frozen=True, eq=False)
class SurfaceEvent:
    """A meeting with the surface."""

    kind: str
    """``"crossing"``, ``"sliding"`` (it begins), ``"leaving"`` (it ends) or ``"grazing"`` (it touched, and stays)"""
    t: float
    time: Tensor
    """the same as ``t``, with its gradient"""
    y: Tensor
    """the state, (d,)"""
    before: int
    """the mode on arrival: -1, 1 for the sides, 0 for sliding"""
    after: int
    """the mode with which it goes on"""
    slope: float
    """nᵀf/(|n||f|) on arrival, the sine of the angle at which the surface was met; 0 where it was touched"""


class Part(NamedTuple):
    """A smooth piece of the solution."""

    mode: int
    start: float
    end: float
    solution: Solution
    place: Callable[[Tensor], Tensor]
    """moves a state of this piece onto the surface if it slides"""


@dataclass(frozen=True, eq=False)
class FilippovSolution:
    """The result of :meth:`Filippov.solve`."""

    t: Tensor
    """the times of ``y``, (T,), float64: those asked for, or the ends of all steps"""
    y: Tensor
    """the states, (T, d)"""
    modes: Tensor
    """with which field each state was reached, (T,): -1 for f₋, 1 for f₊, 0 for sliding"""
    events: tuple[SurfaceEvent, ...]
    """meetings with the surface in the order of time"""
    steps: int
    """accepted steps"""
    nfe: int
    """evaluations of the fields"""
    final_mode: int
    """the mode at the last time, to go on from"""
    parts: tuple[Part, ...] = ()

    def sol(self, t: float | Tensor) -> Tensor:
        """Return the solution at ``t``, a number or (T,): (d,) or (T, d). Needs ``solve(..., dense=True)``."""
        if not self.parts or self.parts[0].solution.dense is None:
            raise ValueError("this solution was not kept as a function of time: call solve(..., dense=True)")
        times = torch.as_tensor(t, dtype=torch.float64)
        states = [self._at(time) for time in times.reshape(-1).tolist()]
        return torch.stack(states).reshape(*times.shape, -1) if states else self.y[:0]

    def _at(self, t: float) -> Tensor:
        first, last = self.parts[0], self.parts[-1]
        way = 1.0 if last.end >= first.start else -1.0
        if not way * first.start <= way * t <= way * last.end:
            raise ValueError(f"t = {t:.10g} is outside the solve, from {first.start:.10g} to {last.end:.10g}")
        part = next(part for part in self.parts if way * t <= way * part.end)
        return part.place(part.solution.sol(t))


class Track:
    """The states to return, with their modes."""

    def __init__(self, z: Tensor, start: float, mode: int, wanted: list[float] | None, way: float) -> None:
        self.wanted, self.way = wanted, way
        self.all_wanted = set(wanted or [])
        here = wanted is None or wanted[:1] == [start]
        self.times: list[Any] = [start] if here else []
        self.states: list[Tensor] = [z] if here else []
        self.modes: list[int] = [mode] if here else []

    def times_for_solver(self, t: float, end: float) -> list[float] | None:
        """Return ``t_eval`` for the next piece: what is still wanted, and the end."""
        if self.wanted is None:
            return None
        rest = [time for time in self.wanted if self.way * time > self.way * t]
        return rest if rest[-1:] == [end] else [*rest, end]

    def add(self, part: Solution, place: Callable[[Tensor], Tensor], mode: int) -> None:
        """Keep what was wanted of a piece."""
        times = part.t.unbind() if part.t.requires_grad else part.t.tolist()
        pairs = list(zip(times, part.y, strict=True))
        if self.wanted is None:
            pairs = pairs[1:]
        for t, z in pairs:
            if self.wanted is None or float(t) in self.all_wanted:
                self.times.append(t)
                self.states.append(place(z))
                self.modes.append(mode)

    def stacked_times(self) -> Tensor:
        """Return the times, (T,)."""
        if any(isinstance(t, Tensor) for t in self.times):
            return torch.stack([torch.as_tensor(t, dtype=torch.float64) for t in self.times])
        return torch.tensor(self.times, dtype=torch.float64)
