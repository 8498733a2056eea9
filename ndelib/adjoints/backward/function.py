"""A solve as one node of autograd's graph, with a backward pass of its own."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ndelib.adjoints.backward.ambient import Ambient
from ndelib.adjoints.backward.readout import Readout


class Gradient(Protocol):
    """A way to differentiate a solve."""

    name: str
    """that of ``odeint``'s ``gradient``"""
    makes_steps_again: bool
    """whether the steps of the forward solve are made again, with the numbers that they had, and are compared"""
    readout: Readout
    random: bool
    """whether f draws random numbers, whose states are to be kept step by step"""

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve from ``y0`` without a graph; return what the solve gives, and the tensors to keep for the way back."""

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the gradients with respect to y0 and to each parameter, for ∂L/∂(what the solve gave)."""


def solve_with(gradient: Gradient, y0: Tensor, parameters: Sequence[Tensor], ambient: Ambient) -> tuple[Tensor, ...]:
    """Return what ``gradient.forward`` gives, connected to ``y0`` and ``parameters`` by ``gradient.backward``."""
    if ambient.random:
        admit_random(gradient)
    outputs: tuple[Tensor, ...] = _Solve.apply(gradient, ambient, y0, *parameters)
    return outputs


def admit_random(gradient: Gradient) -> None:
    """Let ``gradient`` keep the states of random generators, or raise ``ValueError`` where that is not enough."""
    problem = gradient.readout.problem
    if gradient.name != "checkpoint":
        why = f"gradient={gradient.name!r} asks f at other places on the way back, where it would draw others"
    elif problem.adaptive:
        why = "steps that are chosen by their errors cannot be trusted with it"
    elif problem.method.solves_stages:
        why = f"method {problem.method.name!r} solves equations with it, by Newton's method"
    else:
        gradient.random = True
        return
    raise ValueError(
        f"f draws random numbers, and {why}. If they are not wanted (dropout), call .eval(); if they are, draw them "
        "once, before the solve, or use gradient='checkpoint' with an explicit method and step_size, or "
        "gradient='backprop'"
    )


def check_no_transform(gradient: str) -> None:
    """Raise ``ValueError`` inside a transform of ``torch.func``."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise ValueError(
            f"inside vmap, grad, jvp, … of torch.func only gradient='backprop' works: gradient={gradient!r} has a "
            "backward pass of its own, which these transforms cannot see"
        )


class _Solve(torch.autograd.Function):
    """The node. What is kept is kept by autograd, so that hooks on saved tensors see it, and it is freed when due."""

    @staticmethod
    def forward(ctx: Any, gradient: Gradient, ambient: Ambient, y0: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        outputs, saved = gradient.forward(y0.detach())
        if not gradient.random and not ambient.random and not ambient.start.is_still(y0.device):
            # f, which draws none at the first time, draws random numbers later: once more, and keep their states.
            admit_random(gradient)
            ambient.random = True
            ambient.start.put_back()
            outputs, saved = gradient.forward(y0.detach())
        answers = [] if gradient.makes_steps_again else ambient.answers
        ctx.gradient, ctx.ambient, ctx.inputs, ctx.asked = gradient, ambient, 1 + len(parameters), len(answers)
        ctx.save_for_backward(y0, *parameters, *answers, *saved)
        ambient.answers = []
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        gradient, kept = ctx.gradient, ctx.saved_tensors
        answers, saved = kept[ctx.inputs : ctx.inputs + ctx.asked], kept[ctx.inputs + ctx.asked :]
        with torch.no_grad(), ctx.ambient.again():
            if answers:
                ctx.ambient.check(answers, kept[0].detach(), gradient.name)
            y0, parameters = gradient.backward(saved, [c.detach() for c in cotangents])
        inputs = [*kept[: ctx.inputs], *cotangents]
        return (None, None, *first_derivatives([y0, *parameters], inputs))


def first_derivatives(gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Return ``gradients``, which depend on ``inputs``, such that a derivative of them raises ``RuntimeError``."""
    tracked = list(gradients)
    if torch.is_grad_enabled():  # create_graph=True: somebody may want a second derivative
        given = [i for i, g in enumerate(gradients) if g is not None]
        for i, g in zip(
            given, _FirstDerivative.apply(len(given), *(gradients[i] for i in given), *inputs), strict=True
        ):
            tracked[i] = g
    return tracked


class _FirstDerivative(torch.autograd.Function):
    """Gradients that depend on ``inputs`` in a way that nobody recorded: an error for who asks, instead of zero."""

    @staticmethod
    def forward(ctx: Any, count: int, *gradients_and_inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(g.clone() for g in gradients_and_inputs[:count])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise RuntimeError(
            "a second derivative through a solve needs gradient='backprop': the other gradients have a backward pass "
            "of their own, which gives the first derivative only"
        )
