"""What a network sees of the positions: an angle as its cosine and sine, so that q and q + 2π are one place."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Features(nn.Module):
    """The features of positions q, (*, n) -> (*, f): (cos qᵢ, sin qᵢ) of each angle, then the other coordinates.

    Args:
        n: how many coordinates there are.
        angles: which of them are angles, by their indices; ``True`` for all.

    Example:
        >>> import torch
        >>> from ndelib.physics import Features
        >>> Features(2, angles=[0])(torch.tensor([0.0, 3.0]))
        tensor([1., 0., 3.])
    """

    def __init__(self, n: int, angles: Sequence[int] | bool = ()) -> None:
        super().__init__()
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n, the number of coordinates, must be a whole number of at least 1, got {n!r}")
        chosen = list(range(n)) if angles is True else sorted(angles or ())
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(n)):
            raise ValueError(f"angles must be different indices of coordinates, 0 to {n - 1}, or True; got {angles!r}")
        self.n, self.angles = n, chosen
        self._of_cos: Tensor
        self._of_sin: Tensor
        self._of_q: Tensor
        self.others = [i for i in range(n) if i not in chosen]
        self.size = 2 * len(chosen) + len(self.others)
        angle, other = torch.eye(n)[:, chosen], torch.eye(n)[:, self.others]
        nothing = torch.zeros_like(angle)
        # which feature moves with which coordinate: of qᵢ the cosine, the sine and the coordinate itself
        self.register_buffer("_of_cos", torch.cat((angle, nothing, torch.zeros_like(other)), -1), persistent=False)
        self.register_buffer("_of_sin", torch.cat((nothing, angle, torch.zeros_like(other)), -1), persistent=False)
        self.register_buffer("_of_q", torch.cat((nothing, nothing, other), -1), persistent=False)

    def forward(self, q: Tensor) -> Tensor:
        """Return the features, (*, f)."""
        angles = q[..., self.angles]
        return torch.cat((angles.cos(), angles.sin(), q[..., self.others]), -1)

    def jacobian(self, q: Tensor) -> Tensor:
        """Return their derivatives by each coordinate, (*, n, f)."""
        of_cos, of_sin, of_q = (x.to(q) for x in (self._of_cos, self._of_sin, self._of_q))
        return of_sin * q.cos()[..., None] - of_cos * q.sin()[..., None] + of_q
