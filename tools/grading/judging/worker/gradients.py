"""Gradients through a call to the other side, of any order, backward and forward, and under ``torch.func``.

The side that is called keeps the graph of its computation (:mod:`.graphs`); the side that calls gets a node of its own
graph whose derivatives are further requests. A derivative is a computation with a graph again, so nothing here counts
orders.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.forward_ad import unpack_dual

from .graphs import slots_for
from .values import fill

Request = Callable[..., Any]
_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


def needs_gradient(tensor: torch.Tensor) -> bool:
    """Whether someone may differentiate with respect to ``tensor``: autograd, forward mode or ``torch.func``."""
    if _wrapped(tensor):
        return True
    if not tensor.dtype.is_floating_point and not tensor.dtype.is_complex:
        return False
    return (torch.is_grad_enabled() and tensor.requires_grad) or unpack_dual(tensor).tangent is not None


class _Ticket:
    """What a node knows about the computation on the other side; one for each sample under ``vmap``."""

    def __init__(self, request: Request, number: int, template: Any = None, track: bool = False, of: str = ""):
        self.request, self.number, self.template, self.track, self.of = request, number, template, track, of
        self.graph = -1
        self.result: Any = None
        self.constant = False
        self.samples: list[_Ticket] = []

    def again(self) -> "_Ticket":
        """Return a ticket for the same call of another sample."""
        return _Ticket(self.request, self.number, self.template, self.track, self.of)

    def collect(self, answer: dict[str, Any], tensors: list[torch.Tensor]) -> None:
        """Take from an answer the number of its graph and the tensors in it."""
        self.graph, self._tensors = int(answer.get("graph", -1)), tensors

    def ask(self, message: dict[str, Any], value: Any, slots: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Send a request; return the tensors of its answer."""
        self.result = self.request(message, value, list(slots), collect=self.collect)
        self.constant = not self._tensors  # a node has an output all the same
        return tuple(self._tensors) or (torch.zeros(()),)


def call_with_gradient(request: Request, number: int, template: Any, tensors: list[torch.Tensor]) -> Any:
    """Call the other side's object; ``tensors`` fill the slots of ``template`` and may be differentiated.

    ``request`` is that of the peer: it sends a message and returns the answer.
    """
    ticket = _Ticket(request, number, template)
    outputs = _Call.apply(ticket, *tensors)
    return fill(ticket.result, outputs)


class _Node(torch.autograd.Function):
    """What the two nodes share: how they differentiate, and how they run sample by sample under ``vmap``."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the ticket and the tensors."""
        ticket, *tensors = inputs
        ctx.ticket = ticket
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Ask for the product with the transposed Jacobian."""
        return (None, *_derivative(ctx.ticket, "vjp", ctx.saved_tensors, cotangents))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """Ask for the product with the Jacobian."""
        filled = [
            torch.zeros_like(tensor) if tangent is None else tangent
            for tensor, tangent in zip(ctx.saved_tensors, tangents, strict=True)
        ]
        return _derivative(ctx.ticket, "jvp", ctx.saved_tensors, filled)


def _derivative(ticket: _Ticket, of: str, inputs: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]) -> Any:
    if ticket.constant:
        if of == "jvp":
            return (torch.zeros(()),)
        return tuple(torch.zeros_like(tensor) for tensor in inputs)
    track = any(needs_gradient(tensor) for tensor in (*inputs, *vectors))
    new = _Ticket(ticket.request, ticket.graph, (len(inputs), ticket), track, of)
    return _Derivative.apply(new, *inputs, *vectors)


def _sample_by_sample(node: Any, tickets: list[_Ticket], in_dims: Any, tensors: Sequence[torch.Tensor]) -> Any:
    rows = []
    for index, ticket in enumerate(tickets):
        parts = [t if d is None else t.select(d, index) for t, d in zip(tensors, in_dims, strict=True)]
        rows.append(node.apply(ticket, *parts))
    stacked = tuple(torch.stack(column) for column in zip(*rows, strict=True))
    return stacked, (0,) * len(stacked)


class _Call(_Node):
    @staticmethod
    def forward(ticket: _Ticket, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the object."""
        return ticket.ask({"do": "call", "number": ticket.number}, ticket.template, tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, ticket: _Ticket, *tensors: torch.Tensor) -> Any:
        """Call it once for each sample."""
        ticket.samples = [ticket.again() for _ in range(info.batch_size)]
        result = _sample_by_sample(_Call, ticket.samples, in_dims[1:], tensors)
        ticket.result, ticket.constant = ticket.samples[0].result, ticket.samples[0].constant
        return result


class _Derivative(_Node):
    @staticmethod
    def forward(ticket: _Ticket, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ask for the products; the first tensors are the inputs, there for the graph alone."""
        count, _ = ticket.template
        message = {"do": "derivative", "graph": ticket.number, "of": ticket.of, "track": ticket.track}
        vectors = tensors[count:]
        return ticket.ask(message, slots_for(vectors), vectors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, ticket: _Ticket, *tensors: torch.Tensor) -> Any:
        """Ask for each sample: of its own computation where the inputs are batched, else of the one there is."""
        count, source = ticket.template
        own = any(dim is not None for dim in in_dims[1 : count + 1]) and source.samples
        ticket.samples = []
        for index in range(info.batch_size):
            origin = source.samples[index] if own else source
            sample = _Ticket(ticket.request, origin.graph, (count, origin), ticket.track, ticket.of)
            ticket.samples.append(sample)
        return _sample_by_sample(_Derivative, ticket.samples, in_dims[1:], tensors)
