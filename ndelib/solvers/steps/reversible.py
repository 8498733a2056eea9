"""Algebraically reversible methods: each step can be undone exactly, so a gradient needs no stored states.

A reversible step carries a second quantity along with the state (its ``memory``): a velocity, a second copy. Two
quantities can be updated in turn, each by a formula that is solved for what it was before.

Stability is the price. For y' = λy the first two methods are stable only where hλ lies on the imaginary axis between
−i and i; the coupling of McCallum and Foster has a small region around the negative axis, which grows as ``COUPLING``
moves away from 1. So they are safe where solutions oscillate (|growth| = 1), or over times of a few 1/|Re λ|. Elsewhere
the two quantities come apart like exp(|Re λ| t), whatever the step: adaptive solves end there, and solves with fixed
steps warn (:func:`look_at_copies`).

Sources: Mutze, An asynchronous leapfrog method II, arXiv:1311.6602 (2013), and Zhuang et al., MALI, ICLR 2021; Kidger,
Foster, Li & Lyons, Efficient and accurate gradients for neural SDEs, NeurIPS 2021 (reversible Heun); McCallum & Foster,
Efficient, accurate and stable gradients for neural ODEs, arXiv:2410.11648 (2024).
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.steps import runge_kutta
from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.dense import Polynomial, hermite
from ndelib.solvers.steps.runge_kutta import combine, runge_kutta_step, weighted_sum
from ndelib.solvers.steps.step import Field, Interpolant, Look, Method, Statistics, Step, StepFunction
from ndelib.solvers.steps.tableaus import TABLEAUS

COUPLING = 0.999
"""λ of McCallum and Foster. Going back, rounding errors grow like λ⁻ⁿ over n steps: tenfold in 2300."""

MOST_APART = 100.0
"""tolerances between the two copies of the state, at which an adaptive solve fails. While all is well they are a few
apart; where the flow contracts they part like exp(λt), whatever the step, and both leave the solution."""

HARMFUL = 10.0
"""times the difference that one step makes between equal copies: if older differences put so much into a step of fixed
size, they, and not the method, make the error."""


class Copies(NamedTuple):
    """How the two copies of the state that a reversible step ends with differ."""

    apart: float
    """root mean square of their difference, in parts of that of the state"""
    harm: float
    """what their difference at the beginning of the step put into its state, in parts of the difference that the same
    step makes between copies that begin as equal ones"""


@torch.no_grad()
def difference_of_copies(step: Step, alone: Step, copy: Callable[[Step], Tensor]) -> Copies:
    """Measure how far the two copies at the end of ``step`` are apart.

    ``alone`` is the step from the same state to the same time (with the same noise, if there is noise) that knows
    nothing of the steps before, as the first one of a solve: it begins with two equal copies. ``copy`` gives the second
    copy at the end of a step, (*).

    Where solutions oscillate both numbers stay small. Where the flow contracts like exp(−λt) the difference grows like
    exp(λt), at first unseen: of a difference d reversible Heun puts (hλ)²d/2 into the state in each step.
    """
    differences = [values(copy(made) - made.y1) for made in (step, alone)]
    apart, own = (torch.linalg.vector_norm(difference).item() for difference in differences)
    size = torch.linalg.vector_norm(values(step.y1)).item()
    harm = torch.linalg.vector_norm(values(step.y1 - alone.y1)).item()
    # What rounding explains is no harm, however accurate the step is.
    rounding = 1e3 * torch.finfo(step.y1.dtype).eps * size
    smallest = torch.finfo(torch.float64).tiny
    return Copies(apart / max(size, smallest), harm / max(own, rounding, smallest))


def second_copy(step: Step) -> Tensor:
    """Return the second copy of the state at the end of ``step``, (*): what the step remembers first."""
    return step.memory[0]


def where_the_velocity_leads(step: Step) -> Tensor:
    """Return what serves the asynchronous leapfrog, which remembers a velocity, as second copy: y + h v₁, (*)."""
    return step.y.add(step.memory[0], alpha=step.h)


def look_at_copies(
    start: Callable[..., StepFunction],
    name: str,
    copy: Callable[[Step], Tensor],
    field: Field,
    statistics: Statistics,
    least: float = 0.0,
    **options: Any,
) -> Look:
    """Return what looks, for one more first step of the method, whether its copies come apart, and warns once.

    Copies whose difference is less than ``least`` of the size of the state give no warning; ``options`` are those of
    ``start``.
    """
    make_step = start(field, statistics, **options)
    warned = False

    @torch.no_grad()
    def look(step: Step) -> None:
        nonlocal warned
        if not warned:
            alone = make_step(step.t, step.y, step.t1, None, None)
            copies = difference_of_copies(step, alone, copy)
            warned = copies.apart >= least and warn_of_copies(name, step.t1, copies)

    return look


def warn_of_copies(name: str, t: float, copies: Copies) -> bool:
    """Warn if ``copies`` say that by the time ``t`` they, and not the method, make the error; return whether."""
    if copies.harm <= HARMFUL:  # not if it is NaN
        return False
    warnings.warn(
        f"the two copies of the state that method {name!r} carries come apart: at t = {t:.6g} they differ by "
        f"{copies.apart:.2g} times the size of the state, and put {copies.harm:.2g} times the error of a step into "
        "each. Where the flow contracts like exp(−λt) they part like exp(λt), whatever the step size. Reversible "
        "methods are safe where solutions oscillate, or over times of a few 1/λ; otherwise use another method "
        "(gradient='checkpoint' works with every one).",
        RuntimeWarning,
        stacklevel=2,
    )
    return True


def start_asynchronous_leapfrog(field: Field, statistics: Statistics) -> StepFunction:
    """Return the step of the asynchronous leapfrog method, of order 2 with one evaluation of f.

    It moves y and a velocity v: half a step with v, a look at the slope k there, v₁ = 2k − v, the other half with v₁;
    both halves together are y₁ = y + h k.
    ``memory`` is (v₁,); the first v is f(t₀, y₀). The method is symmetric: a step back is a step with −h.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        if before is not None:
            (v,) = before.memory
        else:
            v = field(t, y) if f0 is None else f0
        h = t1 - t
        middle = combine(y, h, (0.5,), (v,))
        k = field(t + 0.5 * h, middle)
        return Step(t, t1, y, combine(y, h, (1.0,), (k,)), k=[], f1=None, error=None, memory=(2 * k - v,))

    return step


