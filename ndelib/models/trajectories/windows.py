"""Growing windows: fit the beginning of the trajectories first, and let each fit begin where the last one ended.

Source: the "growing the interval" strategy of DiffEqFlux: Rackauckas et al., Universal differential equations for
scientific machine learning, arXiv:2001.04385 (2020).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from ndelib.adjoints.segments import Segments, segments


def growing_windows(
    t: Tensor, y: Any, sizes: Sequence[int] | None = None, *, mask: Tensor | None = None
) -> Iterator[Segments]:
    """Yield the first points of the trajectories, more each time: data for ``fit(field, shooting_loss, window, …)``.

    The weights are carried over by training the same model again. A fit over a long time from random weights sees a
    loss with many valleys; over a short time it does not, and its end is a good start for a longer one.

    Args:
        t: the times, (T,) or (N, T).
        y: the measurements, (T, d) or (N, T, d); all trajectories must have as many points.
        sizes: how many points each window has, growing; ``None``: an eighth, a quarter, half, all.
        mask: True where something was measured, as y.

    Raises:
        TypeError, ValueError: as :func:`segments`; or ``sizes`` do not grow, or do not fit.

    Example:
        >>> import torch
        >>> from ndelib.models import MLP, growing_windows, shooting_loss
        >>> from ndelib.training import fit
        >>> t = torch.linspace(0, 6, 31)
        >>> y, field = torch.stack([t.cos(), t.sin()], -1), MLP(2, width=16)
        >>> for window in growing_windows(t, y, sizes=[8, 16, 31]):
        ...     history = fit(field, shooting_loss, window, steps=60, lr=0.02)
        >>> history.loss[-1] < 0.1
        True
    """
    whole = segments(t, y, mask=mask)
    points = whole.t.shape[1]
    if sizes is None:
        sizes = sorted({max(2, points // 8), max(2, points // 4), max(2, points // 2), points})
    sizes = list(sizes)
    growing = all(isinstance(n, int) for n in sizes) and sorted(set(sizes)) == sizes
    if not sizes or not growing or not sizes[0] >= 2 or not sizes[-1] <= points:
        raise ValueError(f"sizes must be growing numbers of points, from 2 to the {points} there are, got {sizes!r}")
    return (Segments(*(rows[:, :n] for rows in whole)) for n in sizes)
