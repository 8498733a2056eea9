"""Going back through a solve step by step, and making each step again to differentiate it.

A step is a function of the state, of what the method remembers and of the parameters. Made again with a graph, from
the state it began with, it gives the vector–Jacobian product that back-propagation through the whole solve would have
used there: the same gradient, with the graph of one step in memory at a time.
"""

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.adjoints.backward.ambient import CHANGED, RandomState, distance
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.errors import AdjointError
from ndelib.solvers.odeint import states_of
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.step import Step


class Trail:
    """Where the steps of a solve ended and its smooth pieces began: with the state, enough to make a step again."""

    def __init__(self, start: float) -> None:
        self.ends = array("d", [start])  # eight bytes a step
        self.pieces: list[tuple[int, tuple[float, float]]] = []
        self.random: list[RandomState] = []
        """the states of the generators where each step began, if f draws random numbers"""

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.ends) - 1

    def add(self, step: Step, piece: tuple[float, float]) -> None:
        """Note ``step``, which lies in the ``piece`` of the solve between two jumps of f."""
        if not self.pieces or self.pieces[-1][1] != piece:
            self.pieces.append((len(self), piece))
        self.ends.append(step.t1)

    def put_back(self, n: int) -> None:
        """Let the random numbers of step ``n`` be drawn next, if it has any."""
        if self.random:
            self.random[n].put_back()

    def piece(self, n: int) -> tuple[int, tuple[float, float]]:
        """Return the number of the first step of the piece that step ``n`` lies in, and the ends of the piece."""
        return next(piece for piece in reversed(self.pieces) if piece[0] <= n)


