"""Box-counting dimension: a set of dimension D needs about ε^(−D) boxes of size ε.

Falconer, *Fractal Geometry* (2014), chapter 2. The dimension is the limit ε → 0; what a fit over given sizes sees is
its slope there, and its error says nothing of sizes that were not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.attractors.scaling import check_sizes, slope, whole


@dataclass(frozen=True, eq=False)
class BoxDimension:
    """``dimension`` with its ``standard_error``, and what was fitted: ``sizes`` and ``counts``.

    The error is the scatter of the slopes between neighbouring sizes, over the root of their number.
    """

    dimension: float
    standard_error: float
    sizes: Tensor
    counts: Tensor


def box_dimension(points: Tensor, sizes: Sequence[float] | Tensor) -> BoxDimension:
    """Count the boxes of each size that the set meets, and fit the slope of log count against −log size.

    Args:
        points: the set: points (n, d) of floats; or an image of bools, (height, width) or in any dimension.
        sizes: the boxes' sides, in the units of the points; for an image in pixels, whole numbers. Take them well below
            the size of the set, and well above the distance between neighbouring points.

    Raises:
        ValueError: ``points`` has another shape, is empty or not finite, or ``sizes`` are not usable.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import box_dimension
        >>> square = torch.ones(64, 64, dtype=torch.bool)
        >>> round(box_dimension(square, [1, 2, 4, 8]).dimension, 6)
        2.0
    """
    values = check_sizes(sizes)
    if not isinstance(points, Tensor) or not (points.dtype == torch.bool or points.is_floating_point()):
        got = str(points.dtype) if isinstance(points, Tensor) else type(points).__name__
        raise TypeError(f"points must be a tensor, of floats (points) or of bools (an image), got {got}")
    if points.dtype == torch.bool:
        if not points.any():
            raise ValueError("points is an image without a single point of the set")
        where = points.nonzero()
        counts = [len((where // size).unique(dim=0)) for size in whole(values, max(points.shape))]
    else:
        if points.ndim != 2 or not len(points) or not points.isfinite().all():
            raise ValueError(f"points must be finite, (n, d) or an image of bools; got {tuple(points.shape)}")
        counts = [len(torch.floor(points / size).long().unique(dim=0)) for size in values]
    fitted_sizes, fitted = torch.tensor(values, dtype=torch.float64), torch.tensor(counts)
    return BoxDimension(*slope(-fitted_sizes.log(), fitted.double().log()), fitted_sizes, fitted)
