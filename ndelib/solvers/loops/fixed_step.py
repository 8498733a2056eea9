"""The loop of fixed steps: equal steps between requested times, each of which it lands on exactly."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ndelib.solvers.diagnosis import newton_did_not_converge, not_finite_state
from ndelib.solvers.graph import values
from ndelib.solvers.steps.step import Look, Method, Statistics, Step, StepFunction, StepRejected


def fixed_steps(
    method: Method,
    make_step: StepFunction,
    y: Tensor,
    times: Sequence[float],
    step_size: float | None,
    statistics: Statistics,
    look: Look | None = None,
) -> Iterator[Step]:
    """Yield equal steps no longer than ``step_size`` in each interval between ``times``, from the state ``y``, (*).

    ``step_size=None`` makes one step an interval. ``look`` is shown the steps 1, 2, 4, 8, … and the last. Raises
    :class:`~ndelib.solvers.errors.NonFiniteState` where the state stops being finite: it is looked at once an interval,
    since a look at every step would make a GPU wait.
    """
    before: Step | None = None
    made = 0
    for start, end in pairwise(times):
        count = 1 if step_size is None else count_steps(end - start, step_size)
        first = y
        for t, t1 in _grid(start, end, count):
            try:
                step = make_step(t, y, t1, before.f1 if before else None, before)
            except StepRejected as refusal:
                raise newton_did_not_converge(refusal.reason, t, t1 - t) from None
            y, before = step.y1, step
            statistics.steps += 1
            if t1 == end and _is_non_finite(y):
                _raise_where_it_broke(method, make_step, first, start, end, count)
            made += 1
            if look is not None and (made & (made - 1) == 0 or t1 == times[-1]):
                look(step)
            yield step


def count_steps(interval: float, step_size: float) -> int:
    """Return how many equal steps of at most ``step_size``, or a millionth more, fill ``interval``."""
    steps = abs(interval) / step_size
    if not steps < 1e12:
        raise ValueError(
            f"step_size = {step_size:.3g} would cut an interval of {abs(interval):.3g} into {steps:.3g} steps"
        )
    # The slack of a millionth keeps rounding from adding a step: 0.3 / 0.1 is three, also if 0.3 was stored in float32.
    nearest = round(steps)
    return max(1, nearest if abs(steps - nearest) <= 1e-6 * steps else math.ceil(steps))


def _grid(start: float, end: float, count: int) -> Iterator[tuple[float, float]]:
    """Cut an interval into ``count`` equal steps ``(t, t1)``; the last ends on ``end`` itself."""
    h = (end - start) / count
    t = start
    for n in range(1, count + 1):
        # start + n h instead of repeated addition keeps rounding from piling up
        t1 = end if n == count else start + n * h
        yield t, t1
        t = t1


def _is_non_finite(y: Tensor) -> bool:
    return not bool(torch.isfinite(values(y)).all())


def _raise_where_it_broke(
    method: Method, make_step: StepFunction, y: Tensor, start: float, end: float, count: int
) -> None:
    """Walk the interval again, looking at every step, and raise at the first one that is not finite."""
    step: Step | None = None
    for t, t1 in _grid(start, end, count):
        size = values(y).abs().max().item()
        try:
            step = make_step(t, y.detach(), t1, None, None)
        except StepRejected:
            break
        y = step.y1
        if _is_non_finite(y):
            break
    raise not_finite_state(method, t, t1 - t, size, step.k if step is not None else [])
