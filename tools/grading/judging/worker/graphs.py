"""The computations that one side did for the other, kept so that they can be differentiated when it asks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .values import fill, lift
from .wire import Gone

Reply = tuple[dict[str, Any], Any, list[torch.Tensor]]


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
        return {"graph": self._keep([*inputs, *vectors], results) if track else -1}, slots_for(results), results

    def _keep(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
        self._graphs.append((inputs, outputs))
        return len(self._graphs) - 1


def _differentiable(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def slots_for(tensors: Sequence[torch.Tensor]) -> Any:
    """Return a slot for each of ``tensors``, to send them as what takes part in a gradient."""
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
