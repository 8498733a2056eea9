"""What iterations of a map begin with: starts that broadcast with its parameters, and the dimension of a state."""

from collections.abc import Callable

import torch
from torch import Tensor


def starts(
    map: Callable[[Tensor], Tensor], x0: float | Tensor, dimension: int | None, names: tuple[str, str] = ("map", "x0")
) -> tuple[Tensor, int]:
    """Return the starts in the shape in which ``map`` returns them, and the length d of a state.

    ``names`` are those of the two in messages.

    Raises:
        ValueError: a state has another length than d, or ``map`` returns something that is no state.
    """
    function, start = names
    if not callable(map):
        raise TypeError(f"{function} must be a function, got {type(map).__name__}")
    d = getattr(map, "dimension", 1) if dimension is None else dimension
    if not isinstance(d, int) or d < 1:
        raise ValueError(f"dimension must be a whole number, at least 1; got {d}")
    was_tensor = isinstance(x0, Tensor)
    try:
        x0 = torch.as_tensor(x0)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{start} must be numbers or a tensor of real numbers, got {x0!r}") from None
    if x0.is_complex():
        raise ValueError(f"{start} must be real, got {x0.dtype}: write a complex map as one of two real numbers")
    x = x0 if was_tensor and x0.is_floating_point() else x0.double()
    if d > 1 and (x.ndim == 0 or x.shape[-1] != d):
        raise ValueError(f"x0 must be states (*, {d}), {d} numbers last; got the shape {tuple(x.shape)}")
    image = map(x)
    if not isinstance(image, Tensor):
        raise ValueError(f"{function} must return a tensor, got {type(image).__name__}")
    try:
        return torch.broadcast_to(x, image.shape).to(torch.promote_types(x.dtype, image.dtype)), d
    except RuntimeError:
        raise ValueError(
            f"{function} must return states of {start}'s shape, {tuple(x.shape)}, broadcast with its parameters; "
            f"it returned the shape {tuple(image.shape)}"
        ) from None
