"""``compile="step"`` and ``compile="solve"``: explicit Runge–Kutta methods as machine code, by ``torch.compile``.

``"step"`` compiles one step; the loops stay those of ``adaptive.py`` and ``fixed_step.py``, and gradients flow.
``"solve"`` compiles the adaptive loop between two requested times, for solves without gradients. Its steps are those
of the loop in Python, except that one of them ends on every requested time: none is read off dense output.

When it pays. Solves from t = 0 to 10 with 11 requested times by dopri5, rtol = atol = 1e-6, float64, on two CPU cores
(one thread), in milliseconds; the first call also compiles, for 3 to 20 seconds:

=====================================  =====  ======  =======
f                                      None   "step"  "solve"
=====================================  =====  ======  =======
Lotka–Volterra, 256 states                19       9        3
Lotka–Volterra, 16 384 states            124      39       23
a network 2–64–64–2, 256 states           21      17       17
a network 2–64–64–2, 4096 states         322     241      244
=====================================  =====  ======  =======

A cheap f gains most, because the time goes into starting small operations, of which one is left. Of a network the
matrix products stay what they are. Compiling loses where a problem is solved once, and ``"solve"`` also where there are
many more requested times than steps: the first network above at 201 times takes 16 ms with ``None`` and 258 with it.

The machine code lives as long as ``f`` and is used again for the same f, method, controller, and shape, dtype and
device of y; other times, states, tolerances and parameters cost nothing. So define f once: a lambda written in the call
is a new function, to be compiled, in every call. For a CPU, torch needs a C++ compiler.

Source: the documentation of ``torch.compile`` and ``torch.while_loop`` (https://docs.pytorch.org).
"""

import math
import types
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop
from torch.utils.weak import WeakIdKeyDictionary

from ndelib.solvers.control import Controller, select_first_step
from ndelib.solvers.diagnosis import not_finite_field, step_size_too_small, too_many_steps
from ndelib.solvers.field import CheckedField
from ndelib.solvers.options import Options
from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.runge_kutta import runge_kutta_step
from ndelib.solvers.steps.step import Field, Method, Statistics, Step, StepFunction

Function = Callable[..., Any]
Shapes = tuple[tuple[int, ...], ...] | None
"""The shapes of the parts of a state that is a tuple; ``None`` if it is a tensor."""

_compiled: Any = WeakIdKeyDictionary()  # f, or the object whose method it is → what it was compiled for → machine code


def check_compilable(method: Method, mode: str, adaptive: bool) -> None:
    """Raise ``ValueError`` if a solve by ``method`` cannot have ``compile=mode``."""
    if method.tableau is None:
        raise ValueError(
            f"compile={mode!r} is for explicit Runge–Kutta methods, and {method.name!r} is not one: use compile=None"
        )
    if mode == "solve" and not adaptive:
        raise ValueError(
            'compile="solve" compiles the adaptive loop, and this solve has fixed steps: use compile="step"'
        )


