"""Onto the other branch: through a branch point, or from a cycle of a map to the one of twice its period.

Keller (1977); Kuznetsov (2004), section 10.2.3; Seydel (2010), section 5.6.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import jacfwd

from ndelib.dynamics.continuation.branch import POINTS, BifurcationPoint, Branch
from ndelib.dynamics.continuation.equilibria import curve_of, follow, read_stop
from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.problem import FixedPointProblem
from ndelib.dynamics.continuation.pseudo_arclength import Place


def switch_branch(
    branch: Branch, point: BifurcationPoint, *, step: float | None = None, stop_at: str | None = None
) -> Branch:
    """Follow the branch that crosses, or begins, at a ``point`` of ``branch``.

    At a ``"branch"`` point the other branch is followed both ways; the point itself lies in between. At a
    ``"period-doubling"`` point the cycle of twice the period is followed away from the point: one of its points is
    ``y``, and its eigenvalues belong to the map iterated over the new period. At a Hopf point periodic orbits begin:
    follow them with :func:`ndelib.dynamics.orbit_continuation`.

    Args:
        branch: the branch that the point was found on, from which f, p_range and the number of steps are taken.
        point: one of ``branch.points``.
        step: the longest step, if not that of ``branch``.
        stop_at: a kind of point, at the first of which to end.

    Raises:
        ValueError: no branch of equilibria or cycles begins at a point of this kind.
        ContinuationError: there is no second real direction (an isolated point), or f's second derivatives do not
            decide it.
    """
    if not isinstance(branch, Branch) or not isinstance(point, BifurcationPoint):
        raise TypeError(
            f"branch must be a Branch of continuation(...) and point one of its points; "
            f"got {type(branch).__name__} and {type(point).__name__}"
        )
    problem = branch.problem
    read_stop(stop_at, POINTS[problem.kind])
    reach = branch.reach if step is None else replace(branch.reach, step=step)
    z = torch.cat([point.y, torch.tensor([point.p], dtype=torch.float64)])
    if point.kind == "period-doubling":
        doubled = FixedPointProblem(problem.f, "map", 2 * problem.period)
        along = torch.cat([point.vector, torch.zeros(1, dtype=torch.float64)])
        return follow(doubled, _place(doubled, z, along), reach, singular_start=True, stop_at=stop_at)
    if point.kind != "branch":
        hint = {
            "hopf": "periodic orbits begin at it: orbit_continuation(f, point, ...)",
            "fold": "the branch itself goes on beyond it",
            "neimark-sacker": "an invariant curve begins at it, which is not a cycle",
        }
        raise ValueError(f'point must be a "branch" or "period-doubling" point, got a {point.kind}: {hint[point.kind]}')
    along = curve_of(problem, len(z)).unit(other_direction(problem, z, point.tangent))
    forwards, backwards = (
        follow(problem, _place(problem, z, a), reach, singular_start=True, stop_at=stop_at) for a in (along, -along)
    )
    return backwards.joined_before(forwards)


def _place(problem: FixedPointProblem, z: Tensor, tangent: Tensor) -> Place:
    return Place(z, tangent, problem(z)[1])


def other_direction(problem: FixedPointProblem, z: Tensor, tangent: Tensor) -> Tensor:
    """Solve the algebraic branching equation for the direction (d + 1,) of the branch that is not ``tangent``'s.

    Directions lie in the plane of null vectors n₁, n₂ of G′(z). Along c₁n₁ + c₂n₂ the equation ψ·G = 0 holds to second
    order where cᵀQc = 0, Qᵢⱼ = ψ·G″(nᵢ, nⱼ); ψ is the null vector of G′(z)ᵀ.
    """
    U, _, Vh = torch.linalg.svd(problem(z)[1])
    N, psi = Vh[-2:], U[:, -1]

    def psi_G(z: Tensor) -> Tensor:
        return psi @ problem.residual(z[:-1], z[-1])

    Q = N @ jacfwd(jacfwd(psi_G))(z) @ N.T
    size = Q.abs().max().item()
    if Q.det().item() >= -1e-10 * size**2 or size == 0:
        raise ContinuationError(
            f"at p = {z[-1].item():.6g} the second derivatives of f give no second direction (det Q = "
            f"{Q.det().item():.2g}): the point is isolated, or more than two branches meet, or they touch"
        )
    # Q = Σ λᵢ eᵢeᵢᵀ with λ₁ < 0 < λ₂: the form vanishes along √λ₂ e₁ ± √−λ₁ e₂.
    (low, high), E = torch.linalg.eigh(Q)
    both = [(high.sqrt() * E[:, 0] + sign * (-low).sqrt() * E[:, 1]) @ N for sign in (1, -1)]
    return min(both, key=lambda direction: abs((direction @ tangent / direction.norm()).item()))
