"""Implicit methods for stiff problems: one step function for every table of ``implicit_tableaus``.

Source: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), sections IV.3, IV.6 and IV.8.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.solvers.steps.dense import Polynomial
from ndelib.solvers.steps.implicit_tableaus import TABLEAUS, DiagonallyImplicitTableau
from ndelib.solvers.steps.jacobian import Jacobian
from ndelib.solvers.steps.newton import SimplifiedNewton, carries_gradient
from ndelib.solvers.steps.runge_kutta import combine, weighted_sum
from ndelib.solvers.steps.step import Field, Interpolant, Method, Statistics, Step, StepFunction


def implicit_step(
    tableau: DiagonallyImplicitTableau,
    newton: SimplifiedNewton,
    t: float,
    y: Tensor,
    t1: float,
    f0: Tensor,
    before: Step | None = None,
    stages: Sequence[Tensor] | None = None,
) -> Step:
    """Make one step from ``t`` to ``t1``: solve stage after stage  Yᵢ = y + h Σⱼ aᵢⱼ kⱼ,  kⱼ = f(t + cⱼ h, Yⱼ).

    ``y``: (*) -> (*). ``before`` is the step that ended at ``t``; it helps to guess. ``stages``, kⱼ of the same step as
    it was made before, saves the solving: Newton's method would not find the same digits twice. Raises
    :class:`~ndelib.solvers.steps.step.StepRejected` where Newton's method does not converge.
    """
    h = t1 - t
    h_gamma = h * tableau.gamma
    newton.prepare(t, y, h_gamma, solves=stages is None)
    k = [f0]
    for i, (c, weights) in enumerate(zip(tableau.c[1:], tableau.a[1:], strict=True), start=1):
        time = t1 if c == 1.0 else t + c * h
        known = combine(y, h, weights[:-1], k)
        if stages is not None:
            z = h_gamma * stages[i]
        else:
            guess = weighted_sum(tableau.predictors[i], k).detach()
            if i == 1 and before is not None:  # a straight line through the slopes where that step began and ended
                guess = guess + (c * h / before.h) * (f0 - before.k[0]).detach()
            z = newton.solve(time, known.detach(), h_gamma * guess)
        if newton.tracked or carries_gradient(known):
            z = newton.attach(time, known, z)
        k.append(z / h_gamma)
    error = _error(tableau, newton, t, y, h, k) if stages is None else None
    y1 = combine(y, h, tableau.b, k)  # known + z, but one increment added to y: rounded once
    return Step(t, t1, y, y1, k, k[-1], error)


def _error(
    tableau: DiagonallyImplicitTableau, newton: SimplifiedNewton, t: float, y: Tensor, h: float, k: list[Tensor]
) -> Tensor:
    """Estimate the error of a step, (*). No gradient flows through it: it decides how long steps are, not where to."""
    y, k = y.detach(), [slope.detach() for slope in k]
    for c, weights in zip(tableau.extra_c, tableau.extra_a, strict=True):
        k.append(newton.slope(t + c * h, combine(y, h, weights, k)))
    error = combine(torch.zeros_like(y), h, tableau.b_error, k)
    for _ in range(tableau.filters):
        error = newton.matrix.solve(error)
    return error


def _start(
    tableau: DiagonallyImplicitTableau,
    field: Field,
    statistics: Statistics,
    *,
    rtol: Tensor | float | None = None,
    atol: Tensor | float | None = None,
    jacobian: Jacobian | None = None,
) -> StepFunction:
    newton = SimplifiedNewton(field, statistics, rtol, atol, jacobian, tableau.error_order)

    def step(
        t: float,
        y: Tensor,
        t1: float,
        f0: Tensor | None,
        before: Step | None = None,
        stages: Sequence[Tensor] | None = None,
    ) -> Step:
        if y.is_complex():
            raise TypeError(
                f"method {tableau.name!r} solves with the Jacobian of real systems, and y has the dtype {y.dtype}: "
                "write the system for real and imaginary parts (torch.view_as_real), or choose an explicit method"
            )
        f0 = field(t, y) if f0 is None else f0
        return implicit_step(tableau, newton, t, y, t1, f0, before, stages)

    return step


def _interpolate(tableau: DiagonallyImplicitTableau, field: Field, step: Step) -> Interpolant:
    powers = zip(*tableau.dense, strict=True)  # row j: how much of each stage goes with θ^(j+1)
    return Polynomial(step.y, [step.h * weighted_sum(weights, step.k) for weights in powers])


METHODS = {
    tableau.name: Method(
        tableau.name,
        tableau.order,
        "implicit Runge–Kutta",
        tableau.source,
        functools.partial(_start, tableau),
        error_order=tableau.error_order,
        interpolate=functools.partial(_interpolate, tableau) if tableau.dense_order > 3 else None,
        options=frozenset({"rtol", "atol", "jacobian"}),
        solves_stages=True,
    )
    for tableau in TABLEAUS.values()
}
