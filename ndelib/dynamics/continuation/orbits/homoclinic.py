"""Where a branch of orbits ends at a homoclinic orbit: its period grows like a logarithm, and p* can be extrapolated.

The nearer an orbit passes a saddle, the longer it stays there. With λ_s < 0 < λ_u the eigenvalues nearest to zero,
|p − p*| ~ e^{−λT} with λ = min(λ_u, −λ_s): Gaspard (1990); Kuznetsov (2004), section 6.2. (For an attracting orbit in
the plane −λ_s > λ_u, so that T ≈ −ln|p − p*| / λ_u.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.newton import newton
from ndelib.dynamics.continuation.orbits.branch import OrbitBranch
from ndelib.dynamics.continuation.problem import FixedPointProblem


@dataclass(frozen=True, eq=False)
class HomoclinicLimit:
    """The homoclinic orbit at the end of a branch of periodic ones."""

    p: float
    """p*, extrapolated along |p − p*| ~ e^{−λT}."""
    saddle: Tensor
    """the equilibrium that the orbit returns to, (d,)."""
    eigenvalues: Tensor
    """of ∂f/∂y there, (d,), complex."""
    leading: float
    """λ = min(λ_u, −λ_s), by the real parts of the eigenvalues nearest to zero."""
    slope: float
    """−d ln|p − p*| / dT as measured on the branch, to be held against ``leading``."""
    uncertainty: float
    """how far the extrapolated p* is from the last p of the branch."""


def homoclinic_limit(orbits: OrbitBranch) -> HomoclinicLimit:
    """Extrapolate the end of a branch whose period grows without bound.

    p* comes from the last two orbits and the saddle's eigenvalue, as in Aitken's Δ²; the slope is fitted to the orbits
    of at least half the longest period whose distance from p* is a thousand times above rounding.

    Args:
        orbits: a branch from :func:`ndelib.dynamics.orbit_continuation` that ends with the longest period.

    Raises:
        ContinuationError: the period does not grow towards the end, the slowest state is not near a saddle, or too few
            orbits are long enough to fit a slope to.
    """
    if not isinstance(orbits, OrbitBranch):
        raise TypeError(f"orbits must be an OrbitBranch of orbit_continuation(...), got {type(orbits).__name__}")
    T, p = orbits.period, orbits.p
    if len(T) < 4 or not T[-1] > T[-2] or T[-1] < 1.5 * T.min():
        raise ContinuationError(
            f"the period does not grow towards the end of the branch (last: {T[-3:].tolist()}): follow it on, with a "
            f"larger max_period or more steps"
        )
    problem = FixedPointProblem(orbits.f)
    saddle = _slowest_equilibrium(problem, orbits)
    eigenvalues = problem.eigenvalues(problem(torch.cat([saddle, p[-1:]]))[1])
    growing, decaying = eigenvalues.real[eigenvalues.real > 0], -eigenvalues.real[eigenvalues.real < 0]
    if len(growing) == 0 or len(decaying) == 0:
        raise ContinuationError(f"the equilibrium {saddle.tolist()} next to the slowest state is not a saddle")
    leading = min(growing.min().item(), decaying.min().item())
    ratio = torch.exp(-leading * (T[-1] - T[-2]))
    limit = (p[-1] - ratio * p[-2]) / (1 - ratio)
    distance = (p - limit).abs()
    used = (T[-1] / 2 <= T) & (distance > 1e-10 * (1 + limit.abs())) & (torch.arange(len(T)) < len(T) - 2)
    if used.sum() < 3:
        raise ContinuationError("fewer than three orbits of half the longest period: take shorter steps, or go further")
    t, y = T[used] - T[used].mean(), distance[used].log()
    slope = -((t @ y) / (t @ t)).item()
    return HomoclinicLimit(limit.item(), saddle, eigenvalues, leading, slope, (limit - p[-1]).abs().item())


def _slowest_equilibrium(problem: FixedPointProblem, orbits: OrbitBranch) -> Tensor:
    """Solve for the equilibrium next to the slowest state of the last orbit."""
    p = orbits.p[-1]
    Y = orbits.orbits[-1].nodes
    slowest = Y[orbits.f(Y, p).norm(dim=1).argmin()]

    def at_p(y: Tensor) -> tuple[Tensor, Tensor]:
        values, J = problem(torch.cat([y, p[None]]))
        return values, J[:, :-1]

    saddle = newton(at_p, slowest, iterations=20).x
    if saddle is None:
        raise ContinuationError(
            f"there is no equilibrium near the slowest state {slowest.tolist()}: follow the branch on"
        )
    return saddle
