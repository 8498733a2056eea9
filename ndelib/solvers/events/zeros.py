"""Where events happen in the steps of a solve, and what counts as zero where one begins."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.errors import NonFiniteState
from ndelib.solvers.events.columns import Columns
from ndelib.solvers.events.crossings import NODES, brackets, root
from ndelib.solvers.events.events import Moment, resolution, rounding, rounding_of_time, slope, time_at
from ndelib.solvers.graph import values
from ndelib.solvers.solution import Piece


class Crossing(NamedTuple):
    """An event inside a step: which column of the table of values, and at which fraction of the step."""

    theta: float
    column: int


class Zeros:
    """What is known of the columns between two steps."""

    def __init__(self, columns: Columns, t: float, y: Tensor) -> None:
        self.columns = columns
        self.size = torch.zeros(len(columns), dtype=torch.float64)
        """the largest |g| in the last step"""
        self.rise = torch.full_like(self.size, math.inf)
        """|dg/dt| where g last began at zero"""
        self._start(t, y)
        self.starting = torch.ones_like(self.size, dtype=torch.bool)
        """whether the solve has only just begun, so that a column may stand at the event that ended another solve"""

    def _start(self, t: float, y: Tensor) -> None:
        """Begin a solve at ``(t, y)``."""
        self.now = self.columns.row(t, y).cpu().double()
        self.fresh = True
        # What counts as zero where a solve begins, in units of ``size``: rounding, which the first step may magnify.
        self.near = torch.full_like(self.size, max(1e-9, 16 * torch.finfo(y.dtype).eps))

    def restart(self, moment: Moment, y: Tensor, fired: list[int]) -> None:
        """Begin again at ``y``, after the resets of the columns ``fired``."""
        before = self.columns.row(moment.t, moment.y).cpu().double()
        self._start(moment.t, y)
        self.starting[:] = False
        # What the resets did not touch goes on as it was, however soon its own zero comes ...
        self.near[(self.now - before).abs() <= self.near * self.size] = 0.0
        # ... and what fired stands at zero as well as an event can be located, unless it has been moved away.
        self.near[fired] = math.sqrt(torch.finfo(y.dtype).eps)

    def crossings(self, piece: Piece) -> list[Crossing]:
        """Return the events in ``piece`` in the order of time."""
        step = piece.step
        _ = piece.curve  # made here, where gradients are recorded
        table = self._table(piece)
        at_start = table[0].clone()
        if not torch.isfinite(at_start).all():
            i, _ = self.columns.places[int((~torch.isfinite(at_start)).int().argmax())]
            raise NonFiniteState(f"events[{i}] is infinite or NaN at t = {step.t:.10g}", t=step.t, h=step.h)
        self.now = table[-1].clone()
        zero = self._divide_out_zeros(piece, table)

        def value(column: int, theta: float) -> float:
            i, b = self.columns.places[column]
            g = values(self.columns.evaluate(i, time_at(step, theta), piece.curve(theta))).reshape(-1)[b or 0].item()
            return (g - at_start[column].item()) / theta if zero[column] else g

        with torch.no_grad():
            crossings = []
            for bracket in brackets(table, value):
                if self.columns.event(bracket.column).direction * (1 if bracket.rises else -1) >= 0:
                    theta = root(bracket, value, resolution(step))
                    crossings.append(Crossing(theta, bracket.column))
        return sorted(crossings)

    def _table(self, piece: Piece) -> Tensor:
        """Return the values at the nodes of a step, (5, M)."""
        step = piece.step
        with torch.no_grad():
            inside = [self.columns.row(time_at(step, theta), piece.curve(theta)) for theta in NODES[1:-1]]
            rows = torch.stack([*inside, self.columns.row(step.t1, step.y1)])
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
            table[0, column] = slope(self.columns.function(column), piece.step, piece.curve, 0.0)
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
            g = self.columns.function(column)
            blur = 8 * (rounding(g, step.t, step.y) + rounding_of_time(g, step.t, step.y))
            zero[column] |= bool(table[0, column].abs() <= blur)
            if size[column] <= blur:
                table[:, column] = 0.0
                zero[column] = False
            else:
                self.starting[column] = False
        self.starting &= crosses | (table[0].abs() <= 1e-3 * size)
        return zero
