"""What decides about a step: how its error is measured, how long the next one is, and how long the first.

Sources: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), section II.4; Gustafsson,
*ACM Trans. Math. Softw.* 17 (1991), the PI controller; Söderlind, *ACM Trans. Math. Softw.* 29 (2003), the family.
"""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.steps.step import Field

Tolerance = float | Tensor
Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class Controller:
    """How the step size follows the error estimates e₁, e₂, … (in units of the tolerance) of a method.

    With k = error_order + 1 the next step is

        h · safety · eₙ^(−(kI + kP + kD)/k) · eₙ₋₁^((kP + 2 kD)/k) · eₙ₋₂^(−kD/k),

    where kI, kP, kD are ``integral``, ``proportional`` and ``derivative``, but changes by no more than the factors
    ``min_factor`` and ``max_factor``. Of eₙ₋₁ and eₙ₋₂ what is below 0.3 counts as 0.3.
    """

    integral: float = 1.0
    proportional: float = 0.0
    derivative: float = 0.0
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not isinstance(value := getattr(self, field.name), Real) or math.isnan(value):
                raise ValueError(f"{field.name} of a controller must be a number, got {value!r}")
        if not (0 < self.safety <= 1 and 0 < self.min_factor < 1 < self.max_factor):
            raise ValueError(f"a controller needs 0 < safety ≤ 1 and 0 < min_factor < 1 < max_factor, got {self}")
        if not self.integral > 0:
            raise ValueError(f"integral must be positive, or errors are never corrected; got {self.integral}")

    def after_acceptance(self, errors: tuple[Number, Number, Number], k: float) -> Number:
        """Return the factor for the next step; ``errors`` are the newest first, numbers or one tensor each, (n,)."""
        now = clip(errors[0], 1e-10, math.inf)
        # An error far below the tolerance is that of a step that was short for another reason (the first ones, one cut
        # to land on a requested time): no trend to follow.
        before, earlier = (clip(e, 0.3, math.inf) for e in errors[1:])
        power_now = -(self.integral + self.proportional + self.derivative) / k
        factor = now**power_now * before ** ((self.proportional + 2 * self.derivative) / k)
        factor = factor * earlier ** (-self.derivative / k)
        return clip(self.safety * factor, self.min_factor, self.max_factor)

    def after_rejection(self, error: Number, k: float) -> Number:
        """Return the factor for trying the step again. History is no help here: only this error counts."""
        factor = clip(self.safety * error ** (-1 / k), self.min_factor, 0.9)
        if isinstance(error, Tensor):
            return torch.where(torch.isfinite(error), factor, 0.1)
        return factor if math.isfinite(error) else 0.1


def clip(x: Number, low: float, high: float) -> Number:
    """Return ``x``, but no less than ``low`` and no more than ``high``."""
    return x.clamp(low, high) if isinstance(x, Tensor) else min(high, max(low, x))


CONTROLLERS = {
    "i": Controller(),
    # Where errors have settled, all three keep them at the same level, 0.9^k of the tolerance: 0.93 ≈ 0.9^0.65.
    "pi": Controller(integral=0.65, proportional=0.2, safety=0.93),
    "pid": Controller(integral=0.65, proportional=0.3, derivative=0.05, safety=0.93),
}


@torch.no_grad()
def error_ratio(error: Tensor, y: Tensor, y1: Tensor, rtol: Tolerance, atol: Tolerance) -> float:
    """Return the root mean square of ``error / (atol + rtol max(|y|, |y₁|))``: a step is accepted if it is ≤ 1."""
    return rms(error / (atol + rtol * torch.maximum(y.abs(), y1.abs())))


def rms(x: Tensor) -> float:
    """Return the root mean square of all entries of ``x``. Inside ``vmap`` that means all samples together."""
    x = values(x)
    return torch.linalg.vector_norm(x).item() / math.sqrt(max(1, x.numel()))


@torch.no_grad()
def select_first_step(
    f: Field, t: float, y: Tensor, f0: Tensor, limit: float, k: float, rtol: Tolerance, atol: Tolerance
) -> float:
    """Return a first step, with the sign of ``limit`` and no longer than it, from f and its change over a trial step.

    Hairer, Nørsett & Wanner I, section II.4, "Starting step size". Costs one evaluation of ``f``.
    """
    scale = atol + rtol * y.abs()
    size, slope = rms(y / scale), rms(f0 / scale)
    trial = 0.01 * size / slope if size > 1e-5 and slope > 1e-5 else 1e-6
    if not math.isfinite(trial) or trial == 0:  # an atol of 1e-200 makes a slope that no float holds
        trial = 1e-6
    trial = math.copysign(min(trial, abs(limit)), limit)
    f1 = f(t + trial, y.add(f0, alpha=trial))
    curvature = rms((f1 - f0) / scale) / abs(trial)
    steepest = max(slope, curvature)
    if not math.isfinite(steepest):
        return trial
    h = max(1e-6, abs(trial) * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / k)
    return math.copysign(min(100 * abs(trial), h, abs(limit)), limit)
