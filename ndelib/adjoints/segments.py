"""Trajectories cut into segments, and one batched solve for all of them, each with times of its own.

Source of the idea: Bock, Recent advances in parameter identification techniques for O.D.E., in Deuflhard & Hairer,
*Numerical Treatment of Inverse Problems* (1983): many short initial value problems instead of a long one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.adjoints.odeint import odeint
from ndelib.solvers.errors import SolverError
from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import MethodLike

Field = Callable[..., Tensor]


class Segments(NamedTuple):
    """Pieces of trajectories, a row each: what ``fit`` takes as ``data``, and a loss after the model."""

    t: Tensor
    """The times, (S, L + 1)."""
    y: Tensor
    """What was measured, (S, L + 1, d); anything finite where nothing was."""
    mask: Tensor
    """Where something was measured, (S, L + 1, d)."""


class SegmentFailed(SolverError):
    """A segment cannot be solved. The message says which, and what to try."""


class Cut(NamedTuple):
    """Segments, and where they were cut from."""

    segments: Segments
    trajectory: Tensor
    """The number of the trajectory, (S,)."""
    first: Tensor
    """The row of the trajectory at which the segment begins, (S,)."""


def segments(t: Any, y: Any, length: int | None = None, *, stride: int | None = None, mask: Any = None) -> Segments:
    """Cut trajectories into pieces of ``length`` intervals; neighbours share a point.

    Where ``length`` does not divide a trajectory, its last piece begins earlier, so that all have the same length and
    none has a gap filled in.

    Args:
        t: the times, (T,), or (N, T) with a row for each trajectory. They need not be even.
        y: the measurements, (T, d) or (N, T, d). A list of trajectories may have different lengths; ``t`` is then a
            list too, or the times of the longest.
        length: intervals of a piece, one less than its points. ``None``: whole trajectories.
        stride: how many intervals later the next piece begins; ``length`` if ``None``, fewer make pieces overlap.
        mask: True where something was measured, of the shape of y or without its last axis. Where it is False, y may be
            NaN. A list where y is one.

    Raises:
        TypeError, ValueError: NaN, decreasing times, unequal lengths, a piece longer than a trajectory; it says where.

    Example:
        >>> import torch
        >>> from ndelib.models import segments
        >>> t = torch.linspace(0, 1, 11)
        >>> pieces = segments(t, torch.sin(t)[:, None], length=5)
        >>> pieces.t
        tensor([[0.0000, 0.1000, 0.2000, 0.3000, 0.4000, 0.5000],
                [0.5000, 0.6000, 0.7000, 0.8000, 0.9000, 1.0000]])
        >>> pieces.y.shape
        torch.Size([2, 6, 1])
    """
    return cut(t, y, length, stride, mask).segments


def cut(t: Any, y: Any, length: int | None = None, stride: int | None = None, mask: Any = None) -> Cut:
    """Return what :func:`segments` does, and where each piece was cut from."""
    parts = _trajectories(t, y, mask)
    sizes = [len(part.t) - 1 for part in parts]
    if length is None:
        if len(set(sizes)) > 1:
            raise ValueError(
                f"y has trajectories of different lengths, from {min(sizes) + 1} to {max(sizes) + 1} points: give "
                f"length, at most {min(sizes)} intervals, to cut them into pieces"
            )
        length = sizes[0]
    for name, value in (("length", length), ("stride", length if stride is None else stride)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of intervals, at least 1, got {value!r}")
    if length > min(sizes):
        where = sizes.index(min(sizes))
        which = f"trajectory {where}" if len(parts) > 1 else "the trajectory"
        raise ValueError(
            f"length={length} intervals is longer than {which}, which has {min(sizes)} (one less than its points): "
            f"take at most {min(sizes)}, or leave that trajectory out"
        )
    stride = length if stride is None else stride
    if stride > length:
        raise ValueError(f"stride={stride} is more than length={length}: some intervals would be in no piece")
    pieces, origin = [], []
    for i, part in enumerate(parts):
        last = sizes[i] - length
        for first in sorted({*range(0, last + 1, stride), last}):
            pieces.append(Segments(*(row[first : first + length + 1] for row in part)))
            origin.append((i, first))
    trajectory, first = torch.tensor(origin, device=parts[0].y.device).unbind(1)
    return Cut(Segments(*(torch.stack(rows) for rows in zip(*pieces, strict=True))), trajectory, first)


def _trajectories(t: Any, y: Any, mask: Any) -> list[Segments]:
    """Return the trajectories one by one, checked."""
    several = isinstance(y, (list, tuple))
    if several and len(y) == 0:
        raise ValueError("y is an empty list: give at least one trajectory, (T, d)")
    ys = list(y) if several else [y]
    for i, part in enumerate(ys):
        name = f"y[{i}]" if several else "y"
        if not isinstance(part, Tensor) or not part.is_floating_point():
            raise TypeError(f"{name} must be a tensor of floating-point numbers, (T, d), got {_kind(part)}")
        if part.ndim not in ((2,) if several else (2, 3)):
            raise ValueError(
                f"{name} must be (T, d)" + ("" if several else " or (N, T, d)") + f", got the shape "
                f"{tuple(part.shape)}" + (": a single variable is y[:, None]" if part.ndim == 1 else "")
            )
    if not several and y.ndim == 3:
        ys = list(y)
    n = len(ys)
    if n == 0:
        raise ValueError("y has no trajectories: its first axis is empty")
    if len({part.shape[1] for part in ys}) > 1:
        raise ValueError(f"y must have the same variables everywhere; they are {[part.shape[1] for part in ys]}")
    ts = list(t) if isinstance(t, (list, tuple)) and t and isinstance(t[0], Tensor) else [t] * n
    if isinstance(t, Tensor) and t.ndim == 2:
        ts = list(t)
    masks = [None] * n if mask is None else list(mask) if several or y.ndim == 3 else [mask]
    for name, given in (("t", ts), ("mask", masks)):
        if len(given) != n:
            raise ValueError(f"{name} has {len(given)} rows and y has {n} trajectories: give one for each")
    one = n == 1 and not several and y.ndim == 2
    return [_one(*row, "" if one else f"[{i}]", several) for i, row in enumerate(zip(ts, ys, masks, strict=True))]


def _one(t: Any, y: Tensor, mask: Any, index: str, may_be_shorter: bool) -> Segments:
    """Check a trajectory; ``index`` is how messages call it."""
    times = torch.as_tensor(t, dtype=y.dtype, device=y.device)
    if may_be_shorter and times.ndim == 1 and len(times) > len(y):
        times = times[: len(y)]
    if times.shape != (len(y),):
        raise ValueError(
            f"t{index} has the shape {tuple(times.shape)} and y{index} has {len(y)} rows: give one time for each row"
        )
    if len(y) < 2:
        raise ValueError(f"y{index} has {len(y)} points: a trajectory needs at least two")
    _check_times(times, f"t{index}")
    seen = torch.ones_like(y, dtype=torch.bool) if mask is None else torch.as_tensor(mask, device=y.device)
    if seen.dtype != torch.bool:
        raise TypeError(f"mask{index} must hold True and False, got {seen.dtype}: write mask.bool()")
    seen = seen[:, None] if seen.ndim == 1 else seen
    if seen.shape not in (y.shape, (len(y), 1)):
        raise ValueError(f"mask{index} must be {tuple(y.shape)} as y, or ({len(y)},), got {tuple(seen.shape)}")
    seen = seen.expand_as(y)
    bad = (~y.isfinite() & seen).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"y{index} has a value that is not finite ({y[row, column].item()}) in row {row}, column {column}: give "
            "mask=y.isfinite() if nothing was measured there"
        )
    empty = (~seen.any(0)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(
            f"mask{index} is False in all rows of column {empty[0]}: nothing was measured of that variable. Leave it "
            "out of y, and say with observe= what of the state was measured"
        )
    return Segments(times, torch.where(seen, y, 0.0), seen)


def _check_times(t: Tensor, name: str) -> None:
    """Raise ``ValueError`` unless the times, (T,), are finite and increase."""
    if not t.isfinite().all():
        raise ValueError(f"{name} has a time that is not finite, in row {int((~t.isfinite()).nonzero()[0])}")
    wrong = (t.diff() <= 0).nonzero()
    if len(wrong):
        i = int(wrong[0]) + 1
        raise ValueError(
            f"{name} must increase: {name}[{i}] = {t[i].item():g} comes after {t[i - 1].item():g}; sort the rows by "
            "time and drop repeated ones"
        )


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def solve_segments(field: Field, y0: Tensor, t: Tensor, *, method: MethodLike = "rk4", **options: Any) -> Tensor:
    """Solve from every row of ``y0`` over the times in the same row of ``t``, all in one solve.

    With the same times for all rows, it is ``odeint``. Else a clock s is put under each row: where all intervals agree,
    s is the time since the row's start; where they do not, it counts the intervals, and in the j-th one
    dy/ds = hⱼ f(tⱼ + (s − j) hⱼ, y).

    Args:
        field: the vector field, ``field(t, y) -> dy/dt`` on (S, d). Where rows have times of their own it gets t as
            (S, 1); if it cannot take that, it is called for a row at a time, by ``torch.func.vmap``.
        y0: where the rows start, (S, d).
        t: the times, (L + 1,), or (S, L + 1).
        method: a method of :func:`ndelib.odeint`. One of fixed steps makes a step from time to time; ``step_size`` then
            counts in s, so it is in units of t, or where rows differ in intervals: 0.5 makes two steps of each.
        **options: options of :func:`ndelib.odeint`.

    Returns:
        The states, (S, L + 1, d).

    Raises:
        SegmentFailed: a row cannot be solved; it says which.

    Example:
        >>> import torch
        >>> from ndelib.models import solve_segments
        >>> t = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> y0 = torch.ones(2, 1, dtype=torch.float64)
        >>> y = solve_segments(lambda t, y: -y, y0, t, method="dopri5")
        >>> y[:, 1, 0].round(decimals=3)  # 1/e and 1/e²
        tensor([0.3680, 0.1350], dtype=torch.float64)
    """
    if y0.ndim < 2 or t.ndim not in (1, 2) or (t.ndim == 2 and len(t) != len(y0)):
        raise ValueError(
            f"y0 must be (S, d), a start for each row, and t (L + 1,) or (S, L + 1); got {tuple(y0.shape)} and "
            f"{tuple(t.shape)}"
        )
    f, clock, more = _under_one_clock(field, t)
    try:
        y = odeint(f, y0, clock, method=method, **(more | options))
    except SolverError as error:
        raise _which_failed(field, y0, t, error, {"method": method, **options}) from error
    return y.transpose(0, 1)


def _under_one_clock(field: Field, t: Tensor) -> tuple[Field, Tensor, dict[str, Any]]:
    """Return a field of a clock that all rows share, the clock's times, and what the solve must know of it."""
    if t.ndim == 1:
        return field, t, {}
    t0, since = t[:, :1], t - t[:, :1]
    rounding = 8 * torch.finfo(t.dtype).eps * t.abs().amax()
    if bool(values((since - since[0]).abs() <= rounding).all()):
        if bool(values(t0 == t0[0]).all()):
            return field, values(t[0]), {}
        return (lambda s, y: at_own_times(field, t0 + s, y)), values(since[0]), {}
    h, count = t.diff(), t.shape[1] - 1

    def f(s: Tensor, y: Tensor) -> Tensor:
        j = min(int(values(s)), count - 1)  # a step asks for f on its own side of a whole number: step_at
        return h[:, j : j + 1] * at_own_times(field, t[:, j : j + 1] + (s - j) * h[:, j : j + 1], y)

    return f, values(torch.arange(count + 1, dtype=t.dtype, device=t.device)), {"step_at": range(count + 1)}


