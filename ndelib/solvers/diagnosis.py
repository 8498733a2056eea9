"""Why a solve failed: looks at the field around the last state, and says what it saw and what to try.

It runs only after a failure, so it may spend evaluations of f that a running solve would not. The estimate of |λ| is
the power method on finite differences of f: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996),
section IV.2.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.errors import NewtonDidNotConverge, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.graph import values
from ndelib.solvers.options import Options
from ndelib.solvers.steps.reversible import MOST_APART
from ndelib.solvers.steps.step import Field, Method, Statistics, Step

RANDOM = (
    "f(t, y) gives different results when asked twice at the same place, so no step can be trusted: is a dropout layer "
    "in it (call .eval()), or a random number? Draw it once, before the solve."
)


@torch.no_grad()
def step_size_too_small(
    method: Method,
    f: Field,
    t: float,
    y: Tensor,
    h: float,
    end: float,
    rejected: Step | None,
    options: Options,
    statistics: Statistics,
) -> SolverError:
    """Return the error to raise where the step size ``h`` at ``(t, y)`` has become too small to go on.

    ``rejected`` is the last step, if its error was too large; ``None`` if it could not be made, or none was tried.
    """
    slope = values(f(t, y))
    if not torch.isfinite(slope).all():
        return not_finite_field(t, h, slope)
    floor = (
        f"min_step = {options.min_step:.3g}" if abs(h) < options.min_step else "what t can resolve in double precision"
    )
    message = (
        f"step size fell below {floor} at t = {t:.10g} (h = {abs(h):.2g}) after {statistics.steps} accepted and "
        f"{statistics.rejected} rejected steps. "
    )
    tried = statistics.steps + statistics.rejected > 0
    return StepSizeTooSmall(message + _cause(method, f, t, y, h, end, rejected, options, tried), t=t, h=h)


def _cause(
    method: Method,
    f: Field,
    t: float,
    y: Tensor,
    h: float,
    end: float,
    rejected: Step | None,
    options: Options,
    tried: bool,
) -> str:
    """Say why steps from ``(t, y)``, where f is finite, must be shorter than ``h``, and what to do about it."""
    if gives_two_answers(f, t, y):
        return RANDOM
    given = [name for name in ("first_step", "max_step") if (getattr(options, name) or math.inf) <= 1.01 * abs(h)]
    if not tried and given:
        allow = "allow" if len(given) > 1 else "allows"
        return f"It was so from the start: raise {' and '.join(given)}, which {allow} no more."
    ahead = look_ahead(f, t, y, h, end)
    if ahead.blows_up:
        advice = " or lower min_step" if abs(h) < options.min_step else ""
        return (
            f"max|y| = {ahead.size:.2g} there and grows at the rate {ahead.speed:.2g}, the faster the larger it is, so "
            f"the solution blows up in finite time, at about t = {ahead.blow_up_at:.6g}: end the solve before "
            f"it{advice}."
        )
    if abs(h) < options.min_step:
        return "Its error there asks for a shorter step: lower min_step, or raise rtol and atol."
    if max(ahead.size, ahead.speed) > 1e-3 * torch.finfo(y.dtype).max:
        return (
            f"max|y| = {ahead.size:.2g} and max|f| = {ahead.speed:.2g} there, near the largest number of {y.dtype}: "
            "end the solve before it."
        )
    if ahead.undefined is not None:
        return f"{ahead.undefined} of f is infinite or NaN just beyond it: f may not be defined there."
    if ahead.growth > 1e-4 and ahead.shrinks:
        return (
            f"max|y| = {ahead.size:.2g} there and falls while |f| = {ahead.speed:.2g} grows, so the solution runs into "
            "a singularity of f: end the solve before it."
        )
    if ahead.speed * ahead.length > max(ahead.size, 1e-300):
        return (
            f"f is so large there, {ahead.speed:.2g} where max|y| = {ahead.size:.2g}, that y changes on a time scale "
            f"of {ahead.size / ahead.speed:.2g}, and t = {t:.6g} is rounded to {math.ulp(t):.2g}: let time begin at 0 "
            "(solve for t − t0), or measure it in smaller units."
        )
    if rejected is None:
        right = ", and is the Jacobian right?" if options.jacobian is not None else "?"
        return f"Newton's method did not converge: is f smooth there{right}"
    assert rejected.error is not None
    if not torch.isfinite(values(rejected.error)).all():
        where = _name(int((~torch.isfinite(values(rejected.error))).flatten().nonzero()[0]), rejected.error)
        return f"Every longer step made {where} infinite or NaN: f may not be defined just beyond it."
    scale = options.atol + options.rtol * torch.maximum(rejected.y.abs(), rejected.y1.abs())
    if method.kind == "reversible" and ((rejected.y1 - rejected.memory[0]) / scale).abs().max() > MOST_APART / 2:
        return (
            f"The two copies of the state that {method.name} carries have come apart, and both have left the "
            "solution: the flow contracts, and no step size makes a reversible method stable there. Use another "
            "method; gradient='checkpoint' works with every one."
        )
    worst = values(rejected.error / scale).abs().nan_to_num(math.inf)
    cause = f"{_name(int(worst.argmax()), worst)} sets the error"
    rate = spectral_radius(f, t, y)
    if method.kind.startswith("explicit") and rate * ahead.length > 1:
        return f"{cause}; |λ|h is about {rate * ahead.length:.2g}, so {stiff(y, options)}."
    if ahead.growth > 1e-4:
        return (
            f"{cause}. |f| is {ahead.speed:.2g} there and grows by {100 * ahead.growth:.2g} % within one step, so the "
            "solution runs into a singularity of f: end the solve before it."
        )
    digits = "raise rtol and atol" + ("" if y.dtype.to_real() == torch.float64 else ", or compute in float64")
    return (
        f"{cause}; |λ|h is only about {rate * ahead.length:.2g}, so it is not stiffness. If f jumps there, name the "
        f"time in step_at=[…] (or use an event); otherwise the tolerances are tighter than the rounding of f: {digits}."
    )


class Ahead(NamedTuple):
    """What f looks like just beyond a point where a solve cannot go on."""

    size: float
    """max|y|"""
    speed: float
    """max|f|"""
    length: float
    """of the step that was looked along, as long as t can resolve at least"""
    growth: float
    """by which part of itself |f| grows in that step, or in the part of it in which y changes by a tenth"""
    shrinks: bool
    """whether |y| becomes smaller there"""
    undefined: str | None
    """a component of f that is infinite or NaN there"""
    blow_up_at: float
    """when the solution becomes infinite; infinite itself if there is no evidence that it does"""

    @property
    def blows_up(self) -> bool:
        """Whether the state grows, and its growth rate with it."""
        return math.isfinite(self.blow_up_at)


def look_ahead(f: Field, t: float, y: Tensor, h: float, end: float) -> Ahead:
    """Look along f from ``(t, y)`` in the direction of ``h``, and not beyond ``end``.

    A solution that grows like y' = C yᵖ has p = y y''/y'². It blows up in finite time if p > 1, after y / ((p − 1) y').
    For exponential growth p is 1, for y' = C/y, a square root, it is −1. Whether p stays above one where y is larger,
    a thousand and a million times, tells it from growth that will saturate.
    """
    length = min(max(abs(h), 10 * math.ulp(t)), abs(end - t))
    direction = math.copysign(1.0, h)
    slope = f(t, y)
    size, speed = values(y).abs().max().item(), values(slope).abs().max().item()
    beyond = end if abs(end - t) <= 1e3 * length else t + direction * 1e3 * length
    undefined = None
    for steps in (1.0, 1e3):
        far = values(f(beyond, y.add(slope, alpha=direction * steps * length)))
        if undefined is None and not torch.isfinite(far).all():
            undefined = _name(int((~torch.isfinite(far)).flatten().nonzero()[0]), far)
    part = direction * min(length, 0.1 * size / speed if speed * length > 0.1 * size > 0 else length)
    there = y.add(slope, alpha=part)
    next_slope = values(f(t + part, there))
    growth = next_slope.abs().max().item() / speed - 1 if speed > 0 else 0.0
    blow_up_at = math.inf
    taller = values(there).abs().max().item() / size if size > 0 else 0.0
    if taller > 1 and math.isfinite(taller) and growth > 0:
        p = math.log1p(growth) / math.log(taller) if math.isfinite(growth) else 2.0
        time = size / speed / (p - 1) if p > 1.02 else math.inf
        # Steps near a pole of the solution are a thousandth of the way to it or more. It is to come before the end.
        if time < min(1e4 * length, abs(end - t)) and all(_grows(f, t, y, slope, direction, s) for s in (1e3, 1e6)):
            blow_up_at = t + direction * time
    return Ahead(size, speed, length, growth, taller < 1, undefined, blow_up_at)


def _grows(f: Field, t: float, y: Tensor, slope: Tensor, direction: float, times: float) -> bool:
    """Whether a state so many ``times`` as large, in the direction of its slope, grows at a larger rate still."""
    size, speed = values(y).abs().max().item(), values(slope).abs().max().item()
    larger = values(f(t, y.add(slope, alpha=direction * (times - 1) * size / speed)))
    if not torch.isfinite(larger).all():
        return True  # too large for its dtype
    onwards = torch.sum(larger * values(slope).conj()).real.item() > 0
    return onwards and larger.abs().max().item() > 1.02 * times * speed


def stiff(y: Tensor, options: Options) -> str:
    """Say that the problem is stiff for an explicit method, and what helps under these ``options``."""
    remedy = 'try method="esdirk54"'
    if y.is_complex():
        remedy += ", for the system of real and imaginary parts (torch.view_as_real)"
    if options.batch == "independent":
        remedy += ' with batch="shared"'
    if options.compile is not None:
        remedy += " with compile=None"
    return f"the problem is stiff for an explicit method: {remedy}"


@torch.no_grad()
def too_many_steps(
    method: Method, f: Field, t: float, y: Tensor, h: float, end: float, options: Options, statistics: Statistics
) -> SolverError:
    """Return the error to raise where ``max_steps`` steps were not enough."""
    message = (
        f"the solve had not ended after max_steps = {options.max_steps} steps ({statistics.rejected} of them "
        f"rejected); it had reached t = {t:.10g} with h = {abs(h):.3g}. "
    )
    size, slope = spectral_radius(f, t, y) * abs(h), f(t, y)
    change = torch.linalg.vector_norm(values(f(t + h, y.add(slope, alpha=h)) - slope)).item()
    if gives_two_answers(f, t, y):
        message += RANDOM
    elif abs(h) > 0.9 * options.max_step:
        message += f"Steps are as long as max_step = {options.max_step:.3g} allows: raise it, or max_steps."
    elif (ahead := look_ahead(f, t, y, h, end)).blows_up:
        message += (
            f"max|y| = {ahead.size:.2g} there and grows the faster the larger it is, so the solution blows up in "
            f"finite time, at about t = {ahead.blow_up_at:.6g}: end the solve before it."
        )
    elif method.kind.startswith("explicit") and size > 1:
        message += f"|λ|h is about {size:.2g}, at the border of the region of stability, so {stiff(y, options)}."
    elif change > 0.5 * torch.linalg.vector_norm(values(slope)).item():
        message += (
            "f changes by its own size within one such step. If it jumps there, perhaps again and again, name the time "
            "in step_at=[…], use an event, or smooth it; if it oscillates so fast, raise max_steps."
        )
    else:
        message += (
            f"|λ|h is about {size:.2g}: accuracy, not stability, asks for small steps. If they are wanted, raise "
            "max_steps; otherwise raise rtol and atol, or try a method of higher order."
        )
    return TooManySteps(message, t=t, h=h)


def newton_did_not_converge(reason: str, t: float, h: float) -> SolverError:
    """Return the error to raise where a step of fixed size could not be made."""
    return NewtonDidNotConverge(
        f"the equation of the step from t = {t:.10g} with h = {abs(h):.3g} could not be solved: {reason}. "
        "Try smaller steps (step_size), or a method that chooses its own",
        t=t,
        h=h,
    )


def not_finite_field(t: float, h: float, slope: Tensor) -> SolverError:
    """Return the error to raise where f itself is infinite or NaN."""
    where = _name(int((~torch.isfinite(slope)).flatten().nonzero()[0]), slope)
    return NonFiniteState(
        f"{where} of f(t, y) is infinite or NaN at t = {t:.10g}: f is not defined at the state reached there",
        t=t,
        h=h,
    )


def not_finite_state(method: Method, t: float, h: float, size: float, k: Sequence[Tensor]) -> SolverError:
    """Return the error to raise where a fixed step made the state infinite or NaN.

    ``size`` is max|y| before it, ``k`` are the slopes of the step, if it has them. If they were small up to the first
    one that is not finite, so was the state at which that one was asked for.
    """
    slopes = [values(slope) for slope in k]
    finite = [bool(torch.isfinite(slope).all()) for slope in slopes]
    if not all(finite):
        first = finite.index(False)
        largest = max([size, *(abs(h) * slope.abs().max().item() for slope in slopes[:first])])
        if largest < torch.finfo(slopes[first].dtype).max ** (1 / 3):
            where = _name(int((~torch.isfinite(slopes[first])).flatten().nonzero()[0]), slopes[first])
            return NonFiniteState(
                f"{where} of f(t, y) is infinite or NaN in the step from t = {t:.10g} with h = {h:.3g} (method "
                f"{method.name!r}), though max|y| is only {size:.3g} there: f is not defined at a state that the step "
                "came to. End the solve before it; if the true solution does not go there, try smaller steps "
                "(step_size).",
                t=t,
                h=h,
            )
    return NonFiniteState(
        f"the state became infinite or NaN in the step from t = {t:.6g} with h = {h:.3g} (method {method.name!r}); "
        f"before it max|y| was {size:.3g}. If the true solution stays bounded, the step is too large: "
        "try smaller ones (step_size). If it does not, end the solve before it blows up.",
        t=t,
        h=h,
    )


def gives_two_answers(f: Field, t: float, y: Tensor) -> bool:
    """Return whether f(t, y), asked twice, gives what rounding cannot explain (the clones get round its memory)."""
    once, again = values(f(t, y.clone())), values(f(t, y.clone()))
    return not torch.allclose(once, again, rtol=1e3 * torch.finfo(once.dtype).eps, atol=0.0, equal_nan=True)


def spectral_radius(f: Field, t: float, y: Tensor, iterations: int = 20) -> float:
    """Estimate the largest |λ| of ∂f/∂y at ``(t, y)``; 0 where the field cannot be differentiated so."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
    base = f(t, y)
    epsilon = math.sqrt(torch.finfo(base.dtype).eps) * max(1.0, values(y).abs().max().item())
    rate = 0.0
    for _ in range(iterations):
        v = v / max(torch.linalg.vector_norm(values(v)).item(), 1e-300)
        v = (f(t, y.add(v, alpha=epsilon)) - base) / epsilon
        rate = torch.linalg.vector_norm(values(v)).item()
        if not (math.isfinite(rate) and rate > 0):
            return 0.0
    return rate


def _name(index: int, y: Tensor) -> str:
    """Name a component of ``y`` by its index: ``component 2`` of a vector, ``component (0, 2)`` of a matrix."""
    if y.ndim == 0:
        return "the only component"
    place = [int(i) for i in torch.unravel_index(torch.tensor(index), y.shape)]
    return f"component {place[0]}" if y.ndim == 1 else f"component {tuple(place)}"
