"""The continuous adjoint: the gradient as the solution of a differential equation that runs backwards.

For L(y(t₁)) and dy/dt = f(t, y, θ), a(t) = ∂L/∂y(t) obeys  da/dt = −(∂f/∂y)ᵀ a, and  ∂L/∂θ = ∫ (∂f/∂θ)ᵀ a dt. A running
cost l adds −c ∂l/∂y and c ∂l/∂θ, where c = ∂L/∂(its integral) is constant between requested times. For a complex state
ᵀ is the conjugate transpose, as everywhere in torch.

Two ways to know y(t) on the way back: solve for it, backwards, together with a (:class:`Adjoint`: no memory, but what
the forward solve forgot cannot come back), or keep the dense output of the forward solve (:class:`Interpolated`). In
both the integral for θ is taken by Gauss quadrature on the dense output of a: θ takes no part in the steps, whose
number does not depend on how many parameters there are.

Sources: Pontryagin et al., The Mathematical Theory of Optimal Processes (1962); Chen, Rubanova, Bettencourt & Duvenaud,
Neural ordinary differential equations, NeurIPS 2018; Kidger, Chen & Lyons, "Hey, that's not an ODE", ICML 2021 (steps
without the parameters); Daulbaev et al., Interpolation technique to speed up gradients propagation in neural ODEs,
NeurIPS 2020.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ndelib.adjoints.backward.deviation import Policy, check_deviation, could_not_go_back
from ndelib.adjoints.backward.quadrature import gauss_points
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.replay import Trail, add
from ndelib.solvers import SolverError
from ndelib.solvers.control import Tolerance
from ndelib.solvers.graph import values
from ndelib.solvers.loops.adaptive import adaptive_steps
from ndelib.solvers.loops.fixed_step import fixed_steps
from ndelib.solvers.problem import Problem
from ndelib.solvers.solution import Piece
from ndelib.solvers.steps.dense import interpolate
from ndelib.solvers.steps.jacobian import check_jacobian, jacobian_by_jvp
from ndelib.solvers.steps.step import Field, Method, Statistics, Step


@dataclass(frozen=True)
class Backward:
    """How the equation of the adjoint is solved: a method, tolerances for a, and what to do if y leaves its path."""

    method: Method
    rtol: Tolerance
    atol: Tolerance
    """in units of the largest ∂L/∂y that comes in, so that the scale of a loss does not matter"""
    deviation: Policy


class Adjoint:
    """Kept are the states at the requested times. Between two of them the state is solved for backwards, with a."""

    name, makes_steps_again, random = "adjoint", False, False

    def __init__(self, readout: Readout, parameters: Sequence[Tensor], backward: Backward) -> None:
        self.readout, self.parameters, self.how = readout, parameters, backward
        self.problem: Problem = readout.problem
        self.adaptive = self.problem.adaptive and backward.method.adaptive
        # Newton's method takes the last dimension for one system: (y, a) is one, of twice the size.
        self.dim = -1 if backward.method.solves_stages else 0

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep the states at the requested times."""
        self.problem.y0 = y0
        outputs = self.readout.solve()
        return outputs, [outputs[0]]

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Solve for a from the last requested time to the first; at each the loss gives it a jump."""
        self.keep(saved)
        wanted, times = cotangents[0], self.readout.times
        self.gradients: list[Tensor | None] = [None] * len(self.parameters)
        self.longest: float | None = None  # step of the interval before
        a = wanted[-1]
        for i in reversed(range(1, len(times))):
            cost = cotangents[1][i - 1] if len(cotangents) > 1 else None
            a = self.go_back(times[i], times[i - 1], a, cost)
            a = a + wanted[i - 1]
        self.let_go()
        return a, self.gradients

    def keep(self, saved: Sequence[Tensor]) -> None:
        """Take back what ``forward`` kept."""
        self.states = saved[0]

    def let_go(self) -> None:
        """Let go of it: what autograd frees after a backward pass is not to live on here."""
        del self.states

    def go_back(self, start: float, end: float, a: Tensor, cost: Tensor | None) -> Tensor:
        """Return a(``end``) from a(``start``), between two requested times; add to the gradients of the parameters."""
        size = max(values(x).abs().max().item() if x.numel() else 0.0 for x in (a, a if cost is None else cost))
        if size == 0.0:
            return a
        # A loss that is NaN or infinite has a gradient like it: let it through, as back-propagation does.
        if not math.isfinite(size):
            self.gradients = [torch.full_like(p, math.nan) for p in self.parameters]
            return torch.full_like(a, math.nan)
        problem, options = self.problem, self.problem.options
        low, high = min(start, end), max(start, end)
        jumps = sorted({float(t) for t in options.step_at if low < t < high}, reverse=end < start)
        z = self.first(start, a)
        longest = 0.0
        for t, t1 in pairwise([start, *jumps, end]):
            problem.field.restrict(t, t1, options.step_at)
            try:
                for step in self.steps(z, t, t1, size, cost):
                    if self.parameters:
                        self.integrate(step, cost)
                    z = step.y1
                    longest = max(longest, abs(step.h))
                    self.passed(step)
                self.longest = longest
            except SolverError as error:
                raise could_not_go_back(self.name, error) from error
        return self.last(z, end)

    def first(self, t: float, a: Tensor) -> Tensor:
        """Return what to solve for from ``t``: y and a in one tensor."""
        y = self.states[self.readout.times.index(t)]
        return torch.cat([_at_least_vector(y), _at_least_vector(a)], self.dim)

    def last(self, z: Tensor, t: float) -> Tensor:
        """Return a at ``t``, once y has been compared with what it was on the way there."""
        y, a = self.parts(z)
        options = self.problem.options
        there = self.states[self.readout.times.index(t)]
        check_deviation(y, there, options.rtol, options.atol, t, self.how.deviation, coarse=not self.adaptive)
        return a

    def passed(self, step: Step) -> None:
        """Let go of what lies behind ``step``."""

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and a."""
        y, a = z.chunk(2, self.dim)
        shape = self.problem.y0.shape
        return y.reshape(shape), a.reshape(shape)

    def state(self, t: float, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return y(t) and a(t)."""
        return self.parts(z)

    def field(self, cost: Tensor | None) -> Field:
        """Return the equation for (y, a)."""

        def field(t: float, z: Tensor) -> Tensor:
            y, a = self.state(t, z)
            dy, (rate,) = self.product(t, y, a, cost, lambda y: (y,))
            rate = torch.zeros_like(a) if rate is None else -rate
            return torch.cat([_at_least_vector(dy), _at_least_vector(rate)], self.dim)

        return field

    def slope(self, t: float, y: Tensor) -> Tensor:
        """Return the slope of the equation that is walked back, f(t, y)."""
        return self.problem.field.uncounted(t, y)

    def product(
        self,
        t: float,
        y: Tensor,
        a: Tensor,
        cost: Tensor | None,
        with_respect_to: Callable[[Tensor], Sequence[Tensor]],
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return f(t, y), and the product of a with its derivative (and of ``cost`` with that of the running cost)."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = self.slope(t, y)
            pairs = [(dy, a)]
            if cost is not None:
                assert self.readout.cost is not None
                pairs.append((self.readout.cost(t, y), cost))
            pairs = [(result, cotangent) for result, cotangent in pairs if result.requires_grad]
            inputs = with_respect_to(y)
            if not pairs:
                return dy.detach(), [None] * len(inputs)
            results, cotangents = zip(*pairs, strict=True)
            # retain_graph: of what f may have computed outside, from its parameters
            products = torch.autograd.grad(results, inputs, cotangents, allow_unused=True, retain_graph=True)
        return dy.detach(), products

    def integrate(self, step: Step, cost: Tensor | None) -> None:
        """Add the part of ``step`` to the gradients of the parameters, ∫ (∂f/∂θ)ᵀ a dt over it."""
        curve = interpolate(self.how.method, self.current, step)
        for t, weight in gauss_points(step.t, step.t1, self.how.method.order):
            y, a = self.state(t, curve((t - step.t) / step.h))
            _, products = self.product(t, y, a, cost, lambda y: self.parameters)
            add(self.gradients, products, -weight)

    def steps(self, z: Tensor, start: float, end: float, size: float, cost: Tensor | None) -> Iterator[Step]:
        """Yield the steps of the backward solve; ``size`` is that of what came in."""
        options, statistics, method = self.problem.options, Statistics(), self.how.method
        self.current = self.field(cost)
        rtol, atol = self.tolerances(size)
        offered = {"rtol": rtol, "atol": atol, "jacobian": self.jacobian}
        make_step = method.start(
            self.current, statistics, **{name: value for name, value in offered.items() if name in method.options}
        )
        if not self.adaptive:
            return fixed_steps(method, make_step, z, [start, end], options.step_size, statistics)
        options = replace(options, rtol=rtol, atol=atol, first_step=self.longest or options.first_step)
        return adaptive_steps(method, make_step, self.current, z, [start, end], options, statistics)

    def tolerances(self, size: float) -> tuple[Tolerance, Tolerance]:
        """Return the tolerances of (y, a)."""
        options, how = self.problem.options, self.how
        one_number = options.rtol is how.rtol and not isinstance(how.rtol, Tensor)
        rtol = how.rtol if one_number else self._joined(options.rtol, how.rtol)
        return rtol, self._joined(options.atol, how.atol * size)

    def _joined(self, of_y: Tolerance, of_a: Tolerance) -> Tensor:
        y = self.problem.y0
        both = [
            torch.as_tensor(x, dtype=y.dtype.to_real(), device=y.device).expand(_at_least_vector(y).shape)
            for x in (of_y, of_a)
        ]
        return torch.cat(both, self.dim)

    def jacobian(self, t: Tensor, z: Tensor) -> Tensor:
        """Return the diagonal blocks J and −Jᵀ of ∂(dy, da)/∂(y, a), which suffice for Newton's method."""
        J = self.jacobian_of_f(t, self.parts(z)[0])
        zero = torch.zeros_like(J)
        return torch.cat([torch.cat([J, zero], -1), torch.cat([zero, -J.mT], -1)], -2)

    def jacobian_of_f(self, t: Tensor, y: Tensor) -> Tensor:
        """Return ∂f/∂y, (*, d, d) for y (*, d)."""
        given = self.problem.jacobian
        if given is not None:
            return check_jacobian(given(t, y), y)
        return jacobian_by_jvp(lambda y: self.problem.field.uncounted(t, y), y)


class Interpolated(Adjoint):
    """Kept is the dense output of the forward solve; on the way back only a is solved for.

    Nothing is reconstructed, so nothing can be lost: the equation for a is linear, and stable backwards where that of
    y is stable forwards. What is kept are the stages of every step; those of f's own graph are not among them.
    """

    name = "interpolated"

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep every step, of which dense output can be made."""
        self.problem.y0 = y0
        self.trail = Trail(self.readout.times[0])
        self.counts: list[tuple[int, bool]] = []  # of the tensors of each step: stages, and whether f1 is one more
        saved: list[Tensor] = []

        def watch(step: Step) -> None:
            self.trail.add(step, self.problem.piece)
            slope = [] if step.f1 is None else [step.f1]
            saved.extend((step.y, step.y1, *step.k, *slope))  # those that two steps share take no room twice
            self.counts.append((len(step.k), bool(slope)))

        return self.readout.solve(watch), saved

    def keep(self, saved: Sequence[Tensor]) -> None:
        """Take back the steps that ``forward`` kept."""
        self.path: list[Piece] = []
        rest = iter(saved)
        for (t, t1), (stages, has_slope) in zip(pairwise(self.trail.ends), self.counts, strict=True):
            y, y1 = next(rest), next(rest)
            k = [next(rest) for _ in range(stages)]
            step = Step(t, t1, y, y1, k, next(rest) if has_slope else None, None)
            self.path.append(Piece(step, self.problem.interpolate))

    def passed(self, step: Step) -> None:
        """Let go of the curves behind ``step``."""
        sign = self.readout.direction
        while len(self.path) > 1 and sign * self.path[-1].step.t >= sign * step.t1:
            self.path.pop()

    def let_go(self) -> None:
        """Let go of the steps, and of their curves."""
        del self.path

    def first(self, t: float, a: Tensor) -> Tensor:
        """Return what to solve for from ``t``: a alone."""
        return _at_least_vector(a)

    def last(self, z: Tensor, t: float) -> Tensor:
        """Return a at ``t``."""
        return self.state(t, z)[1]

    def state(self, t: float, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return y(t), from the forward solve, and a(t)."""
        sign = self.readout.direction
        n = bisect_left(self.trail.ends, sign * t, lo=1, key=lambda end: sign * end)
        y = self.path[min(n, len(self.path)) - 1].at(t)
        return y, z.reshape(y.shape)

    def field(self, cost: Tensor | None) -> Field:
        """Return the equation for a."""

        def field(t: float, z: Tensor) -> Tensor:
            y, a = self.state(t, z)
            _, (rate,) = self.product(t, y, a, cost, lambda y: (y,))
            return torch.zeros_like(z) if rate is None else -rate.reshape(z.shape)

        return field

    def tolerances(self, size: float) -> tuple[Tolerance, Tolerance]:
        """Return the tolerances of a."""
        return self.how.rtol, self.how.atol * size

    def jacobian(self, t: Tensor, z: Tensor) -> Tensor:
        """Return −Jᵀ, (*, d, d) for a of the shape (*, d)."""
        return -self.jacobian_of_f(t, self.state(t.item(), z)[0]).mT


def _at_least_vector(y: Tensor) -> Tensor:
    return y if y.ndim else y.reshape(1)
