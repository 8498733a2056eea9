"""Adams methods: steps that use the slopes of the steps before, so that order 4 costs two evaluations of f a step.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), section III.1.
"""

import torch
from torch import Tensor

from ndelib.solvers.steps.butcher import Row
from ndelib.solvers.steps.runge_kutta import combine, runge_kutta_step
from ndelib.solvers.steps.step import Field, Method, Statistics, Step, StepFunction
from ndelib.solvers.steps.tableaus import TABLEAUS

ADAMS_BASHFORTH: Row = (55 / 24, -59 / 24, 37 / 24, -9 / 24)
"""Weights of fₙ, fₙ₋₁, fₙ₋₂, fₙ₋₃: the polynomial through them, integrated over the step (equation III.1.5)."""

ADAMS_MOULTON: Row = (9 / 24, 19 / 24, -5 / 24, 1 / 24)
"""Weights of fₙ₊₁, fₙ, fₙ₋₁, fₙ₋₂: the same with the slope at the end of the step (equation III.1.8)."""


def start_adams_bashforth_moulton(field: Field, statistics: Statistics) -> StepFunction:
    """Return the step of the predictor–corrector pair of order 4, in the mode PECE.

    Predict by Adams–Bashforth, Evaluate f there, Correct by Adams–Moulton, Evaluate f at the result. The first three
    steps are of Runge–Kutta 4, whose error of one step, O(h⁵), is below what the pair accumulates. Three such steps
    follow whenever h changes: the weights are for slopes at equal distances. The ``memory`` of a step are up to three
    slopes, those where it and its predecessors began, newest first.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        f0 = field(t, y) if f0 is None else f0
        slopes = [f0]
        if before is not None and _same_length(before, t1 - t, torch.finfo(y.dtype).eps):
            slopes += before.memory
        if len(slopes) < len(ADAMS_BASHFORTH):
            made = runge_kutta_step(TABLEAUS["rk4"], field, t, y, t1, f0)
        else:
            made = predict_and_correct(field, t, y, t1, slopes)
        return made._replace(memory=tuple(slopes[: len(ADAMS_BASHFORTH) - 1]))

    return step


def _same_length(before: Step, h: float, eps: float) -> bool:
    """Whether the step after ``before`` has its length, up to the rounding of times."""
    return abs(h - before.h) <= 4 * eps * max(abs(before.t), abs(before.t1), abs(before.t1 + h))


def predict_and_correct(field: Field, t: float, y: Tensor, t1: float, slopes: list[Tensor]) -> Step:
    """Make one step in the mode PECE from ``slopes``, the last four at equal distances, f(t, y) first.

    ``y``: (*) -> (*). Two evaluations of f, the second of which belongs to the next step.
    """
    h = t1 - t
    predicted = field(t1, combine(y, h, ADAMS_BASHFORTH, slopes))
    y1 = combine(y, h, ADAMS_MOULTON, [predicted, *slopes[:-1]])
    f1 = field(t1, y1)
    return Step(t, t1, y, y1, k=[slopes[0]], f1=f1, error=None)


METHODS = {
    "adams_bashforth_moulton": Method(
        "adams_bashforth_moulton",
        4,
        "multistep",
        "Adams (1883), Moulton (1926); Hairer, Nørsett & Wanner I, (III.1.5) and (III.1.8)",
        start_adams_bashforth_moulton,
    )
}
