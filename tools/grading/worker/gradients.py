"""Gradients through a call to the other side, of any order, backward and forward, and under ``torch.func``.

The side that is called keeps the graph of its computation; the side that calls gets a node of its own graph whose
derivatives are further requests. A derivative is a computation with a graph again, so nothing here counts orders.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.forward_ad import unpack_dual

from .values import fill, lift
from .wire import Gone

if TYPE_CHECKING:
    from .peer import Peer

Reply = tuple[dict[str, Any], Any, list[torch.Tensor]]
_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


def needs_gradient(tensor: torch.Tensor) -> bool:
    """Whether someone may differentiate with respect to ``tensor``: autograd, forward mode or ``torch.func``."""
    if _wrapped(tensor):
        return True
    if not tensor.dtype.is_floating_point and not tensor.dtype.is_complex:
        return False
    return (torch.is_grad_enabled() and tensor.requires_grad) or unpack_dual(tensor).tangent is not None


class Graphs:
    """The computations that this side did for the other and may have to differentiate."""

    def __init__(self) -> None:
        self._graphs: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []

    def clear(self) -> None:
        """Forget them all."""
        self._graphs.clear()

    def call(
        self, run: Callable[..., Any], function: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor]
    ) -> Reply:
        """Call ``function`` with a graph from ``tensors`` to what it returns."""
        inputs = [tensor.requires_grad_() if _differentiable(tensor) else tensor for tensor in tensors]
        args, kwargs = fill((args, kwargs), inputs)
        with torch.enable_grad():
            result = run(function, *args, **kwargs)
        outputs: list[torch.Tensor] = []
        lifted = lift(result, lambda tensor: tensor.requires_grad, outputs)
        return {"graph": self._keep(inputs, outputs)}, lifted, outputs

    def derivative(self, message: dict[str, Any], value: Any, tensors: list[torch.Tensor]) -> Reply:
        """Return products with the Jacobian of an earlier computation: with its transpose, or ("jvp") with itself."""
        number, of = message.get("graph"), message.get("of")
        if type(number) is not int or not 0 <= number < len(self._graphs) or of not in ("vjp", "jvp"):
            raise Gone("a derivative of something that was never computed")
        inputs, outputs = self._graphs[number]
        directions = outputs if of == "vjp" else inputs
        if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in directions]:
            raise Gone("a derivative in a direction that does not fit")
        track = message.get("track") is True
        vectors = [tensor.requires_grad_(track and _differentiable(tensor)) for tensor in tensors]
        with torch.enable_grad():
            if of == "vjp":
                results = _vjp(outputs, inputs, vectors, track)
            else:
                # Two products with the transpose make one with the Jacobian, whatever the rules of its operations.
                dual = [torch.zeros_like(output, requires_grad=True) for output in outputs]
                results = _vjp(_vjp(outputs, inputs, dual, True), dual, vectors, track)
        return {"graph": self._keep([*inputs, *vectors], results) if track else -1}, _slots(results), results

    def _keep(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
        self._graphs.append((inputs, outputs))
        return len(self._graphs) - 1


def _differentiable(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _slots(tensors: Sequence[torch.Tensor]) -> Any:
    return lift(list(tensors), lambda tensor: True, [])


def _vjp(
    outputs: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor], track: bool
) -> list[torch.Tensor]:
    """Return the gradients of ``outputs · vectors`` with respect to ``inputs``, zero where there is no path."""
    pairs = [(output, vector) for output, vector in zip(outputs, vectors, strict=True) if output.requires_grad]
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    if not pairs or not wanted:
        return [torch.zeros_like(tensor) for tensor in inputs]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs],
            wanted,
            [vector for _, vector in pairs],
            retain_graph=True,
            create_graph=track,
            allow_unused=True,
        )
    )
    gradients = [next(found) if tensor.requires_grad else None for tensor in inputs]
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients, strict=True)]


class _Ticket:
    """What a node knows about the computation on the other side; one for each sample under ``vmap``."""

    def __init__(self, peer: "Peer", number: int, template: Any = None, track: bool = False, of: str = ""):
        self.peer, self.number, self.template, self.track, self.of = peer, number, template, track, of
        self.graph = -1
        self.result: Any = None
        self.constant = False
        self.samples: list[_Ticket] = []

    def again(self) -> "_Ticket":
        """Return a ticket for the same call of another sample."""
        return _Ticket(self.peer, self.number, self.template, self.track, self.of)

    def collect(self, answer: dict[str, Any], tensors: list[torch.Tensor]) -> None:
        """Take from an answer the number of its graph and the tensors in it."""
        self.graph, self._tensors = int(answer.get("graph", -1)), tensors

    def ask(self, message: dict[str, Any], value: Any, slots: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Send a request; return the tensors of its answer."""
        self.result = self.peer.request(message, value, list(slots), collect=self.collect)
        self.constant = not self._tensors  # a node has an output all the same
        return tuple(self._tensors) or (torch.zeros(()),)


def call_with_gradient(peer: "Peer", number: int, template: Any, tensors: list[torch.Tensor]) -> Any:
    """Call the other side's object; ``tensors`` fill the slots of ``template`` and may be differentiated."""
    ticket = _Ticket(peer, number, template)
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
    new = _Ticket(ticket.peer, ticket.graph, (len(inputs), ticket), track, of)
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
        return ticket.ask(message, _slots(vectors), vectors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, ticket: _Ticket, *tensors: torch.Tensor) -> Any:
        """Ask for each sample: of its own computation where the inputs are batched, else of the one there is."""
        count, source = ticket.template
        own = any(dim is not None for dim in in_dims[1 : count + 1]) and source.samples
        ticket.samples = []
        for index in range(info.batch_size):
            origin = source.samples[index] if own else source
            sample = _Ticket(ticket.peer, origin.graph, (count, origin), ticket.track, ticket.of)
            ticket.samples.append(sample)
        return _sample_by_sample(_Derivative, ticket.samples, in_dims[1:], tensors)
