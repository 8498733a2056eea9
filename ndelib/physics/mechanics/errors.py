"""What can go wrong in mechanics, as exceptions that say where it went wrong."""

from torch import Tensor


class SingularMassMatrix(ArithmeticError):
    """∂²L/∂q̇² cannot be solved for q̈. ``q`` and ``v`` are where, ``condition`` is the condition number there."""

    def __init__(self, message: str, *, q: Tensor, v: Tensor, condition: float) -> None:
        super().__init__(message)
        self.q, self.v, self.condition = q, v, condition


class ShootingFailed(ArithmeticError):
    """Newton's method found no initial momenta. ``residual`` is what was left at the end."""

    def __init__(self, message: str, *, residual: float) -> None:
        super().__init__(message)
        self.residual = residual
