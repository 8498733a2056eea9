"""Augmented neural ODEs: room for trajectories to pass each other.

Sources: Dupont, Doucet & Teh, Augmented neural ODEs, NeurIPS 2019 (zeros); Massaroli et al., Dissecting neural ODEs,
NeurIPS 2020, section 4 (a learned layer).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.models.wrapper import Wrapper


class Augmented(Wrapper):
    """A field whose state is x with ``dims`` coordinates more: ``NeuralODE(Augmented(MLP(d + dims), dims))``.

    The field knows both ends. The model asks it for the initial state, ``initial(x)`` = (x, 0) or (x, layer(x)), and a
    model without a decoder for its ``output``, the coordinates of x. A decoder gets the whole state.

    Args:
        field: a vector field on the whole state.
        dims: how many coordinates to add.
        learned: ``False`` adds zeros. ``True`` adds a trained affine map of x; for a field that does not say its size
            (as ``MLP`` does, in ``field.d``), or for images, give the layer itself: ``torch.nn.Linear(d, dims)``.
        dim: the axis to add them to: the last, or -3, the channels of images.

    Raises:
        TypeError, ValueError: ``dims`` is no whole number, or below 1; or ``learned=True`` and the size is not known.

    Example:
        >>> import torch
        >>> from ndelib.models import MLP, Augmented, NeuralODE
        >>> model = NeuralODE(Augmented(MLP(3), 1))
        >>> x = torch.randn(5, 2)
        >>> model(x).shape, model.trajectory(x).shape
        (torch.Size([5, 2]), torch.Size([2, 5, 3]))
    """

    def __init__(
        self, field: Callable[..., Any], dims: int, learned: bool | Callable[[Tensor], Tensor] = False, dim: int = -1
    ) -> None:
        super().__init__(field)
        if not isinstance(dims, int) or isinstance(dims, bool):
            raise TypeError(f"dims must be a whole number, got {dims!r}")
        if dims < 1:
            raise ValueError(f"dims must be at least 1, got {dims}: without more coordinates, use the field itself")
        self.dims, self.dim = dims, dim
        if learned is True:
            d = getattr(field, "d", None)
            if d is None or d <= dims:
                raise ValueError("learned=True needs to know the size of x: give the layer, torch.nn.Linear(d, dims)")
            learned = nn.Linear(d - dims, dims)
        self.layer = learned or None

    def initial(self, x: Tensor) -> Tensor:
        """Return (x, 0) or (x, layer(x)): ``dims`` entries more along ``dim``."""
        x = super().initial(x)
        shape = list(x.shape)
        shape[self.dim] = self.dims
        added = x.new_zeros(shape) if self.layer is None else self.layer(x)
        if list(added.shape) != shape:
            raise ValueError(f"learned must make the shape {tuple(shape)} of x; it made {tuple(added.shape)}")
        return torch.cat([x, added], self.dim)

    def output(self, z: Tensor) -> Tensor:
        """Return the coordinates of x."""
        return super().output(z.narrow(self.dim, 0, z.shape[self.dim] - self.dims))

    def forward(self, t: Any, y: Tensor, *args: Tensor) -> Tensor:
        """Return dy/dt, of all coordinates."""
        slope: Tensor = self.field(t, y, *args)
        return slope
