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
    d = getattr(map, "dimension", 1) if dimension is None else dimension
    x = x0 if isinstance(x0, Tensor) and x0.is_floating_point() else torch.as_tensor(x0, dtype=torch.float64)
    if d > 1 and (x.ndim == 0 or x.shape[-1] != d):
        raise ValueError(f"x0 must be states (*, {d}), {d} numbers last; got the shape {tuple(x.shape)}")
    image = map(x)
    try:
        return torch.broadcast_to(x, image.shape).to(torch.promote_types(x.dtype, image.dtype)), d
    except RuntimeError:
        function, start = names
        raise ValueError(
            f"{function} must return states of {start}'s shape, {tuple(x.shape)}, broadcast with its parameters; "
            f"it returned the shape {tuple(image.shape)}"
        ) from None
