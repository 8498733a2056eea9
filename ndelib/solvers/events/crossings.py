"""Where functions change sign along one step: the search for events on dense output.

Each step is looked at in five points, its ends and three between them, and where three neighbours bend towards zero
also at the vertex of the parabola through them. A step that the tolerance accepts follows a polynomial of low degree,
which seldom turns more often. What is missed: a pair of zeros closer than a quarter of a step that the parabola does
not see, such as a short pulse in g itself; ``max_step`` bounds it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.events.events import find_root

NODES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The points of a step, as fractions of it, at which signs are looked at."""


class Bracket(NamedTuple):
    """A column of the table of values changes its sign between ``a`` and ``b``, fractions of the step."""

    column: int
    a: float
    at_a: float
    b: float
    at_b: float

    @property
    def rises(self) -> bool:
        """Whether the function goes from negative to positive."""
        return self.at_a < 0


def brackets(table: Tensor, value: Callable[[int, float], float]) -> list[Bracket]:
    """Return where the columns of ``table``, (5, M), the values at ``NODES``, change sign.

    ``value(column, theta)`` is asked for more of them. A function that reaches zero exactly at a node has its event
    there, however it goes on; one that begins at zero has none there.
    """
    found = []
    sign = table.sign()
    finite = torch.isfinite(table)
    changes = (sign[:-1] != 0) & (sign[1:] != sign[:-1]) & finite[:-1] & finite[1:]
    for i, column in changes.nonzero().tolist():
        ends = table[i : i + 2, column].tolist()
        found.append(Bracket(column, NODES[i], ends[0], NODES[i + 1], ends[1]))
    return found + _double_crossings(table, sign, value)


def _double_crossings(table: Tensor, sign: Tensor, value: Callable[[int, float], float]) -> list[Bracket]:
    """Return sign changes that come in pairs between two nodes, at a vertex on the other side of zero."""
    left, middle, right = table[:-2], table[1:-1], table[2:]
    bend = left - 2 * middle + right
    offset = (left - right) / (2 * bend)  # of the vertex from the node in the middle, in units of their distance
    lowest = middle - (left - right) ** 2 / (8 * bend)
    same = (sign[:-2] == sign[1:-1]) & (sign[1:-1] == sign[2:])
    nearest = torch.minimum(torch.minimum(left.abs(), middle.abs()), right.abs())
    # Half the smallest value leaves room for what the parabola does not know.
    likely = same & (bend * sign[1:-1] > 0) & (offset.abs() < 1) & (lowest * sign[1:-1] < nearest / 2)
    found: dict[tuple[int, int], list[Bracket]] = {}
    for i, column in likely.nonzero().tolist():
        x = float(offset[i, column])
        first = i if x < 0 else i + 1  # the interval from NODES[first] to the next
        theta = NODES[i + 1] + 0.25 * x
        if (first, column) in found or not NODES[first] < theta < NODES[first + 1]:
            continue
        inside, (a, b) = value(column, theta), table[first : first + 2, column].tolist()
        if inside * a <= 0:
            found[first, column] = [
                Bracket(column, NODES[first], a, theta, inside),
                *([Bracket(column, theta, inside, NODES[first + 1], b)] if inside != 0 else []),
            ]
    return [bracket for pair in found.values() for bracket in pair]


def root(bracket: Bracket, value: Callable[[int, float], float], tolerance: float) -> float:
    """Return the zero inside ``bracket``, a fraction of the step, to ``tolerance``."""
    _, a, at_a, b, at_b = bracket
    return find_root(lambda theta: value(bracket.column, theta), a, at_a, b, at_b, tolerance)
