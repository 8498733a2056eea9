"""Basins of attraction: which start ends on which cycle of a map.

Flows come in as maps: the flow over a time T, or over one period of a drive.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.attractors.omega_limit import omega_limit_sets

ESCAPED, UNDECIDED = -1, -2
MOST = 200
"""So many attractors are found at most: beyond that, orbits have not settled."""


@dataclass(frozen=True, eq=False)
class Basins:
    """``labels`` (*): k says that the start ends on ``attractors[k]``, −1 that it escapes, −2 that no cycle was found.

    ``attractors``: for each cycle its points in the order of the orbit, (period,) on the line, else (period, d). They
    come in the order in which the starts find them.
    """

    labels: Tensor
    attractors: list[Tensor]


def basins(
    map: Callable[[Tensor], Tensor],
    x0: Tensor,
    *,
    transient: int = 1000,
    max_period: int = 16,
    tolerance: float = 1e-6,
    escape: float = 1e6,
    dimension: int | None = None,
) -> Basins:
    """Find on which cycle each start ends. The arguments are those of :func:`omega_limit_sets`.

    Two starts have the same label if the last state of one lies on the cycle of the other, within 100 tolerances.

    Raises:
        ValueError: more than 200 different cycles were found, so orbits have not settled; or an argument has a wrong
            value or shape.

    Example:
        >>> import torch  # the double well ẍ = x − x³ − ẋ: its flow over one unit
        >>> from ndelib import odeint
        >>> from ndelib.dynamics import Duffing, basins
        >>> well = Duffing(delta=1.0, gamma=0.0)
        >>> starts = torch.tensor([[0.5, 0.0], [-0.5, 0.0], [-0.5, 1.5]]).double()
        >>> def flow(y):
        ...     return odeint(well, y, [0.0, 1.0], method="rk4", step_size=0.05)[-1]
        >>> found = basins(flow, starts, transient=50, dimension=2)
        >>> found.labels.tolist()
        [0, 1, 0]
        >>> [[round(x, 4) for x in cycle[0].tolist()] for cycle in found.attractors]
        [[1.0, 0.0], [-1.0, -0.0]]
    """
    sets = omega_limit_sets(
        map,
        x0,
        transient=transient,
        keep=2 * max_period,
        max_period=max_period,
        tolerance=tolerance,
        escape=escape,
        dimension=dimension,
    )
    on_the_line = sets.points.ndim == 1 + sets.period.ndim
    points = sets.points[..., None] if on_the_line else sets.points
    points = points.reshape(len(points), -1, points.shape[-1])  # (keep, P, d)
    period, escaped = sets.period.flatten(), sets.escaped.flatten()
    labels = torch.where(escaped, ESCAPED, UNDECIDED)
    attractors: list[Tensor] = []
    waiting = period > 0
    while waiting.any():
        if len(attractors) == MOST:
            raise ValueError(
                f"more than {MOST} different cycles were found: the orbits have not settled, so raise transient "
                f"(now {transient}) or tolerance (now {tolerance})"
            )
        first = int(waiting.nonzero()[0])
        cycle = points[-int(period[first]) :, first]
        distance = torch.stack([(points[-1] - state).abs().amax(-1) for state in cycle]).amin(0)
        same = waiting & (distance <= 100 * tolerance * (1 + cycle.abs().max()))
        labels[same] = len(attractors)
        attractors.append(cycle[:, 0] if on_the_line else cycle)
        waiting &= ~same
    return Basins(labels.reshape(sets.period.shape), attractors)
