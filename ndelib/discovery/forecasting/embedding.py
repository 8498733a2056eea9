"""Delay coordinates: a trajectory from one measured variable, with a lag and a dimension chosen from the data.

Sources: Takens, LNM 898 (1981) 366; Fraser & Swinney, Physical Review A 33 (1986) 1134, for the lag; Kennel, Brown &
Abarbanel, Physical Review A 45 (1992) 3403, for the dimension.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ndelib.discovery.data import like, matrix, whole_number


def delay_embedding(x: Any, dimension: int, lag: int = 1) -> Any:
    """Return the delay coordinates (x(k), x(k + lag), …, x(k + (dimension − 1) lag)) of a series.

    Args:
        x: samples at even times, (n,) or (n, d).
        dimension: how many delays.
        lag: how many samples lie between two of them.

    Returns:
        (n − (dimension − 1) lag, dimension · d): for each delay, from the first to the last, all variables.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import delay_embedding
        >>> delay_embedding(np.arange(6.0), dimension=3, lag=2)
        array([[0., 2., 4.],
               [1., 3., 5.]])
    """
    series = matrix(x, "x")
    for name, value in (("dimension", dimension), ("lag", lag)):
        whole_number(value, name)
    rows = len(series) - (dimension - 1) * lag
    if rows < 1:
        raise ValueError(
            f"x has {len(series)} samples, and dimension={dimension} with lag={lag} needs at least "
            f"{(dimension - 1) * lag + 1}: measure longer, or take less of one"
        )
    return like(torch.cat([series[i * lag : i * lag + rows] for i in range(dimension)], dim=1), x)


def choose_lag(
    x: Any, max_lag: int = 100, method: Literal["mutual-information", "autocorrelation"] = "mutual-information"
) -> int:
    """Return a lag for delay coordinates: samples that far apart say new things about a series, but not unrelated ones.

    Args:
        x: samples at even times, (n,).
        max_lag: the largest lag to look at.
        method: the first minimum of the mutual information of x(k) and x(k + lag), or the first lag at which the
            autocorrelation is at most zero.

    Raises:
        ValueError: NaN, a constant series, too few samples, or no such lag up to ``max_lag``.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import choose_lag
        >>> wave = np.sin(2 * np.pi * np.arange(2000) / 90)
        >>> choose_lag(wave, method="autocorrelation")  # a quarter of 90
        23
    """
    series = _one_variable(x)
    if len(series) < max_lag + 20:
        raise ValueError(f"x has {len(series)} samples, and max_lag={max_lag} needs at least {max_lag + 20}")
    if method == "autocorrelation":
        centred = series - series.mean()
        for lag in range(1, max_lag + 1):
            if (centred[:-lag] * centred[lag:]).sum() <= 0:
                return lag
        raise ValueError(
            f"the autocorrelation of x has no zero up to max_lag={max_lag}: take a larger one, or a trend out"
        )
    if method != "mutual-information":
        raise ValueError(f'method must be "mutual-information" or "autocorrelation", got {method!r}')
    before = mutual_information(series, 1)
    for lag in range(2, max_lag + 1):
        now = mutual_information(series, lag)
        if now > before:
            return lag - 1
        before = now
    raise ValueError(f"the mutual information of x falls up to max_lag={max_lag}: take a larger one")


def mutual_information(series: Tensor, lag: int) -> float:
    """Return that of x(k) and x(k + lag) in nats, from a histogram with boxes that are equally full on each axis."""
    n = len(series) - lag
    bins = max(4, min(32, round((n / 10) ** 0.5)))
    rank = series.argsort().argsort()
    box = rank * bins // len(series)
    joint = torch.bincount(box[:-lag] * bins + box[lag:], minlength=bins * bins).reshape(bins, bins).double() / n
    independent = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    seen = joint > 0
    return float((joint[seen] * (joint[seen] / independent[seen]).log()).sum())


def false_neighbours(x: Any, lag: int, max_dimension: int = 6, threshold: float = 15.0, most: int = 2000) -> Any:
    """Return the share of false nearest neighbours in each dimension from 1 to ``max_dimension``.

    A neighbour is false if one more delay takes it away: if the distance in that coordinate is more than ``threshold``
    times the distance before, or the new distance is more than two standard deviations of the series. The first
    dimension where the share is about zero unfolds the attractor. Noise keeps it from zero.

    Args:
        x: samples at even times, (n,).
        lag: as in :func:`delay_embedding`; see :func:`choose_lag`.
        max_dimension: the last dimension to try.
        threshold: see above.
        most: how many points to look at, spread over the series; the work grows with the square.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import false_neighbours
        >>> x = np.sin(0.1 * np.arange(2000))  # a circle
        >>> false_neighbours(x, lag=16, max_dimension=3).round(2)
        array([0.4, 0. , 0. ])
    """
    series = _one_variable(x)
    if len(series) < max_dimension * lag + 20:
        raise ValueError(
            f"x has {len(series)} samples, and max_dimension={max_dimension} with lag={lag} needs at least "
            f"{max_dimension * lag + 20}: measure longer, or take less of one"
        )
    points = delay_embedding(series, max_dimension + 1, lag)
    points = points[:: max(len(points) // most, 1)]
    spread = series.std(correction=0)
    shares = []
    for dimension in range(1, max_dimension + 1):
        here = points[:, :dimension]
        distance = torch.cdist(here, here).fill_diagonal_(torch.inf)
        near, who = distance.min(dim=1)
        new = (points[:, dimension] - points[who, dimension]).abs()
        far = (near.square() + new.square()).sqrt() > 2 * spread
        shares.append(((new > threshold * near) & (new > 1e-9 * spread) | far).double().mean())
    return like(torch.stack(shares), x)


def _one_variable(x: Any) -> Tensor:
    """Return a series of one variable, (n,)."""
    series = matrix(x, "x")
    if series.shape[1] != 1:
        raise ValueError(f"x must be one variable, (samples,), got {series.shape[1]}: choose a column")
    if series.std(correction=0) <= 1e-12 * series.abs().max():
        raise ValueError("x is constant: there is nothing to unfold")
    return series[:, 0]
