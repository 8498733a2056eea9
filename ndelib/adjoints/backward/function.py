"""A solve as one node of autograd's graph, with a backward pass of its own."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Gradient(Protocol):
    """A way to differentiate a solve."""

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve from ``y0`` without a graph; return what the solve gives, and the tensors to keep for the way back."""

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the gradients with respect to y0 and to each parameter, for ∂L/∂(what the solve gave)."""


def solve_with(gradient: Gradient, y0: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return what ``gradient.forward`` gives, connected to ``y0`` and ``parameters`` by ``gradient.backward``."""
    outputs: tuple[Tensor, ...] = _Solve.apply(gradient, y0, *parameters)
    return outputs


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
    def forward(ctx: Any, gradient: Gradient, y0: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        outputs, saved = gradient.forward(y0.detach())
        ctx.gradient, ctx.inputs = gradient, 1 + len(parameters)
        ctx.save_for_backward(y0, *parameters, *saved)
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            y0, parameters = ctx.gradient.backward(ctx.saved_tensors[ctx.inputs :], [c.detach() for c in cotangents])
        inputs = [*ctx.saved_tensors[: ctx.inputs], *cotangents]
        return (None, *first_derivatives([y0, *parameters], inputs))


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