def start_reversible_heun(field: Field, statistics: Statistics) -> StepFunction:
    """Return the step of the reversible Heun method, of order 2 with one evaluation of f.

    A second state ŷ moves by a leapfrog over y, ŷ₁ = 2y − ŷ + h f̂, and y by the trapezoidal rule with slopes at ŷ,
    y₁ = y + h (f̂ + f̂₁) / 2. ``memory`` is (ŷ₁, f̂₁) with f̂₁ = f(t₁, ŷ₁). Symmetric.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        if before is not None:
            other, slope = before.memory
        else:
            other, slope = y, field(t, y) if f0 is None else f0
        h = t1 - t
        other1 = combine(2 * y - other, h, (1.0,), (slope,))
        slope1 = field(t1, other1)
        y1 = combine(y, h, (0.5, 0.5), (slope, slope1))
        return Step(t, t1, y, y1, k=[], f1=None, error=None, memory=(other1, slope1))

    return step


def increment(tableau: ButcherTableau, field: Field, t: float, y: Tensor, t1: float) -> tuple[Tensor, Tensor]:
    """Return Ψ = h Σ bᵢ kᵢ of a step from (t, y) to ``t1``, and f(t, y); stages that only an estimate needs are not
    made.
    """
    h = t1 - t
    k = [field(t, y)]
    stages = len(tableau.b) - tableau.fsal
    for c, weights in zip(tableau.c[1:stages], tableau.a[1:stages], strict=True):
        k.append(field(t1 if c == 1.0 else t + c * h, combine(y, h, weights, k)))
    return h * weighted_sum(tableau.b[:stages], k), k[0]


def start_coupled(tableau: ButcherTableau, field: Field, statistics: Statistics) -> StepFunction:
    """Return the step of McCallum and Foster's coupling of two Runge–Kutta solutions.

    y₁ = λy + (1 − λ)z + Ψ(t, z; h),  z₁ = z − Ψ(t₁, y₁; −h),  with the increment Ψ of the method of ``tableau``, whose
    order and error estimate the pair has, at twice the cost. ``memory`` is (z₁,); the first z is y₀. A part of
    |y₁ − z₁| counts as error, so that copies that have come apart (``MOST_APART``) end an adaptive solve.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        z = y if before is None else before.memory[0]
        there = runge_kutta_step(tableau, field, t, z, t1, f0 if before is None else None)
        y1 = there.y1 if z is y else there.y1 + COUPLING * (y - z)
        back, f1 = increment(tableau, field, t1, y1, t)
        z1 = z - back
        error = there.error
        if error is not None:
            error = error.abs() + (y1 - z1).detach().abs() / MOST_APART
        return Step(t, t1, y, y1, there.k, f1, error, memory=(z1,))

    return step


