"""What ``solve_ivp`` does about events while it steps: notice them, keep them, stop or jump where they ask for it.

A solve with resets is a chain of solves. A reset happens at a time t* that depends on parameters, while everything
asked for later has fixed times; so the state that the next solve starts from must answer for the shift of t*, too.
With δ = t* − its value (zero, but for its gradient) it is

    y(t*) = curve(t*),   y⁺ = reset(t*, y(t*)),   start = y⁺ − f(t*, y⁺) δ:

the first carries the state along the old flow to t*, the last carries the new one back along the new flow to the fixed
value of t*. Their product is the saltation matrix, R + (f⁺ − R f⁻ − R_t) (∂g/∂y) / ġ with R = ∂y⁺/∂y: di Bernardo et
al., *Piecewise-smooth Dynamical Systems* (2008), section 2.5.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.errors import SolverError
from ndelib.solvers.events.columns import Columns
from ndelib.solvers.events.events import Event, Moment, locate, resolution, rounding
from ndelib.solvers.events.zeros import Crossing, Zeros
from ndelib.solvers.problem import Problem, flatten
from ndelib.solvers.solution import Piece
from ndelib.solvers.steps.step import time_like


class Cut(NamedTuple):
    """Where events break the solve off."""

    moment: Moment
    message: str
    """why the solve ends here; empty if it goes on"""
    after: Tensor | None = None
    """the state after the resets"""
    start: Tensor | None = None
    """the state to start the next solve from: ``after``, but for its gradient"""


class Watch:
    """The events of one solve: when and where they happened, and what they did to it."""

    def __init__(self, problem: Problem, events: Sequence[Event], t: float) -> None:
        self.problem, self.events = problem, events
        self.columns = Columns(problem, events, t)
        self.zeros = Zeros(self.columns, t, problem.y0)
        self.moments: list[list[Moment]] = [[] for _ in self.columns.places]
        self.last_reset: dict[int, float] = {}

    def look(self, piece: Piece) -> Cut | None:
        """Keep the events in ``piece`` in the order of time; return where it must be cut, if it must."""
        return self._keep(self.zeros.crossings(piece), piece)

    def _keep(self, crossings: list[Crossing], piece: Piece) -> Cut | None:
        """Keep crossings up to the first that cuts the solve, and those that happen together with it."""
        step, kept = piece.step, []
        counts = [len(moments) for moments in self.moments]
        last = math.inf
        ends: list[int] = []
        resets: list[int] = []
        for crossing in crossings:
            if crossing.theta > last:
                break
            column = crossing.column
            event = self.columns.event(column)
            counts[column] += 1
            kept.append(crossing)
            if event.terminal and counts[column] >= int(event.terminal):
                ends.append(column)
            elif event.reset is not None:
                resets.append(column)
            if (ends or resets) and last == math.inf:
                last = crossing.theta + 4 * resolution(step)
        found = [locate(self.columns.function(c.column), step, piece.curve, c.theta) for c in kept]
        for crossing, moment in zip(kept, found, strict=True):
            self.moments[crossing.column].append(moment)
        if ends:
            moment = found[[c.column for c in kept].index(ends[0])]
            return Cut(moment, f"{self.columns.name(ends[0])} ended the solve at t = {moment.t:.10g}")
        if resets:
            return self._reset(found[[c.column for c in kept].index(resets[0])], resets, piece)
        return None

    def _reset(self, moment: Moment, columns: list[int], piece: Piece) -> Cut:
        """Apply the resets of ``columns`` at ``moment``."""
        step = piece.step
        shortest = max(10 * math.ulp(moment.t), self.problem.options.min_step, 4 * resolution(step) * abs(step.h))
        for column in columns:
            interval = abs(moment.t - self.last_reset.get(column, math.inf))
            # Between two resets g follows an arc of the height ġ⁺ × interval / 4, which may drown in its rounding.
            blurred = interval * self.zeros.rise[column].item() / 4 <= 2 * rounding(
                self.columns.function(column), moment.t, moment.y
            )
            if interval <= shortest or blurred:
                raise SolverError(
                    f"{self.columns.name(column)} resets the state again and again at t = {moment.t:.10g}: it has "
                    f"happened {len(self.moments[column])} times, at last after {interval:.1g}, which can no longer be "
                    "told from zero. Infinitely many resets in finite time (Zeno) cannot be followed: end the solve "
                    "before (terminal=True or a number), or let g stop crossing zero when the state comes to rest",
                    t=moment.t,
                    h=step.h,
                )
            self.last_reset[column] = moment.t
        y = moment.y
        time = time_like(moment.t, y) if moment.shift is None else time_like(moment.t, y) + moment.shift
        for column in columns:
            event = self.columns.event(column)
            assert event.reset is not None
            after = event.reset(time, self.problem.unflatten(y.clone()), *self.problem.options.args)
            y = self._checked_reset(after, column)
        start = y
        if moment.shift is not None:
            with torch.no_grad():
                flow = self.problem.field(moment.t, y)
            start = y - flow * moment.shift
        self.zeros.restart(moment, start, columns)
        return Cut(moment, "", y, start)

    def _checked_reset(self, y: Any, column: int) -> Tensor:
        """Return what a reset returned, as one tensor. Raises ``ValueError`` if it is not like ``y0``."""
        parts = y if isinstance(y, tuple) else (y,)
        wanted = self.problem.parts or (self.problem.y0,)
        if isinstance(y, tuple) != (self.problem.parts is not None) or [
            (p.shape, p.dtype) if isinstance(p, Tensor) else None for p in parts
        ] != [(p.shape, p.dtype) for p in wanted]:
            shapes = [tuple(p.shape) for p in wanted]
            raise ValueError(
                f"reset of events[{self.columns.places[column][0]}] must return a state like y0, of the shape "
                f"{shapes if self.problem.parts is not None else shapes[0]} and dtype {wanted[0].dtype}"
            )
        return flatten(y, "the state after a reset") if isinstance(y, tuple) else parts[0]

    def results(self) -> tuple[list[Any], list[Any]]:
        """Return ``t_events`` and ``y_events``, for each event; for each sample of it where it has samples."""
        times: list[Any] = [[] if batched else None for batched in self.columns.batched]
        states: list[Any] = [[] if batched else None for batched in self.columns.batched]
        for (i, b), moments in zip(self.columns.places, self.moments, strict=True):
            t = torch.stack([m.time for m in moments]) if moments else torch.zeros(0, dtype=torch.float64)
            y0 = self.problem.y0
            stacked = torch.stack([m.y for m in moments]) if moments else y0.new_zeros((0, *y0.shape))
            y = self.problem.unflatten(stacked)
            if b is None:
                times[i], states[i] = t, y
            else:
                times[i].append(t)
                states[i].append(tuple(part[:, b] for part in y) if isinstance(y, tuple) else y[:, b])
        return times, states
