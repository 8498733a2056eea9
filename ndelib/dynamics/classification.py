"""What a fixed point looks like nearby, read off the eigenvalues of its Jacobian.

Source: Strogatz, *Nonlinear Dynamics and Chaos* (2015), chapters 2, 5 and 6; the types are
Poincaré's (1881).
"""

import math

import torch
from torch import Tensor


def classify(jacobian: Tensor, *, tolerance: float = 1e-8) -> str:
    """Name the type of a fixed point from its Jacobian.

    Args:
        jacobian: (d, d), the matrix ∂fᵢ/∂yⱼ at the fixed point, real.
        tolerance: what counts as zero, relative to the size of the eigenvalues (of the entries if d > 2).

    Returns:
        On the line (d = 1): ``"stable"``, ``"unstable"`` or ``"undecided"``.
        In the plane (d = 2): ``"saddle"``, ``"stable node"``, ``"unstable node"``, ``"stable spiral"``,
        ``"unstable spiral"``, ``"stable star"``, ``"unstable star"``, ``"stable degenerate node"``,
        ``"unstable degenerate node"``, ``"center"``, or ``"undecided"`` for a zero eigenvalue.
        In more dimensions: ``"stable"``, ``"unstable"`` (every direction leaves), ``"saddle"`` or ``"undecided"``.

        ``"center"`` speaks of the linear system. In a nonlinear one the higher terms decide between a center and
        a slow spiral (chapter 2), so do not read more into it. ``"undecided"`` says that some eigenvalue has a real
        part of zero, so that along its direction they decide.

    Raises:
        ValueError: ``jacobian`` is not a finite square matrix.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import classify
        >>> classify(torch.tensor([[0.0, 1.0], [-1.0, -0.5]]))
        'stable spiral'
        >>> classify(torch.diag(torch.tensor([1.0, -1.0])))
        'saddle'
    """
    if jacobian.ndim != 2 or jacobian.shape[0] != jacobian.shape[1] or not torch.isfinite(jacobian).all():
        raise ValueError(f"jacobian must be a finite square matrix, (d, d); got the shape {tuple(jacobian.shape)}")
    J = jacobian.detach().double()
    if jacobian.is_floating_point():
        tolerance = max(tolerance, 8 * torch.finfo(jacobian.dtype).eps)  # finer than its numbers it cannot be
    if J.shape[0] == 2:
        return _classify_planar(J, tolerance)
    zero = tolerance * J.abs().max().item()
    real_parts = torch.linalg.eigvals(J).real
    if (real_parts.abs() <= zero).any():
        # One escaping direction settles the matter whatever the others do, but not which of the names it earns.
        return "undecided"
    if (real_parts < 0).all():
        return "stable"
    return "unstable" if (real_parts > 0).all() else "saddle"


def _classify_planar(J: Tensor, tolerance: float) -> str:
    """Read the trace–determinant plane: λ² − τλ + Δ = 0, hence λ = (τ ± √(τ² − 4Δ)) / 2."""
    largest = J.abs().max().item()
    if largest == 0:
        return "undecided"
    (a, b), (c, d) = (J / largest).tolist()
    # Eigenvalues are as large as the diagonal or √(bc); a large b beside a small c says nothing about them.
    scale = max(abs(a), abs(d), math.sqrt(abs(b * c)))
    zero = tolerance * scale
    trace, determinant, discriminant = a + d, a * d - b * c, (a - d) ** 2 + 4 * b * c
    if abs(determinant) <= zero * scale:
        return "undecided"
    if determinant < 0:
        return "saddle"
    if abs(trace) <= zero:
        return "center"
    stability = "stable" if trace < 0 else "unstable"
    if abs(discriminant) <= zero * scale:
        # A double eigenvalue: a multiple of the identity is a star, anything else has one eigenvector only.
        return f"{stability} star" if max(abs(b), abs(c), abs(a - d) / 2) <= zero else f"{stability} degenerate node"
    return f"{stability} node" if discriminant > 0 else f"{stability} spiral"
