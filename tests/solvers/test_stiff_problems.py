"""Stiff problems of the literature, solved through the front door and compared with published digits.

Problems and solutions: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), section IV.10, and their
test set at unige.ch/~hairer/testset; Robertson's reaction there and in the documentation of CVODE. SciPy's Radau
method with rtol = 1e-11 and tighter reproduces all digits that are used here.
"""

import functools
from dataclasses import dataclass
from itertools import product

import pytest
import scipy.integrate
import torch
from torch import Tensor

from ndelib import solve_ivp
from ndelib.solvers.errors import SolverError
from ndelib.solvers.steps.step import VectorField
from tests.conftest import FULL, full

SINGLY_DIAGONAL = ["kvaerno3", "esdirk54"]


@dataclass(frozen=True)
class Problem:
    f: VectorField
    y0: list[float]
    end: float
    solution: list[float]
    """at ``end``"""
    scale: float
    """atol / rtol: the size of the small components"""


def robertson(t: Tensor, y: Tensor) -> Tensor:
    """Three chemical reactions with rates from 0.04 to 3·10⁷."""
    a, b, c = y.unbind(-1)
    slow, back, fast = 0.04 * a, 1e4 * b * c, 3e7 * b**2
    return torch.stack([back - slow, slow - back - fast, fast], -1)


def hires(t: Tensor, y: Tensor) -> Tensor:
    """High irradiance response of photomorphogenesis: eight reactions (Schäfer 1975)."""
    y1, y2, y3, y4, y5, y6, y7, y8 = y.unbind(-1)
    binding = 280 * y6 * y8
    return torch.stack(
        [
            -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
            1.71 * y1 - 8.75 * y2,
            -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
            8.32 * y2 + 1.71 * y3 - 1.12 * y4,
            -1.745 * y5 + 0.43 * y6 + 0.43 * y7,
            -binding + 0.69 * y4 + 1.71 * y5 - 0.43 * y6 + 0.69 * y7,
            binding - 1.81 * y7,
            -binding + 1.81 * y7,
        ],
        -1,
    )


def oregonator(t: Tensor, y: Tensor) -> Tensor:
    """The Belousov–Zhabotinskii reaction (Field & Noyes 1974)."""
    a, b, c = y.unbind(-1)
    return torch.stack([77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)], -1)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    """Van der Pol's oscillator with μ = 1000, in units of time of its slow phase: ε = 10⁻⁶."""
    position, speed = y.unbind(-1)
    return torch.stack([speed, ((1 - position**2) * speed - position) / 1e-6], -1)


PROBLEMS = {
    "robertson": Problem(
        robertson, [1.0, 0.0, 0.0], 40.0, [0.7158270687192, 9.1855347645634e-06, 0.28416374574600], scale=1e-4
    ),
    "robertson for long": Problem(
        robertson, [1.0, 0.0, 0.0], 4e4, [3.8983377085589e-02, 1.6217683159143e-07, 0.96101646073758], scale=1e-6
    ),
    "hires": Problem(
        hires,
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        321.8122,
        [
            0.7371312573325668e-3,
            0.1442485726316185e-3,
            0.5888729740967575e-4,
            0.1175651343283149e-2,
            0.2386356198831331e-2,
            0.6238968252742796e-2,
            0.2849998395185769e-2,
            0.2850001604814231e-2,
        ],
        scale=1e-4,
    ),
    "oregonator": Problem(
        oregonator, [1.0, 2.0, 3.0], 360.0, [1.000814870318523, 1228.178521549917, 132.0554942846706], scale=1e-2
    ),
    "van der pol": Problem(van_der_pol, [2.0, 0.0], 2.0, [1.706167732170483, -0.8928097010247975], scale=1.0),
}


CELLS = list(product(SINGLY_DIAGONAL, PROBLEMS))
DEAR = [("esdirk54", "oregonator"), ("kvaerno3", "van der pol")]  # each method and each problem are in other cells too


@pytest.mark.parametrize(("method", "name"), full(CELLS, [cell for cell in CELLS if cell not in DEAR]))
def test_stiff_problems_are_solved_to_their_published_digits(method: str, name: str):
    problem = PROBLEMS[name]
    tolerance = 1e-4 if method == "kvaerno3" else 1e-5
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    solution = solve_ivp(
        problem.f, (0.0, problem.end), y0, method=method, rtol=tolerance, atol=tolerance * problem.scale
    )
    error = (solution.y[-1] / torch.tensor(problem.solution, dtype=torch.float64) - 1).abs().max().item()
    # Errors add up over hundreds of steps and grow where the fast phases of a cycle begin.
    assert error < 100 * tolerance
    assert solution.jacobians < solution.steps + solution.rejected


