"""Stochastic Runge–Kutta methods of strong order 1.5, which use the space–time Lévy area of the noise.

For diagonal or scalar noise (Rößler's SRI) with stages H_i⁰ for f and H_i¹ for g, and the iterated integrals I₁₀, I₁₁,
I₁₁₁ of the step:

    H_i⁰ = y + h Σ A⁰_ij f(H_j⁰) + I₁₀/h Σ B⁰_ij g(H_j¹),        H_i¹ = y + h Σ A¹_ij f(H_j⁰) + √h Σ B¹_ij g(H_j¹),
    y₁ = y + h Σ α_i f(H_i⁰) + Σ (β¹_i W + β²_i I₁₁/√h + β³_i I₁₀/h + β⁴_i I₁₁₁/h) g(H_i¹).

For additive noise (SRA) g needs no stages, and only β¹ and β³ are left.

Source: Rößler, Runge–Kutta methods for the strong approximation of solutions of stochastic differential equations, SIAM
J. Numer. Anal. 48 (2010) 922, tables 6.1 (SRA1) and 6.2 (SRI1W1), order conditions in theorems 5.1 and 5.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.solvers.steps.runge_kutta import combine, weighted_sum
from ndelib.solvers.steps.step import Field, Statistics, Step, StepFunction
from ndelib.solvers.stochastic.diffusion import CheckedDiffusion
from ndelib.solvers.stochastic.step import Noise, StochasticMethod

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class StochasticTableau:
    """A method as data: nodes c⁰, c¹; weights A⁰, A¹ of f and B⁰, B¹ of g in the stages; α and β¹ … β⁴ of the end."""

    c0: tuple[float, ...]
    c1: tuple[float, ...]
    A0: Rows
    B0: Rows
    A1: Rows
    B1: Rows
    alpha: tuple[float, ...]
    beta: Rows


SRI1W1 = StochasticTableau(
    c0=(0.0, 3 / 4, 0.0, 0.0),
    c1=(0.0, 1 / 4, 1.0, 1 / 4),
    A0=((), (3 / 4,), (0.0, 0.0), (0.0, 0.0, 0.0)),
    B0=((), (3 / 2,), (0.0, 0.0), (0.0, 0.0, 0.0)),
    A1=((), (1 / 4,), (1.0, 0.0), (0.0, 0.0, 1 / 4)),
    B1=((), (1 / 2,), (-1.0, 0.0), (-5.0, 3.0, 1 / 2)),
    alpha=(1 / 3, 2 / 3, 0.0, 0.0),
    beta=(
        (-1.0, 4 / 3, 2 / 3, 0.0),
        (-1.0, 4 / 3, -1 / 3, 0.0),
        (2.0, -4 / 3, -2 / 3, 0.0),
        (-2.0, 5 / 3, -2 / 3, 1.0),
    ),
)

SRA1 = StochasticTableau(
    c0=(0.0, 3 / 4),
    c1=(1.0, 0.0),
    A0=((), (3 / 4,)),
    B0=((), (3 / 2,)),
    A1=((), (0.0,)),
    B1=((), (0.0,)),
    alpha=(1 / 3, 2 / 3),
    beta=((1.0, 0.0), (), (-1.0, 1.0), ()),
)


def add_up(y: Tensor, h: float, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return y + h Σ wᵢ kᵢ for as many ``k`` as have a weight that is not zero; those that nobody needs are absent."""
    return combine(y, h, weights, k[: len(weights)]) if any(weights) else y


def start_sri(tableau: StochasticTableau, field: Field, diffusion: CheckedDiffusion, noise: Noise) -> StepFunction:
    """Return the step for diagonal or scalar noise."""
    stages = range(len(tableau.alpha))
    column = diffusion.column

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        root = math.sqrt(h)
        found = noise.increment(t, t1)
        W, mean = found.W, found.I10 / h
        I11 = 0.5 * (W * W - h)
        I111 = W * (W * W - 3 * h) / 6
        integrals = (W, I11 / root, mean, I111 / h)
        f: list[Tensor] = []
        g: list[Tensor] = []
        y1 = y
        for i in stages:
            if i and not (tableau.c0[i] or any(tableau.A0[i]) or any(tableau.B0[i])):
                f.append(f[0])  # the stage is the start again
            else:
                at = add_up(y, h, tableau.A0[i], f)
                if any(tableau.B0[i]):
                    at = torch.addcmul(at, mean, weighted_sum(tableau.B0[i], g[: len(tableau.B0[i])]))
                f.append(field(t + tableau.c0[i] * h, at))
                y1 = y1.add(f[i], alpha=h * tableau.alpha[i])
            at = add_up(add_up(y, h, tableau.A1[i], f), root, tableau.B1[i], g)
            g.append(column(diffusion(t + tableau.c1[i] * h, at)))
            weights = [row[i] for row in tableau.beta]
            y1 = torch.addcmul(y1, weighted_sum(weights, integrals), g[i])
        return Step(t, t1, y, y1, [], None, None)

    return step


def start_sra(tableau: StochasticTableau, field: Field, diffusion: CheckedDiffusion, noise: Noise) -> StepFunction:
    """Return the step for additive noise, of any number of channels."""

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        found = noise.increment(t, t1)
        mean = found.I10 / h
        g = [diffusion(t + c * h, y) for c in tableau.c1]
        f: list[Tensor] = []
        y1 = y
        for i, alpha in enumerate(tableau.alpha):
            at = add_up(y, h, tableau.A0[i], f)
            if any(tableau.B0[i]):
                at = diffusion.plus(at, weighted_sum(tableau.B0[i], g[: len(tableau.B0[i])]), mean)
            f.append(field(t + tableau.c0[i] * h, at))
            y1 = y1.add(f[i], alpha=h * alpha)
            weights = tableau.beta[0][i], tableau.beta[2][i]
            y1 = diffusion.plus(y1, g[i], weighted_sum(weights, (found.W, mean)))
        return Step(t, t1, y, y1, [], None, None)

    return step


def start_srk(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str
) -> StepFunction:
    """Return the step of the method for the noise at hand."""
    if diffusion.noise_type == "additive":
        return start_sra(SRA1, field, diffusion, noise)
    return start_sri(SRI1W1, field, diffusion, noise)


STRONG = {"additive": 1.5, "diagonal": 1.5, "scalar": 1.5}

METHODS = {
    "srk": StochasticMethod(
        "srk",
        1.5,
        "stochastic",
        "Rößler (2010), SRI1W1 (diagonal and scalar noise) and SRA1 (additive noise)",
        start_srk,
        strong=STRONG,
        weak=2.0,
        calculus=("ito",),
        levy_area=dict.fromkeys(STRONG, "space-time"),
    )
}
