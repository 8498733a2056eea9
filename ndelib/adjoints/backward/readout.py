"""What is asked of a solve, step by step: states at the requested times, and the integral of a running cost.

The integral ∫ l(t, y(t)) dt is taken by Gauss quadrature on the dense output of each step, so the state need not be
augmented: the cost takes no part in the choice of steps, and any method will do.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.backward.quadrature import gauss_points
from ndelib.solvers.field import as_autocast
from ndelib.solvers.odeint import reached, states_of
from ndelib.solvers.options import check_takes
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.dense import evaluate
from ndelib.solvers.steps.step import Step, time_like

Cost = Callable[[float | Tensor, Tensor], Tensor]
"""A running cost as the solve calls it, ``cost(t, y)``, with a flat ``y``."""


class Readout:
    """The requests to a solve: its ``times``, (T,), and ``cost``, if there is one."""

    def __init__(self, problem: Problem, times: Sequence[float], cost: Cost | None) -> None:
        self.problem, self.times, self.cost = problem, times, cost
        self.direction = 1.0 if times[-1] > times[0] else -1.0
        self.order = problem.method.order

    def solve(
        self, watch: Callable[[Step], Any] = lambda step: None, done: Callable[[], Any] = lambda: None
    ) -> tuple[Tensor, ...]:
        """Solve and return the states, (T, *), and with a cost its integrals between the times, (T − 1, *).

        ``watch`` sees every step; ``done`` is called when all that is asked of it has been read off.
        """
        states: list[Tensor] = [self.problem.y0[None]]
        integrals: list[Tensor] = []
        found = 1
        for step in self.problem.steps(self.times) if len(self.times) > 1 else []:
            watch(step)
            self.problem.report(step.t1, step.y1)
            passed, found = found, reached(self.times, found, step)
            if found > passed:
                states += states_of(self.problem, step, self.times[passed:found])
            for i, part in self.costs(step, range(passed, found)):
                integrals[i - 1 :] = [integrals[i - 1] + part if i <= len(integrals) else part]
            done()
        ys = torch.cat(states)
        if self.cost is None:
            return (ys,)
        if not integrals:
            cost = self.cost(self.times[0], self.problem.y0)
            return ys, cost.new_zeros((0, *cost.shape))
        return ys, torch.stack(integrals)

    def asked(self, t: float, t1: float) -> range:
        """Return the indices of the requested times in a step, its beginning excluded."""
        sign = self.direction
        first = bisect_right(self.times, sign * t, key=lambda time: sign * time)
        return range(first, bisect_right(self.times, sign * t1, lo=first, key=lambda time: sign * time))

    def costs(self, step: Step, asked: range) -> list[tuple[int, Tensor]]:
        """Return for each interval that ``step`` has a part in: the index of the time it ends at, and the part's cost.

        ``asked`` are the requested times in the step.
        """
        if self.cost is None:
            return []
        curve, y = self.problem.interpolate(step), step.y
        ends = [(i, self.times[i]) for i in asked]
        if not ends or ends[-1][1] != step.t1:
            ends.append((asked.stop, step.t1))
        parts, start = [], step.t
        for i, end in ends:
            points = list(gauss_points(start, end, self.order))
            states = evaluate(curve, [(t - step.t) / step.h for t, _ in points], y)
            values = [weight * self.cost(t, state) for (t, weight), state in zip(points, states, strict=True)]
            parts.append((i, torch.stack(values).sum(0)))
            start = end
        return parts


def cost_on_states(running_cost: Callable[..., Any], problem: Problem) -> Cost:
    """Return the user's ``running_cost(t, y, *args)`` as a function of a float and the flat state.

    Raises:
        TypeError: it does not take ``args``; or, when it is called, it returns no tensor of real floating-point dtype.
    """
    check_takes(running_cost, "running_cost", problem.options.args)

    def cost(t: float | Tensor, y: Tensor) -> Tensor:
        if not isinstance(t, Tensor):  # on the side of a jump that f is asked on
            t = time_like(min(max(t, problem.field.low), problem.field.high), y)
        value = running_cost(t, problem.unflatten(y), *problem.options.args)
        if not isinstance(value, Tensor):
            raise TypeError(f"running_cost(t, y) must return a tensor, got {type(value).__name__}")
        value = as_autocast(value, y.real if y.is_complex() else y)
        if not value.is_floating_point():
            raise TypeError(f"running_cost(t, y) must return a real floating-point tensor, got {value.dtype}")
        return value

    return cost
