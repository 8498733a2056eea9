"""What goes wrong on the way back."""

from ndelib.solvers import SolverError


class AdjointError(SolverError):
    """The continuous adjoint could not walk back along the solution, so its gradient would mean nothing."""


class AdjointWarning(UserWarning):
    """The continuous adjoint left the solution on its way back by more than the tolerance explains."""
