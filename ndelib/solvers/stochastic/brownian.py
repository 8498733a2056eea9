"""Brownian motion that can be asked for anywhere, in any order, and always gives the same path.

Time is cut into *cells*, whose increments are independent numbers that are drawn by the number of the cell
(``cells.py``). Inside a cell the path is refined by Brownian bridges (``bridges.py``), and areas are put together from
those of cells (``levy.py``). Nothing is stored but what was asked for last, nothing recurs, and the path is a function
of ``entropy``, the cells and t alone.

Sources: Li, Wong, Chen & Duvenaud, Scalable gradients for SDEs, AISTATS 2020, and Kidger, Foster, Li & Lyons, Efficient
and accurate gradients for neural SDEs, NeurIPS 2021, for the tree and the interval that this does without.
"""

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import closest
from ndelib.solvers.stochastic.bridges import Bridges, Place
from ndelib.solvers.stochastic.cells import CellGrid, CellNoise
from ndelib.solvers.stochastic.levy import Increment, expected_area, join
from ndelib.solvers.stochastic.normals import Normals

LevyArea = Literal["none", "space-time", "area"]
LEVELS: dict[LevyArea, int] = {"none": 0, "space-time": 1, "area": 2}

SINGLE = torch.finfo(torch.float32).eps
ULPS = 4
"""how many units in the last place a time may be off, in the precision that it was given in"""


