"""Where the orbits of a map end: omega-limit sets for thousands of parameters or starts at once.

Every column is an orbit of its own. One run makes a bifurcation diagram: Strogatz, *Nonlinear Dynamics and Chaos*
(2015), section 10.2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.attractors.starts import starts


@dataclass(frozen=True, eq=False)
class OmegaLimitSets:
    """What the orbits do after the transient, for P starts or parameters (P stands for a shape, also ()).

    ``points``: (keep, P) on the line, else (keep, P, d): the orbits; NaN where one has escaped.
    ``period``: (P,), the least number of steps after which an orbit repeats itself; 0 where none was found: it is
    quasi-periodic, chaotic, has a longer period, needs a longer transient, or has escaped.
    ``escaped``: (P,), whether the orbit left for infinity.
    """

    points: Tensor
    period: Tensor
    escaped: Tensor


def omega_limit_sets(
    map: Callable[[Tensor], Tensor],
    x0: float | Tensor,
    *,
    transient: int = 1000,
    keep: int = 128,
    max_period: int = 64,
    tolerance: float = 1e-6,
    escape: float = 1e6,
    dimension: int | None = None,
) -> OmegaLimitSets:
    """Iterate a map from every start and for every parameter, and keep what is left after the transient.

    Args:
        map: the map, called on all orbits at once. An orbit that escapes does not touch the others.
        x0: the starts: a number or (P,) for a map of the line, else (P, d). They broadcast with the map's parameters.
            Numbers become float64.
        transient: how many steps are made and forgotten. Near a bifurcation orbits settle slowly, and a period is
            reported only if they have.
        keep: how many states are kept, more than ``max_period``.
        max_period: the longest period that is looked for.
        tolerance: how closely an orbit must repeat itself over all that is kept, relative to 1 + its size.
        escape: an orbit that gets farther from 0 than this has escaped.
        dimension: d, the length of a state; ``map.dimension`` if ``None``, or 1 if the map does not say. With 1 the
            map acts on every number by itself.

    Raises:
        ValueError: an argument has a wrong value or shape; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import LogisticMap, omega_limit_sets
        >>> r = torch.tensor([2.8, 3.2, 3.5, 3.83, 4.0, 4.1])
        >>> sets = omega_limit_sets(LogisticMap(r), 0.3)
        >>> sets.period.tolist()
        [1, 2, 4, 3, 0, 0]
        >>> sets.escaped.tolist()
        [False, False, False, False, False, True]
    """
    if transient < 0 or not 1 <= max_period < keep:
        raise ValueError(
            f"transient must not be negative, max_period at least 1, and keep larger than max_period; "
            f"got transient = {transient}, max_period = {max_period}, keep = {keep}"
        )
    if not all(isinstance(number, int) for number in (transient, keep, max_period)):
        raise ValueError(f"transient, keep and max_period must be whole numbers, got {transient}, {keep}, {max_period}")
    if not (tolerance > 0 and escape > 0):
        raise ValueError(f"tolerance and escape must be positive, got {tolerance} and {escape}")
    with torch.no_grad():
        x, d = starts(map, x0, dimension)
        escaped = torch.zeros_like(x, dtype=torch.bool)
        points = x.new_empty(keep, *x.shape)
        for n in range(transient + keep):
            outside = ~(x.abs() <= escape)  # also NaN
            escaped |= outside.any(-1, keepdim=True) if d > 1 else outside
            x = torch.where(escaped, math.nan, x)
            if n >= transient:
                points[n - transient] = x
            x = map(x)
        size = 1 + points[-max_period:].abs().amax(0)
        period = torch.zeros_like(escaped, dtype=torch.long)
        for p in range(max_period, 0, -1):
            repeats = ((points[p:] - points[:-p]).abs() <= tolerance * size).all(0)
            period[repeats.all(-1, keepdim=True).expand_as(repeats) if d > 1 else repeats] = p
    return OmegaLimitSets(points, *((period[..., 0], escaped[..., 0]) if d > 1 else (period, escaped)))
