"""Floquet multipliers: the eigenvalues of the flow's derivative over one period.

Floquet (1883); Kuznetsov (2004), section 1.5. One of them is 1, in the direction of the flow; the others decide.
"""

import torch
from torch import Tensor


def monodromy(Phi: Tensor) -> Tensor:
    """Return Φ_N ⋯ Φ₂Φ₁, the derivative over one period, from those of its segments (N, d, d)."""
    M = torch.eye(Phi.shape[-1], dtype=Phi.dtype)
    for segment in Phi:
        M = segment @ M
    return M


def multipliers(Phi: Tensor) -> Tensor:
    """Return the multipliers (d,), complex, the largest first, from the derivatives of the segments (N, d, d)."""
    values = torch.linalg.eigvals(monodromy(Phi))
    return values[values.abs().argsort(descending=True)]


def nontrivial(multipliers: Tensor) -> Tensor:
    """Leave out the one of the multipliers (d,) that is nearest to 1."""
    keep = torch.arange(len(multipliers)) != (multipliers - 1).abs().argmin()
    return multipliers[keep]


def is_stable(multipliers: Tensor) -> bool:
    """Say whether all multipliers but the trivial one lie inside the unit circle."""
    return bool((nontrivial(multipliers).abs() < 1).all())
