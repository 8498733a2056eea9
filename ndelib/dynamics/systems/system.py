"""What every known system has: its equation, its Jacobian, its parameters, its dimension and where it comes from."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

Parameter = float | Tensor
"""A number, or a tensor that broadcasts with the batch of states: one entry for each state."""

Components = tuple[Parameter, ...]
"""The d components of a vector, each a number or (*)."""

Rows = tuple[Components, ...]
"""The d rows of a matrix."""


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """A system with a name. Its fields are the parameters; :meth:`replace` makes a copy with other values."""

    dimension: ClassVar[int]
    """How many numbers a state has."""
    reference: ClassVar[str]
    """Where the system was first written down."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Names and values of the parameters."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def replace(self, **changes: Parameter) -> Self:
        """Return the same system with some of its parameters changed."""
        unknown = sorted(changes.keys() - self.parameters.keys())
        if unknown:
            names = ", ".join(self.parameters)
            raise ValueError(f"{type(self).__name__} has no parameter {', '.join(unknown)}; it has {names}")
        return dataclasses.replace(self, **changes)

    def _components(self, y: Tensor) -> tuple[Tensor, ...]:
        """Split states (*, d) into their d components, each (*)."""
        if not isinstance(y, Tensor):
            raise TypeError(f"a state must be a tensor, (*, {self.dimension}), got {type(y).__name__}")
        if y.ndim == 0 or y.shape[-1] != self.dimension:
            d, shape = self.dimension, tuple(y.shape)
            raise ValueError(f"a state of {type(self).__name__} is (*, {d}), {d} numbers last; got the shape {shape}")
        return y.unbind(-1)


class Flow(Known):
    """A vector field: ``system(t, y)`` is dy/dt. Its class says the d components of dy/dt and the rows of ∂f/∂y."""

    _velocity: ClassVar[Callable[..., Components]]
    _rows: ClassVar[Callable[..., Rows]]

    def __call__(self, t: float | Tensor, y: Tensor) -> Tensor:
        """Return dy/dt: (*, d) -> (*, d)."""
        components = self._components(y)
        return stack(self._velocity(t, *components), components[0])

    def jacobian(self, t: float | Tensor, y: Tensor) -> Tensor:
        """Return ∂f/∂y: (*, d) -> (*, d, d)."""
        components = self._components(y)
        return stack(sum(self._rows(t, *components), ()), components[0]).unflatten(-1, (self.dimension, -1))


class Map(Known):
    """A map: ``system(x)`` is the next state.

    In one dimension it acts on every number by itself, its class says the next one and the slope; in more, states are
    (*, d), and it says the d components of the next state and the rows of the derivative.
    """

    _next: ClassVar[Callable[..., Any]]
    _slope: ClassVar[Callable[..., Tensor]]
    _rows: ClassVar[Callable[..., Rows]]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the next state: (*) -> (*) on the line, else (*, d) -> (*, d)."""
        if self.dimension == 1:
            return self._next(x)
        components = self._components(x)
        return stack(self._next(*components), components[0])

    def jacobian(self, x: Tensor) -> Tensor:
        """Return the derivative: the slope, (*) -> (*), on the line, else (*, d) -> (*, d, d)."""
        if self.dimension == 1:
            return self._slope(x)
        components = self._components(x)
        return stack(sum(self._rows(*components), ()), components[0]).unflatten(-1, (self.dimension, -1))


def stack(entries: Components, like: Tensor) -> Tensor:
    """Put n entries that broadcast with ``like`` (*) together: (*, n). Numbers stand for constants."""
    tensors = [entry if isinstance(entry, Tensor) else like.new_full((), entry) for entry in entries]
    return torch.stack(torch.broadcast_tensors(like, *tensors)[1:], dim=-1)
