"""A grid of cells in time: equal ones from one given time to the next. Where is t in it?"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ndelib.solvers.fixed_step import count_steps


@dataclass(frozen=True)
class Segment:
    """Equal cells between two given times."""

    start: float
    end: float
    count: int
    first: int
    """the number of its first cell"""

    @property
    def width(self) -> float:
        """The length of a cell."""
        return (self.end - self.start) / self.count


class CellGrid:
    """Cells no longer than ``dt`` that fill the intervals between ``times``, the same as steps of that size would."""

    def __init__(self, times: Sequence[float], dt: float | None) -> None:
        self.segments: list[Segment] = []
        first = 0
        for start, end in pairwise(times):
            count = 1 if dt is None else count_steps(end - start, dt)
            self.segments.append(Segment(start, end, count, first))
            first += count
        self.starts = [segment.start for segment in self.segments]
        self.firsts = [segment.first for segment in self.segments]
        self.count = first

    def locate(self, t: float) -> tuple[int, float]:
        """Return the cell that ``t`` lies in and where in it, from 0 to 1."""
        segment = self.segments[max(0, bisect.bisect_right(self.starts, t) - 1)]
        x = (t - segment.start) / segment.width
        cell = min(max(math.floor(x), 0), segment.count - 1)
        return segment.first + cell, min(max(x - cell, 0.0), 1.0)

    def segment_of(self, cell: int) -> Segment:
        """Return the segment of a cell."""
        return self.segments[bisect.bisect_right(self.firsts, cell) - 1]
