"""The options that ``odeint`` and ``solve_ivp`` share, and the checks of what users pass."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from ndelib.solvers.control import CONTROLLERS, Controller, Tolerance
from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import closest
from ndelib.solvers.steps.step import Statistics


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
    args_dims: Sequence[int | None] | None
    jacobian: Callable[..., Tensor] | None
    on_step: Callable[[float, Any], object] | None
    omega: float | None
    compile: Literal["step", "solve"] | None
    statistics: Statistics | None


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
    args_dims: Sequence[int | None] | None = None
    jacobian: Callable[..., Tensor] | None = None
    on_step: Callable[[float, Any], object] | None = None
    omega: float | None = None
    compile: Literal["step", "solve"] | None = None
    statistics: Statistics | None = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            given = getattr(self, name)
            if not isinstance(given, (Real, Tensor)) or (isinstance(given, Tensor) and given.is_complex()):
                raise TypeError(f"{name} must be a number or a tensor that broadcasts to y0, got {_kind(given)}")
            check_has_values(given, name)
            value = torch.as_tensor(given, dtype=torch.float64)
            if not bool((torch.isfinite(value) & (value >= 0)).all()):
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)!r}")
        for name in ("step_size", "first_step"):
            value = getattr(self, name)
            if value is None:
                continue
            _check_number(value, name, " or None")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value!r} (its sign comes from t)")
        for name in ("min_step", "max_step", "max_steps"):
            _check_number(getattr(self, name), name)
        if not (math.isfinite(self.min_step) and self.min_step >= 0):
            raise ValueError(f"min_step must be finite and not negative, got {self.min_step!r}")
        if not self.max_step > 0 or self.max_step < self.min_step:
            raise ValueError(f"max_step must be positive and at least min_step, got {self.max_step!r}")
        if not self.max_steps >= 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps!r}")
        if isinstance(self.step_at, (Real, str)) or not isinstance(self.step_at, Iterable):
            example = f": write [{self.step_at}]" if isinstance(self.step_at, Real) else f", got {_kind(self.step_at)}"
            raise TypeError(f"step_at must be a sequence of times{example}")
        if isinstance(self.step_at, Tensor) and self.step_at.ndim != 1:
            raise TypeError(f"step_at must be a sequence of times, (n,), got {_kind(self.step_at)}")
        times = tuple(self.step_at)  # once: an iterator has nothing to say a second time
        for i, time in enumerate(times):
            _check_number(time, f"step_at[{i}]")
        object.__setattr__(self, "step_at", tuple(float(time) for time in times))
        if not all(map(math.isfinite, self.step_at)):
            raise ValueError(f"step_at must hold finite times, got {self.step_at!r}")
        if self.adaptive not in (None, True, False):
            raise TypeError(f"adaptive must be True, False or None, got {self.adaptive!r}")
        if self.jacobian is not None and not callable(self.jacobian):
            raise TypeError(f"jacobian must be a function (t, y, *args) -> ∂f/∂y or None, got {_kind(self.jacobian)}")
        if self.on_step is not None and not callable(self.on_step):
            raise TypeError(f"on_step must be a function (t, y) or None, got {_kind(self.on_step)}")
        if not isinstance(self.args, (tuple, list)):
            raise TypeError(f"args must be a tuple of what f takes after t and y, got {type(self.args).__name__}")
        object.__setattr__(self, "args", tuple(self.args))
        self._check_args_dims()
        if self.batch not in ("shared", "independent"):
            raise ValueError(f"batch must be 'shared' or 'independent', got {self.batch!r}")
        if self.compile not in (None, "step", "solve"):
            raise ValueError(f"compile must be None, 'step' or 'solve', got {self.compile!r}")
        if self.statistics is not None and not isinstance(self.statistics, Statistics):
            raise TypeError(f"statistics must be an ndelib.solvers.Statistics to fill, got {_kind(self.statistics)}")
        by_name = isinstance(self.controller, str) and self.controller in CONTROLLERS
        if not isinstance(self.controller, Controller) and not by_name:
            raise ValueError(f"controller {self.controller!r} is unknown: {closest(str(self.controller), CONTROLLERS)}")

    def _check_args_dims(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` unless ``args_dims`` says something of each of ``args``."""
        dims = self.args_dims
        if dims is None:
            return
        if not isinstance(dims, (tuple, list)) or not all(
            dim is None or (isinstance(dim, int) and not isinstance(dim, bool)) for dim in dims
        ):
            raise TypeError(f"args_dims must be a tuple of dimensions and None, such as (0, None), got {dims!r}")
        if self.batch != "independent":
            raise ValueError("args_dims is for batch='independent': other solves give args to f as they are")
        if len(dims) != len(self.args):
            raise ValueError(f"args_dims must say something of each of the {len(self.args)} args, got {dims!r}")
        object.__setattr__(self, "args_dims", tuple(dims))

    @property
    def control(self) -> Controller:
        """The controller, also where it was given by name."""
        return self.controller if isinstance(self.controller, Controller) else CONTROLLERS[self.controller]


