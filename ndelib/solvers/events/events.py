"""Events: the times at which a function g(t, y) of the solution passes through zero, and what happens there.

Where g changes sign within a step, its zero is found on the dense output of the method, as closely as time can be told
apart; so the event is off by the error of the solution, about (atol + rtol |y|) / |dg/dt| in time, and no more.

Its gradient is that of the implicit function theorem. With ġ = dg/dt along the solution,

    dt*/dp = −(∂g/∂y · ∂y/∂p + ∂g/∂p) / ġ,

which a step of Newton's method, −g/ġ, leaves behind when g is zero and only its graph counts. First derivatives of
times, of states at events and of everything later are right, second ones are not.

Sources: Oliveira & Takahashi, *ACM Trans. Math. Softw.* 47 (2021), the root finder; Hairer, Nørsett & Wanner, *Solving
Ordinary Differential Equations I* (1993), section II.6, events on dense output.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.options import check_takes
from ndelib.solvers.steps.step import Interpolant, Step, time_like


@dataclass(frozen=True)
class Event:
    """An event with its properties: ``Event(lambda t, y: y[0], terminal=True)``.

    A plain function with attributes of the same names does as well, as in SciPy.
    """

    g: Callable[..., Tensor]
    """``g(t, y, *args)`` with y in the form of ``y0`` and the ``args`` of the solve; the event is where it reaches
    zero"""
    terminal: bool | int = False
    """end the solve there; a number ends it at that occurrence"""
    direction: float = 0
    """1: only where g rises through zero as the solve goes on, -1: only where it falls, 0: both"""
    reset: Callable[..., Any] | None = None
    """``reset(t, y, *args)``: the state to go on from, of y's form; ``None`` goes on as if nothing had happened"""

    @property
    def name(self) -> str:
        """The name of the function, for messages; empty for a lambda."""
        name = getattr(self.g, "__name__", "")
        return "" if name == "<lambda>" else name


Events = Callable[..., Tensor] | Event | Sequence[Callable[..., Tensor] | Event] | None
"""What ``solve_ivp(events=…)`` takes."""


def read_events(events: Events, args: Sequence[Any] = ()) -> list[Event]:
    """Return ``events`` as a list. Raises ``TypeError`` or ``ValueError`` for what is not one or takes no ``args``."""
    if events is None:
        return []
    given = list(events) if isinstance(events, (list, tuple)) else [events]
    return [_read_event(event, i, args) for i, event in enumerate(given)]


def _read_event(given: Any, i: int, args: Sequence[Any]) -> Event:
    event = given
    if not isinstance(given, Event):
        if not callable(given):
            raise TypeError(f"events[{i}] must be a function g(t, y) or an Event, got {type(given).__name__}")
        properties = {name: getattr(given, name) for name in ("terminal", "direction", "reset") if hasattr(given, name)}
        event = Event(given, **properties)
    if _whole(event.direction) not in (-1, 0, 1):
        raise ValueError(f"direction of events[{i}] must be -1, 0 or 1, got {event.direction!r}")
    times = 0 if event.terminal is None else _whole(event.terminal)
    if times is None or times < 0:
        raise ValueError(
            f"terminal of events[{i}] must be True, False or how often it may happen, got {event.terminal!r}"
        )
    if event.reset is not None and not callable(event.reset):
        raise TypeError(f"reset of events[{i}] must be a function (t, y) -> y, got {type(event.reset).__name__}")
    check_takes(event.g, f"events[{i}]", args)
    if event.reset is not None:
        check_takes(event.reset, f"reset of events[{i}]", args)
    return event


def _whole(number: Any) -> int | None:
    """Return a whole number (or a truth value) as an int, and ``None`` for anything else."""
    try:
        whole = int(number)
        return whole if bool(whole == number) else None
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


class Moment(NamedTuple):
    """A time and the state there, both with their gradients."""

    t: float
    time: Tensor
    """the same as ``t``, but a function of what it depends on; 0-dimensional, float64, on the CPU"""
    y: Tensor
    shift: Tensor | None
    """``time`` minus its value, in the dtype of y: zero, but for its gradient. ``None`` if there is no gradient"""


def locate(g: Callable[[Any, Tensor], Tensor], step: Step, curve: Interpolant, theta: float) -> Moment:
    """Return time and state at ``step.t + theta step.h``, a zero of ``g(t, y)`` on ``curve``, with their gradients.

    Raises ``ValueError`` where g has a zero slope, so that its zero has no derivative.
    """
    t = time_at(step, theta)
    y = onto_zero(g, step, t, step.y1 if theta == 1.0 else curve(theta))
    time = torch.tensor(t, dtype=torch.float64)
    if not torch.is_grad_enabled():
        return Moment(t, time, y, None)
    value = g(t, y)
    if not (value.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(value)):
        return Moment(t, time, y, None)
    rate = slope(g, step, curve, theta)
    if rate == 0:
        raise ValueError(
            f"an event touches zero at t = {t:.10g} without passing through it (dg/dt = 0): its time has no derivative "
            "there. Solve under torch.no_grad(), or detach what g depends on"
        )
    late = -(value - value.detach()) / rate  # in units of the step
    moved: Tensor = curve(theta + late)  # type: ignore[arg-type]  # a tensor here: polynomials do not mind
    shift = late * step.h
    return Moment(t, time + shift.double().cpu(), y.detach() + (moved - moved.detach()), shift)