@pytest.mark.parametrize("tolerance", full([1e-2, 1e-3, 1e-4], [1e-3]))
@pytest.mark.parametrize("method", SINGLY_DIAGONAL)
def test_the_jacobian_of_a_jump_does_not_serve_the_slow_phase_after_it(method: str, tolerance: float):
    """Where van der Pol jumps, ∂f/∂y reaches 10¹². With it, later increments are tiny wherever the iterates stand."""
    problem = PROBLEMS["van der pol"]
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    solution = solve_ivp(problem.f, (0.0, problem.end), y0, method=method, rtol=tolerance, atol=tolerance)
    error = (solution.y[-1] / torch.tensor(problem.solution, dtype=torch.float64) - 1).abs().max().item()
    assert error < 10 * tolerance


@functools.cache
def van_der_pol_in_fast_time() -> Problem:
    """Van der Pol's oscillator with μ = 1000 in its fast time, for nearly two periods; by SciPy's Radau."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        position, speed = y.unbind(-1)
        return torch.stack([speed, 1000 * (1 - position**2) * speed - position], -1)

    def in_scipy(t: float, y: list[float]) -> list[float]:
        return [y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]]

    start, end = [2.0, 0.0], 3000.0
    radau = scipy.integrate.solve_ivp(in_scipy, (0, end), start, method="Radau", rtol=1e-9, atol=1e-11)
    return Problem(f, start, end, radau.y[:, -1].tolist(), scale=1.0)


JUMPS = ["van der pol in fast time", "oregonator"]


@pytest.mark.parametrize("tolerance", full([1e-2, 1e-3, 1e-4], [1e-2]))
@pytest.mark.parametrize(
    ("method", "name"),  # each method and each problem once in the short form
    full(list(product(SINGLY_DIAGONAL, JUMPS)), list(zip(SINGLY_DIAGONAL, JUMPS, strict=True))),
)
def test_loose_tolerances_through_several_jumps_are_no_licence_to_be_lost(method: str, name: str, tolerance: float):
    """Van der Pol, μ = 1000, and the jump of the Oregonator, where old Jacobians are far too large.

    An increment that has gone through such a matrix is small in the stiff component whatever is left there.
    """
    problem = van_der_pol_in_fast_time() if name == "van der pol in fast time" else PROBLEMS[name]
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    options = {"method": method, "rtol": tolerance, "atol": tolerance * problem.scale}
    solution = solve_ivp(problem.f, (0.0, problem.end), y0, **options)
    exact = torch.tensor(problem.solution, dtype=torch.float64)
    error = ((solution.y[-1] - exact).abs() / (problem.scale + exact.abs())).max().item()
    # Errors of a phase grow with the cycles. Without a look at residuals they were 334 and 100 tolerances.
    assert error < 30 * tolerance


def test_an_explicit_method_would_need_a_thousand_times_the_evaluations():
    problem = PROBLEMS["robertson"]
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    options = {"rtol": 1e-4, "atol": 1e-8, "max_steps": full(2000, 500)}
    solution = solve_ivp(problem.f, (0.0, 4e4), y0, method="esdirk54", **options)
    assert solution.nfe < 1000
    with pytest.raises(SolverError) as failure:
        solve_ivp(problem.f, (0.0, 4e4), y0, method="dopri5", **options)
    # Stability bounds its steps: after six evaluations for each of them it has done a thousandth, or a quarter of that.
    assert failure.value.t < full(40, 10)


@pytest.mark.parametrize("method", SINGLY_DIAGONAL)
def test_the_gradient_of_a_stiff_solve_is_that_of_finite_differences(method: str):
    def end(rates: Tensor) -> Tensor:
        def f(t: Tensor, y: Tensor) -> Tensor:
            a, b, c = y.unbind(-1)
            slow, back, fast = 0.04 * rates[0] * a, 1e4 * rates[1] * b * c, 3e7 * rates[2] * b**2
            return torch.stack([back - slow, slow - back - fast, fast], -1)

        y0 = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        return solve_ivp(f, (0.0, 40.0), y0, method=method, rtol=1e-6, atol=1e-10).y[-1]

    ones = torch.ones(3, dtype=torch.float64)
    # The differences are off by (0.01)²/6 of the third derivative, and by the tolerance over 0.01.
    if not FULL:  # one product of the Jacobian, which an error in any of its entries changes
        rates, weights, d = ones.clone().requires_grad_(), torch.tensor([1.0, 1e4, -2.0]).double(), 1e-2 * ones
        d = d * torch.tensor([1.0, -0.5, 0.7])
        (by_autograd,) = torch.autograd.grad(end(rates) @ weights, rates)
        difference = ((end(ones + d) - end(ones - d)) / 2) @ weights
        assert (by_autograd @ d).item() == pytest.approx(difference.item(), rel=1e-3)
        return
    by_autograd = torch.autograd.functional.jacobian(end, ones)
    directions = 1e-2 * torch.eye(3, dtype=torch.float64)
    by_differences = torch.stack([(end(ones + d) - end(ones - d)) / 2e-2 for d in directions], -1)
    assert torch.allclose(by_autograd, by_differences, rtol=1e-3)
