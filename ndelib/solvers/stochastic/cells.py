"""A grid of cells in time: equal ones from one given time to the next. Where is t in it?"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ndelib.solvers.loops.fixed_step import count_steps


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
