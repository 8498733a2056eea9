"""The adaptive loop: make a step, look at its error, keep it or not, choose the next.

It is a generator of accepted steps and the same for every method that estimates its error. It lands exactly on
requested times, asks for the field nowhere else than between the first and the last, and works on Python floats: one
number comes from the device to the host in each step, the size of the error.
"""

import bisect
import math
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ndelib.solvers.control import error_ratio, select_first_step
from ndelib.solvers.diagnosis import not_finite_field, step_size_too_small, too_many_steps
from ndelib.solvers.graph import values
from ndelib.solvers.options import Options
from ndelib.solvers.steps.step import Field, Method, Statistics, Step, StepFunction, StepRejected


def adaptive_steps(
    method: Method,
    make_step: StepFunction,
    f: Field,
    y: Tensor,
    times: Sequence[float],
    options: Options,
    statistics: Statistics,
    land: Callable[..., float] | None = None,
    first_step: float | None = None,
) -> Generator[Step, None, float]:
    """Yield the accepted steps from ``times[0]`` to ``times[-1]``, beginning with the state ``y``, (*).

    A step that would pass requested times ends on the last of them within its reach, so every requested time either
    ends a step or lies inside a step together with a later one. ``land`` may choose otherwise where steps end; its
    arguments are those of :func:`landing`. ``first_step`` comes before that of the ``options``.

    At its end it returns the length that it would have given the next step.

    Raises :class:`~ndelib.solvers.errors.StepSizeTooSmall` or :class:`~ndelib.solvers.errors.TooManySteps`.
    """
    assert method.error_order is not None
    k = method.error_order + 1
    land = land or landing
    rtol, atol, controller = options.rtol, options.atol, options.control
    min_step, max_step, max_steps = options.min_step, options.max_step, options.max_steps
    t, end = times[0], times[-1]
    direction = math.copysign(1.0, end - t)
    slope = f(t, y)
    if not torch.isfinite(values(slope)).all():
        raise not_finite_field(t, 0.0, values(slope))
    first_step = options.first_step if first_step is None else first_step
    if first_step is None:
        first_step = max(min_step, abs(select_first_step(f, t, y, slope, end - t, k, rtol, atol)))
    h = first_step
    f0: Tensor | None = slope
    errors = (1.0, 1.0, 1.0)  # of the last accepted steps, newest first
    grow = True  # not directly after a rejection
    before: Step | None = None
    rejected: Step | None = None  # the last step, if its error was too large: for the diagnosis

    while t != end:
        h = min(h, max_step)
        t1 = land(t, h, direction, times, stretch=1.1 if grow else 1.0)
        # h, not t1 - t: two requested times may be as near to each other as they like
        if h < max(min_step, 10 * math.ulp(t)) and t1 != end:
            raise step_size_too_small(method, f, t, y, direction * h, end, rejected, options, statistics)
        if statistics.steps + statistics.rejected >= max_steps:
            raise too_many_steps(method, f, t, y, t1 - t, end, options, statistics)
        try:
            step = make_step(t, y, t1, f0, before)
        except StepRejected as refusal:
            h, grow, rejected = abs(t1 - t) * refusal.factor, False, None
            statistics.rejected += 1
            continue
        assert step.error is not None
        error = error_ratio(step.error, step.y, step.y1, rtol, atol)

        if not error <= 1.0:  # also if it is NaN
            statistics.rejected += 1
            rejected = step
            f0 = step.k[0] if step.k else f0  # f(t, y) is what it was
            h, grow = abs(t1 - t) * controller.after_rejection(error, k), False
            continue

        statistics.steps += 1
        yield step
        errors = (error, errors[0], errors[1])
        factor = controller.after_acceptance(errors, k)
        made, allowed = abs(t1 - t), h
        h = made * (factor if grow else min(1.0, factor))
        if made < allowed and factor > 1.0:  # cut short to land on a requested time: what was allowed still is
            h = max(h, allowed)
        h = max(h, min_step)  # only a rejection asks for less than min_step
        t, y, f0, before, grow = t1, step.y1, step.f1, step, True
    return h


def landing(t: float, h: float, direction: float, times: Sequence[float], stretch: float) -> float:
    """Return where a step of length ``h`` from ``t`` ends: on the last of ``times`` that it reaches, or else free.

    To reach a requested time a step may be ``stretch`` times as long: a tenth longer, which the safety factor of the
    controller pays for, but not directly after a rejection. Rather than leaving a sliver before the next requested time
    it goes half the way.
    """
    ahead = bisect.bisect_right(times, direction * t, key=lambda time: direction * time)
    reached = bisect.bisect_right(times, direction * t + stretch * h, lo=ahead, key=lambda time: direction * time)
    if reached > ahead:
        return times[reached - 1]
    distance = times[ahead] - t
    return t + distance / 2 if abs(distance) < 2 * h else t + direction * h
