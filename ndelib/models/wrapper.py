"""What a field may need of the model around it, and fields that are made of another field.

A field is any function ``field(t, y)``. Some need more, and say so by having one of three methods: ``initial`` makes
the initial state of what the model gives, ``output`` reads the final state, and ``arguments`` makes what
``field(t, y, …)`` takes after t and y. A model asks for each of them once per forward pass.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def initial(field: Callable[..., Any], x: Tensor) -> Tensor:
    """Return the initial state that ``field`` makes of ``x``, (B, *) -> (B, *state); ``x`` itself for most fields."""
    state: Tensor = field.initial(x) if hasattr(field, "initial") else x
    return state


def output(field: Callable[..., Any], z: Tensor) -> Tensor:
    """Return what of the state ``z`` a model without a decoder gives, (B, *state) -> (B, *); for most fields all."""
    result: Tensor = field.output(z) if hasattr(field, "output") else z
    return result


def arguments(field: Callable[..., Any], x: Tensor) -> tuple[Tensor, ...]:
    """Return what ``field`` takes after t and y, made of the model's input ``x``; for most fields nothing."""
    args: tuple[Tensor, ...] = field.arguments(x) if hasattr(field, "arguments") else ()
    return args


def check_field(field: object) -> None:
    """Raise ``TypeError`` for what is no field(t, y): no function, or one of a single argument."""
    name = type(field).__name__
    if not callable(field):
        raise TypeError(f"field must be a function field(t, y) -> dy/dt, got {name}")
    function = field.forward if isinstance(field, nn.Module) else field
    try:
        taken = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, it does not say
        return
    if _can_take(taken, 1) and not _can_take(taken, 2):  # one of more than t and y may get the rest from the solve
        raise TypeError(f"field must be a function field(t, y); {name} takes one argument: use Autonomous(net)")


def _can_take(taken: inspect.Signature, number: int) -> bool:
    try:
        taken.bind(*[None] * number)
    except TypeError:
        return False
    return True


class Wrapper(nn.Module):
    """A field made of another one, ``field``, whose wishes it hands on to the model."""

    def __init__(self, field: Callable[..., Any]) -> None:
        super().__init__()
        check_field(field)
        self.field = field

    def initial(self, x: Tensor) -> Tensor:
        """Return the initial state made of ``x``."""
        return initial(self.field, x)

    def output(self, z: Tensor) -> Tensor:
        """Return what a model without a decoder gives."""
        return output(self.field, z)

    def arguments(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the field takes after t and y."""
        return arguments(self.field, x)
