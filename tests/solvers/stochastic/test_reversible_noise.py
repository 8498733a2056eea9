"""Reversible Heun with noise: what it does to decays, that it says so once, and that it is silent where it is safe."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ndelib import BrownianMotion, sdeint
from tests.solvers.stochastic.sde_problems import Equation

DOUBLE = torch.float64


def constant(sigma: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: torch.full_like(y, sigma)[..., None]


def decay(theta: float, sigma: float, mean: float = 0.0) -> Equation:
    return Equation(lambda t, y: -theta * (y - mean), constant(sigma), "additive", "stratonovich")


def solve(
    equation: Equation, y0: Tensor, T: float, h: float, entropy: int = 0, parts: int = 1, **more: object
) -> Tensor:
    m = 1 if equation.noise_type == "additive" else y0.shape[-1]
    bm = BrownianMotion(0.0, T, (*y0.shape[:-1], m), y0.dtype, dt=h, entropy=entropy)
    ts = torch.linspace(0, T, parts + 1, dtype=DOUBLE)
    return sdeint(equation, y0, ts, bm, "reversible_heun", h, **more)[-1]  # type: ignore[arg-type]


def variance_of_steps(theta: float, sigma: float, T: float, h: float) -> float:
    """Return the variance of y after the steps (y, ŷ) ↦ L (y, ŷ) + b W; L has the eigenvalues −x ± √(1 + x²)."""
    x = h * theta
    L = torch.tensor([[1 - x, x * x / 2], [2.0, -1 - x]], dtype=DOUBLE)
    eigenvalues = torch.linalg.eigvals(L).real.sort().values
    torch.testing.assert_close(
        eigenvalues, torch.tensor([-x - math.sqrt(1 + x * x), -x + math.sqrt(1 + x * x)], dtype=DOUBLE)
    )
    b = torch.tensor([1 - x / 2, 1.0], dtype=DOUBLE) * sigma  # ŷ₁ has σW, of which −x/2 reaches y
    covariance = torch.zeros(2, 2, dtype=DOUBLE)
    for _ in range(round(T / h)):
        covariance = L @ covariance @ L.T + h * torch.outer(b, b)
    return covariance[0, 0].item()


def test_the_variance_of_a_decaying_process_explodes_and_the_solve_says_so_once() -> None:
    """σ²/2θ is 0.025; that of the steps is 1.5 million."""
    y0 = torch.ones(2000, 1, dtype=DOUBLE)
    with pytest.warns(
        RuntimeWarning, match=r"'reversible_heun' carries come apart: at t = .* they differ by .* times"
    ) as said:
        y = solve(decay(5.0, 0.5), y0, 4.0, 0.01, parts=4)
    assert len(said) == 1
    expected = variance_of_steps(5.0, 0.5, 4.0, 0.01)
    assert expected > 1e6
    assert y.var().item() == pytest.approx(expected, rel=4 * math.sqrt(2 / 2000))


@pytest.mark.parametrize(
    ("equation", "y0", "T"),
    [
        (decay(5.0, 0.5), 1.0, 4.0),
        (decay(5.0, 0.5, mean=10.0), 10.0, 4.0),
        (decay(1.0, 0.5), 1.0, 20.0),
        (Equation(lambda t, y: -5 * y, lambda t, y: 0.2 * y, "diagonal", "stratonovich"), 1.0, 4.0),
    ],
)
@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("gradient", ["backprop", "reversible"])
def test_decays_warn(equation: Equation, y0: float, T: float, batch: int, gradient: str) -> None:
    start = torch.full((batch, 1), y0, dtype=DOUBLE, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="come apart"):
        solve(equation, start, T, 0.02, gradient=gradient)


def spring(omega: float, friction: float) -> Equation:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[..., 1], -(omega**2) * y[..., 0] - friction * y[..., 1]), -1)

    def g(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((torch.zeros_like(y[..., 0]), torch.full_like(y[..., 0], 0.5)), -1)[..., None]

    return Equation(f, g, "additive", "stratonovich")


SAFE = {
    "oscillator": (spring(1.0, 0.0), torch.tensor([[1.0, 0.5]]), 50.0, 0.1),
    "oscillator from rest": (spring(2.0, 0.0), torch.zeros(1, 2), 20.0, 0.05),
    "oscillator with little friction": (spring(2.0, 0.02), torch.zeros(1, 2), 20.0, 0.05),
    "geometric": (
        Equation(lambda t, y: 0.05 * y, lambda t, y: 0.5 * y, "diagonal", "stratonovich"),
        torch.ones(1, 1),
        1.0,
        0.01,
    ),
    "geometric, coarse": (
        Equation(lambda t, y: 0.05 * y, lambda t, y: 0.5 * y, "diagonal", "stratonovich"),
        torch.ones(1, 1),
        2.0,
        0.1,
    ),
    "Brownian motion": (decay(0.0, 1.0), torch.zeros(1, 1), 10.0, 0.1),
    "a short decay": (decay(5.0, 0.5), torch.ones(1, 1), 0.2, 0.01),
    "a growth": (decay(-1.0, 0.5), torch.ones(1, 1), 5.0, 0.05),
}


@torch.no_grad()
@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_paths_of_safe_equations_give_no_alarm(name: str, dtype: torch.dtype) -> None:
    equation, y0, T, h = SAFE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for entropy in range(5):
            solve(equation, y0.to(dtype), T, h, entropy)
