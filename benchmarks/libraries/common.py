"""What every library's module gives to the process that times it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Cannot(Exception):
    """The library has nothing for this problem; the message says what is missing. Without one, it has no row."""


@dataclass(frozen=True)
class Solver:
    """A problem, ready to be solved again and again by one library."""

    solve: Callable[[], Any]
    """Solve once, and return when the result is there. This, and nothing else, is timed."""
    to_numpy: Callable[[Any], np.ndarray]
    """the solution, (T, batch, d), or the gradient, (parameters,), from what ``solve`` returns"""
    count: Callable[[], int | None]
    """Solve once more, and return how often the field was evaluated; a batch counts once. ``None``: nobody knows."""
    evaluate: Callable[[], Any] | None = None
    """Evaluate the field once, as ``solve`` does; to compare the time of a solve with that of its evaluations"""
    compiled: bool = False
    """whether the first solve compiles, and so takes longer than the others"""
    remark: str = ""
    """what a reader must know to compare it with the others"""