class BrownianMotion:
    """A Brownian path W(t), t₀ ≤ t ≤ t₁, of the shape ``size``; ``bm(s, t)`` is W(t) − W(s).

    The arguments are those of torchsde's ``BrownianInterval``.

    One object is one path: whatever was asked of it, by solves with any steps or directly, in any order, the answers
    fit together, and the same question gets the same answer, bit by bit. Two objects with the same ``entropy`` are the
    same path if their *cells* are the same.

    With ``dt``, cells are given by ``t0``, ``t1``, ``dt`` and ``through``: solves with different steps may each make
    the path anew.

    Without ``dt``, cells are the steps of the first solve (and each interval between its times, if it is adaptive), so
    that its noise costs no more than that of a solve without ``bm``. If first solves differ in their times or steps, so
    do the paths: to compare steps, use one object for all solves, or give ``dt``. A path that was asked for something
    before its first solve keeps the one cell (or those of ``through``) that answered, and is slow to walk along in
    short steps.

    Args:
        t0, t1: where the path begins and ends. A time that is outside by no more than single precision would round it
            is taken for the end.
        size: the shape of W, (*, m): a batch of noises of m channels. (n,) is one noise of n channels; the batch of n
            noises that torchsde means by it is (n, 1).
        dtype, device: of W; those of new tensors if ``None``.
        entropy: the seed; drawn from PyTorch's generator if ``None``. The path is a function of it, the cells,
            ``size``, ``dtype``, the kind of device, and whether areas are kept.
        dt: the longest cell, or ``None`` (see above). Increments over cells are the fastest to have; give the step size
            of the solve, or the finest of several.
        tol: how far a cell is halved: leaves are no longer than this, and in each only one point may be asked for
            without loss: increments between points of one leaf have a wrong law. The 2²⁰th part of a cell at least,
            the 2⁴⁰th at most, and by default the smallest if no ``dt`` cuts the path.
        levy_area_approximation: ``"none"``, ``"space-time"`` (H) or ``"area"`` (H and A). Methods of order 1.5 need H,
            methods of order 1 for general noise A. A is made of the exact areas between cells and of E[A | W, H] in
            each, so its error is that of cells: √(h · dt / 12) in mean square for an interval h. The first solve with a
            method that needs A makes the cells of a path without ``dt`` h²/T long, which suits it.
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
        self.t0, self.t1 = number(t0, "t0"), number(t1, "t1")
        if not (math.isfinite(self.t0) and math.isfinite(self.t1) and self.t0 < self.t1):
            raise ValueError(f"t0 must be before t1, and both finite; got t0 = {self.t0}, t1 = {self.t1}")
        self.shape = _shape(size)
        dt, tol = (
            None if value is None else number(value, name, " or None") for name, value in (("dt", dt), ("tol", tol))
        )
        for name, value in (("dt", dt), ("tol", tol)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value!r}")
        if dt is not None and dt > (self.t1 - self.t0) * (1 + 1e-6):
            raise ValueError(
                f"dt = {shown(dt)} is longer than the path, from t0 = {shown(self.t0)} to t1 = {shown(self.t1)}"
            )
        if levy_area_approximation not in list(LEVELS):
            torchsdes = levy_area_approximation in ("davie", "foster")
            hint = "here that is 'area'" if torchsdes else closest(str(levy_area_approximation), LEVELS)
            raise ValueError(
                f"levy_area_approximation must be one of {list(LEVELS)}; it is {levy_area_approximation!r}: {hint}"
            )
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise TypeError(f"dtype must be a real floating-point type such as torch.float64, got {dtype!r}")
        self.device = torch.empty((), device=device).device
        self.entropy = _new_entropy() if entropy is None else _whole(entropy, "entropy", "an integer or None")
        self.levy_area_approximation: LevyArea = levy_area_approximation
        self.level = LEVELS[levy_area_approximation]
        if isinstance(through, str) or not isinstance(through, Iterable):
            raise TypeError(f"through must be a sequence of times, got {through!r}")
        self.through = tuple(number(t, "a time of through") for t in through)
        self.dt, self.tol = dt, tol
        self._normals = Normals(self.entropy, self.shape, self.dtype, self.device)
        self._lay_cells(dt, self.through)

    def _lay_cells(self, dt: float | None, through: Iterable[float]) -> None:
        """Cut the path into cells that end at ``through`` and are no longer than ``dt``."""
        inner = [self._inside(t, "through must lie within the path: ") for t in through]
        self.grid = CellGrid(sorted({self.t0, self.t1, *inner}), dt)
        widest = max(segment.width for segment in self.grid.segments)
        # No more leaves than t can tell apart, and no fewer than a million.
        finest = max(20, 40 - (self.grid.count - 1).bit_length())
        wanted = (finest if dt is None else 20) if self.tol is None else math.ceil(math.log2(widest / self.tol))
        self._cells = CellNoise(self.grid, self._normals, self.level)
        self._bridges = Bridges(self._cells, min(finest, max(20, wanted)))
        self._last: tuple[float, Place] = self.t0, Place(0, 0, 0.0)

    def prepare(self, dt: float | None, through: Iterable[float]) -> None:
        """Cut the path into the cells that a solve wants, if it was made without ``dt`` and nothing was asked of it.

        :func:`ndelib.sdeint` does so. A path that has cells of its own, or has answered already, stays what it is.
        """
        if self.dt is None and not self._cells.blocks:
            most = 1e11  # cells that a grid can number, on a path that is much longer than the solve
            self._lay_cells(dt and max(dt, (self.t1 - self.t0) / most), (*self.through, *through))

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
            ta: a time of the path. A tensor in single precision means the end of the cell that it is nearest to, if
                no more than rounding lies between.
            tb: another, before or after it.
            return_U: also return U = ∫ (W(r) − W(ta)) dr from ta to tb, as h (W/2 + H).
            return_A: also return the Lévy area A, (*size, m).

        Raises:
            TypeError, ValueError: a time that is none, or outside the path; an area that the path does not keep.
        """
        for wanted, name, least in ((return_U, "return_U", "space-time"), (return_A, "return_A", "area")):
            if wanted and self.level < LEVELS[least]:  # type: ignore[index]
                raise ValueError(f"{name}=True needs a path with levy_area_approximation={least!r}")
        s, t = (self.t0, self._time(ta)) if tb is None else (self._time(ta), self._time(tb))
        found = self.increment(s, t, return_A)
        if not (return_U or return_A):
            return found.W
        return (found.W, *([found.I10] if return_U else []), *([found.A] if return_A else []))

    def increment(self, s: float, t: float, area: bool = True) -> Increment:
        """Return what is kept of the noise from ``s`` to ``t``: W, and H and A if the path has them.

        A, which is m times as large as W, is left out if ``area`` is false.
        """
        if t < s:
            return self.increment(t, s, area).reversed()
        last, place = self._last
        first = place if s == last else self._bridges.place(self._inside(s))
        second = self._bridges.place(self._inside(t))
        self._last = t, second
        area = area and self.level == 2
        if first == second:
            zero = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
            found = Increment(0.0, zero, zero if self.level else None)
        elif first.cell == second.cell:
            found = self._bridges.within(first, second)
        elif second.cell == first.cell + 1 and not (first.leaf or first.inside or second.leaf or second.inside):
            found = self._cells.cell(first.cell)
        else:
            return self._across(first, second, area)
        return with_area(found) if area else found

    def _across(self, first: Place, second: Place, area: bool) -> Increment:
        """Return the increment between two places in different cells."""
        parts: list[Increment | None] = []
        start = first.cell
        if first.leaf or first.inside:
            after = self._bridges.after(first)
            parts, start = [with_area(after) if area else after], start + 1
        parts.append(self._cells.cells(start, second.cell, area))
        if second.leaf or second.inside:
            before = self._bridges.before(second)
            parts.append(with_area(before) if area else before)
        return functools.reduce(join, (part for part in parts if part is not None))

    # Times that single precision has rounded.

    def _inside(self, t: float, who: str = "") -> float:
        """Return ``t``, or the end of the path that it is but for rounding; raise ``ValueError`` further outside."""
        if self.t0 <= t <= self.t1:
            return t
        end = self.t0 if t < self.t0 else self.t1
        if abs(t - end) <= self._slack(SINGLE):
            return end
        raise ValueError(
            f"{who}t = {shown(t)} lies outside the path, which goes from {shown(self.t0)} to {shown(self.t1)}"
        )

    def _slack(self, eps: float) -> float:
        """Return how far a time may be off by rounding; no more than a thousandth of the path."""
        span = self.t1 - self.t0
        return min(ULPS * eps * max(abs(self.t0), abs(self.t1), span), 1e-3 * span)

    def meant(self, t: float, dtype: torch.dtype = torch.float64) -> float:
        """Return the end of a cell that ``t`` is but for rounding in ``dtype``, or ``t``, within the path.

        Raises:
            ValueError: ``t`` lies outside the path.
        """
        t = self._inside(t)
        if dtype.is_floating_point and dtype.itemsize < 8:
            return self.grid.edge_near(t, self._slack(torch.finfo(dtype).eps))
        return t

    def _time(self, t: float | Tensor) -> float:
        """Return a time that a user gave."""
        value = number(t, "a time")
        return self.meant(value, t.dtype) if isinstance(t, Tensor) else value


