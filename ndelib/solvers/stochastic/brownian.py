"""Brownian motion that can be asked for anywhere, in any order, and always gives the same path.

Time is cut into *cells*. The increments over cells are independent normal numbers whose generator is seeded by the
number of the cell (``normals.py``), so none depends on those before it; longer intervals are sums. Inside a cell the
path is refined by Brownian bridges, halving it again and again, each half seeded by where it is. Nothing is stored but
what was asked for last, nothing recurs, and the path is a function of ``entropy``, the cells and t alone.

Sources: Lévy, Processus stochastiques et mouvement brownien (1948), the bridge; Gaines & Lyons, Variable step size
control in the numerical solution of stochastic differential equations, SIAM J. Appl. Math. 57 (1997) 1455, halving;
Li, Wong, Chen & Duvenaud, Scalable gradients for SDEs, AISTATS 2020, and Kidger, Foster, Li & Lyons, Efficient and
accurate gradients for neural SDEs, NeurIPS 2021, for the tree and the interval that this does without.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.stochastic.cells import CellGrid, Segment
from ndelib.solvers.stochastic.levy import Increment, expected_area, join, join_equal, remove, split
from ndelib.solvers.stochastic.normals import Normals, combine

LevyArea = Literal["none", "space-time", "area"]
LEVELS: dict[LevyArea, int] = {"none": 0, "space-time": 1, "area": 2}

BLOCK = 1 << 14
"""numbers that are drawn at a time, about: many small cells, or one large one"""
NODES = 64
"""halves of cells that are remembered: enough to walk along a path at any depth without drawing any twice"""


class Place(NamedTuple):
    """Where a time is: in a cell, in one of its leaves, and where in that, from 0 (included) to 1 (excluded)."""

    cell: int
    leaf: int
    inside: float


class BrownianMotion:
    """A Brownian path W(t), t₀ ≤ t ≤ t₁, of the shape ``size``; ``bm(s, t)`` is W(t) − W(s).

    The arguments are those of torchsde's ``BrownianInterval``.

    Args:
        t0, t1: where the path begins and ends.
        size: the shape of W, (*, m): a batch of noises of m channels.
        dtype, device: of W; those of new tensors if ``None``.
        entropy: the seed; drawn from PyTorch's generator if ``None``. The path is a function of it, the cells (``t0``,
            ``t1``, ``dt``, ``through``), ``size``, ``dtype``, the kind of device, and whether areas are kept.
        dt: the longest cell. Increments over cells are the fastest to have; give the step size of the solve, or
            the finest of several. ``None`` makes one cell an interval of ``through``.
        tol: how far a cell is halved: leaves are no longer than this, and in each only one point may be asked for
            without loss: increments between points of one leaf have a wrong law. The 2²⁰th part of a cell at least,
            the 2⁴⁰th at most, and by default the smallest if ``dt`` is ``None``.
        levy_area_approximation: ``"none"``, ``"space-time"`` (H) or ``"area"`` (H and A). Methods of order 1.5 need H,
            methods of order 1 for general noise A. A is made of the exact areas between cells and of E[A | W, H] in
            each, so its error is that of cells: √(h · dt / 12) in mean square for an interval h.
        through: times at which a cell has to end, between ``t0`` and ``t1``: the times at which a solution is wanted.

    Raises:
        TypeError, ValueError: an argument has a wrong type or value.

    Example:
        >>> import torch
        >>> from ndelib import BrownianMotion
        >>> bm = BrownianMotion(0.0, 1.0, size=(2, 3), entropy=1, dt=0.25)
        >>> bm(0.0, 1.0).shape
        torch.Size([2, 3])
        >>> torch.allclose(bm(0.0, 0.3) + bm(0.3, 1.0), bm(0.0, 1.0), atol=1e-6)
        True
    """

    def __init__(
        self,
        t0: float | Tensor = 0.0,
        t1: float | Tensor = 1.0,
        size: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        entropy: int | None = None,
        dt: float | None = None,
        tol: float | None = None,
        levy_area_approximation: LevyArea = "none",
        *,
        through: Sequence[float] = (),
    ) -> None:
        self.t0, self.t1 = float(t0), float(t1)
        if not (math.isfinite(self.t0) and math.isfinite(self.t1) and self.t0 < self.t1):
            raise ValueError(f"t0 must be before t1, and both finite; got t0 = {self.t0}, t1 = {self.t1}")
        if size is None:
            raise TypeError("size is missing: the shape of the noise, such as (batch, channels)")
        if len(size) == 0 or any(not isinstance(n, int) or n < 0 for n in size):
            raise ValueError(f"size must be the shape (*, m) of the noise, with m channels; got {tuple(size)}")
        for name, value in (("dt", dt), ("tol", tol)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value!r}")
        if dt is not None and dt > (self.t1 - self.t0) * (1 + 1e-6):
            raise ValueError(f"dt = {dt:g} is longer than the path, from t0 = {self.t0:g} to t1 = {self.t1:g}")
        if levy_area_approximation not in LEVELS:
            hint = ' (torchsde\'s "davie" and "foster" are "area" here)'
            raise ValueError(
                f"levy_area_approximation must be one of {list(LEVELS)}{hint}; it is {levy_area_approximation!r}"
            )
        self.shape = torch.Size(size)
        self.dtype = dtype or torch.get_default_dtype()
        if not self.dtype.is_floating_point:
            raise TypeError(f"dtype must be a real floating-point type, got {self.dtype}")
        self.device = torch.empty((), device=device).device
        self.entropy = int(torch.randint(0, 2**63 - 1, (), device="cpu")) if entropy is None else int(entropy)
        self.levy_area_approximation: LevyArea = levy_area_approximation
        self.level = LEVELS[levy_area_approximation]
        edges = sorted({self.t0, self.t1, *(float(t) for t in through)})
        if edges[0] < self.t0 or edges[-1] > self.t1:
            raise ValueError(f"through must lie between t0 = {self.t0:g} and t1 = {self.t1:g}")
        self.grid = CellGrid(edges, dt)
        widest = max(segment.width for segment in self.grid.segments)
        # No more leaves than t can tell apart; no fewer than take the times of a float32 for the edge that they mean.
        finest = max(20, 40 - (self.grid.count - 1).bit_length())
        wanted = (finest if dt is None else 20) if tol is None else math.ceil(math.log2(widest / tol))
        self.depth = min(finest, max(20, wanted))
        self._leaves = 1 << self.depth
        self._normals = Normals(self.entropy, self.shape, self.dtype, self.device)
        rows = BLOCK // max(1, self.shape.numel())
        self._rows = max(1, min(rows, max(segment.count for segment in self.grid.segments)))
        self._blocks: dict[tuple[int, int], Tensor] = {}
        self._nodes: dict[tuple[int, int, int], Increment] = {}
        self._last: tuple[float, Place] = self.t0, Place(0, 0, 0.0)

    def __repr__(self) -> str:
        return (
            f"BrownianMotion(t0={self.t0:g}, t1={self.t1:g}, size={tuple(self.shape)}, dtype={self.dtype}, "
            f"device={str(self.device)!r}, entropy={self.entropy}, cells={self.grid.count}, "
            f"levy_area_approximation={self.levy_area_approximation!r})"
        )

    def __call__(
        self, ta: float | Tensor, tb: float | Tensor | None = None, return_U: bool = False, return_A: bool = False
    ) -> Any:
        """Return W(tb) − W(ta), of the shape ``size``; W(ta) − W(t0) if ``tb`` is ``None``.

        Args:
            ta: a time of the path.
            tb: another, before or after it.
            return_U: also return U = ∫ (W(r) − W(ta)) dr from ta to tb, as h (W/2 + H).
            return_A: also return the Lévy area A, (*size, m).

        Raises:
            ValueError: a time outside the path, or an area that the path does not keep.
        """
        s, t = (self.t0, ta) if tb is None else (ta, tb)
        found = self.increment(float(s), float(t))
        if not (return_U or return_A):
            return found.W
        results = [found.W]
        for wanted, name, least in ((return_U, "return_U", "space-time"), (return_A, "return_A", "area")):
            if wanted and self.level < LEVELS[least]:  # type: ignore[index]
                raise ValueError(f"{name}=True needs a path with levy_area_approximation={least!r}")
        if return_U:
            results.append(found.I10)
        if return_A:
            assert found.A is not None
            results.append(found.A)
        return tuple(results)

    def increment(self, s: float, t: float) -> Increment:
        """Return all that is kept of the noise from ``s`` to ``t``: W, and H and A if the path has them."""
        if t < s:
            return self.increment(t, s).reversed()
        last, place = self._last
        first = place if s == last else self._place(s)
        second = self._place(t)
        self._last = t, second
        if first == second:
            zero = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
            return self._with_area(Increment(0.0, zero, zero if self.level else None))
        if first.cell == second.cell:
            return self._with_area(self._within(first, second))
        if second.cell == first.cell + 1 and not (first.leaf or first.inside or second.leaf or second.inside):
            return self._with_area(self._cell(first.cell))
        return self._across(first, second)

    # Where a time is.

    def _place(self, t: float) -> Place:
        """Return where ``t`` is. What is nearer to the end of a cell than a leaf is taken for it."""
        if not self.t0 <= t <= self.t1:
            raise ValueError(f"t = {t:.10g} lies outside the path, which goes from {self.t0:.10g} to {self.t1:.10g}")
        cell, part = self.grid.locate(t)
        x = part * self._leaves
        if x < 1:
            return Place(cell, 0, 0.0)
        if x > self._leaves - 1:
            return Place(cell + 1, 0, 0.0)
        leaf = round(x)
        if abs(x - leaf) < 1e-3:  # a node of the tree, but for rounding
            return Place(cell, leaf, 0.0)
        leaf = math.floor(x)
        return Place(cell, leaf, x - leaf)

    # What the generator gives: whole cells.

    def _cell(self, cell: int) -> Increment:
        segment = self.grid.segment_of(cell)
        row = (cell - segment.first) % self._rows
        W = self._block(segment, cell, 0)[row]
        return Increment(segment.width, W, self._block(segment, cell, 1)[row] if self.level else None)

    def _block(self, segment: Segment, cell: int, kind: int) -> Tensor:
        """Return W (``kind`` 0) or H (1) of the cells of a segment that are drawn together with ``cell``."""
        block = (cell - segment.first) // self._rows
        key = segment.first + block, kind
        found = self._blocks.get(key)
        if found is None:
            while len(self._blocks) >= 4:
                del self._blocks[next(iter(self._blocks))]
            variance = segment.width if kind == 0 else segment.width / 12
            found = self._normals(2 * key[0] + kind, self._rows, math.sqrt(variance))
            self._blocks[key] = found
        return found

    def _cells(self, start: int, end: int) -> Increment | None:
        """Return the increment over the cells from ``start`` to before ``end``, block by block."""
        total: Increment | None = None
        while start < end:
            segment = self.grid.segment_of(start)
            row = (start - segment.first) % self._rows
            stop = min(end, segment.first + segment.count, start - row + self._rows)
            rows = slice(row, row + stop - start)
            H = self._block(segment, start, 1)[rows] if self.level else None
            part = join_equal(segment.width, self._block(segment, start, 0)[rows], H, self.level == 2)
            total = part if total is None else join(total, part)
            start = stop
        return total

    # Inside a cell: halves of halves.

    def _halves(self, cell: int, level: int, index: int, node: Increment) -> tuple[Increment, Increment]:
        """Return the two halves of a node: the part ``index`` of 2^level of a cell."""
        left, right = (cell, level + 1, 2 * index), (cell, level + 1, 2 * index + 1)
        if left not in self._nodes or right not in self._nodes:
            while len(self._nodes) > NODES:
                del self._nodes[next(iter(self._nodes))]
            self._nodes[left], self._nodes[right] = split(node, 0.5, self._draw(cell, level, index))
        return self._nodes[left], self._nodes[right]

    def _draw(self, cell: int, level: int, index: int) -> Tensor:
        # Counters of cells are small; these begin with a set bit.
        return self._normals((1 << 63) | combine(cell, level, index), 1 + (self.level > 0))

    def _parts(self, place: Place) -> tuple[Increment | None, Increment | None]:
        """Return the increments from the beginning of a cell to ``place``, and from there to its end."""
        before: Increment | None = None
        after: Increment | None = None
        node, index = self._cell(place.cell), 0
        for level in range(self.depth):
            below = place.leaf & ((1 << (self.depth - level)) - 1)  # leaves of this node that lie before the place
            if below == 0 and place.inside == 0.0:
                return before, node if after is None else join(node, after)
            left, right = self._halves(place.cell, level, index, node)
            if below >> (self.depth - level - 1):
                before = left if before is None else join(before, left)
                node, index = right, 2 * index + 1
            else:
                after = right if after is None else join(right, after)
                node, index = left, 2 * index
        if place.inside > 0.0:
            left, right = split(node, place.inside, self._draw(place.cell, self.depth, index))
            before = left if before is None else join(before, left)
            node = right
        return before, node if after is None else join(node, after)

    def _node(self, cell: int, level: int, index: int) -> Increment:
        """Return the increment over the part ``index`` of 2^level of a cell."""
        node = self._cell(cell)
        for above in range(level):
            part = index >> (level - above)
            node = self._halves(cell, above, part, node)[(index >> (level - above - 1)) & 1]
        return node

    def _within(self, first: Place, second: Place) -> Increment:
        """Return the increment between two places in one cell."""
        leaves = second.leaf - first.leaf
        if first.inside == second.inside == 0.0 and leaves & (leaves - 1) == 0 and first.leaf % leaves == 0:
            return self._node(first.cell, self.depth - (leaves.bit_length() - 1), first.leaf // leaves)
        whole = self._parts(second)[0]
        assert whole is not None
        if first.leaf == 0 and first.inside == 0.0:
            return whole
        before = self._parts(first)[0]
        assert before is not None
        return remove(whole, before)

    def _across(self, first: Place, second: Place) -> Increment:
        """Return the increment between two places in different cells."""
        total: Increment | None = None
        start = first.cell
        if first.leaf or first.inside:
            after = self._parts(first)[1]
            assert after is not None
            total, start = self._with_area(after), start + 1
        middle = self._cells(start, second.cell)
        if middle is not None:
            total = middle if total is None else join(total, middle)
        if second.leaf or second.inside:
            before = self._parts(second)[0]
            assert before is not None
            before = self._with_area(before)
            total = before if total is None else join(total, before)
        assert total is not None
        return total

    def _with_area(self, found: Increment) -> Increment:
        """Return ``found``, with what can be known of A from W and H if the path keeps areas."""
        if self.level < 2:
            return found
        assert found.H is not None
        return found._replace(A=expected_area(found.W, found.H))
