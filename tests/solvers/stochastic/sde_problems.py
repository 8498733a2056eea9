"""Stochastic equations whose solution at T is known as a function of the noise: y(T) = exact(y0, T, bm).

Each is made the other way round: a process first, from which Itô's or Stratonovich's chain rule gives the equation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib import BrownianMotion

Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Equation:
    f: Function
    g: Function
    noise_type: str
    sde_type: str


@dataclass(frozen=True)
class ExactProblem:
    name: str
    noise_type: str
    channels: int
    y0: tuple[float, ...]
    g: Function
    drift: dict[str, Function]
    """by calculus"""
    exact: Callable[[Tensor, float, BrownianMotion], Tensor]
    cells: int = 1
    """how many the exact solution wants at least, with their H (or with A, if the noise is general)"""

    def equation(self, sde_type: str) -> Equation:
        return Equation(self.drift[sde_type], self.g, self.noise_type, sde_type)

    def start(self, paths: int) -> Tensor:
        return torch.tensor(self.y0, dtype=torch.float64).expand(paths, -1).clone()


a, b = 0.5, 0.6

# y = y0 exp((a − b²/2) t + b W): dy = a y dt + b y dW.
LINEAR = ExactProblem(
    "linear",
    "diagonal",
    2,
    (1.0, 0.5),
    lambda t, y: b * y,
    {"ito": lambda t, y: a * y, "stratonovich": lambda t, y: (a - b * b / 2) * y},
    lambda y0, T, bm: y0 * torch.exp((a - b * b / 2) * T + b * bm(0, T)),
)

# tan y = tan y0 + b W, so dy = b cos² y ∘ dW; in Itô's calculus ½ g g' = −b² sin y cos³ y is added to the drift.
WAVE = ExactProblem(
    "wave",
    "diagonal",
    2,
    (1.0, 0.3),
    lambda t, y: b * y.cos() ** 2,
    {"ito": lambda t, y: -b * b * y.sin() * y.cos() ** 3, "stratonovich": lambda t, y: torch.zeros_like(y)},
    lambda y0, T, bm: torch.atan(y0.tan() + b * bm(0, T)),
)

# artanh y = artanh y0 + b W, so dy = b (1 − y²) ∘ dW and ½ g g' = −b² y (1 − y²): a cubic drift.
CUBIC = ExactProblem(
    "cubic",
    "diagonal",
    1,
    (0.4,),
    lambda t, y: b * (1 - y * y),
    {"ito": lambda t, y: -b * b * y * (1 - y * y), "stratonovich": lambda t, y: torch.zeros_like(y)},
    lambda y0, T, bm: torch.tanh(torch.atanh(y0) + b * bm(0, T)),
)

# dy = M y dt + (1 + t) S dW with three noises for two components: y(T) = e^{MT} y0 + ∫ F dW with
# F(s) = e^{M(T − s)} (1 + s) S.
# Over a cell of length h with middle m, ∫ F dW = F(m) W − h F′(m) H, but for terms of order h^2.5: ∫ (s − m) dW = −h H.
# (A solution that is a function of W(T) alone would not do: its equation has no use for H, and every order is better.)
M = torch.tensor([[-1.0, 2.0], [-2.0, -0.5]], dtype=torch.float64)
S = torch.tensor([[0.8, 0.3, 0.0], [-0.4, 0.5, 0.6]], dtype=torch.float64)


def _spiral(y0: Tensor, T: float, bm: BrownianMotion) -> Tensor:
    y = y0 @ torch.linalg.matrix_exp(M * T).T
    h = T / 256
    for k in range(256):
        cell, middle = bm.increment(k * h, (k + 1) * h), (k + 0.5) * h
        F = torch.linalg.matrix_exp(M * (T - middle)) @ S * (1 + middle)
        slope_of_F = -M @ F + F / (1 + middle)
        y = y + cell.W @ F.T - h * cell.H @ slope_of_F.T
    return y


ADDITIVE = ExactProblem(
    "additive",
    "additive",
    3,
    (1.0, 0.5),
    lambda t, y: (S * (1 + t)).expand(*y.shape[:-1], 2, 3),
    {"ito": lambda t, y: y @ M.T, "stratonovich": lambda t, y: y @ M.T},
    _spiral,
    cells=256,
)

# y = log z with dz = (a z − z²) dt + β z ∘ dW: dy = (a − e^y) dt + β dW, additive noise and a drift that is not linear.
# z = e^{at + βW} / (1/z0 + ∫ e^{as + βW} ds). The integral over a cell, up to h^1.5 for all cells together, from
# E[∫ W² ds | W, H] = h (W²/3 + W H + 6/5 H²) + h²/15.
beta = 1.0


def _logistic(y0: Tensor, T: float, bm: BrownianMotion) -> Tensor:
    integral, W, h = torch.zeros_like(y0), torch.zeros_like(y0), T / 1024
    for k in range(1024):
        cell = bm.increment(k * h, (k + 1) * h)
        square = h * (cell.W**2 / 3 + cell.W * cell.H + 1.2 * cell.H**2) + h * h / 15
        integral += torch.exp(a * k * h + beta * W) * (h + a * h * h / 2 + beta * cell.I10 + beta**2 / 2 * square)
        W += cell.W
    return y0 + a * T + beta * W - torch.log(1 + y0.exp() * integral)


LOGISTIC = ExactProblem(
    "logistic",
    "additive",
    1,
    (0.5,),
    lambda t, y: torch.full_like(y, beta)[..., None],
    {"ito": lambda t, y: a - y.exp(), "stratonovich": lambda t, y: a - y.exp()},
    _logistic,
    cells=1024,
)

# z = z0 exp((a − ν²/2) t + ν W) for complex z, ν: dz = a z dt + ν z dW, one noise that scales and turns a plane.
NU = torch.tensor(0.5 + 0.7j, dtype=torch.complex128)


def _plane(y: Tensor) -> Tensor:
    return torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous())


def _pairs(z: Tensor) -> Tensor:
    return torch.view_as_real(z).flatten(-2)


def _multiplied(y: Tensor, nu: Tensor) -> Tensor:
    """Return the complex product of ν with (y₁, y₂), (y₃, y₄), …, in real arithmetic."""
    x, z = y[..., 0::2], y[..., 1::2]
    return torch.stack((nu.real * x - nu.imag * z, nu.real * z + nu.imag * x), -1).flatten(-2)


SCALAR = ExactProblem(
    "scalar linear",
    "scalar",
    1,
    (1.0, 0.2),
    lambda t, y: _multiplied(y, NU)[..., None],
    {"ito": lambda t, y: a * y, "stratonovich": lambda t, y: a * y - _multiplied(y, NU * NU / 2)},
    lambda y0, T, bm: _pairs(_plane(y0) * torch.exp((a - NU * NU / 2) * T + NU * bm(0, T))),
)

# The same with two planes and two noises, z_k = z_k0 exp((a − ½ Σ_j ν_jk²) t + Σ_j ν_jk W_j): in four dimensions, with
# columns that commute; seen through an orthogonal change of coordinates.
NUS = torch.tensor([[0.5 + 0.3j, -0.2 + 0.4j], [0.1 - 0.5j, 0.4 + 0.2j]], dtype=torch.complex128)
Q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
HALF_SQUARES = (NUS * NUS).sum(0) / 2

COMMUTING = ExactProblem(
    "commuting 4-D",
    "commutative",
    2,
    (1.0, 0.5, -0.5, 0.8),
    lambda t, y: torch.stack([_multiplied(y @ Q, NUS[j]) @ Q.T for j in range(2)], -1),
    {"ito": lambda t, y: a * y, "stratonovich": lambda t, y: a * y - _multiplied(y @ Q, HALF_SQUARES) @ Q.T},
    lambda y0, T, bm: _pairs(_plane(y0 @ Q) * torch.exp((a - HALF_SQUARES) * T + bm(0, T).to(NUS.dtype) @ NUS)) @ Q.T,
)

# u = sinh(x) with x = x0 + c W₁, v = v0 + ∫ x dW₂: du = c √(1 + u²) ∘ dW₁, dv = arsinh u ∘ dW₂, columns that do not
# commute. ∫ (x0 + c W₁) dW₂ = x0 W₂ + c (½ W₁ W₂ + A₁₂); in Itô's calculus du has the drift c² u / 2.
c = 0.3


def _non_commuting_g(t: Tensor, y: Tensor) -> Tensor:
    u, zero = y[..., 0], torch.zeros_like(y[..., 0])
    return torch.stack((torch.stack((c * (1 + u * u).sqrt(), zero), -1), torch.stack((zero, u.asinh()), -1)), -2)


def _non_commuting_exact(y0: Tensor, T: float, bm: BrownianMotion) -> Tensor:
    W, A = bm(0, T, return_A=True)
    x, W1, W2 = y0[..., 0].asinh(), W[..., 0], W[..., 1]
    v = y0[..., 1] + x * W2 + c * (0.5 * W1 * W2 + A[..., 0, 1])
    return torch.stack(((x + c * W1).sinh(), v), -1)


HALF = torch.tensor([c * c / 2, 0.0], dtype=torch.float64)
NON_COMMUTING = ExactProblem(
    "non-commuting 2-D",
    "general",
    2,
    (0.3, 0.2),
    _non_commuting_g,
    {"ito": lambda t, y: HALF * y, "stratonovich": lambda t, y: torch.zeros_like(y)},
    _non_commuting_exact,
)

EXACT_PROBLEMS = [LINEAR, WAVE, CUBIC, ADDITIVE, LOGISTIC, SCALAR, COMMUTING, NON_COMMUTING]


def slope(steps: Sequence[float], errors: Sequence[float]) -> float:
    """Return the slope of log(error) against log(step), by least squares."""
    x, y = torch.tensor(steps, dtype=torch.float64).log(), torch.tensor(errors, dtype=torch.float64).log()
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()
