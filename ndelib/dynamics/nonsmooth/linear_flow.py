"""The linear flow along a solution that meets surfaces: fundamental matrix, Floquet multipliers, Lyapunov exponents.

Between meetings it obeys Ṁ = Df M, at a meeting it is multiplied by the saltation matrix. Sources: Leine & Nijmeijer
(2004), section 7; Müller, *Chaos, Solitons & Fractals* 5 (1995), for the exponents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ndelib.dynamics.attractors.spectrum import LyapunovSpectrum, first_frame, how_many, spectrum_along
from ndelib.dynamics.nonsmooth.fields import Choice
from ndelib.dynamics.nonsmooth.filippov import Filippov
from ndelib.dynamics.nonsmooth.march import check_state, march


@dataclass(frozen=True, eq=False)
class LinearFlow:
    """A solution's end and the derivative of the flow there. Made by :func:`fundamental_matrix`."""

    y: Tensor
    """the state at the last time, (d,)"""
    matrix: Tensor
    """∂y(t₁)/∂y(t₀), (d, d)"""
    events: tuple[Any, ...]
    """the meetings with the surface, as in :class:`FilippovSolution`, their ``y`` being the vector (y, M)"""


def fundamental_matrix(
    system: Filippov,
    y0: Tensor,
    t_span: Sequence[float],
    *,
    saltation: bool = True,
    repelling: Choice = "error",
    **options: Any,
) -> LinearFlow:
    """Return ∂y(t₁)/∂y(t₀) along the solution from ``y0``, (d,), by the variational equation and saltation matrices.

    Args:
        system: the fields and the surface.
        y0: the state at ``t_span[0]``, (d,).
        t_span: the first and the last time.
        saltation: ``False`` multiplies the Jacobians of the pieces alone: the derivative of no flow, kept to be
            measured against the right one.
        repelling: as in :meth:`Filippov.solve`.
        **options: those of :func:`ndelib.odeint`.

    From a start that slides it is the derivative along the surface: a start beside it is on it at once.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import Filippov, fundamental_matrix
        >>> def speed(v):
        ...     return lambda t, y: torch.full_like(y, v)
        >>> fast = Filippov(speed(1.0), speed(3.0), surface=lambda y: y[..., 0])
        >>> start = torch.tensor([-1.0], dtype=torch.float64)
        >>> flow = fundamental_matrix(fast, start, (0, 2))
        >>> round(flow.matrix.item(), 6)  # who starts ε ahead arrives 3ε ahead
        3.0
        >>> fundamental_matrix(fast, start, (0, 2), saltation=False).matrix.item()
        1.0
    """
    check_state(y0)
    with torch.no_grad():
        d = len(y0)
        eye = torch.eye(d, dtype=y0.dtype, device=y0.device)
        found = march(
            system,
            y0,
            t_span,
            t_eval=[t_span[1]],
            options=options,
            tangent=eye,
            saltation=saltation,
            repelling=repelling,
        )
    z = found.y[-1]
    return LinearFlow(z[:d], z[d:].reshape(d, d), found.events)


def floquet_multipliers(system: Filippov, y: Tensor, period: float, **options: Any) -> Tensor:
    """Return the eigenvalues of the fundamental matrix over one period from ``y``, (d,), complex, by falling size.

    Along the orbit itself nothing grows, so one multiplier is 1; a stable orbit has the others inside the unit circle.
    A multiplier 0 says that the orbit slides: the surface has swallowed a direction.
    """
    if not period > 0:
        raise ValueError(f"period must be positive, got {period}")
    multipliers = torch.linalg.eigvals(fundamental_matrix(system, y, (0.0, period), **options).matrix)
    return multipliers[multipliers.abs().argsort(descending=True)]


def nonsmooth_lyapunov_spectrum(
    system: Filippov,
    y0: Tensor,
    duration: float,
    *,
    transient: float = 0.0,
    count: int | None = None,
    interval: float = 1.0,
    repelling: Choice = "error",
    **options: Any,
) -> LyapunovSpectrum:
    """Return the Lyapunov exponents along the solution from ``y0``, (d,), with saltation matrices at the surface.

    Args:
        system: the fields and the surface. For a :class:`PiecewiseLinear` its own method ``lyapunov_spectrum`` is exact
            between the meetings and a hundred times faster.
        y0: the state at time 0, (d,).
        duration: over which time the growth is averaged.
        transient: how long to wait before, while the state approaches the attractor and the columns their directions.
        count: how many exponents, the largest first; all of them if missing.
        interval: after which time the columns are made orthonormal again.
        repelling: as in :meth:`Filippov.solve`.
        **options: those of :func:`ndelib.odeint`.

    A solution that slides has an exponent −∞: two solutions that fall onto the surface together are one from then on.
    """
    check_state(y0)
    y, d, mode = y0.detach(), len(y0), None

    def carry(t: float, t1: float, Q: Tensor) -> Tensor:
        nonlocal y, mode
        part = march(system, y, (t, t1), t_eval=[t1], tangent=Q, mode=mode, repelling=repelling, options=options)
        y, mode = part.y[-1][:d], part.final_mode
        return part.y[-1][d:].reshape(Q.shape)

    frame = first_frame(y, how_many(d, count))
    return spectrum_along(carry, frame, duration=duration, transient=transient, interval=interval)