def undo_coupled(tableau: ButcherTableau, field: Field, statistics: Statistics) -> StepFunction:
    """Return the step back: first z from z₁, then y from y₁."""

    def step(t1: float, y1: Tensor, t: float, f1: Tensor | None, before: Step | None = None) -> Step:
        assert before is not None
        (z1,) = before.memory
        z = z1 + increment(tableau, field, t1, y1, t)[0]
        there, _ = increment(tableau, field, t, z, t1)
        return Step(t1, t, y1, z + (y1 - z - there) / COUPLING, k=[], f1=None, error=None, memory=(z,))

    return step


def interpolate_coupled(tableau: ButcherTableau, field: Field, step: Step) -> Interpolant:
    """Return the curve of the method of ``tableau``, made from its stages beside y, and tilted to end at y₁."""
    if tableau.dense is None:
        assert step.f1 is not None
        return hermite(step.y, field(step.t, step.y), step.y1, step.f1, step.h)
    curve = runge_kutta.interpolate(tableau, field, step)
    tilt = step.y1 - curve(1.0)
    first, *others = curve.coefficients
    return Polynomial(curve.y, [first + tilt, *others])


COUPLED = ("rk4", "dopri5")
"""Methods that there is a reversible form of; the error estimate makes the step adaptive."""

METHODS = {
    "asynchronous_leapfrog": Method(
        "asynchronous_leapfrog",
        2,
        "reversible",
        "Mutze (2013), arXiv:1311.6602; Zhuang et al. (2021), MALI",
        start_asynchronous_leapfrog,
        reverse=start_asynchronous_leapfrog,
        look=partial(look_at_copies, start_asynchronous_leapfrog, "asynchronous_leapfrog", where_the_velocity_leads),
    ),
    "reversible_heun": Method(
        "reversible_heun",
        2,
        "reversible",
        "Kidger, Foster, Li & Lyons (2021), section 3",
        start_reversible_heun,
        reverse=start_reversible_heun,
        look=partial(look_at_copies, start_reversible_heun, "reversible_heun", second_copy),
    ),
} | {
    f"reversible_{name}": Method(
        f"reversible_{name}",
        TABLEAUS[name].order,
        "reversible",
        f"McCallum & Foster (2024), arXiv:2410.11648, on {TABLEAUS[name].source}",
        partial(start_coupled, TABLEAUS[name]),
        error_order=TABLEAUS[name].error_order,
        interpolate=partial(interpolate_coupled, TABLEAUS[name]),
        reverse=partial(undo_coupled, TABLEAUS[name]),
        look=partial(look_at_copies, partial(start_coupled, TABLEAUS[name]), f"reversible_{name}", second_copy),
    )
    for name in COUPLED
}
