"""Fixed-step integration: the loop that lands exactly on every requested time."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ndelib.solvers.errors import NonFiniteState
from ndelib.solvers.runge_kutta import VectorField, runge_kutta_step
from ndelib.solvers.tableaus import ButcherTableau


def integrate_fixed(
    tableau: ButcherTableau, f: VectorField, y0: Tensor, times: Sequence[float], step_size: float | None
) -> Tensor:
    """Return the states at ``times``, (T, *), from equal steps no longer than ``step_size`` in each interval.

    ``step_size=None`` makes one step an interval. Raises :class:`NonFiniteState` where the state stops being finite.
    """
    states = [y0]
    for start, end in pairwise(times):
        steps = 1 if step_size is None else count_steps(end - start, step_size)
        y = advance(tableau, f, states[-1], start, end, steps)
        if _is_known_to_be_non_finite(y):
            _raise_where_it_broke(tableau, f, states[-1], start, end, steps)
        states.append(y)
    return torch.stack(states)


def count_steps(interval: float, step_size: float) -> int:
    """Return how many equal steps of at most ``step_size`` fill ``interval``."""
    # The slack keeps rounding from adding a step: 0.3 / 0.1 is three steps, also where 0.3 was stored in float32.
    return max(1, math.ceil(abs(interval) / step_size * (1 - 1e-6)))


def advance(tableau: ButcherTableau, f: VectorField, y: Tensor, start: float, end: float, steps: int) -> Tensor:
    """Make ``steps`` equal steps from ``start`` to ``end``."""
    h = (end - start) / steps
    for n in range(steps):
        # start + n h instead of repeated addition: the last step ends on `end` to rounding, however many there are.
        y = runge_kutta_step(tableau, f, start + n * h, y, h)
    return y


def _is_known_to_be_non_finite(y: Tensor) -> bool:
    """Say whether ``y`` holds an infinity or NaN. Checked once an interval: a check a step would stall a GPU."""
    inner = y
    while torch._C._functorch.is_functorch_wrapped_tensor(inner):  # by vmap, jacrev, …, in any order
        if torch._C._functorch.is_batchedtensor(inner):
            return False  # inside vmap the values are not there to be looked at
        inner = torch._C._functorch.get_unwrapped(inner)
    return not bool(torch.isfinite(y.detach()).all())


def _raise_where_it_broke(
    tableau: ButcherTableau, f: VectorField, y: Tensor, start: float, end: float, steps: int
) -> None:
    """Walk the interval again, looking at every step, and raise at the first one that is not finite."""
    h = (end - start) / steps
    size = y.detach().abs().max().item()
    for n in range(steps):
        t = start + n * h
        y = runge_kutta_step(tableau, f, t, y.detach(), h)
        if _is_known_to_be_non_finite(y):
            break
        size = y.detach().abs().max().item()
    raise NonFiniteState(
        f"the state became infinite or NaN in the step from t = {t:.6g} with h = {h:.3g} (method {tableau.name!r}); "
        f"before it max|y| was {size:.3g}. If the true solution stays bounded, the step is too large: "
        "try a smaller step_size. If it does not, end the solve before it blows up.",
        t=t,
        h=h,
    )
