"""What can go wrong in a solve, as exceptions that say where it went wrong and what to try."""

import functools
from typing import Any


class SolverError(RuntimeError):
    """A solve failed. ``t`` is the time it had reached and ``h`` the step it was making."""

    def __init__(self, message: str, *, t: float, h: float) -> None:
        super().__init__(message)
        self.t = t
        self.h = h

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error leave a worker process: pickle would forget the keyword arguments."""
        return functools.partial(type(self), t=self.t, h=self.h), self.args


class NonFiniteState(SolverError):
    """The state or its slope became infinite or NaN: f is not defined there, or the step is too large."""


class StepSizeTooSmall(SolverError):
    """No step was small enough: the solution blows up, the problem is stiff, or the tolerance cannot be met."""


class TooManySteps(SolverError):
    """The solve needed more than ``max_steps`` steps; most often because the problem is stiff."""


class NewtonDidNotConverge(SolverError):
    """An implicit method could not solve the equation of a step of fixed size."""