def onto_zero(g: Callable[[Any, Tensor], Tensor], step: Step, t: float, y: Tensor) -> Tensor:
    """Return ``y``, (*), inside ``step``, moved onto g(t, y) = 0 by what rounding has left there.

    Dense output is a sum of numbers as large as the state at the ends of the step, and rounded as they are, however
    small the state at the event is. Moved onto zero, it is as near to it as its own rounding allows: so a solve that
    starts there is seen to start at the event. Where g says that more than rounding is left (it jumps) y stays.
    """
    plain, value = values(y), values(g(t, y))
    if value == 0:
        return y
    gradient = _gradient(lambda x: g(t, x), y)
    square = gradient.abs().square().sum()
    size = torch.maximum(values(step.y).abs(), values(step.y1).abs())
    move = gradient * (value / square)
    if square == 0 or bool((move.abs() > 16 * torch.finfo(y.dtype).eps * size).any()):
        return y
    return y - move if values(g(t, plain - move)).abs() <= value.abs() else y


def slope(g: Callable[[Any, Tensor], Tensor], step: Step, curve: Interpolant, theta: float) -> float:
    """Return the derivative of ``g(t, y)`` along ``curve`` with respect to theta."""

    def along(x: Tensor) -> Tensor:
        return g(time_like(step.t, step.y) + x * step.h, curve(x))  # type: ignore[arg-type]

    return _gradient(along, time_like(theta, step.y)).item()


def rounding(g: Callable[[Any, Tensor], Tensor], t: float, y: Tensor) -> float:
    """Return by how much the rounding of ``y`` may change ``g(t, y)``, eps Σᵢ |∂g/∂yᵢ| |yᵢ|."""
    y = values(y)
    change = _gradient(lambda x: g(t, x), y).abs() * y.abs()
    return torch.finfo(y.dtype).eps * change.sum().item()


def rounding_of_time(g: Callable[[Any, Tensor], Tensor], t: float, y: Tensor) -> float:
    """Return by how much the rounding of ``t`` to the dtype of ``y`` may change ``g(t, y)``, eps |∂g/∂t| |t|."""
    y = values(y)
    return torch.finfo(y.dtype).eps * abs(t * _gradient(lambda time: g(time, y), time_like(t, y)).item())


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the values of the gradient of a scalar ``function`` at ``x``; zero if it does not depend on x."""
    if torch._C._functorch.peek_interpreter_stack() is not None:  # inside grad, jacrev, …
        return values(torch.func.grad(function)(x))
    with torch.enable_grad():  # without the import of a second that torch.func.grad costs when first called
        x = x.detach().requires_grad_()
        value = function(x)
        (gradient,) = torch.autograd.grad(value, x, allow_unused=True) if value.requires_grad else (None,)
    return torch.zeros_like(x) if gradient is None else gradient


def time_at(step: Step, theta: float) -> float:
    """Return the time at the fraction ``theta`` of ``step``."""
    return step.t1 if theta == 1.0 else step.t + theta * step.h


def resolution(step: Step) -> float:
    """Return which fraction of ``step`` can be told apart: by rounding of the state, or of the time."""
    return max(torch.finfo(step.y.dtype).eps, 2 * math.ulp(max(abs(step.t), abs(step.t1))) / abs(step.h))


def find_root(g: Callable[[float], float], a: float, ga: float, b: float, gb: float, tolerance: float) -> float:
    """Return a zero of g between ``a`` and ``b``, where its values ``ga`` and ``gb`` differ in sign, to ``tolerance``.

    The ITP method: Interpolate, Truncate, Project. The secant's zero, moved a little towards the middle so that the
    root changes sides, but never farther from it than lets bisection finish in time: at most one evaluation more than
    bisection, for smooth functions about ten. Raises ``ArithmeticError`` if g is not finite there.
    """
    length, sign = b - a, math.copysign(1.0, gb)
    halvings = math.ceil(math.log2(max(1.0, length / (2 * tolerance)))) + 1
    while b - a > 2 * tolerance and gb != 0.0:
        middle = (a + b) / 2
        secant = (gb * a - ga * b) / (gb - ga)
        radius = max(0.0, tolerance * 2.0**halvings - (b - a) / 2)
        x = secant + math.copysign(min(0.2 / length * (b - a) ** 2, abs(middle - secant)), middle - secant)
        if abs(x - middle) > radius:
            x = middle + math.copysign(radius, secant - middle)
        x = min(max(x, a + tolerance), b - tolerance)  # no closer to an end than what can be told apart
        halvings -= 1
        gx = g(x)
        if not math.isfinite(gx):
            raise ArithmeticError(f"g is {gx}")
        if gx * sign >= 0:
            b, gb = x, gx
        else:
            a, ga = x, gx
    return a if abs(ga) < abs(gb) else b
