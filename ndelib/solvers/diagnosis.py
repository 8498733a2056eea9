"""Why a solve failed: looks at the field around the last state, and says what it saw and what to try.

It runs only after a failure, so it may spend evaluations of f that a running solve would not. The estimate of |λ| is
the power method on finite differences of f: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996),
section IV.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.solvers.control import Tolerance
from ndelib.solvers.errors import NewtonDidNotConverge, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.graph import values
from ndelib.solvers.steps.reversible import MOST_APART
from ndelib.solvers.steps.step import Field, Method, Statistics, Step

STIFF = 'the problem is stiff for an explicit method: try method="esdirk54"'

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
    min_step: float,
    rtol: Tolerance,
    atol: Tolerance,
    statistics: Statistics,
) -> SolverError:
    """Return the error to raise where the step size ``h`` at ``(t, y)`` has become too small to go on."""
    slope = values(f(t, y))
    if not torch.isfinite(slope).all():
        return not_finite_field(t, h, slope)
    floor = f"min_step = {min_step:.3g}" if abs(h) < min_step else "what t can resolve in double precision"
    message = (
        f"step size fell below {floor} at t = {t:.10g} (h = {abs(h):.2g}) after {statistics.steps} accepted and "
        f"{statistics.rejected} rejected steps. "
    )
    if gives_two_answers(f, t, y):
        return StepSizeTooSmall(message + RANDOM, t=t, h=h)
    size, speed = values(y).abs().max().item(), slope.abs().max().item()
    beyond = t + 1e3 * h if abs(1e3 * h) < abs(end - t) else end
    nearby = values(f(beyond, y.add(f(t, y), alpha=h)))
    if statistics.steps + statistics.rejected == 0:
        cause = "It was so from the start: raise first_step or max_step, which allow no more."
    elif abs(h) < min_step:
        cause = "Its error there asks for a shorter step: lower min_step, or raise rtol and atol."
    elif max(size, speed) > 1e-3 * torch.finfo(y.dtype).max:
        cause = (
            f"max|y| = {size:.2g} and max|f| = {speed:.2g} there, near the largest number of {y.dtype}: end the solve "
            "before it."
        )
    elif not torch.isfinite(nearby).all():
        where = _name(int((~torch.isfinite(nearby)).flatten().nonzero()[0]), nearby)
        cause = f"{where} of f is infinite or NaN just beyond it: f may not be defined there."
    elif rejected is None:
        cause = "Newton's method did not converge: is f smooth there, and is the Jacobian right?"
    elif rejected.error is not None and not torch.isfinite(values(rejected.error)).all():
        where = _name(int((~torch.isfinite(values(rejected.error))).flatten().nonzero()[0]), rejected.error)
        cause = f"Every longer step made {where} infinite or NaN: f may not be defined just beyond it."
    elif speed * 1e3 * abs(h) > size > 1e3:
        cause = (
            f"max|y| = {size:.2g} there and grows at the rate {speed:.2g}, so the solution blows up in finite time, "
            f"at about t = {t + math.copysign(size / speed, h):.6g}: end the solve before it."
        )
    else:
        assert rejected.error is not None
        scale = atol + rtol * torch.maximum(rejected.y.abs(), rejected.y1.abs())
        worst = values(rejected.error / scale).abs().nan_to_num(math.inf)
        cause = f"{_name(int(worst.argmax()), worst)} sets the error"
        rate = spectral_radius(f, t, y)
        if method.kind == "reversible" and ((rejected.y1 - rejected.memory[0]) / scale).abs().max() > MOST_APART / 2:
            cause = (
                f"The two copies of the state that {method.name} carries have come apart, and both have left the "
                "solution: the flow contracts, and no step size makes a reversible method stable there. Use another "
                "method; gradient='checkpoint' works with every one."
            )
        elif method.kind.startswith("explicit") and rate * abs(h) > 1:
            cause += f"; |λ|h is about {rate * abs(h):.2g}, so {STIFF}."
        elif rate * abs(h) > 1e-3:
            cause += (
                f". f and its derivatives grow there without bound (|f| is {speed:.2g}, |λ| about {rate:.2g}), so the "
                "solution runs into a singularity of f or blows up: end the solve before it."
            )
        else:
            cause += (
                f"; |λ|h is only about {rate * abs(h):.2g}, so it is not stiffness. If f jumps there, name the time in "
                "step_at=[…] (or use an event); otherwise the tolerances are tighter than the rounding of f: raise "
                "rtol and atol, or compute in float64."
            )
    return StepSizeTooSmall(message + cause, t=t, h=h)


@torch.no_grad()
def too_many_steps(
    method: Method,
    f: Field,
    t: float,
    y: Tensor,
    h: float,
    max_steps: int,
    statistics: Statistics,
    max_step: float = math.inf,
) -> SolverError:
    """Return the error to raise where ``max_steps`` steps were not enough."""
    message = (
        f"the solve had not ended after max_steps = {max_steps} steps ({statistics.rejected} of them rejected); it had "
        f"reached t = {t:.10g} with h = {abs(h):.3g}. "
    )
    size, slope = spectral_radius(f, t, y) * abs(h), f(t, y)
    change = torch.linalg.vector_norm(values(f(t + h, y.add(slope, alpha=h)) - slope)).item()
    if gives_two_answers(f, t, y):
        message += RANDOM
    elif abs(h) > 0.9 * max_step:
        message += f"Steps are as long as max_step = {max_step:.3g} allows: raise it, or max_steps."
    elif method.kind.startswith("explicit") and size > 1:
        message += f"|λ|h is about {size:.2g}, at the border of the region of stability, so {STIFF}."
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
        "Try a smaller step_size, or a method that chooses its own steps",
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
                "came to. End the solve before it; if the true solution does not go there, try a smaller step_size.",
                t=t,
                h=h,
            )
    return NonFiniteState(
        f"the state became infinite or NaN in the step from t = {t:.6g} with h = {h:.3g} (method {method.name!r}); "
        f"before it max|y| was {size:.3g}. If the true solution stays bounded, the step is too large: "
        "try a smaller step_size. If it does not, end the solve before it blows up.",
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