ELSEWHERE = {
    "options": "what torchdiffeq takes as options={…} are keywords of their own here",
    "dense_output": "write solve_ivp(…, dense=True)",
    "event_fn": "write solve_ivp(…, events=…)",
    "callback": "write on_step=…",
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


def gives_tolerance(options: Options) -> bool:
    """Whether the user gave ``rtol`` or ``atol``, or at least not the defaults."""
    given = (options.rtol, Options.rtol), (options.atol, Options.atol)
    return any(isinstance(value, Tensor) or value != default for value, default in given)


def _check_number(value: Any, name: str, alternative: str = "") -> None:
    """Raise ``TypeError`` unless ``value`` is a real number, or a tensor of one."""
    if isinstance(value, Tensor):
        check_has_values(value, name)
    if not isinstance(value, (Real, Tensor)) or (
        isinstance(value, Tensor) and (value.numel() != 1 or value.is_complex())
    ):
        raise TypeError(f"{name} must be a number{alternative}, got {_kind(value)}")


def check_takes(function: Callable[..., Any], name: str, args: Sequence[Any]) -> None:
    """Raise ``TypeError`` if ``function`` cannot be called as ``function(t, y, *args)``, as far as Python can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions written in C
        return
    try:
        signature.bind(None, None, *args)
    except TypeError as failure:
        also = f", *args), with the {len(args)} args of the solve" if args else ")"
        raise TypeError(f"{name} is called as a function (t, y{also}: {failure}") from None


def _kind(value: Any) -> str:
    """Say what ``value`` is, for messages."""
    if isinstance(value, Tensor):
        return f"a tensor of the shape {tuple(value.shape)} and dtype {value.dtype}"
    return type(value).__name__


def check_has_values(x: Any, name: str) -> None:
    """Raise ``ValueError`` for a tensor without values: one on the device 'meta'."""
    if isinstance(x, Tensor) and x.is_meta:
        raise ValueError(f"{name} is on the device 'meta', where tensors have no values: move it to cpu or cuda")


def times_tensor(t: Any, name: str = "t") -> Tensor:
    """Return times as a tensor; raise ``TypeError`` for what is none."""
    if not isinstance(t, Tensor):
        if not hasattr(t, "__len__") or isinstance(t, str):
            raise TypeError(f"{name} must be a tensor or a sequence of times, got {type(t).__name__}")
        try:
            if any(isinstance(time, Tensor) for time in t):
                t = torch.stack([torch.as_tensor(time, dtype=torch.float64) for time in t])
            else:
                t = torch.as_tensor(t, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as failure:
            raise TypeError(f"{name} must be a tensor or a sequence of times, got {t!r} ({failure})") from None
    assert isinstance(t, Tensor)
    if t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got the dtype {t.dtype}")
    check_has_values(t, name)
    return t


def check_times(t: Tensor | Sequence[float], name: str = "t") -> list[float]:
    """Return the times as floats; they must be a strictly monotone vector, (T,)."""
    t = times_tensor(t, name)
    if t.requires_grad:
        raise TypeError(
            f"{name} asks for a gradient ({name}.requires_grad is True), which only ndelib.odeint gives: call .detach()"
        )
    if t.ndim != 1 or t.numel() == 0:
        raise ValueError(f"{name} must be a non-empty vector of times, (T,); got the shape {tuple(t.shape)}")
    values: list[float] = t.double().tolist()
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{name} holds an infinity or NaN; every time must be finite")
    differences = [b - a for a, b in pairwise(values)]
    if not (all(d > 0 for d in differences) or all(d < 0 for d in differences)):
        i = next(i for i, d in enumerate(differences) if d * differences[0] <= 0)
        raise ValueError(
            f"{name} must be strictly increasing or strictly decreasing; "
            f"{name}[{i}] = {values[i]:g} is followed by {name}[{i + 1}] = {values[i + 1]:g}"
        )
    return values


def check_state(y: Any, name: str) -> None:
    """Raise ``TypeError`` unless ``y`` is a dense tensor of floating or complex dtype, on a device with values."""
    if not isinstance(y, Tensor):
        hint = ", or join several tensors in one flat tuple" if isinstance(y, (list, tuple)) else ""
        raise TypeError(f"{name} must be a tensor, got {type(y).__name__}: wrap it in torch.tensor(...){hint}")
    if not (y.is_floating_point() or y.is_complex()):
        raise TypeError(f"{name} must have a floating-point dtype, got {y.dtype}: write 1.0 for 1, or call .float()")
    if y.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got the layout {y.layout}: call .to_dense()")
    check_has_values(y, name)


def check_finite(y: Tensor, name: str) -> None:
    """Raise ``ValueError`` if ``y`` holds an infinity or NaN."""
    if not bool(torch.isfinite(values(y)).all()):
        raise ValueError(f"{name} holds an infinity or NaN: every component must be finite")


def check_tolerances(y: Tensor, rtol: Tolerance, atol: Tolerance) -> None:
    """Raise ``ValueError`` where the tolerances do not fit ``y``: a wrong shape or device, too fine for its dtype."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if isinstance(value, Tensor):
            if value.device != y.device and (value.ndim > 0 or value.device.type != "cpu"):
                raise ValueError(f"{name} is on {value.device} and y0 on {y.device}: move {name} there")
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
