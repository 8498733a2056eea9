"""What each gradient of a solve costs and how right it is, measured on the reader's own model, as a table.

The bytes and the errors are the same in every run on one machine; only the seconds are not.
"""

import gc
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.compare.differentiable import (
    Differentiable,
    double,
    finite_differences,
    forward_sensitivities,
    parts,
)
from ndelib.adjoints.compare.report import GradientReport, GradientTable
from ndelib.adjoints.errors import AdjointWarning
from ndelib.adjoints.memory import TensorMemory
from ndelib.adjoints.odeint import GRADIENTS
from ndelib.adjoints.parameters import Parameters
from ndelib.solvers.problem import State
from ndelib.solvers.steps.methods import MethodLike, find_method

Reference = None | str | Mapping[str, Any] | Tensor | Sequence[Tensor]

FOR_REFERENCE = ("step_at", "batch")
"""options of the solve that belong to the problem and not to the way it is solved: the reference has them too"""


def compare_gradients(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    y0: State,
    t: Tensor | Sequence[float],
    loss: Callable[[Any], Tensor] | None = None,
    *,
    gradients: Iterable[str | Mapping[str, Any]] = (*GRADIENTS, "forward"),
    params: Parameters = None,
    method: MethodLike = "dopri5",
    reference: Reference = None,
    repetitions: int = 3,
    **options: Any,
) -> GradientTable:
    """Measure time, memory and error of the gradients of ``loss(ndelib.odeint(f, y0, t))``, on this model.

    The gradient is taken with respect to ``y0``, the parameters, and ``t`` if it requires a gradient. Nothing of the
    model is changed: no ``.grad`` is written.

    Args:
        f: the vector field, as for :func:`ndelib.odeint`.
        y0: the initial state.
        t: the times, (T,).
        loss: a function of the solution (T, *) that returns a real number; by default the sum of the squares of the
            last state.
        gradients: what to compare, a row each: a name that ``odeint`` knows as ``gradient``, or a mapping of options
            with that name, such as ``{"gradient": "reversible", "method": "reversible_heun"}`` or ``{"gradient":
            "checkpoint", "checkpoints": "log"}``. ``"forward"`` stands for forward sensitivities, a solve for each
            number that a gradient is wanted for, if they are at most 64.
        params: tensors that ``f`` depends on, where it is no ``nn.Module``.
        method: the method, where a row has none of its own.
        reference: what counts as exact. ``None``: backpropagation through a solve of high order (dopri8; esdirk54
            where ``method`` is implicit) with tolerances at least a thousand times tighter, in float64 on a copy of the
            model; where that cannot be made (f is a function that uses float32 tensors) in float32. A mapping: other
            options for that solve. ``"finite differences"``: central differences of fourth order of it, four solves a
            number. Or the gradient itself, as tensors in the order y0, parameters, t.
        repetitions: how many times a gradient is timed, after a first run that counts calls and bytes.
        **options: more options of ``odeint``, for all rows.

    Returns:
        A :class:`GradientTable`. A gradient that fails, or does not go with the method, has a row that says so. The
        error is NaN where the reference itself failed.

    Raises:
        ValueError: ``repetitions`` is less than 1, or ``reference`` is a gradient of wrong shape.
        TypeError: an entry of ``gradients`` is neither a name nor a mapping with the name ``"gradient"``.
    """
    if repetitions < 1:
        raise ValueError(f"repetitions = {repetitions} must be at least 1")
    if isinstance(options.get("step_at"), Iterator):
        options["step_at"] = tuple(options["step_at"])  # once for all solves
    entries = [_read(entry) for entry in gradients]
    solves = [{"method": method, **options, **entry} for entry in entries]
    problem = Differentiable.of(f, y0, t, params, options.get("args", ()), loss or _last_squared)
    with torch.enable_grad():
        if reference is None or isinstance(reference, str | Mapping):
            exact, described = _reference(problem, solves, method, reference)
        else:
            exact, described = problem.check(parts(reference)), "the gradient given"
        rows = [_measure(problem, entry, o, exact) for entry, o in zip(entries, solves, strict=True)]
        times: list[list[tuple[float, float]]] = [[] for _ in rows]
        for _ in range(repetitions):  # in turns, so that a machine that slows down slows all of them down
            for row, o, measured in zip(rows, solves, times, strict=True):
                if not row.failure:
                    measured.append(_timed(problem, o))
    for i, measured in enumerate(times):
        if measured:
            forward, backward = (statistics.median(column) for column in zip(*measured, strict=True))
            rows[i] = replace(rows[i], seconds_forward=forward, seconds_backward=backward)
    return GradientTable(tuple(rows), described, exact)


