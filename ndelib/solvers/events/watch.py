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

from ndelib.solvers.errors import NonFiniteState, SolverError
from ndelib.solvers.events.crossings import NODES, brackets, root
from ndelib.solvers.events.events import (
    Event,
    Moment,
    locate,
    resolution,
    rounding,
    rounding_of_time,
    slope,
    time_at,
)
from ndelib.solvers.graph import values
from ndelib.solvers.problem import Problem, flatten
from ndelib.solvers.solution import Piece
from ndelib.solvers.steps.step import time_like


class Crossing(NamedTuple):
    """An event inside a step: which column of the table of values, and at which fraction of the step."""

    theta: float
    column: int


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
    """The events of one solve: their values now, and when and where they happened.

    All events are columns of one table: one for an event with a number, B for one with a number for each sample.
    """

    def __init__(self, problem: Problem, events: Sequence[Event], t: float) -> None:
        self.problem, self.events = problem, events
        with torch.no_grad():
            shapes = [self._evaluate(i, t, problem.y0).shape for i in range(len(events))]
        self.columns = [(i, b) for i, shape in enumerate(shapes) for b in (range(shape[0]) if shape else [None])]
        self.batched = [len(shape) > 0 for shape in shapes]
        for i, event in enumerate(events):
            if self.batched[i] and (event.terminal or event.reset):
                raise ValueError(
                    f"events[{i}] gives one value a sample, {tuple(shapes[i])}, but its "
                    f"{'terminal' if event.terminal else 'reset'} acts on the whole batch: let g return a scalar "
                    "(for a single state y[0] instead of y), or solve the samples one by one"
                )
        self.moments: list[list[Moment]] = [[] for _ in self.columns]
        self.last_reset: dict[int, float] = {}
        self.size = torch.zeros(len(self.columns), dtype=torch.float64)
        """the largest |g| in the last step"""
        self.rise = torch.full_like(self.size, math.inf)
        """|dg/dt| where g last began at zero"""
        self._start(t, problem.y0)
        self.starting = torch.ones_like(self.size, dtype=torch.bool)
        """whether the solve has only just begun, so that a column may stand at the event that ended another solve"""

    def _start(self, t: float, y: Tensor) -> None:
        """Begin a solve at ``(t, y)``."""
        self.now = self._row(t, y).cpu().double()
        self.fresh = True
        # What counts as zero where a solve begins, in units of ``size``: rounding, which the first step may magnify.
        self.near = torch.full_like(self.size, max(1e-9, 16 * torch.finfo(y.dtype).eps))

    def _restart(self, moment: Moment, y: Tensor, fired: list[int]) -> None:
        """Begin again at ``y``, after the resets of the columns ``fired``."""
        before = self._row(moment.t, moment.y).cpu().double()
        self._start(moment.t, y)
        self.starting[:] = False
        # What the resets did not touch goes on as it was, however soon its own zero comes ...
        self.near[(self.now - before).abs() <= self.near * self.size] = 0.0
        # ... and what fired stands at zero as well as an event can be located, unless it has been moved away.
        self.near[fired] = math.sqrt(torch.finfo(y.dtype).eps)

    def look(self, piece: Piece) -> Cut | None:
        """Keep the events in ``piece`` in the order of time; return where it must be cut, if it must."""
        step = piece.step
        _ = piece.curve  # made here, where gradients are recorded
        table = self._table(piece)
        at_start = table[0].clone()
        if not torch.isfinite(at_start).all():
            i, _ = self.columns[int((~torch.isfinite(at_start)).int().argmax())]
            raise NonFiniteState(f"events[{i}] is infinite or NaN at t = {step.t:.10g}", t=step.t, h=step.h)
        self.now = table[-1].clone()
        zero = self._divide_out_zeros(piece, table)

        def value(column: int, theta: float) -> float:
            i, b = self.columns[column]
            g = values(self._evaluate(i, time_at(step, theta), piece.curve(theta))).reshape(-1)[b or 0].item()
            return (g - at_start[column].item()) / theta if zero[column] else g

        with torch.no_grad():
            crossings = []
            for bracket in brackets(table, value):
                if self._event(bracket.column).direction * (1 if bracket.rises else -1) >= 0:
                    theta = root(bracket, value, resolution(step))
                    crossings.append(Crossing(theta, bracket.column))
        return self._keep(sorted(crossings), piece)

    def _table(self, piece: Piece) -> Tensor:
        """Return the values at the nodes of a step, (5, M)."""
        step = piece.step
        with torch.no_grad():
            inside = [self._row(time_at(step, theta), piece.curve(theta)) for theta in NODES[1:-1]]
            rows = torch.stack([*inside, self._row(step.t1, step.y1)])
        return torch.cat([self.now[None], rows.cpu().double()])  # one copy from the device a step

    def _divide_out_zeros(self, piece: Piece, table: Tensor) -> Tensor:
        """Replace g by (g − g₀)/θ in columns that begin at zero, and return which, (M,).

        What began at its own zero has had its event or shall have none; the quotient has the sign of g, the slope of g
        where it begins, and only the other zeros: even if the next is nearer than the first node.
        """
        size = table.abs().nan_to_num(0.0).amax(dim=0)
        zero = table[0].abs() <= self.near * torch.maximum(size, self.size) if self.fresh else table[0] == 0.0
        if self.starting.any():
            zero = self._starts_at_zero(piece, table, size, zero)
        nodes = torch.tensor(NODES[1:], dtype=torch.float64)[:, None]
        for column in zero.nonzero()[:, 0].tolist():
            table[1:, [column]] = (table[1:, [column]] - table[0, column]) / nodes
            table[0, column] = slope(self._function(column), piece.step, piece.curve, 0.0)
            self.rise[column] = abs(table[0, column].item() / piece.step.h)
        self.fresh, self.size = False, size
        return zero

    def _starts_at_zero(self, piece: Piece, table: Tensor, size: Tensor, zero: Tensor) -> Tensor:
        """Return which columns begin at zero, (M,), where the solve has only just begun.

        That is, by what rounding makes of y and t. The first step may be so short that g stays within that: its signs
        mean nothing then, and whether g has left zero is asked again after the next step.
        """
        step, zero = piece.step, zero.clone()
        crosses = table[0].sign() * table[1].sign() <= 0
        for column in (self.starting & (crosses | (table[0].abs() <= 1e-3 * size))).nonzero()[:, 0].tolist():
            g = self._function(column)
            blur = 8 * (rounding(g, step.t, step.y) + rounding_of_time(g, step.t, step.y))
            zero[column] |= bool(table[0, column].abs() <= blur)
            if size[column] <= blur:
                table[:, column] = 0.0
                zero[column] = False
            else:
                self.starting[column] = False
        self.starting &= crosses | (table[0].abs() <= 1e-3 * size)
        return zero

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
            event = self._event(column)
            counts[column] += 1
            kept.append(crossing)
            if event.terminal and counts[column] >= int(event.terminal):
                ends.append(column)
            elif event.reset is not None:
                resets.append(column)
            if (ends or resets) and last == math.inf:
                last = crossing.theta + 4 * resolution(step)
        found = [locate(self._function(c.column), step, piece.curve, c.theta) for c in kept]
        for crossing, moment in zip(kept, found, strict=True):
            self.moments[crossing.column].append(moment)
        if ends:
            moment = found[[c.column for c in kept].index(ends[0])]
            return Cut(moment, f"{self._name(ends[0])} ended the solve at t = {moment.t:.10g}")
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
            blurred = interval * self.rise[column].item() / 4 <= 2 * rounding(
                self._function(column), moment.t, moment.y
            )
            if interval <= shortest or blurred:
                raise SolverError(
                    f"{self._name(column)} resets the state again and again at t = {moment.t:.10g}: it has happened "
                    f"{len(self.moments[column])} times, at last after {interval:.1g}, which can no longer be told "
                    "from zero. Infinitely many resets in finite time (Zeno) cannot be followed: end the solve before "
                    "(terminal=True or a number), or let g stop crossing zero when the state comes to rest",
                    t=moment.t,
                    h=step.h,
                )
            self.last_reset[column] = moment.t
        y = moment.y
        time = time_like(moment.t, y) if moment.shift is None else time_like(moment.t, y) + moment.shift
        for column in columns:
            event = self._event(column)
            assert event.reset is not None
            after = event.reset(time, self.problem.unflatten(y.clone()), *self.problem.options.args)
            y = self._checked_reset(after, column)
        start = y
        if moment.shift is not None:
            with torch.no_grad():
                flow = self.problem.field(moment.t, y)
            start = y - flow * moment.shift
        self._restart(moment, start, columns)
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
                f"reset of events[{self.columns[column][0]}] must return a state like y0, of the shape "
                f"{shapes if self.problem.parts is not None else shapes[0]} and dtype {wanted[0].dtype}"
            )
        return flatten(y, "the state after a reset") if isinstance(y, tuple) else parts[0]

    def results(self) -> tuple[list[Any], list[Any]]:
        """Return ``t_events`` and ``y_events``, for each event; for each sample of it where it has samples."""
        times: list[Any] = [[] if batched else None for batched in self.batched]
        states: list[Any] = [[] if batched else None for batched in self.batched]
        for (i, b), moments in zip(self.columns, self.moments, strict=True):
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

    def _event(self, column: int) -> Event:
        return self.events[self.columns[column][0]]

    def _name(self, column: int) -> str:
        i = self.columns[column][0]
        return f"event {i}" + (f" ({self.events[i].name})" if self.events[i].name else "")

    def _function(self, column: int) -> Any:
        """Return ``g(t, y)`` of a column, a scalar."""
        i, b = self.columns[column]
        return (lambda t, y: self._evaluate(i, t, y)) if b is None else (lambda t, y: self._evaluate(i, t, y)[b])

    @torch.no_grad()
    def _row(self, t: float, y: Tensor) -> Tensor:
        """Return the values of all columns at ``(t, y)``, (M,)."""
        every = [values(self._evaluate(i, t, y)).reshape(-1) for i in range(len(self.events))]
        return torch.cat(every) if every else torch.zeros(0)

    def _evaluate(self, i: int, t: Any, y: Tensor) -> Tensor:
        """Return g(t, y) of event ``i``, () or (B,). Raises ``TypeError`` or ``ValueError`` if it is something else."""
        state = self.problem.unflatten(y.clone())  # a copy: an event may write into its y
        time = t if isinstance(t, Tensor) else time_like(t, y)
        g = self.events[i].g(time, state, *self.problem.options.args)
        if not isinstance(g, Tensor):
            raise TypeError(f"events[{i}] must return a tensor, got {type(g).__name__}")
        if not g.is_floating_point():
            raise TypeError(f"events[{i}] must return a real floating-point tensor, got {g.dtype}")
        if g.shape != values(g).shape:
            raise ValueError(f"events[{i}] differs from sample to sample of a vmap: give the batch to y0 instead")
        lengths = {part.shape[:1] for part in self.problem.parts or (self.problem.y0,)}
        if g.ndim > 0 and lengths != {g.shape}:
            batch = f", or one value a sample, {tuple(*lengths)}" if len(lengths) == 1 and any(lengths) else ""
            raise ValueError(f"events[{i}] must return a scalar, of the shape (){batch}; it returned {tuple(g.shape)}")
        return g
