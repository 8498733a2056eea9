"""A grid of cells in time, equal ones from one given time to the next, and the noise of whole cells.

The increments over cells are independent normal numbers whose generator is seeded by the number of the cell
(``normals.py``), so none depends on those before it; longer intervals are sums.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ndelib.solvers.loops.fixed_step import count_steps
from ndelib.solvers.stochastic.levy import Increment, join, join_equal
from ndelib.solvers.stochastic.normals import Normals

BLOCK = 1 << 14
"""numbers that are drawn at a time, about: many small cells, or one large one"""


@dataclass(frozen=True)
class Segment:
    """Equal cells between two given times."""

    start: float
    end: float
    count: int
    first: int
    """the number of its first cell"""
    width: float
    """the length of a cell"""


class CellGrid:
    """Cells no longer than ``dt`` that fill the intervals between ``times``, the same as steps of that size would."""

    def __init__(self, times: Sequence[float], dt: float | None) -> None:
        self.segments: list[Segment] = []
        first = 0
        for start, end in pairwise(times):
            count = 1 if dt is None else count_steps(end - start, dt)
            self.segments.append(Segment(start, end, count, first, (end - start) / count))
            first += count
        self.starts = [segment.start for segment in self.segments]
        self.firsts = [segment.first for segment in self.segments]
        self.count = first
        self.current = self.segments[0]

    def locate(self, t: float) -> tuple[int, float]:
        """Return the cell that ``t`` lies in and where in it, from 0 to 1."""
        segment = self.current  # of the time before: most are near it
        if not segment.start <= t < segment.end:
            segment = self.current = self.segments[max(0, bisect.bisect_right(self.starts, t) - 1)]
        x = (t - segment.start) / segment.width
        cell = int(x)
        if cell >= segment.count:  # the end of the path, or rounding
            return segment.first + segment.count - 1, 1.0
        return segment.first + cell, x - cell

    def segment_of(self, cell: int) -> Segment:
        """Return the segment of a cell."""
        segment = self.current
        if 0 <= cell - segment.first < segment.count:
            return segment
        return self.segments[bisect.bisect_right(self.firsts, cell) - 1]

    def edge_near(self, t: float, slack: float) -> float:
        """Return the end of a cell that is no further from ``t`` than ``slack`` and a hundredth of the cell, or ``t``.

        The ends are the numbers that equal steps of a solve end at.
        """
        cell, part = self.locate(t)
        segment = self.segment_of(cell)
        if part > 0.5:
            cell, part = cell + 1, 1.0 - part
        if part * segment.width > slack or part > 0.01:
            return t
        n = cell - segment.first
        return (
            segment.end if n == segment.count else segment.start + n * ((segment.end - segment.start) / segment.count)
        )


class CellNoise:
    """The noise of the cells of a ``grid``: W, and H if ``level`` is not 0. The blocks drawn last are remembered."""

    def __init__(self, grid: CellGrid, normals: Normals, level: int) -> None:
        self.grid, self.normals, self.level = grid, normals, level
        rows = BLOCK // max(1, math.prod(normals.shape))
        self.rows = max(1, min(rows, max(segment.count for segment in grid.segments)))
        self.blocks: dict[tuple[int, int], Tensor] = {}

    def cell(self, cell: int) -> Increment:
        """Return the increment over one cell."""
        segment = self.grid.segment_of(cell)
        row = (cell - segment.first) % self.rows
        W = self.block(segment, cell, 0)[row]
        return Increment(segment.width, W, self.block(segment, cell, 1)[row] if self.level else None)

    def block(self, segment: Segment, cell: int, kind: int) -> Tensor:
        """Return W (``kind`` 0) or H (1) of the cells of a segment that are drawn together with ``cell``."""
        block = (cell - segment.first) // self.rows
        key = segment.first + block, kind
        found = self.blocks.get(key)
        if found is None:
            while len(self.blocks) >= 4:
                del self.blocks[next(iter(self.blocks))]
            variance = segment.width if kind == 0 else segment.width / 12
            found = self.normals(2 * key[0] + kind, self.rows, math.sqrt(variance))
            self.blocks[key] = found
        return found

    def cells(self, start: int, end: int, area: bool) -> Increment | None:
        """Return the increment over the cells from ``start`` to before ``end``, block by block, with A if ``area``."""
        total: Increment | None = None
        while start < end:
            segment = self.grid.segment_of(start)
            row = (start - segment.first) % self.rows
            stop = min(end, segment.first + segment.count, start - row + self.rows)
            rows = slice(row, row + stop - start)
            H = self.block(segment, start, 1)[rows] if self.level else None
            part = join_equal(segment.width, self.block(segment, start, 0)[rows], H, area)
            total = part if total is None else join(total, part)
            start = stop
        return total
