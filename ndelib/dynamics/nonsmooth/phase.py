"""A state and the linear flow along it as one vector, which one solve carries."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.steps.jacobian import value_and_jacobian
from ndelib.solvers.steps.step import VectorField


class Phase(NamedTuple):
    """A solution as it is carried along: the state, and below it the linear flow, if that is wanted."""

    d: int
    tangents: int
    """columns of the linear flow, 0 for none"""

    def join(self, y: Tensor, M: Tensor) -> Tensor:
        """Return (y, M) as one vector: (d,), (d, k) -> (d + dk,)."""
        return torch.cat([y, M.reshape(-1)])

    def state(self, z: Tensor) -> Tensor:
        """Return the state in ``z``."""
        return z[..., : self.d] if self.tangents else z

    def matrix(self, z: Tensor) -> Tensor:
        """Return the linear flow in ``z``, (d, k)."""
        return z[self.d :].reshape(self.d, self.tangents)

    def lift(self, f: VectorField) -> VectorField:
        """Return the field (f, Df M) on vectors (y, M)."""
        if not self.tangents:
            return f

        def field(t: Any, z: Tensor) -> Tensor:
            v, J = value_and_jacobian(lambda y: f(t, y), self.state(z))
            return self.join(v, J @ self.matrix(z))

        return field
