"""Stratonovich's equation, by the steps of ordinary differential equations.

Join the values of W at the ends of the steps by straight lines, and dy = f dt + g ∘ dW becomes the ordinary equation
dy/dt = f + g W/h in each step (Wong & Zakai 1965). So any Runge–Kutta step of order two or more for that slope is a
method for the stochastic equation: strong order 1 for commutative noise, ½ otherwise, for it knows no more of the noise
than W. (Euler's step lacks the term in W² and is Euler–Maruyama, which solves Itô's equation.)

Sources: Wong & Zakai, Ann. Math. Statist. 36 (1965) 1560; Rümelin, Numerical treatment of stochastic differential
equations, SIAM J. Numer. Anal. 19 (1982) 604 (Heun); Burrage, Burrage & Tian, Proc. R. Soc. A 460 (2004) 373; Gard,
*Introduction to Stochastic Differential Equations* (1988) (Euler–Heun); Kidger, Foster, Li & Lyons (2021) (reversible
Heun).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.reversible import look_at_copies, second_copy
from ndelib.solvers.steps.runge_kutta import combine, runge_kutta_step
from ndelib.solvers.steps.step import Field, Statistics, Step, StepFunction
from ndelib.solvers.steps.tableaus import TABLEAUS
from ndelib.solvers.stochastic.diffusion import CheckedDiffusion
from ndelib.solvers.stochastic.step import Noise, StochasticMethod, all_noise


def chord(field: Field, diffusion: CheckedDiffusion, noise: Noise, t: float, t1: float) -> Callable[..., Tensor]:
    """Return the slope f + g W/h of the equation along a straight line of the noise."""
    rate = noise.increment(t, t1).W / (t1 - t)
    return lambda s, y: diffusion.plus(field(s, y), diffusion(s, y), rate)


def start_along_chord(
    tableau: ButcherTableau,
    field: Field,
    statistics: Statistics,
    *,
    diffusion: CheckedDiffusion,
    noise: Noise,
    calculus: str,
) -> StepFunction:
    """Return the step of the Runge–Kutta method of ``tableau`` along the chord of the noise."""

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        made = runge_kutta_step(tableau, chord(field, diffusion, noise, t, t1), t, y, t1)
        # Its slopes are those of this chord: the next step has another, and its error is that of the chord's equation.
        return Step(t, t1, y, made.y1, [], None, None)

    return step


def start_euler_heun(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str
) -> StepFunction:
    """Return the step that takes f where it starts, and g as the mean over both ends: y₁ = y + f h + ½ (g + ĝ) W."""

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        W = noise.increment(t, t1).W
        g = diffusion(t, y)
        g1 = diffusion(t1, diffusion.plus(y, g, W))
        y1 = torch.add(y, field(t, y), alpha=t1 - t)
        return Step(t, t1, y, diffusion.plus(y1, g + g1, 0.5 * W), [], None, None)

    return step


def start_reversible_heun(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str
) -> StepFunction:
    """Return the step of the reversible Heun method: one evaluation of f and of g, and it can be undone.

    As for ordinary equations (``reversible.py``), ŷ₁ = 2y − ŷ + f̂ h + ĝ W and y₁ = y + ½ (f̂ + f̂₁) h + ½ (ĝ + ĝ₁) W.
    ``memory`` is (ŷ₁, f̂₁, ĝ₁). A step back is a step with −h and −W.

    On dy = −θy dt + σ dW the pair (y, ŷ) is multiplied by a matrix with the eigenvalues −x ± √(1 + x²), x = hθ: one of
    them is below −1, and y, ŷ come apart like exp(θt), whatever the step.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        other, f, g = (y, field(t, y), diffusion(t, y)) if before is None else before.memory
        h, W = t1 - t, noise.increment(t, t1).W
        other1 = diffusion.plus(combine(2 * y - other, h, (1.0,), (f,)), g, W)
        f1, g1 = field(t1, other1), diffusion(t1, other1)
        y1 = diffusion.plus(combine(y, h, (0.5, 0.5), (f, f1)), g + g1, 0.5 * W)
        return Step(t, t1, y, y1, [], None, None, memory=(other1, f1, g1))

    return step


KIND = "stochastic"
STRONG = all_noise(0.5, diagonal=1.0, scalar=1.0, commutative=1.0)
ONLY = ("stratonovich",)
APART = 0.1
"""of the size of the state: less is no harm, also where a small W makes the step's own difference look smaller"""

METHODS = {
    name: StochasticMethod(
        name, 0.5, KIND, source, partial(start_along_chord, TABLEAUS[tableau]), strong=STRONG, calculus=ONLY
    )
    for name, tableau, source in (
        ("midpoint", "midpoint", "Burrage, Burrage & Tian (2004)"),
        ("heun", "heun2", "Rümelin (1982)"),
    )
} | {
    "euler_heun": StochasticMethod(
        "euler_heun", 0.5, KIND, "Gard (1988); Rümelin (1982)", start_euler_heun, strong=STRONG, calculus=ONLY
    ),
    "reversible_heun": StochasticMethod(
        "reversible_heun",
        0.5,
        KIND,
        "Kidger, Foster, Li & Lyons (2021), algorithm 1",
        start_reversible_heun,
        reverse=start_reversible_heun,
        look=partial(look_at_copies, start_reversible_heun, "reversible_heun", second_copy, least=APART),
        strong=STRONG,
        calculus=ONLY,
    ),
}
