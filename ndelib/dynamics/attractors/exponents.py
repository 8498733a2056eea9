"""Lyapunov exponents of flows and maps: how fast neighbours part, direction by direction.

Benettin, Galgani, Giorgilli & Strelcyn, *Meccanica* 15 (1980), 9–20 and 21–30: tangent vectors are carried along and
made orthonormal again and again; the exponents are the mean logarithms of R's diagonal. The dimension is that of Kaplan
& Yorke (1979).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Unpack

import torch
from torch import Tensor

from ndelib.dynamics.attractors.starts import starts
from ndelib.solvers.odeint import odeint
from ndelib.solvers.options import SolveOptions
from ndelib.solvers.steps.jacobian import jacobian_by_rows
from ndelib.solvers.steps.methods import MethodLike
from ndelib.solvers.steps.step import VectorField

BLOCKS = 20
"""Into how many pieces of equal length a run is cut for the standard error of its mean."""


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """Exponents of every start, ``exponents`` (*, k), and their ``standard_error`` (*, k).

    The standard error is that of the mean over 20 blocks of the run. It says how much the exponent of this long run
    still wavers; it knows nothing of a transient that was too short, nor of the step's error.
    """

    exponents: Tensor
    standard_error: Tensor

    @property
    def kaplan_yorke(self) -> Tensor:
        """The dimension of Kaplan and Yorke, (*): j + (λ₁ + … + λⱼ)/|λⱼ₊₁|, the largest j whose sum is not negative.

        NaN where all k exponents together are still positive: then ask for more of them, if there are more.
        """
        ordered = self.exponents.sort(dim=-1, descending=True).values
        sums = torch.nn.functional.pad(ordered.cumsum(-1), (1, 0))  # of the first 0, 1, …, k
        j = (sums >= 0).sum(-1, keepdim=True) - 1
        following = torch.nn.functional.pad(ordered, (0, 1), value=math.nan).gather(-1, j)
        return (j + sums.gather(-1, j) / following.abs())[..., 0]

    def over_starts(self) -> "LyapunovSpectrum":
        """Return the mean over all starts, (k,), with the standard error that their scatter gives.

        Only where all starts run to the same attractor.
        """
        if self.exponents.ndim == 1:
            raise ValueError("there is only one start: use its own standard_error")
        exponents = self.exponents.flatten(0, -2)
        return LyapunovSpectrum(exponents.mean(0), exponents.std(0) / math.sqrt(len(exponents)))


def lyapunov_spectrum(
    f: VectorField,
    y0: Tensor,
    duration: float,
    *,
    transient: float = 0.0,
    count: int | None = None,
    interval: float = 0.1,
    method: MethodLike = "rk4",
    **options: Unpack[SolveOptions],
) -> LyapunovSpectrum:
    """Return the Lyapunov exponents of a flow from every start, the largest first.

    The solve carries the states and k tangent vectors, dQ/dt = J(t, y) Q; at the end of every ``interval`` Q becomes
    orthonormal again. Many short runs cost hardly more than one and are pooled by
    :meth:`LyapunovSpectrum.over_starts`.

    Args:
        f: the vector field ``f(t, y)``, called on states (*, d). If it has ``f.jacobian(t, y)``, as the known systems
            do, that is used; otherwise autograd.
        y0: one start (d,) or a batch (*, d), which broadcasts with the parameters of f. Take float64.
        duration: the length of the run after the transient.
        transient: the time that states and tangent vectors get to settle.
        count: how many exponents, k; all d if ``None``.
        interval: the time between two orthonormalisations. Within it neighbours may part by a factor of 10⁶ or so.
        method: the method of :func:`ndelib.odeint`, for instance ``"dopri5"`` with ``rtol=1e-8``.
        options: its options. With ``"rk4"`` steps are of 0.01 if ``step_size`` is not given.

    Raises:
        ValueError: an argument has a wrong value or shape; the message names it.
        SolverError: the solve failed, for instance as a start ran off to infinity.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import lyapunov_spectrum
        >>> def f(t, y):
        ...     return y @ torch.tensor([[-1.0, 3.0], [0.0, -2.0]], dtype=y.dtype).T
        >>> start = torch.ones(2, dtype=torch.float64)
        >>> spectrum = lyapunov_spectrum(f, start, 2.0, transient=18.0, step_size=0.05)
        >>> [round(exponent, 4) for exponent in spectrum.exponents.tolist()]
        [-1.0, -2.0]
    """
    if y0.ndim == 0:
        raise ValueError("y0 must be a start (d,) or a batch (*, d), got a single number: use y0[None]")
    with torch.no_grad():
        y, d = starts(lambda y: f(torch.zeros((), dtype=y.dtype, device=y.device), y), y0, y0.shape[-1], ("f", "y0"))
    k = _count(d, count)
    if not (duration > 0 and transient >= 0 and interval > 0):
        raise ValueError(
            f"duration and interval must be positive and transient not negative; "
            f"got duration = {duration}, interval = {interval}, transient = {transient}"
        )
    if method == "rk4":
        options.setdefault("step_size", 0.01)

    def field(t: Tensor, Y: Tensor) -> Tensor:
        y, Q = Y[..., 0], Y[..., 1:]
        J = f.jacobian(t, y) if hasattr(f, "jacobian") else jacobian_by_rows(lambda y: f(t, y), y)
        return torch.cat([f(t, y)[..., None], J @ Q], dim=-1)

    before = math.ceil(transient / interval)
    length = max(1, round(duration / interval / BLOCKS))  # intervals in a block
    h = duration / (length * BLOCKS)
    times = [i * transient / before for i in range(before)]
    times += [transient + i * h for i in range(length * BLOCKS + 1)]
    logs = []
    with torch.no_grad():
        Y = torch.cat([y[..., None], _first_frame(y, k)], dim=-1)
        for t, t1 in pairwise(times):
            Y = odeint(field, Y, [t, t1], method=method, **options)[-1]
            Q, R = torch.linalg.qr(Y[..., 1:])
            Y = torch.cat([Y[..., :1], Q], dim=-1)
            logs.append(_log_diagonal(R))
    return _mean(torch.stack(logs[before:]).unflatten(0, (BLOCKS, length)).sum(1) / (length * h))


def map_lyapunov_spectrum(
    map: Callable[[Tensor], Tensor],
    x0: float | Tensor,
    steps: int,
    *,
    transient: int = 1000,
    count: int | None = None,
    dimension: int | None = None,
) -> LyapunovSpectrum:
    """Return the Lyapunov exponents of a map from every start and for every parameter, the largest first.

    Args:
        map: the map. If it has ``map.jacobian(x)``, as the known maps do, that is used; otherwise autograd.
        x0: the starts: a number or (*) for a map of the line, else (*, d). They broadcast with the map's parameters.
            Numbers become float64.
        steps: the number of steps after the transient, at least 20; rounded to a multiple of 20.
        transient: the number of steps that states and tangent vectors get to settle.
        count: how many exponents, k; all d if ``None``.
        dimension: d, the length of a state; ``map.dimension`` if ``None``, or 1 if the map does not say. With 1 the
            map acts on every number by itself.

    Returns:
        Exponents (*, k); on the line k = 1. On a superstable cycle they are −∞, or −36 and less where its points are
        rounded; from a start that escapes to infinity NaN. Where log |f′| differs from its mean by a difference
        g(x) − g(f(x)), as for the logistic map at r = 4, the error falls like 1/steps, faster than the standard error.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import LogisticMap, map_lyapunov_spectrum
        >>> spectrum = map_lyapunov_spectrum(LogisticMap(r=torch.tensor([2.5, 4.0])), 0.3, 4000)
        >>> [round(exponent, 2) for exponent in spectrum.exponents[:, 0].tolist()]  # ln ½ and ln 2
        [-0.69, 0.69]
    """
    if steps < BLOCKS or transient < 0:
        raise ValueError(f"steps must be at least {BLOCKS}, transient not negative; got {steps} and {transient}")
    length = round(steps / BLOCKS)
    with torch.no_grad():
        x, d = starts(map, x0, dimension)
        k = _count(d, count)
        Q = _first_frame(x, k) if d > 1 else None
        sums = []
        for block_length in [transient] + BLOCKS * [length]:
            total = torch.zeros(*x.shape[: x.ndim - (d > 1)], k, dtype=x.dtype, device=x.device)
            for _ in range(block_length):
                if Q is None:
                    slope = map.jacobian(x) if hasattr(map, "jacobian") else _slope(map, x)
                    total += slope.abs().log()[..., None]
                else:
                    J = map.jacobian(x) if hasattr(map, "jacobian") else jacobian_by_rows(map, x)
                    Q, R = torch.linalg.qr(J @ Q)
                    total += _log_diagonal(R)
                x = map(x)
            sums.append(total)
        stays = x.isfinite()[..., None] if Q is None else x.isfinite().all(-1, keepdim=True)
    return _mean(torch.where(stays, torch.stack(sums[1:]), math.nan) / length)


def _count(d: int, count: int | None) -> int:
    """Check how many exponents are asked for."""
    if count is not None and not 1 <= count <= d:
        raise ValueError(f"count must be between 1 and the dimension, {d}; got {count}")
    return count or d


def _first_frame(y: Tensor, k: int) -> Tensor:
    """Return k orthonormal vectors for every state, (*, d) -> (*, d, k): the same in every call.

    They are in general position. On the coordinate axes a system whose parts do not act on each other would keep them,
    and the exponents would come in the order of the axes.
    """
    d = y.shape[-1]
    general = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(general)[0][:, :k].to(y).expand(*y.shape, k)


def _log_diagonal(R: Tensor) -> Tensor:
    """Return log |Rᵢᵢ|: (*, k, k) -> (*, k)."""
    return R.diagonal(dim1=-2, dim2=-1).abs().log()


def _slope(map: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the derivative of a map of the line: (*) -> (*)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(map(x).sum(), x)[0]


def _mean(blocks: Tensor) -> LyapunovSpectrum:
    """Return mean and standard error over the first dimension, the blocks."""
    return LyapunovSpectrum(blocks.mean(0), blocks.std(0) / math.sqrt(BLOCKS))