def with_area(found: Increment) -> Increment:
    """Return ``found`` with what can be known of A from W and H."""
    assert found.H is not None
    return found._replace(A=expected_area(found.W, found.H))


def shown(t: float) -> str:
    """Return ``t`` with the digits that tell it from its neighbours: 0.3, and 0.30000001192092896."""
    return repr(float(t)).removesuffix(".0")


def number(value: Any, name: str, alternative: str = "") -> float:
    """Return ``value`` as a float; raise ``TypeError`` for what is no real number, nor a tensor of one."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{name} must be a number{alternative}, got {value!r}")


def _whole(value: Any, name: str, what: str) -> int:
    """Return ``value`` as an integer; raise ``TypeError`` for what is none: 1.5, but 1.0, too."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {what}, got {value!r}") from None


def _shape(size: Any) -> torch.Size:
    """Return ``size`` as a shape (*, m)."""
    if size is None:
        raise TypeError("size is missing: the shape of the noise, such as (batch, channels)")
    if isinstance(size, str) or not isinstance(size, Iterable):
        example = f": write ({size},)" if isinstance(size, int) else ""
        raise TypeError(f"size must be the shape (*, m) of the noise, such as (batch, channels), got {size!r}{example}")
    shape = [_whole(n, "size", "a shape of integers") for n in size]
    if not shape or min(shape) < 0:
        raise ValueError(f"size must be the shape (*, m) of the noise, with m channels; got {tuple(shape)}")
    return torch.Size(shape)


def _new_entropy() -> int:
    """Return a seed from PyTorch's generator."""
    seed = values(torch.randint(0, 2**63 - 1, (), device="cpu"))
    if seed.numel() != 1:
        raise ValueError(
            "inside vmap with randomness='different' each sample would need a path of its own, and a BrownianMotion is "
            "one path. Solve all samples at once, without vmap: y0 of the shape (*, d) is a batch, with a noise for "
            "each sample. Or make the path before and pass it as bm: then all samples share its noise"
        )
    return int(seed)
