"""A batch whose state is a tuple of tensors (B, …): side by side in one tensor, (B, n), with a row for each sample."""

import math
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.field import checked_parts
from ndelib.solvers.options import check_state


class SideBySide:
    """The parts of a state, each (B, …), as the columns of one tensor.

    Raises:
        TypeError, ValueError: they are no tensors, or not batches of the same samples.
    """

    def __init__(self, parts: tuple[Tensor, ...]) -> None:
        if not parts:
            raise ValueError("y0 is an empty tuple: it must hold at least one tensor")
        for i, part in enumerate(parts):
            check_state(part, f"y0[{i}]")
        first = parts[0]
        for i, part in enumerate(parts):
            if part.ndim == 0 or len(part) != len(first.reshape(-1) if first.ndim == 0 else first):
                raise ValueError(
                    'with batch="independent" all parts of y0 must be batches of the same samples, (B, …); '
                    f"y0[{i}] has the shape {tuple(part.shape)}, y0[0] {tuple(first.shape)}"
                )
            if (part.dtype, part.device) != (first.dtype, first.device):
                raise TypeError(
                    f"the parts of y0 must share dtype and device; y0[{i}] is {part.dtype} on {part.device}, y0[0] "
                    f"{first.dtype} on {first.device}"
                )
        self.shapes = [part.shape[1:] for part in parts]
        self.ndim = max(part.ndim for part in parts)
        self.joined = self._join(parts)

    def _join(self, parts: Any) -> Tensor:
        sizes = map(math.prod, self.shapes)
        return torch.cat([part.reshape(len(part), n) for part, n in zip(parts, sizes, strict=True)], dim=1)

    def split(self, y: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of ``y``, (…, n), behind its leading dimensions."""
        pieces = y.split([math.prod(shape) for shape in self.shapes], dim=-1)
        return tuple(p.reshape(*y.shape[:-1], *shape) for p, shape in zip(pieces, self.shapes, strict=True))

    def field(self, f: Any) -> Any:
        """Return a field of tuples as a field of rows. Its ``t`` has as many dimensions as the part with the most."""
        if not callable(f):
            return f  # who checks the field says so

        def field(t: Tensor, y: Tensor, *args: Any) -> Tensor:
            n = len(y)
            dy = f(t.reshape(n, *[1] * (self.ndim - 1)), self.split(y), *args)
            return self._join(checked_parts(dy, [(n, *shape) for shape in self.shapes], y, "y"))

        return field
