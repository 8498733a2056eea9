"""How long a forecast of a chaotic system holds, in units of its own loss of memory.

Source: Pathak, Hunt, Girvan, Lu & Ott, Physical Review Letters 120 (2018) 024102; Vlachas et al., Neural Networks 126
(2020) 191, whose error this is.
"""

from typing import Any

from torch import Tensor

from ndelib.discovery.data import matrix, numbers, times_of


def valid_prediction_time(
    truth: Any, prediction: Any, t: Any, *, threshold: float = 0.4, lyapunov_exponent: float | None = None
) -> float:
    """Return the time at which a forecast first misses by more than ``threshold``; the whole span if it never does.

    The error at a time is the root mean square, over variables, of the error of each divided by its standard deviation
    over ``truth``. Values of the forecast that are not finite miss. The time counts from the first sample.

    Args:
        truth: what happened, (n, d).
        prediction: the forecast, (n, d).
        t: the times, (n,), or the step.
        threshold: the error that still counts as right, in standard deviations.
        lyapunov_exponent: the largest exponent of the system: the result is then in Lyapunov times, 1/exponent.
            About 0.906 for Lorenz.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import valid_prediction_time
        >>> t = np.linspace(0, 20, 2001)
        >>> truth, forecast = np.sin(t), np.sin(1.05 * t)
        >>> round(valid_prediction_time(truth, forecast, t), 2)
        5.86
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, in standard deviations, got {threshold!r}")
    if lyapunov_exponent is not None and not lyapunov_exponent > 0:
        raise ValueError(
            f"lyapunov_exponent must be positive, got {lyapunov_exponent!r}: a system without one is not chaotic; "
            "leave it out for a result in units of t"
        )
    right = matrix(truth, "truth")
    said = _may_blow_up(prediction, "prediction").to(right.device)
    if said.shape != right.shape:
        raise ValueError(
            f"prediction has the shape {tuple(said.shape)} and truth has {tuple(right.shape)}: give a row for each time"
        )
    if t is None:
        raise ValueError("t is missing: give the times of the samples, or the step between them")
    times = times_of(t, len(right), "t", "truth", right.device)
    spread = right.std(dim=0, correction=0)
    if not (spread > 0).all():
        column = int((spread == 0).nonzero()[0])
        raise ValueError(f"truth is constant in column {column}, so errors there have no scale: leave the column out")
    error = ((said - right) / spread).square().mean(dim=1).sqrt()
    wrong = (~(error <= threshold)).nonzero()
    end = int(wrong[0]) if len(wrong) else len(right) - 1
    elapsed = end * times if isinstance(times, float) else float(times[end] - times[0])  # type: ignore[index]
    return elapsed * (lyapunov_exponent or 1.0)


def _may_blow_up(value: Any, name: str) -> Tensor:
    """Return ``value`` as a matrix that may hold NaN: a forecast that is lost."""
    result = numbers(value, name, "an array of numbers, (samples, variables)")
    return result[:, None] if result.ndim == 1 else result