def compiled_step(method: Method, field: CheckedField, f: Function, shapes: Shapes) -> StepFunction:
    """Return the step of ``method``, compiled; gradients flow through it.

    ``f`` is the user's function, of a tuple of tensors of ``shapes`` or of a tensor; ``field`` is the same checked.
    """
    tableau, real = method.tableau, field.dtype
    assert tableau is not None

    def traced(
        f: Function, args: Any, y: Tensor, f0: Tensor | None, times: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        t, t1, low, high = times.unbind()
        _, _, _, y1, k, _, error, _ = runge_kutta_step(
            tableau, _field(f, args, shapes, real, y.dtype, low, high), t, y, t1, f0
        )
        return y1.to(y.dtype), k, error

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        if tableau.fsal and f0 is None:
            f0 = field(t, y)
        _check_plain("step", y, f0)
        if not tableau.fsal:
            f0 = None  # only the first step and rejected ones have it: not worth a second compilation
        run = _machine_code(f, ("step", tableau, shapes, y.shape, y.dtype, y.device), traced)
        start = y
        if f0 is not None and f0.requires_grad and not y.requires_grad and torch.is_grad_enabled():
            start = y.detach().requires_grad_()  # so the first step is compiled as the later ones are
        times = _vector([t, t1, field.low, field.high], y)
        y1, k, error = _call("step", run, f, field.args, start, f0, times)
        field.statistics.nfe += _evaluations(tableau)
        return Step(t, t1, y, y1, k, k[-1] if tableau.fsal else None, error)

    return step


def compiled_steps(
    method: Method,
    field: CheckedField,
    f: Function,
    shapes: Shapes,
    y: Tensor,
    times: Sequence[float],
    options: Options,
    statistics: Statistics,
    first_step: float | None = None,
) -> Generator[Step, None, float]:
    """Solve from ``times[0]`` to ``times[-1]`` as :func:`~ndelib.solvers.loops.adaptive.adaptive_steps` does.

    Yields one ``Step`` for each interval between ``times``: it stands for all the steps made there, and has no stages.
    ``first_step`` comes before that of the ``options``; returned is the length that the next step would have had.
    ``f`` and ``shapes`` as for :func:`compiled_step`. Raises what the loop in Python raises, and ``ValueError`` where a
    gradient is asked for or ``f`` cannot be compiled.
    """
    assert method.tableau is not None
    assert method.error_order is not None
    tableau, order = method.tableau, method.error_order + 1
    rtol, atol, controller = options.rtol, options.atol, options.control
    min_step, max_step, max_steps = options.min_step, options.max_step, options.max_steps
    start, last = times[0], times[-1]
    direction = math.copysign(1.0, last - start)
    f0 = field(start, y)
    _check_plain("solve", y, f0)
    if torch.is_grad_enabled() and (y.requires_grad or f0.requires_grad):
        raise ValueError(
            'compile="solve" gives no gradients, but y0 or something in f asks for one: use compile="step" or None, or '
            "solve under torch.no_grad()"
        )
    if not torch.isfinite(f0).all():
        raise not_finite_field(start, 0.0, f0)
    first_step = options.first_step if first_step is None else first_step
    if first_step is None:
        first_step = max(min_step, abs(select_first_step(field, start, y, f0, last - start, order, rtol, atol)))

    traced = _adaptive_loop(tableau, order, controller, shapes, field.dtype)
    run = _machine_code(f, ("solve", tableau, controller, shapes, y.shape, y.dtype, y.device), traced)
    # what the loop carries, besides y and f(t, y): direction · t, h, three errors, whether h may grow, and the counts
    numbers = _vector(
        [direction * start, min(first_step, max_step), 1, 1, 1, 1, statistics.steps, statistics.rejected], y
    )
    bounds = [direction, field.low, field.high, min_step, max_step, max_steps]
    tolerances = [torch.as_tensor(x, dtype=torch.float64, device=y.device) for x in (rtol, atol)]
    for begin, end in pairwise(times):
        with torch.no_grad():
            limits = _vector([direction * end, *bounds], y)
            numbers, y1, f0 = _call("solve", run, f, field.args, numbers, y, f0, limits, *tolerances)
        reached, h, *_, steps, rejected = numbers.tolist()
        statistics.nfe += _evaluations(tableau) * int(steps + rejected - statistics.steps - statistics.rejected)
        statistics.steps, statistics.rejected = int(steps), int(rejected)
        if reached != direction * end:
            t, h = direction * reached, direction * h
            if steps + rejected >= max_steps:
                raise too_many_steps(method, field, t, y1, h, last, options, statistics)
            tried = runge_kutta_step(tableau, field, t, y1, t + h)
            raise step_size_too_small(method, field, t, y1, h, last, tried, options, statistics)
        yield Step(begin, end, y, y1, [], None, None)
        y = y1
    return numbers[1].item()


def _adaptive_loop(
    tableau: ButcherTableau, order: float, controller: Controller, shapes: Shapes, real: torch.dtype
) -> Function:
    """Return the loop of ``adaptive.py`` up to the next requested time, in tensors only: what ``torch`` traces.

    Time is s = direction · t, so it grows. The letters are those of ``adaptive.py``; ``order`` is error_order + 1.
    """

    def landing(s: Tensor, h: Tensor, end: Tensor) -> Tensor:
        # Directly after a rejection too: h is then at most 0.9 of the way to end, and 1.1 of it is still too short.
        free = torch.where(end - s < 2 * h, s + (end - s) / 2, s + h)
        return torch.where(s + 1.1 * h >= end, end, free)

    def traced(
        f: Function,
        args: Any,
        numbers: Tensor,
        y: Tensor,
        f0: Tensor,
        limits: Tensor,
        rtol: Tensor,
        atol: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        def unfinished(*carry: Tensor) -> Tensor:
            s, h, *_, steps, rejected, _, _ = carry
            end, _, _, _, min_step, _, max_steps = limits.unbind()
            smallest = torch.maximum(min_step, 10 * torch.finfo(s.dtype).eps * s.abs())
            possible = ((h >= smallest) & (h > 0)) | (landing(s, h, end) == end)
            return (s < end) & possible & (steps + rejected < max_steps)

        def body(*carry: Tensor) -> tuple[Tensor, ...]:
            s, h, now, before, earlier, grow, steps, rejected, y, f0 = carry
            end, direction, low, high, min_step, max_step, _ = limits.unbind()
            field = _field(f, args, shapes, real, y.dtype, low, high)
            s1 = landing(s, h, end)
            start = f0 if tableau.fsal else None
            step = runge_kutta_step(tableau, field, direction * s, y, direction * s1, start)
            assert step.error is not None
            y1, f1 = step.y1.to(y.dtype), step.k[-1]  # without FSAL, f1 is not looked at
            scaled = step.error.abs() / (atol + rtol * torch.maximum(y.abs(), y1.abs()))
            error = (scaled * scaled).mean().sqrt().to(s.dtype)
            accepted = error <= 1.0  # not if it is NaN
            made = s1 - s
            factor = controller.after_acceptance((error, now, before), order)
            longer = made * torch.where(grow > 0, factor, factor.clamp(max=1.0))
            longer = torch.where((made < h) & (factor > 1.0), torch.maximum(longer, h), longer).maximum(min_step)
            shorter = made * controller.after_rejection(error, order)
            return (
                torch.where(accepted, s1, s),
                torch.minimum(torch.where(accepted, longer, shorter), max_step),
                torch.where(accepted, error, now),
                torch.where(accepted, now, before),
                torch.where(accepted, before, earlier),
                torch.where(accepted, 1.0, torch.zeros_like(s)),
                steps + torch.where(accepted, 1.0, 0.0),
                rejected + torch.where(accepted, 0.0, 1.0),
                torch.where(accepted, y1, y),
                torch.where(accepted, f1, f0),
            )

        *carry, y1, f1 = while_loop(unfinished, body, (*[x.clone() for x in numbers.unbind()], y, f0))
        return torch.stack(carry), y1, f1

    return traced


def _field(
    f: Function, args: Any, shapes: Shapes, real: torch.dtype, dtype: torch.dtype, low: Tensor, high: Tensor
) -> Field:
    """Return ``f`` as steps call it, as ``CheckedField`` does, but so that it can be traced."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        t, y = (
            t.clamp(low, high).to(real),
            y.to(dtype),
        )  # h, a tensor, makes float64 of a float32 state without dimension
        if shapes is None:
            dy: Tensor = f(t, y, *args)
            return dy
        parts = y.split([math.prod(shape) for shape in shapes])
        parts = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        return torch.cat([part.reshape(-1) for part in f(t, parts, *args)])

    return field


def _machine_code(f: Function, key: tuple[Any, ...], traced: Function) -> Function:
    """Return ``traced``, to be compiled when it is first called, or what was kept under ``key`` while ``f`` lived."""
    # model.forward is a new object each time; what stays is the model
    owner, key = (f.__self__, (f.__func__, *key)) if isinstance(f, types.MethodType) else (f, key)
    kept = _compiled.setdefault(owner, {})
    if key not in kept:
        # torch counts how often a code object was compiled, and gives up at 8: every f gets its own copy of the code.
        # f itself is an argument of it, since a closure over f would keep it alive for ever.
        own = types.FunctionType(
            traced.__code__.replace(), traced.__globals__, traced.__name__, traced.__defaults__, traced.__closure__
        )
        # The checks of sizes that torch writes around its own kernels take a quarter of a small step.
        kept[key] = torch.compile(own, fullgraph=True, dynamic=False, options={"size_asserts": False})
    compiled: Function = kept[key]
    return compiled


def _call(mode: str, run: Function, *arguments: Any) -> Any:
    """Call ``run``; if it cannot be compiled, raise a ``ValueError`` that says why."""
    try:
        return run(*arguments)
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise not_compiled(mode, error) from error


def not_compiled(mode: str, error: BaseException) -> ValueError:
    """Return the error to raise where ``torch.compile`` failed with ``error``."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any("CxxCompiler" in type(cause).__name__ or "InvalidCxxCompiler" in str(cause) for cause in causes):
        return ValueError(
            f"compile={mode!r} needs a C++ compiler, and none was found: install g++ (Debian, Ubuntu: apt install g++; "
            "macOS: xcode-select --install; Windows: the Build Tools of Visual Studio), or use compile=None"
        )
    return ValueError(
        f"compile={mode!r}: torch.compile could not compile f; f must consist of tensor operations only (no .item(), "
        f"no branching on values, nothing changed outside). Use compile=None, or mend this: {str(error).strip()[:600]}"
    )


def _check_plain(mode: str, *tensors: Tensor | None) -> None:
    if any(x is not None and torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors):
        raise ValueError(f"compile={mode!r} does not work inside vmap, grad, jacrev, … of torch.func: use compile=None")


def _evaluations(tableau: ButcherTableau) -> int:
    """How often a compiled step asks for f."""
    return len(tableau.b) - tableau.fsal


def _vector(numbers: Sequence[float], y: Tensor) -> Tensor:
    """Return numbers that may change without compiling again, where ``y`` is."""
    return torch.tensor(numbers, dtype=torch.float64, device=y.device)
