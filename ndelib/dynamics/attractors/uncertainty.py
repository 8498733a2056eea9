"""The uncertainty exponent: how slowly better knowledge of the start helps where basins have a fractal border.

Grebogi, McDonald, Ott & Yorke, *Physics Letters A* 99 (1983), 415–418: of all starts, a share f(ε) ~ ε^α has a
neighbour at the distance ε that ends elsewhere. The border's dimension is d − α. A smooth border has α = 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.attractors.scaling import check_sizes, slope, whole


@dataclass(frozen=True, eq=False)
class UncertaintyExponent:
    """``exponent`` α with its ``standard_error``, and what was fitted: ``sizes`` and ``shares``.

    ``dimension`` = d − α is that of the border. The error is the scatter of the slopes between neighbouring sizes, over
    the root of their number.
    """

    exponent: float
    standard_error: float
    dimension: float
    sizes: Tensor
    shares: Tensor


def uncertainty_exponent(
    label: Tensor | Callable[[Tensor], Tensor], sizes: Sequence[float] | Tensor, *, starts: Tensor | None = None
) -> UncertaintyExponent:
    """Measure the share of starts whose label changes within a distance ε, and fit its exponent.

    Args:
        label: an image of labels, in any dimension; pixels are compared with those ε pixels on along each axis.
            Or a function that gives starts (n, d) their labels (n,): each start is compared with the two at the
            distance ε on both sides, in a direction of its own, the same for all ε.
        sizes: the distances ε; for an image in pixels, whole numbers.
        starts: for a function, the starts (n, d): some thousand, spread over the region.

    Raises:
        ValueError: no label changes at some size, or an argument has a wrong value or shape.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import uncertainty_exponent
        >>> half = (torch.arange(256) < 100).expand(256, 256)
        >>> round(uncertainty_exponent(half, [1, 2, 4, 8]).exponent, 2)
        1.0
    """
    values = check_sizes(sizes)
    if isinstance(label, Tensor):
        if label.is_floating_point() and not label.isfinite().all():
            raise ValueError("label must be finite: NaN differs from itself")
        d = label.ndim
        pixels = whole(values, min(label.shape) - 1)
        shares = [_share_in_image(label, size, max(pixels)) for size in pixels]
    else:
        if starts is None or starts.ndim != 2 or not starts.is_floating_point():
            got = "nothing" if starts is None else f"{tuple(starts.shape)}, {starts.dtype}"
            raise ValueError(f"starts must be given, (n, d) of floats, where label is a function; got {got}")
        d = starts.shape[-1]
        direction = torch.randn(starts.shape, dtype=starts.dtype, generator=torch.Generator().manual_seed(0))
        direction = (direction / direction.norm(dim=-1, keepdim=True)).to(starts.device)
        here = label(starts)
        if here.shape != starts.shape[:1]:
            raise ValueError(f"label must give {len(starts)} starts one label each, (n,); got {tuple(here.shape)}")
        shares = [
            ((label(starts + e * direction) != here) | (label(starts - e * direction) != here)).double().mean().item()
            for e in values
        ]
    if min(shares) == 0:
        smallest = [size for size, share in zip(values, shares, strict=True) if share == 0]
        raise ValueError(f"no label changes at the sizes {smallest}: take larger ones, or more starts")
    fitted_sizes = torch.tensor(values, dtype=torch.float64)
    fitted = torch.tensor(shares, dtype=torch.float64)
    exponent, error = slope(fitted_sizes.log(), fitted.log())
    return UncertaintyExponent(exponent, error, d - exponent, fitted_sizes, fitted)


def _share_in_image(label: Tensor, size: int, largest: int) -> float:
    """Return the share of pixels whose label differs ``size`` pixels on, of the same pixels for all sizes."""
    differs = [
        (label.narrow(axis, size, n - largest) != label.narrow(axis, 0, n - largest)).double().mean()
        for axis, n in enumerate(label.shape)
    ]
    return torch.stack(differs).mean().item()
