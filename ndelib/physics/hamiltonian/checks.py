"""Checks of what comes in, with errors that name what it was and what to do, and states in parts."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.physics.states import halves


def check_state(y: Any, size: int | None = None, owner: str = "the model") -> None:
    """Raise ``TypeError`` or ``ValueError`` where ``y`` is no [q, p], (*, 2n), or 2n is another number than said."""
    halves(y, "[q, p]", owner)
    if size is not None and y.shape[-1] != size:
        raise ValueError(
            f"the state y = [q, p] of {owner} must be (*, {size}), as it was made for n = {size // 2}; its shape is "
            f"{tuple(y.shape)}"
        )


def join(pair: Sequence[Tensor]) -> Tensor:
    """Return [q, p] of a pair of tensors, (*, n) each."""
    if len(pair) != 2:
        raise ValueError(f"a state in parts must be a pair (q, p), got {len(pair)} tensors")
    q, p = pair
    if q.shape != p.shape:
        raise ValueError(
            f"q and p must have the same shape, got {tuple(q.shape)} and {tuple(p.shape)}: each position has its own "
            "momentum"
        )
    return torch.cat((q, p), -1)


def check_positive(value: Any, name: str, meaning: str) -> float:
    """Return ``value`` as a float; raise ``ValueError`` where it is not a finite number above zero."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be {meaning}, a finite number above 0, got {value!r}")
    return float(value)


def check_count(value: Any, name: str, meaning: str, least: int = 1) -> int:
    """Return ``value``; raise ``ValueError`` where it is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be {meaning}, a whole number of at least {least}, got {value!r}")
    return value