def _read(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of ``gradients`` as options, the first of which is ``"gradient"``."""
    if isinstance(entry, str):
        return {"gradient": entry}
    if isinstance(entry, Mapping) and isinstance(entry.get("gradient"), str):
        return {"gradient": entry["gradient"], **entry}
    raise TypeError(f'gradients must be names, or mappings with a name under "gradient"; got {entry!r}')


def _name(method: MethodLike) -> str:
    return method if isinstance(method, str) else str(getattr(method, "name", method))


def _last_squared(ys: Any) -> Tensor:
    """Return the sum of the squares of the last state."""
    return sum(((part[-1].conj() * part[-1]).real.sum() for part in parts(ys)), torch.zeros(()))


# --- one gradient -----------------------------------------------------------------------------------------------


def _differentiate(
    problem: Differentiable, options: Mapping[str, Any], between: Callable[[], Any] = lambda: None
) -> tuple[Tensor, ...]:
    """Return the gradient for all inputs; ``between`` is called between the forward and the backward pass."""
    if options["gradient"] == "forward":
        gradients = forward_sensitivities(problem, options)
        between()
        return gradients
    value = problem.value(options)
    between()
    return torch.autograd.grad(value, problem.inputs, allow_unused=True, materialize_grads=True)


def _measure(
    problem: Differentiable, entry: Mapping[str, Any], options: Mapping[str, Any], exact: Sequence[Tensor]
) -> GradientReport:
    """Run one gradient once, watched: calls of f, memory, error, and how it failed if it did."""
    more = [f"{name}={value}" for name, value in entry.items() if name not in ("gradient", "method")]
    row = GradientReport(", ".join([entry["gradient"], *more]), entry["gradient"], _name(options["method"]))
    calls, kept, calls_forward = 0, 0, 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return function(*arguments)

        return call

    def between() -> None:
        nonlocal kept, calls_forward
        kept, calls_forward = memory.live, calls

    compiled = options.get("compile") is not None  # who counts and watches has to stay outside of compiled code
    memory = TensorMemory()
    device = problem.y0[0].device
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    try:
        with warnings.catch_warnings(record=True) as caught, nullcontext() if compiled else memory:
            warnings.simplefilter("always")
            gradients = _differentiate(problem if compiled else problem.calling(counted), options, between)
    except (RuntimeError, ValueError, TypeError) as error:
        return replace(row, failure=f"{type(error).__name__}: {error}")
    finally:
        gc.collect()
    for warning in caught:
        if not issubclass(warning.category, AdjointWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    errors = problem.errors(gradients, exact) if exact else {}
    return replace(
        row,
        calls_forward=None if compiled else calls_forward,
        calls_backward=None if compiled else calls - calls_forward,
        kept=None if compiled else kept,
        peak=None if compiled else memory.peak,
        cuda_peak=torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None,
        error=max(errors.values(), key=lambda e: (math.isnan(e), e), default=math.nan),
        errors=errors,
        gradients=gradients,
        warning=next((str(w.message) for w in caught if issubclass(w.category, AdjointWarning)), ""),
    )


def _timed(problem: Differentiable, options: Mapping[str, Any]) -> tuple[float, float]:
    """Return the seconds of the forward and of the backward pass."""
    device = problem.y0[0].device
    moments = []

    def moment() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        moments.append(time.perf_counter())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first run has said it
        moment()
        _differentiate(problem, options, between=moment)
        moment()
    start, middle, end = moments
    return middle - start, end - middle


# --- the gradient that counts as exact --------------------------------------------------------------------------


def _reference(
    problem: Differentiable,
    solves: Sequence[Mapping[str, Any]],
    method: MethodLike,
    reference: str | Mapping[str, Any] | None,
) -> tuple[tuple[Tensor, ...], str]:
    """Return the gradient that counts as exact, and what it is; nothing, and why, where it could not be found."""
    if isinstance(reference, str) and reference != "finite differences":
        raise ValueError(f"reference = {reference!r} must be 'finite differences', options of a solve, or tensors")
    implicit = find_method(method).kind.startswith("implicit")
    chosen: dict[str, Any] = {"gradient": "backprop", "method": "esdirk54" if implicit else "dopri8"}
    chosen |= {name: solves[0][name] for name in FOR_REFERENCE if solves and name in solves[0]}
    given = reference if isinstance(reference, Mapping) else {}
    failure: Exception | None = None
    finite = isinstance(reference, str)
    in_single = any(x.dtype != double(x) for x in problem.inputs)
    for prepare in (problem.in_double, lambda: problem) if in_single else (lambda: problem,):
        try:
            model = prepare()
            dtype = model.y0[0].dtype
            least = 1e-13 if dtype == double(model.y0[0]) else 1e-6
            factor = 1e-3 if implicit else 1e-5
            rtol = _tightest([o.get("rtol", 1e-6) for o in solves], factor, least)
            atol = _tightest([o.get("atol", 1e-8) for o in solves], factor, 0.0)
            options = {**chosen, "rtol": rtol, "atol": atol, **given}
            gradients = (finite_differences if finite else _differentiate)(model, options)
        except (RuntimeError, ValueError, TypeError) as error:
            failure = failure or error
            continue
        how = "finite differences" if finite else "backpropagation"
        accuracy = "" if isinstance(options["rtol"], Tensor) else f" with rtol = {options['rtol']:.0e}"
        return gradients, f"{how} through {_name(options['method'])}{accuracy} in {str(dtype).removeprefix('torch.')}"
    return (), f"nothing, because the reference failed ({type(failure).__name__}: {failure})"


def _tightest(tolerances: Sequence[float | Tensor], factor: float, least: float) -> float | Tensor:
    """Return ``factor`` times the smallest of the ``tolerances``, or the first that is a tensor; at least ``least``."""
    for tolerance in tolerances:
        if isinstance(tolerance, Tensor):
            return (tolerance * factor).clamp(min=least)
    return max(min([float(tolerance) for tolerance in tolerances], default=1e-6) * factor, least)
