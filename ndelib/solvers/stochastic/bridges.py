"""Inside a cell the path is refined by Brownian bridges, halving it again and again, each half seeded by where it is.

Nothing is stored but the halves that were made last, and nothing recurs.

Sources: Lévy, Processus stochastiques et mouvement brownien (1948), the bridge; Gaines & Lyons, Variable step size
control in the numerical solution of stochastic differential equations, SIAM J. Appl. Math. 57 (1997) 1455, halving.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from ndelib.solvers.stochastic.cells import CellNoise
from ndelib.solvers.stochastic.levy import Increment, join, remove, split
from ndelib.solvers.stochastic.normals import combine

PAIRS = 48
"""pairs of halves that are remembered: more than a cell has levels, so a walk along the path draws none twice"""


class Place(NamedTuple):
    """Where a time is: in a cell, in one of its leaves, and where in that, from 0 (included) to 1 (excluded)."""

    cell: int
    leaf: int
    inside: float


class Bridges:
    """What lies inside cells, down to leaves, of which a cell has 2^``depth``. Only W and H are kept here, no areas."""

    def __init__(self, cells: CellNoise, depth: int) -> None:
        self.cells, self.depth, self.leaves = cells, depth, 1 << depth
        self.pairs: dict[tuple[int, int, int], tuple[Increment, Increment]] = {}
        self.last_before: tuple[Place | None, Any] = None, None

    def place(self, t: float) -> Place:
        """Return where ``t`` is. What is nearer to the end of a cell than a leaf is taken for it."""
        cell, part = self.cells.grid.locate(t)
        x = part * self.leaves
        if x < 1:
            return Place(cell, 0, 0.0)
        if x > self.leaves - 1:
            return Place(cell + 1, 0, 0.0)
        leaf = round(x)
        if abs(x - leaf) < 1e-3:  # a node of the tree, but for rounding
            return Place(cell, leaf, 0.0)
        leaf = math.floor(x)
        return Place(cell, leaf, x - leaf)

    def within(self, first: Place, second: Place) -> Increment:
        """Return the increment between two places in one cell."""
        leaves = second.leaf - first.leaf
        if first.inside == second.inside == 0.0 and leaves & (leaves - 1) == 0 and first.leaf % leaves == 0:
            return self.node(first.cell, self.depth - (leaves.bit_length() - 1), first.leaf // leaves)
        if first.leaf == 0 and first.inside == 0.0:
            return self.before(second)
        return remove(self.before(second), self.before(first))

    def before(self, place: Place) -> Increment:
        """Return the increment from the beginning of a cell to ``place``, which is not there."""
        last, known = self.last_before
        if place == last:  # most walks ask for the end of the step before
            return known
        found: Increment | None = None
        for node, is_before in self.parts(place):
            if is_before:
                found = node if found is None else join(found, node)
        assert found is not None
        self.last_before = place, found
        return found

    def after(self, place: Place) -> Increment:
        """Return the increment from ``place``, which is not the beginning of a cell, to the end of the cell."""
        found: Increment | None = None
        for node, is_before in self.parts(place):
            if not is_before:
                found = node if found is None else join(node, found)
        assert found is not None
        return found

    def parts(self, place: Place) -> Iterator[tuple[Increment, bool]]:
        """Yield the nodes that the cell falls apart into at ``place``, the largest first, and which lie before it."""
        node, index = self.cells.cell(place.cell), 0
        for level in range(self.depth):
            below = place.leaf & ((1 << (self.depth - level)) - 1)  # leaves of this node that lie before the place
            if below == 0 and place.inside == 0.0:
                yield node, False
                return
            left, right = self.halves(place.cell, level, index, node)
            if below >> (self.depth - level - 1):
                yield left, True
                node, index = right, 2 * index + 1
            else:
                yield right, False
                node, index = left, 2 * index
        if place.inside > 0.0:
            left, node = split(node, place.inside, self.draw(place.cell, self.depth, index))
            yield left, True
        yield node, False

    def node(self, cell: int, level: int, index: int) -> Increment:
        """Return the increment over the part ``index`` of 2^level of a cell."""
        node = self.cells.cell(cell)
        for above in range(level):
            part = index >> (level - above)
            node = self.halves(cell, above, part, node)[(index >> (level - above - 1)) & 1]
        return node

    def halves(self, cell: int, level: int, index: int, node: Increment) -> tuple[Increment, Increment]:
        """Return the two halves of a node: the part ``index`` of 2^level of a cell."""
        key = cell, level, index
        pair = self.pairs.pop(key, None)
        if pair is None:
            if len(self.pairs) >= PAIRS:
                del self.pairs[next(iter(self.pairs))]
            pair = split(node, 0.5, self.draw(cell, level, index))
        self.pairs[key] = pair  # the last now: those that were not used for the longest time go first
        return pair

    def draw(self, cell: int, level: int, index: int) -> Tensor:
        """Return the normal numbers that split a node."""
        # Counters of cells are small; these begin with a set bit.
        return self.cells.normals((1 << 63) | combine(cell, level, index), 1 + (self.cells.level > 0))
