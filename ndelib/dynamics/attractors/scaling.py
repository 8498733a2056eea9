"""Exponents of power laws read off a log–log plot: a line by least squares, and the error of its slope."""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor


def slope(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the slope of the least-squares line through the points (x, y), (n,) each, and its standard error.

    The error is the scatter of the n − 1 slopes between neighbours, over √(n − 1). That of least squares takes the
    residuals for independent; on a set that repeats itself at smaller scales they are waves, and it is far too small.
    """
    x, order = x.double().sort()
    y = y.double()[order]
    dx = x - x.mean()
    local = y.diff() / x.diff()
    return (dx @ y / (dx @ dx)).item(), (local.std() / math.sqrt(len(local))).item()


def check_sizes(sizes: Sequence[float] | Tensor) -> list[float]:
    """Return the sizes as a list.

    Raises:
        ValueError: there are fewer than three, or one is not positive, or two are equal.
    """
    values = sizes.tolist() if isinstance(sizes, Tensor) else sizes
    values = list(values) if isinstance(values, Iterable) else [values]
    if len(set(values)) < max(3, len(values)) or not all(0 < size < math.inf for size in values):
        raise ValueError(f"sizes must be at least three different positive numbers, got {values}")
    return values


def whole(sizes: list[float], longest: int) -> list[int]:
    """Return sizes in pixels.

    Raises:
        ValueError: one is not a whole number, or is longer than the image.
    """
    if any(size != int(size) or size > longest for size in sizes):
        raise ValueError(f"sizes count pixels of the image: whole numbers up to {longest}, got {sizes}")
    return [int(size) for size in sizes]