def at_own_times(field: Field, t: Tensor, y: Tensor) -> Tensor:
    """Return the field's value with a time for each row, (S, 1) and (S, d) -> (S, d).

    A field in which t meets single components, such as cos(t) + y[..., 0], would mix rows. Its result has another shape
    then, or it fails, and it is asked for a row at a time.
    """
    try:
        slope = field(t, y)
        if isinstance(slope, Tensor) and slope.shape == y.shape:
            return slope
    except (RuntimeError, IndexError):
        pass
    return torch.func.vmap(field)(t[:, 0], y)


@torch.no_grad()
def _which_failed(field: Field, y0: Tensor, t: Tensor, error: SolverError, how: dict[str, Any]) -> SegmentFailed:
    """Return the error that names the first row which cannot be solved alone."""
    rows = t if t.ndim == 2 else t.expand(len(y0), -1)
    for i, (start, times) in enumerate(zip(y0, rows, strict=True)):
        f, clock, more = _under_one_clock(field, times[None])
        try:
            odeint(f, start[None], clock, **(more | how))
        except SolverError as alone:
            a, b = times[0].item(), times[-1].item()
            return SegmentFailed(
                f"segment {i} of {len(y0)}, from t = {a:g} to {b:g}, cannot be solved from y = {_short(start)}: "
                f"{alone} If the field is in training: shorter segments (length=), gradient_matching first, "
                "a smaller lr or clip=1.0, or a network whose values are bounded",
                t=alone.t,
                h=alone.h,
            )
    return SegmentFailed(
        f"the segments cannot be solved together: {error} Each of them alone can be: try smaller steps (step_size=), "
        "or a looser tolerance",
        t=error.t,
        h=error.h,
    )


def _short(y: Tensor) -> str:
    numbers = ", ".join(f"{value:.3g}" for value in y.flatten()[:4].tolist())
    return f"({numbers}, …)" if y.numel() > 4 else f"({numbers})"