class Replay:
    """The way back through a solve: what is known of ∂L/∂(state and memory), from the last step to the first."""

    def __init__(
        self,
        readout: Readout,
        trail: Trail,
        parameters: Sequence[Tensor],
        cotangents: Sequence[Tensor],
        end: Tensor | None = None,
    ) -> None:
        """``end`` is the last state of the forward solve, if steps are to be compared with those of the first time."""
        self.problem: Problem = readout.problem
        self.after = end
        """the state that the step that comes next has to end with"""
        self.off: Tensor | None = None
        """by how much a state was off at most, in units of what rounding explains"""
        self.readout, self.trail, self.parameters = readout, trail, parameters
        self.wanted, self.costs = cotangents[0], cotangents[1] if len(cotangents) > 1 else None
        self.gradients: list[Tensor | None] = [None] * len(parameters)
        self.a = torch.zeros_like(self.wanted[-1])
        """∂L/∂y at the end of the step that comes next"""
        self.a_slope: Tensor | None = None
        """∂L/∂f(t, y) there, where the step after it began with the slope that this one ends with"""
        self.a_memory: Sequence[Tensor | None] = ()
        method = self.problem.method
        self.hands_slope_on = method.solves_stages or (method.tableau is not None and method.tableau.fsal)

    def enter(self, n: int) -> bool:
        """Make ready for step ``n``; return whether a piece of the solve begins with it."""
        first, piece = self.trail.piece(n)
        if self.problem.piece != piece:
            self.problem.enter(*piece)
        return n == first

    def before(self, n: int, y: Tensor, memory: Sequence[Tensor], slope: Tensor | None) -> Step | None:
        """Return what step ``n`` needs to know of the one before it."""
        if self.enter(n):
            return None
        ends = self.trail.ends
        if slope is None and self.hands_slope_on:
            slope = self.problem.field(ends[n], y)
        return Step(ends[n - 1], ends[n], y, y, [], slope, None, tuple(memory))

    def make(self, n: int, y: Tensor, memory: Sequence[Tensor], f0: Tensor | None = None) -> Step:
        """Make step ``n`` again from ``y`` and what the method remembered there, without a graph."""
        before = self.before(n, y, memory, f0)
        self.trail.put_back(n)
        slope = None if before is None else before.f1
        return self.problem.make_step(self.trail.ends[n], y, self.trail.ends[n + 1], slope, before)

    def pull_back(
        self,
        n: int,
        y: Tensor,
        memory: Sequence[Tensor],
        f0: Tensor | None = None,
        stages: Sequence[Tensor] | None = None,
    ) -> None:
        """Take ∂L/∂(what step ``n`` ends with) to ∂L/∂(what it began with).

        ``y``, ``memory`` and, where they are known, ``f0`` = f(t, y) and the ``stages`` are what the step had.
        """
        t, t1 = self.trail.ends[n], self.trail.ends[n + 1]
        began = y
        slope = self.before(n, y, memory, f0)
        self.trail.put_back(n)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            inputs = [y]
            before = None
            if slope is not None:
                memory = tuple(part.detach().requires_grad_() for part in memory)
                f0 = None if slope.f1 is None else slope.f1.detach().requires_grad_()
                before = slope._replace(y=y, y1=y, f1=f0, memory=memory)
                inputs += [*([] if f0 is None else [f0]), *memory]
            known = {} if stages is None else {"stages": stages}
            step = self.problem.make_step(t, y, t1, None if before is None else before.f1, before, **known)
            results, cotangents = self._results(step)
        self._compare(step.y1, began)
        given = [i for i, result in enumerate(results) if result.requires_grad]
        gradients = torch.autograd.grad(
            [results[i] for i in given],
            [*inputs, *self.parameters],
            [cotangents[i] for i in given],
            allow_unused=True,
            retain_graph=True,  # of what f may have computed outside, from its parameters
        )
        own, others = gradients[: len(inputs)], gradients[len(inputs) :]
        add(self.gradients, others)
        self.a = torch.zeros_like(y) if own[0] is None else own[0]
        self.a_slope, self.a_memory = None, ()
        if before is not None:
            self.a_memory = own[len(inputs) - len(memory) :]
            self.a_slope = own[1] if before.f1 is not None else None

    def _compare(self, y1: Tensor, began: Tensor) -> None:
        """Notice if a step made again, which began at ``began``, did not end with the ``y1`` of the first time."""
        if self.after is None:
            return
        if y1.device.type != "cpu" or not torch.equal(y1, self.after):  # elsewhere a look at numbers would wait
            off = distance(y1, self.after)
            self.off = off if self.off is None else torch.maximum(off, self.off)
        self.after = began

    def result(self) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the gradients with respect to y0 and the parameters, after the first step has been pulled back.

        Raises:
            AdjointError: a step was not what it had been at the first time.
        """
        if self.off is not None and not self.off.item() <= 1.0:
            raise AdjointError(
                f"gradient='checkpoint' made a step again, and it was off by {self.off.item():.2g} times what rounding "
                f"explains: {CHANGED}",
                t=self.trail.ends[-1],
                h=0.0,
            )
        for field in (self.problem.field, *(self.problem.halves or ())):
            field.forget()
        return self.a + self.wanted[0], self.gradients

    def _results(self, step: Step) -> tuple[list[Tensor], list[Tensor]]:
        """Return all of ``step`` that the loss depends on, and ∂L/∂ each of them."""
        results, cotangents = [step.y1], [self.a]
        for part, a in zip((step.f1, *step.memory), (self.a_slope, *self.a_memory), strict=False):
            if part is not None and a is not None:
                results.append(part)
                cotangents.append(a)
        asked = self.readout.asked(step.t, step.t1)
        if asked:
            first = asked.start
            for states in states_of(self.problem, step, self.readout.times[first : asked.stop]):
                results.append(states)
                cotangents.append(self.wanted[first : first + len(states)])
                first += len(states)
        if self.costs is not None:
            for i, part in self.readout.costs(step, asked):
                results.append(part)
                cotangents.append(self.costs[i - 1])
        return results, cotangents


def add(totals: list[Tensor | None], gradients: Sequence[Tensor | None], factor: float = 1.0) -> None:
    """Add ``factor`` times ``gradients`` to ``totals``, in place; ``None`` is zero."""
    for i, gradient in enumerate(gradients):
        if gradient is not None:
            total = totals[i]
            if total is None:
                totals[i] = factor * gradient
            else:
                total.add_(gradient, alpha=factor)
