"""Numbers that change sign along a branch where something happens: Kuznetsov (2004), section 10.2.

All are products over eigenvalues, or determinants, so that they are smooth where eigenvalues meet and become complex.
Each is divided by a positive number of its own size, which leaves its sign and its zeros.
"""

import torch
from torch import Tensor

from ndelib.dynamics.continuation.problem import FixedPointProblem
from ndelib.dynamics.continuation.pseudo_arclength import Place


def pairs(eigenvalues: Tensor) -> tuple[Tensor, Tensor]:
    """Return λᵢ and λⱼ of all pairs i < j, (d (d − 1)/2,) each."""
    i, j = torch.triu_indices(len(eigenvalues), len(eigenvalues), offset=1)
    return eigenvalues[i], eigenvalues[j]


def hopf(eigenvalues: Tensor) -> float:
    """Return Π (λᵢ + λⱼ) over i < j: zero at ±iω, and at a neutral saddle ±λ, which is told apart afterwards."""
    a, b = pairs(eigenvalues)
    return ((a + b) / (a.abs() + b.abs() + 1e-300)).prod().real.item()


def neimark_sacker(multipliers: Tensor) -> float:
    """Return Π (λᵢ λⱼ − 1) over i < j: zero at e^{±iθ}, and at real λ, 1/λ, which is told apart afterwards."""
    a, b = pairs(multipliers)
    return ((a * b - 1) / ((a * b).abs() + 1)).prod().real.item()


def period_doubling(multipliers: Tensor) -> float:
    """Return Π (λᵢ + 1)."""
    return ((multipliers + 1) / (multipliers.abs() + 1)).prod().real.item()


def fold(place: Place) -> float:
    """Return the tangent's component along p: zero where the branch turns in p."""
    return place.tangent[-1].item()


def branch_point(place: Place) -> float:
    """Return det [G′(z); tᵀ]: zero where another branch crosses, and not at a fold."""
    bordered = torch.cat([place.derivative, place.tangent[None]])
    return torch.linalg.det(bordered / bordered.norm(dim=1, keepdim=True).clamp(min=1e-300)).item()


def values(problem: FixedPointProblem, place: Place) -> dict[str, float]:
    """Return every test function of the problem's kind at a place, by the kind of point that it finds."""
    eigenvalues = problem.eigenvalues(place.derivative)
    found = {"fold": fold(place), "branch": branch_point(place)}
    if problem.kind == "map":
        found["period-doubling"] = period_doubling(eigenvalues)
    if len(eigenvalues) > 1:
        if problem.kind == "map":
            found["neimark-sacker"] = neimark_sacker(eigenvalues)
        else:
            found["hopf"] = hopf(eigenvalues)
    return found
