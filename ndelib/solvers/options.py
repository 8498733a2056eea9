"""The options that ``odeint`` and ``solve_ivp`` share, and the checks of what users pass."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from ndelib.solvers.control import CONTROLLERS, Controller, Tolerance, values
from ndelib.solvers.methods import closest


class SolveOptions(TypedDict, total=False):
    """The keywords that ``odeint`` and ``solve_ivp`` share; :class:`Options` holds their defaults."""

    rtol: Tolerance
    atol: Tolerance
    step_size: float | None
    adaptive: bool | None
    first_step: float | None
    min_step: float
    max_step: float
    max_steps: int
    step_at: Sequence[float]
    controller: str | Controller
    batch: Literal["shared", "independent"]
    args: Sequence[Any]
    jacobian: Callable[..., Tensor] | None
    omega: float | None
    compile: Literal["step", "solve"] | None


@dataclass(frozen=True)
class Options:
    """The same with defaults, checked when it is made: a wrong value raises ``ValueError`` naming the option."""

    rtol: Tolerance = 1e-6
    atol: Tolerance = 1e-8
    step_size: float | None = None
    adaptive: bool | None = None
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float = math.inf
    max_steps: int = 100_000
    step_at: Sequence[float] = ()
    controller: str | Controller = "pi"
    batch: Literal["shared", "independent"] = "shared"
    args: Sequence[Any] = ()
    jacobian: Callable[..., Tensor] | None = None
    omega: float | None = None
    compile: Literal["step", "solve"] | None = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            given = getattr(self, name)
            if not isinstance(given, (Real, Tensor)):
                raise TypeError(
                    f"{name} must be a number or a tensor that broadcasts to y0, got {type(given).__name__}"
                )
            value = torch.as_tensor(given, dtype=torch.float64)
            if not bool((torch.isfinite(value) & (value >= 0)).all()):
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)!r}")
        for name in ("step_size", "first_step"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (Real, Tensor)):
                raise TypeError(f"{name} must be a number or None, got {type(value).__name__}")
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value!r} (its sign comes from t)")
        if not (math.isfinite(self.min_step) and self.min_step >= 0):
            raise ValueError(f"min_step must be finite and not negative, got {self.min_step!r}")
        if not self.max_step > 0 or self.max_step < self.min_step:
            raise ValueError(f"max_step must be positive and at least min_step, got {self.max_step!r}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps!r}")
        if isinstance(self.step_at, Real):
            raise TypeError(f"step_at must be a sequence of times: write [{self.step_at}]")
        if not all(math.isfinite(t) for t in self.step_at):
            raise ValueError(f"step_at must hold finite times, got {self.step_at!r}")
        if not isinstance(self.args, (tuple, list)):
            raise TypeError(f"args must be a tuple of what f takes after t and y, got {type(self.args).__name__}")
        if self.batch not in ("shared", "independent"):
            raise ValueError(f"batch must be 'shared' or 'independent', got {self.batch!r}")
        if self.compile not in (None, "step", "solve"):
            raise ValueError(f"compile must be None, 'step' or 'solve', got {self.compile!r}")
        if not isinstance(self.controller, Controller) and self.controller not in CONTROLLERS:
            raise ValueError(f"controller {self.controller!r} is unknown: {closest(str(self.controller), CONTROLLERS)}")

    @property
    def control(self) -> Controller:
        """The controller, also where it was given by name."""
        return self.controller if isinstance(self.controller, Controller) else CONTROLLERS[self.controller]


ELSEWHERE = {
    "options": "what torchdiffeq takes as options={…} are keywords of their own here",
    "dense_output": "write solve_ivp(…, dense=True)",
    "event_fn": "write solve_ivp(…, events=…)",
    "jac": "write jacobian=…",
    "gradient": "it is one of ndelib.odeint; this function differentiates by backpropagation",
    "params": "it is one of ndelib.odeint; backpropagation finds the parameters by itself",
    "adjoint_params": "write odeint(…, params=…), or call odeint_adjoint",
    "adjoint_options": "the options of a backward solve are those of the forward one",
}
"""What SciPy and torchdiffeq call options, and what to write here."""


def read_options(given: SolveOptions) -> Options:
    """Return the options with their defaults; an unknown keyword raises ``TypeError`` with the closest ones."""
    known = [field.name for field in fields(Options)]
    for name in given:
        if name in ELSEWHERE:
            raise TypeError(f"{name!r} is not an option: {ELSEWHERE[name]}")
        if name not in known:
            raise TypeError(f"{name!r} is not an option: {closest(name, [*known, 'method'])}")
    return Options(**given)


def check_times(t: Tensor | Sequence[float]) -> list[float]:
    """Return the times as floats; they must be a strictly monotone vector, (T,)."""
    if not isinstance(t, Tensor):
        if not hasattr(t, "__len__") or isinstance(t, str):
            raise TypeError(f"t must be a tensor or a sequence of times, got {type(t).__name__}")
        if any(isinstance(time, Tensor) and time.requires_grad for time in t):
            t = torch.stack([torch.as_tensor(time) for time in t])
        else:
            t = torch.as_tensor(t, dtype=torch.float64)
    if t.requires_grad:
        raise TypeError("t asks for a gradient (t.requires_grad is True), which only ndelib.odeint gives: t.detach()")
    if t.ndim != 1 or t.numel() == 0:
        raise ValueError(f"t must be a non-empty vector of times, (T,); got the shape {tuple(t.shape)}")
    values: list[float] = t.double().tolist()
    if not all(map(math.isfinite, values)):
        raise ValueError("t holds an infinity or NaN; every time must be finite")
    differences = [b - a for a, b in pairwise(values)]
    if not (all(d > 0 for d in differences) or all(d < 0 for d in differences)):
        i = next(i for i, d in enumerate(differences) if d * differences[0] <= 0)
        raise ValueError(
            "t must be strictly increasing or strictly decreasing; "
            f"t[{i}] = {values[i]:g} is followed by t[{i + 1}] = {values[i + 1]:g}"
        )
    return values


def check_state(y: Any, name: str) -> None:
    """Raise ``TypeError`` unless ``y`` is a tensor of floating or complex dtype."""
    if not isinstance(y, Tensor):
        hint = ", or join several tensors in one flat tuple" if isinstance(y, (list, tuple)) else ""
        raise TypeError(f"{name} must be a tensor, got {type(y).__name__}: wrap it in torch.tensor(...){hint}")
    if not (y.is_floating_point() or y.is_complex()):
        raise TypeError(f"{name} must have a floating-point dtype, got {y.dtype}: write 1.0 for 1, or call .float()")


def check_finite(y: Tensor, name: str) -> None:
    """Raise ``ValueError`` if ``y`` holds an infinity or NaN."""
    if not bool(torch.isfinite(values(y)).all()):
        raise ValueError(f"{name} holds an infinity or NaN: every component must be finite")


def check_tolerances(y: Tensor, rtol: Tolerance, atol: Tolerance) -> None:
    """Raise ``ValueError`` where the tolerances do not fit ``y``: a wrong shape, or finer than its dtype can hold."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if isinstance(value, Tensor):
            try:
                fits = torch.broadcast_shapes(value.shape, y.shape) == y.shape
            except RuntimeError:
                fits = False
            if not fits:
                raise ValueError(f"{name} of the shape {tuple(value.shape)} does not broadcast to y0, {tuple(y.shape)}")
    eps, size = torch.finfo(y.dtype).eps, values(y).abs()
    scale = values(atol + rtol * y.abs())
    if bool((scale < 2 * eps * size).any()):
        raise ValueError(
            f"rtol = {rtol!r}, atol = {atol!r} ask for more digits than {y.dtype} has (it rounds to {eps:.1e} of y): "
            "raise rtol, or solve in float64"
        )
    if bool((scale == 0).any()):
        raise ValueError(
            "atol must be positive for every component that is zero in y0, or rtol has nothing to measure by"
        )
