"""The saltation matrix: by what the linear flow jumps where a solution meets a surface.

Two neighbouring solutions meet the surface at different times, and in between they follow different fields. With
n = ∇h this multiplies their difference by

    S = R + (f_after − R f_before) nᵀ / (nᵀ f_before),

R being the Jacobian of a reset (the identity without one). Sources: Leine & Nijmeijer, *Dynamics and Bifurcations of
Non-Smooth Mechanical Systems* (2004), section 7; di Bernardo et al., *Piecewise-smooth Dynamical Systems* (2008), 2.5.
"""

import torch
from torch import Tensor


def saltation_matrix(before: Tensor, after: Tensor, normal: Tensor, *, reset: Tensor | None = None) -> Tensor:
    """Return S = R + (f_after − R f_before) nᵀ/(nᵀ f_before), (*, d, d).

    Args:
        before: the field on arrival, (*, d).
        after: the field with which the solution goes on, (*, d): that of the other side, or the sliding field.
        normal: ∇h at the state, (*, d).
        reset: the Jacobian of the reset, (*, d, d), where the state jumps too.

    Raises:
        ValueError: the shapes differ, or the solution touches the surface without crossing it (nᵀ f_before = 0).

    Example:
        >>> import torch
        >>> from ndelib.dynamics import saltation_matrix
        >>> before, after = torch.tensor([1.0, 0.0]), torch.tensor([2.0, 3.0])
        >>> saltation_matrix(before, after, torch.tensor([1.0, 0.0]))
        tensor([[2., 0.],
                [3., 1.]])
    """
    if not all(isinstance(x, Tensor) for x in (before, after, normal)):
        raise TypeError("before, after and normal must be tensors, (*, d)")
    if not before.shape == after.shape == normal.shape or before.ndim == 0:
        shapes = [tuple(x.shape) for x in (before, after, normal)]
        raise ValueError(f"before, after and normal must have one shape, (*, d); got {shapes}")
    rate = (normal * before).sum(-1)
    if bool((rate == 0).any()):
        raise ValueError(
            "before is tangent to the surface (nᵀ f = 0): at a grazing contact the flow map has no derivative"
        )
    d = before.shape[-1]
    R = torch.eye(d, dtype=before.dtype, device=before.device) if reset is None else reset
    if R.shape[-2:] != (d, d):
        raise ValueError(f"reset must be the Jacobian of the reset, (*, {d}, {d}), got the shape {tuple(R.shape)}")
    jump = after - (R @ before[..., None])[..., 0]
    return R + jump[..., None] * (normal / rate[..., None])[..., None, :]
