"""A batch whose samples go their own ways: what a loop over them knows of each, and the field that they share.

Everything here is one tensor with one row a sample, so that the samples that still run can be picked out of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.field import CheckedField
from ndelib.solvers.graph import values
from ndelib.solvers.options import Options, check_finite, check_state, check_tolerances, times_tensor
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.step import Field, Method, Statistics


@dataclass(frozen=True)
class SampleStatistics:
    """What a solve did for each sample of a batch, (B,) each."""

    steps: Tensor
    """accepted steps"""
    rejected: Tensor
    """steps that were made and thrown away"""
    nfe: Tensor
    """evaluations of f"""

    def most(self, counts: Statistics) -> None:
        """Write into ``counts`` the numbers of the sample that took most: those of the batch, which counts once."""
        for name in ("steps", "rejected", "nfe"):
            setattr(counts, name, int(getattr(self, name).max()) if self.steps.numel() else 0)


class Samples(NamedTuple):
    """The n samples that still run, in the middle of their solves. Every tensor is (n,) if nothing else is said.

    Times are ``direction · t``, so that they grow (see ``independent.py``).
    """

    number: Tensor
    """of the sample in the batch, counting from 0"""
    t: Tensor
    y: Tensor
    """the state at ``t``, (n, *)"""
    f0: Tensor | None
    """the slope there, (n, *), if it is known"""
    end: Tensor
    """where the sample may go before f jumps or its last time is reached"""
    ahead: Tensor
    """the first of its requested times that lies after ``t``, as an index"""
    h: Tensor
    """the length that the controller allows for the next step; NaN before the first is chosen"""
    errors: Tensor
    """of the last three accepted steps in units of the tolerance, newest first, (n, 3)"""
    grow: Tensor
    """whether the next step may be longer than the last: not directly after a rejection"""
    tried: Tensor
    """steps made"""
    rejected: Tensor
    """steps thrown away"""

    def pick(self, rows: Tensor) -> "Samples":
        """Return the samples in these rows."""
        return Samples(*(None if x is None else x.index_select(0, rows) for x in self))  # type: ignore[arg-type]

    def put(self, rows: Tensor, others: "Samples") -> "Samples":
        """Return these samples with ``others`` in these rows."""
        pairs = zip(self, others, strict=True)
        return Samples(*(None if x is None else x.index_copy(0, rows, other) for x, other in pairs))  # type: ignore


def join(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all ``parts`` as one batch. They stand at a jump of f, so none brings its slope along."""
    tensors = zip(*(part._replace(f0=part.t) for part in parts), strict=True)
    return Samples(*(torch.cat(x) for x in tensors))._replace(f0=None)


