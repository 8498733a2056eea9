"""Itô's equation by Euler's step, and Milstein's correction of it.

With I_jk = ∫∫ dW_j dW_k over the step (j the inner integral) the Milstein step is

    y₁ = y + f h + Σ_j g^j W_j + Σ_jk (∂g^k/∂y) g^j I_jk,   I_jk = ½ W_j W_k + A_jk − ½ δ_jk h  (the last for Itô only).

The Lévy areas A drop out where the noise is commutative.

Sources: Maruyama, Rend. Circ. Mat. Palermo 4 (1955) 48; Milstein, Theory Probab. Appl. 19 (1975) 557; Kloeden & Platen,
*Numerical Solution of Stochastic Differential Equations* (1992), (10.2.4), (10.3.5), (11.1.7) without derivatives;
Hutzenthaler, Jentzen & Kloeden, Strong convergence of an explicit numerical method for SDEs with nonglobally Lipschitz
continuous coefficients, Ann. Appl. Probab. 22 (2012) 1611, taming.
"""

import math
from functools import partial

import torch
from torch import Tensor

from ndelib.solvers.steps.step import Field, Statistics, Step, StepFunction
from ndelib.solvers.stochastic.diffusion import CheckedDiffusion
from ndelib.solvers.stochastic.levy import Increment
from ndelib.solvers.stochastic.step import Noise, StochasticMethod, all_noise


def start_euler(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str, tamed: bool
) -> StepFunction:
    """Return the step y₁ = y + f h + g W; ``tamed`` divides f by 1 + h |f|, so that it cannot run away."""

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        f = field(t, y)
        if tamed:
            f = f / (1.0 + h * torch.linalg.vector_norm(f, dim=-1, keepdim=True))
        y1 = diffusion.plus(torch.add(y, f, alpha=h), diffusion(t, y), noise.increment(t, t1).W)
        return Step(t, t1, y, y1, [], None, None)

    return step


def iterated_integrals(found: Increment, h: float, ito: bool, diagonal: bool) -> Tensor:
    """Return I_jk, (*, m, m), or their diagonal, (*, m). Without A they are right up to a part that commutes away."""
    W = found.W
    if diagonal:
        square = 0.5 * W * W
        return square - 0.5 * h if ito else square
    product = 0.5 * W.unsqueeze(-1) * W.unsqueeze(-2)
    if found.A is not None:
        product = product + found.A
    if ito:
        product = product - 0.5 * h * torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
    return product


def start_milstein(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str
) -> StepFunction:
    """Return Milstein's step with the derivative of g by automatic differentiation."""
    ito, additive, diagonal = calculus == "ito", diffusion.noise_type == "additive", diffusion.diagonal

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        found = noise.increment(t, t1)
        y1 = torch.add(y, field(t, y), alpha=h)
        if additive:
            return Step(t, t1, y, diffusion.plus(y1, diffusion(t, y), found.W), [], None, None)
        integrals = iterated_integrals(found, h, ito, diagonal)
        if diagonal:
            g, correction = diffusion.derivative(t, y, lambda g: g * integrals)
        else:
            g, correction = diffusion.derivative(t, y, lambda g: g @ integrals)
        return Step(t, t1, y, diffusion.plus(y1, g, found.W) + correction, [], None, None)

    return step


def start_milstein_free(
    field: Field, statistics: Statistics, *, diffusion: CheckedDiffusion, noise: Noise, calculus: str
) -> StepFunction:
    """Return Milstein's step with (∂g/∂y) g^j replaced by a difference quotient over √h g^j, for each noise j.

    For Itô (g(y + √h g^j) − g(y)) / √h will do: its error, √h ½ g'' g^j g^j, is multiplied by integrals of mean zero.
    Those of Stratonovich have the mean h/2; there the quotient has to be symmetric, or the order is ½.
    """
    ito, additive, diagonal = calculus == "ito", diffusion.noise_type == "additive", diffusion.diagonal

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        root = math.sqrt(abs(h))
        found = noise.increment(t, t1)
        g = diffusion(t, y)
        y1 = diffusion.plus(torch.add(y, field(t, y), alpha=h), g, found.W)
        if not additive:
            integrals = iterated_integrals(found, h, ito, diagonal)
            for j in range(1 if diagonal else diffusion.channels):
                along = g if diagonal else g[..., j]
                if ito:
                    change = diffusion(t, torch.add(y, along, alpha=root)) - g
                else:
                    half = 0.5 * root
                    change = diffusion(t, torch.add(y, along, alpha=half)) - diffusion(t, y.sub(along, alpha=half))
                y1 = diffusion.plus(y1, change / root, integrals if diagonal else integrals[..., j, :])
        return Step(t, t1, y, y1, [], None, None)

    return step


KIND = "stochastic"
MILSTEIN = all_noise(1.0)
AREAS = {"general": "area"}

METHODS = {
    "euler": StochasticMethod(
        "euler",
        0.5,
        KIND,
        "Maruyama (1955)",
        partial(start_euler, tamed=False),
        strong=all_noise(0.5),
        calculus=("ito",),
    ),
    "tamed_euler": StochasticMethod(
        "tamed_euler",
        0.5,
        KIND,
        "Hutzenthaler, Jentzen & Kloeden (2012), eq. (4)",
        partial(start_euler, tamed=True),
        strong=all_noise(0.5),
        calculus=("ito",),
    ),
    "milstein": StochasticMethod(
        "milstein",
        1.0,
        KIND,
        "Milstein (1975); Kloeden & Platen (1992), (10.3.5)",
        start_milstein,
        strong=MILSTEIN,
        levy_area=AREAS,
    ),
    "milstein_derivative_free": StochasticMethod(
        "milstein_derivative_free",
        1.0,
        KIND,
        "Kloeden & Platen (1992), (11.1.7)",
        start_milstein_free,
        strong=MILSTEIN,
        levy_area=AREAS,
    ),
}
