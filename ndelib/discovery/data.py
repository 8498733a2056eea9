"""Measurements as they come, checked once: one trajectory or a list of them, arrays or tensors, a step or all times.

Every error names the argument, the row, and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Trajectory:
    """One measured trajectory, in float64."""

    x: Tensor
    """The states, (n, d)."""
    t: Tensor | float | None = None
    """The times, (n,), or the step between them."""
    u: Tensor | None = None
    """The control inputs, (n, m)."""
    x_dot: Tensor | None = None
    """The measured derivatives, (n, d)."""

    @property
    def times(self) -> Tensor:
        """The times, (n,); from zero where only the step is known."""
        if isinstance(self.t, Tensor):
            return self.t
        assert self.t is not None
        return self.t * torch.arange(len(self.x), dtype=self.x.dtype, device=self.x.device)


def is_array(value: object) -> bool:
    """Tell whether this is an array or a tensor with rows."""
    return isinstance(value, (np.ndarray, Tensor)) and value.ndim > 0


def is_several(value: object) -> bool:
    """Tell whether this is a list of trajectories: a list, or a tuple, of arrays. A list of numbers is one array."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(is_array(item) for item in value)


def trajectories(x: Any, t: Any = None, x_dot: Any = None, u: Any = None) -> list[Trajectory]:
    """Check what ``fit``, ``predict`` and ``score`` got, and return it as a list of trajectories.

    Raises:
        TypeError: something is no array of numbers.
        ValueError: NaN, shapes or lengths that do not agree, or times that do not increase.
    """
    if isinstance(x, (list, tuple)) and len(x) == 0:
        raise ValueError("x is an empty list: give an array (samples, variables), or a list of such arrays")
    if not is_several(x):
        if is_several(t):
            raise ValueError(f"t is a list of {len(t)} arrays, but x is one trajectory: give one array of times")
        for name, value in (("x_dot", x_dot), ("u", u)):
            if is_several(value) and len(value) == 1:
                raise ValueError(f"{name} is a list of arrays, but x is one trajectory: give one array")
        return [_one(x, t, x_dot, u, "")]
    count = len(x)
    parts: dict[str, Sequence[Any]] = {"x": x}
    for name, value in (("t", t), ("x_dot", x_dot), ("u", u)):
        if value is None or (name == "t" and not is_several(value)):
            is_list_of_steps = name == "t" and isinstance(value, (list, tuple)) and len(value) == count
            parts[name] = value if is_list_of_steps else [value] * count
        elif not isinstance(value, (list, tuple)) or len(value) != count:
            got = f"a list of {len(value)}" if isinstance(value, (list, tuple)) else f"one {type(value).__name__}"
            raise ValueError(f"x is a list of {count} trajectories, so {name} must be a list of {count}, got {got}")
        else:
            parts[name] = value
    rows = zip(parts["x"], parts["t"], parts["x_dot"], parts["u"], strict=True)
    found = [_one(*row, index=f"[{i}]") for i, row in enumerate(rows)]
    for name in ("x", "u"):
        widths = [0 if getattr(part, name) is None else getattr(part, name).shape[1] for part in found]
        if len(set(widths)) > 1:
            raise ValueError(f"{name} must have the same number of variables in every trajectory, got {widths}")
    return found


def _one(x: Any, t: Any, x_dot: Any, u: Any, index: str) -> Trajectory:
    """Check one trajectory; ``index`` is how messages call it."""
    states = matrix(x, f"x{index}")
    n, d = states.shape
    controls = None if u is None else matrix(u, f"u{index}")
    slopes = None if x_dot is None else matrix(x_dot, f"x_dot{index}")
    for name, value in (("u", controls), ("x_dot", slopes)):
        if value is not None and len(value) != n:
            raise ValueError(f"{name}{index} has {len(value)} rows and x{index} has {n}: give one row for each sample")
    if slopes is not None and slopes.shape[1] != d:
        raise ValueError(f"x_dot{index} has {slopes.shape[1]} columns and x{index} has {d}: give one for each variable")
    return Trajectory(states, times_of(t, n, f"t{index}", f"x{index}", states.device), controls, slopes)


def numbers(value: Any, name: str, what: str = "numbers") -> Tensor:
    """Return ``value`` as a tensor of float64; ``what`` it must be is said by the error."""
    given = value.detach() if isinstance(value, Tensor) else np.asarray(value)
    if not isinstance(given, Tensor) and given.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be {what}, got {type(value).__name__}")
    is_complex = given.is_complex() if isinstance(given, Tensor) else given.dtype.kind == "c"
    if is_complex:
        raise TypeError(f"{name} is complex: give its real and its imaginary part as two variables")
    return given.to(torch.float64) if isinstance(given, Tensor) else torch.tensor(given.astype(np.float64))


def matrix(value: Any, name: str) -> Tensor:
    """Return ``value`` as a matrix (samples, variables) in float64; a vector is one variable."""
    result = numbers(value, name, "an array of numbers, (samples, variables)")
    if result.ndim == 1:
        result = result[:, None]
    if result.ndim != 2:
        raise ValueError(
            f"{name} must be (samples, variables), got the shape {tuple(result.shape)}; "
            "several trajectories are a list of arrays"
        )
    if result.numel() == 0:
        raise ValueError(f"{name} is empty, of shape {tuple(result.shape)}: give at least one sample and one variable")
    bad = (~result.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"{name} has a value that is not finite ({result[row, column].item()}) in row {row}, column {column}: "
            "drop such rows, or give the pieces between them as a list of trajectories"
        )
    return result


def times_of(t: Any, n: int, name: str, other: str, device: torch.device) -> Tensor | float | None:
    """Return the times of ``n`` samples as a tensor (n,), a step as a float, and ``None`` as it is."""
    if t is None:
        return None
    result = numbers(t, name, "a step or an array of times").to(device)
    if result.ndim == 0:
        step = float(result)
        if not 0 < step < float("inf"):
            raise ValueError(f"{name} as a step between samples must be positive and finite, got {step}")
        return step
    if result.shape != (n,):
        raise ValueError(f"{name} has the shape {tuple(result.shape)} and {other} has {n} rows: give one time a sample")
    if not result.isfinite().all():
        raise ValueError(f"{name} has a value that is not finite in row {int((~result.isfinite()).nonzero()[0])}")
    wrong = (result.diff() <= 0).nonzero()
    if len(wrong):
        i = int(wrong[0]) + 1
        raise ValueError(
            f"{name} must increase: {name}[{i}] = {result[i].item():g} comes after {result[i - 1].item():g}; "
            "sort the samples by time and drop repeated ones, or give pieces as a list of trajectories"
        )
    return result


def like(result: Tensor, given: Any) -> Any:
    """Return ``result`` as the data came: a tensor for a tensor, else an array."""
    example = given[0] if isinstance(given, (list, tuple)) and len(given) else given
    return result if isinstance(example, Tensor) else result.detach().cpu().numpy()


def whole_number(value: Any, name: str, least: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number, at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
