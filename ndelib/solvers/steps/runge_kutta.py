"""One step of an explicit Runge–Kutta method: the formula of the book, for every table of ``tableaus``.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), definition II.1.1 (the step),
II.4.2 (the error estimate), II.6.1 (dense output) and II.10.17 (the estimate of DOP853).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.dense import Polynomial
from ndelib.solvers.steps.step import Field, Method, Statistics, Step, StepFunction
from ndelib.solvers.steps.tableaus import TABLEAUS


def combine(y: Tensor, h: Any, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return ``y + h Σ wᵢ kᵢ``, skipping the zeros of the table. ``h`` is a float, or a tensor with one h a sample.

    The slopes are summed first, so that y is rounded once: over many short steps the error is that of n additions to
    y, whatever the number of stages. The sum is in parts of its first weight, which saves its multiplication.
    """
    if isinstance(h, Tensor):
        return torch.addcmul(y, h, weighted_sum(weights, k))
    total = None
    for weight, stage in zip(weights, k, strict=True):
        if weight == 0.0:
            continue
        if total is None:
            first, total = weight, stage
        else:
            total = total.add(stage, alpha=weight / first)
    return y if total is None else y.add(total, alpha=h * first)


def weighted_sum(weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return ``Σ wᵢ kᵢ``, skipping the zeros of the table."""
    (weight, stage), *rest = ((w, s) for w, s in zip(weights, k, strict=True) if w != 0.0)
    total = weight * stage
    for weight, stage in rest:
        total = total.add(stage, alpha=weight)
    return total


def runge_kutta_step(
    tableau: ButcherTableau,
    f: Field,
    t: Any,
    y: Tensor,
    t1: Any,
    f0: Tensor | None = None,
    before: Step | None = None,
) -> Step:
    """Make one step from ``t`` to ``t1``, backwards in time if ``t1 < t``.

    ``y``: (*). ``f0`` is f(t, y) if it is known already; ``before`` is not needed. ``f`` is asked at the times
    ``t + cᵢ h``, none outside [t, t1].
    """
    h = t1 - t
    k = [f(t, y) if f0 is None else f0]
    for c, weights in zip(tableau.c[1:], tableau.a[1:], strict=True):
        y1 = combine(y, h, weights, k)
        k.append(f(t1 if c == 1.0 else t + c * h, y1))  # t + 1.0 * h need not be t1: it is rounded
    if tableau.fsal:  # the last stage was taken at the new state
        return Step(t, t1, y, y1, k, k[-1], error_estimate(tableau, h, k))
    return Step(t, t1, y, combine(y, h, tableau.b, k), k, None, error_estimate(tableau, h, k))


@torch.no_grad()
def error_estimate(tableau: ButcherTableau, h: Any, k: Sequence[Tensor]) -> Tensor | None:
    """Return the estimated error of a step, of y's shape: the difference of two solutions of different order.

    DOP853 has two such differences, of orders 5 and 3. Combined as ``e₅ |e₅| / √(e₅² + (0.1 e₃)²)`` they behave like
    the error of the method itself, h⁸; Hairer combines their norms, we combine every component.
    """
    if tableau.b_error is None:
        return None
    error = h * weighted_sum(tableau.b_error, k)
    if tableau.b_error_low is None:
        return error
    low = h * weighted_sum(tableau.b_error_low, k)
    size = torch.hypot(error.abs(), 0.1 * low.abs())
    return error * error.abs() / size.clamp_min(torch.finfo(size.dtype).tiny)  # zero only where both are


def interpolate(tableau: ButcherTableau, f: Field, step: Step) -> Polynomial:
    """Return the continuous extension of the method over ``step``; asks ``f`` for the stages that only it needs."""
    assert tableau.dense is not None
    k, h = list(step.k), step.h
    if not tableau.fsal:
        k.append(f(step.t1, step.y1))
    for c, weights in zip(tableau.extra_c, tableau.extra_a, strict=True):
        k.append(f(step.t + c * h, combine(step.y, h, weights, k)))
    powers = zip(*tableau.dense, strict=True)  # row j: how much of each stage goes with θ^(j+1)
    return Polynomial(step.y, [h * weighted_sum(weights, k) for weights in powers])


def _start(tableau: ButcherTableau, field: Field, statistics: Statistics) -> StepFunction:
    return partial(runge_kutta_step, tableau, field)


def method_of(tableau: ButcherTableau) -> Method:
    """Return the method that a table stands for."""
    return Method(
        tableau.name,
        tableau.order,
        "explicit Runge–Kutta",
        tableau.source,
        start=partial(_start, tableau),
        error_order=tableau.error_order,
        interpolate=partial(interpolate, tableau) if tableau.dense else None,
        tableau=tableau,
    )


METHODS = {name: method_of(tableau) for name, tableau in TABLEAUS.items()}