class SampleField:
    """The user's ``f(t, y, *args)`` for the samples ``index`` of a batch of ``size``: t (n, 1, …), y (n, *) -> (n, *).

    Those of ``args`` that have a dimension for the samples, in ``dims``, are narrowed to these. Time is
    ``direction · t``, and so is the slope.
    """

    def __init__(
        self,
        checked: CheckedField,
        direction: float,
        size: int,
        index: Tensor,
        args: Sequence[Any],
        dims: Sequence[int | None],
    ) -> None:
        self.checked = checked
        self.direction = direction
        self.size = size
        self.index = index
        self.all_args, self.dims = args, dims
        self.args = tuple(x if d is None else x.index_select(d, index) for x, d in zip(args, dims, strict=True))
        self.calls = 0

    def only(self, index: Tensor) -> "SampleField":
        """Return the field of the samples ``index``."""
        return SampleField(self.checked, self.direction, self.size, index, self.all_args, self.dims)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate f at the times t, (n, 1, …), in double precision; the user gets them in that of y."""
        self.calls += 1
        t = (t if self.direction > 0 else -t).to(y.dtype.to_real())
        if self.checked.low > -math.inf or self.checked.high < math.inf:
            t = t.clamp(self.checked.low, self.checked.high)
        self.checked.args = self.args
        try:
            slope = self.checked.uncounted(t, y)
        except Exception as failure:
            if len(y) == self.size:
                raise
            raise ValueError(
                f"f failed when {len(y)} of the {self.size} samples were left ({type(failure).__name__}: {failure}). "
                'With batch="independent", f gets only samples that still run: pass tensors with a row for each sample '
                "through args=(…), with args_dims=(0, …): f(t, y, *args) gets the rows of these samples"
            ) from failure
        return slope if self.direction > 0 else -slope

    def since(self, t: Tensor, t1: Tensor, h: Tensor) -> Field:
        """Return the field in the time since ``t``; ``h`` stands for ``t1`` itself, which ``t + h`` need not be."""
        return lambda passed, y: self(t1 if passed is h else t + passed, y)

    def of_one(self, row: int) -> Field:
        """Return the field of one sample, without the dimension of the batch and with time as it is (for diagnosis)."""
        field = self.only(self.index[row : row + 1])

        def one(t: float, y: Tensor) -> Tensor:
            clock = torch.full((1,), self.direction * t, dtype=torch.float64, device=y.device)
            return self.direction * field(column(clock, y[None]), y[None])[0]

        return one


def narrow(x: Tensor, index: Tensor, size: int) -> Tensor:
    """Return the rows ``index`` of a tensor that broadcasts to ``size`` rows."""
    return x.index_select(0, index) if x.ndim > 0 and len(x) == size else x


def dims_of_args(options: Options, size: int) -> tuple[int | None, ...]:
    """Return for each of ``args`` the dimension that counts the ``size`` samples, ``None`` for what they share.

    Raises:
        ValueError: it is not said of a tensor that may be meant either way, or what is said does not fit.
    """
    args, dims = options.args, options.args_dims
    if dims is None:
        # of one sample it does not matter
        either = [isinstance(x, Tensor) and x.ndim > 0 and len(x) == size != 1 for x in args]
        if any(either):
            suggestion = ", ".join("0" if e else "None" for e in either) + ("," if len(either) == 1 else "")
            raise ValueError(
                f"args[{either.index(True)}] has {size} rows and the batch {size} samples: write "
                f"args_dims=({suggestion}) if each sample has its row, None for what all samples share"
            )
        return (None,) * len(args)
    for i, (x, dim) in enumerate(zip(args, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(x, Tensor) or not -x.ndim <= dim < x.ndim or x.shape[dim] != size:
            got = f"a tensor of the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"args_dims[{i}] = {dim}, but args[{i}] has no {size} samples there: it is {got}")
    return tuple(dims)


def column(x: Tensor, y: Tensor) -> Tensor:
    """Return x, (n,), as (n, 1, …): one number a sample of ``y``, (n, *)."""
    return x.reshape(-1, *[1] * (y.ndim - 1))


def rms(x: Tensor) -> Tensor:
    """Return the root mean square of each sample of x, (n, *) -> (n,), in double precision.

    The sum of each sample is taken in halves, by additions of whole columns: its rounding cannot depend on n, as that
    of a library's reduction does.
    """
    plain = values(x)
    if plain.shape != x.shape:
        raise ValueError('batch="independent" cannot run inside vmap: make what vmap runs over part of the batch')
    squares = plain.abs().square().reshape(len(plain), -1)
    count = max(1, squares.shape[1])
    while squares.shape[1] > 1:
        half = squares.shape[1] // 2
        folded = squares[:, :half] + squares[:, half : 2 * half]
        squares = folded if squares.shape[1] == 2 * half else torch.cat([folded, squares[:, 2 * half :]], dim=1)
    return (squares.sum(dim=1).double() / count).sqrt()


def select_first_steps(
    f: SampleField, t: Tensor, y: Tensor, f0: Tensor, end: Tensor, k: float, scale: Tensor
) -> Tensor:
    """Return a first step for every sample, (n,), as ``control.select_first_step`` does for one solve."""
    limit, size, slope = end - t, rms(y / scale), rms(f0 / scale)
    trial = torch.where((size > 1e-5) & (slope > 1e-5), 0.01 * size / slope, 1e-6)
    trial = torch.where(torch.isfinite(trial) & (trial > 0), trial, 1e-6)
    trial = torch.minimum(trial, limit)
    f1 = f(column(torch.minimum(t + trial, end), y), y + column(trial.to(y.dtype.to_real()), y) * f0)
    curvature = rms((f1 - f0) / scale) / trial
    steepest = torch.maximum(slope, curvature)
    h = torch.where(steepest <= 1e-15, (1e-3 * trial).clamp(min=1e-6), (0.01 / steepest) ** (1 / k))
    h = torch.minimum(torch.minimum(100 * trial, h), limit)
    return torch.where(torch.isfinite(steepest), h, trial)


def check_independent(f: Any, y0: Any, method: Method, options: Options) -> None:
    """Raise ``TypeError`` or ``ValueError`` where samples cannot have their own steps."""
    if isinstance(f, tuple):
        raise TypeError('f = (velocity, force) is for symplectic methods, which batch="independent" does not have')
    check_state(y0, "y0")
    if y0.ndim == 0:
        raise ValueError(f'with batch="independent" y0 must be a batch (B, …), got the shape {tuple(y0.shape)}')
    if method.tableau is None or not method.adaptive:
        works = ", ".join(m.name for m in METHODS.values() if m.tableau is not None and m.adaptive)
        raise ValueError(f'method {method.name!r} cannot run with batch="independent"; these can: {works}')
    if options.step_size is not None or options.adaptive is False:
        raise ValueError(
            'batch="independent" is for adaptive steps: with fixed ones no sample depends on another anyway'
        )
    for name in ("jacobian", "omega", "compile", "on_step"):
        if getattr(options, name) is not None:
            raise ValueError(f'{name} cannot be used with batch="independent"')
    check_finite(y0, "y0")
    check_tolerances(y0, options.rtol, options.atol)


def check_grid(t: Tensor | Sequence[Any], size: int, device: torch.device) -> Tensor:
    """Return the requested times in double precision, (T,) for all or (B, T) with a row for each sample."""
    t = times_tensor(t)
    if t.requires_grad:
        raise TypeError("t asks for a gradient (t.requires_grad is True), which odeint does not give: pass t.detach()")
    if t.ndim not in (1, 2) or t.shape[-1] == 0 or (t.ndim == 2 and len(t) != size):
        raise ValueError(
            f"t must hold times, (T,), or a row of times for each of the {size} samples, ({size}, T); "
            f"got the shape {tuple(t.shape)}"
        )
    grid = t.to(device, torch.float64)
    if not bool(torch.isfinite(grid).all()):
        raise ValueError("t holds an infinity or NaN; every time must be finite")
    differences = grid.diff(dim=-1)
    wrong = differences.sign() != (differences.flatten()[:1].sign() if differences.numel() else 1)
    if bool((wrong | (differences == 0)).any()):
        place = (wrong | (differences == 0)).nonzero()[0].tolist()
        here, there = ", ".join(map(str, place)), ", ".join(map(str, [*place[:-1], place[-1] + 1]))
        after = grid[tuple([*place[:-1], place[-1] + 1])].item()
        raise ValueError(
            "t must be strictly increasing for every sample, or strictly decreasing for every sample; "
            f"t[{here}] = {grid[tuple(place)].item():g} is followed by t[{there}] = {after:g}"
        )
    return grid


def times_at(grid: Tensor, place: Tensor) -> Tensor:
    """Return the times that stand at ``place``, (n,) or (n, m), in ``grid``, (T,) or (n, T)."""
    place = place.clamp(0, grid.shape[-1] - 1)
    return grid[place] if grid.ndim == 1 else grid.gather(1, place.reshape(len(grid), -1)).reshape(place.shape)


def count_until(grid: Tensor, t: Tensor) -> Tensor:
    """Return how many times of ``grid``, (T,) or (n, T), are not after ``t``, (n,)."""
    if grid.ndim == 1:
        return torch.searchsorted(grid, t, right=True)
    return torch.searchsorted(grid, t[:, None], right=True)[:, 0]
