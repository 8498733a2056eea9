"""Strong and weak orders of every method, for every noise type and calculus that it says it works with."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from ndelib import BrownianMotion, sde_methods, sdeint
from ndelib.solvers.options import Options
from ndelib.solvers.steps.step import Step
from ndelib.solvers.stochastic.methods import SDE_METHODS
from ndelib.solvers.stochastic.problem import StochasticProblem
from tests.conftest import full
from tests.solvers.stochastic.sde_problems import (
    ADDITIVE,
    EXACT_PROBLEMS,
    LINEAR,
    LOGISTIC,
    NU,
    SCALAR,
    Equation,
    ExactProblem,
    a,
    b,
    slope,
)

T = 1.0


def combinations() -> list[tuple[str, str, ExactProblem]]:
    """Return every method with every calculus and every problem that it says it can solve."""
    found = []
    for info, calculus, problem in product(sde_methods(), ("ito", "stratonovich"), EXACT_PROBLEMS):
        if SDE_METHODS[info.name].supports(problem.noise_type, calculus):
            found.append((info.name, calculus, problem))
    # One problem of each noise type does in the short form: the first, which is as hard as any. srk has one more with
    # additive noise: the noise of the first depends on time, the drift of the other is not linear.
    first = {(name, calculus, problem.noise_type): problem for name, calculus, problem in reversed(found)}
    short = [
        cell
        for cell in found
        if first[cell[0], cell[1], cell[2].noise_type] is cell[2] or (cell[0] == "srk" and cell[2] is LOGISTIC)
    ]
    return full(found, short)


def strong_errors(
    method: str, calculus: str, problem: ExactProblem, counts: tuple[int, ...], paths: int
) -> list[float]:
    """Return the root mean square errors at T for so many steps, all on the same paths."""
    area = SDE_METHODS[method].area_for(problem.noise_type)
    cells = max(problem.cells, max(counts))
    if problem.noise_type == "general":  # the exact solution needs A, whether the method does or not
        cells, area = max(counts) * (max(counts) if area == "area" else 16), "area"
    elif problem.cells > 1:
        area = "space-time"
    bm = BrownianMotion(
        0.0,
        T,
        (paths, problem.channels),
        torch.float64,
        entropy=5,
        dt=T / cells,
        levy_area_approximation=area,  # type: ignore[arg-type]
    )
    y0, equation = problem.start(paths), problem.equation(calculus)
    exact = problem.exact(y0, T, bm)
    errors = []
    for count in counts:
        y = sdeint(equation, y0, [0.0, T], bm, method, T / count)[-1]
        errors.append((y - exact).square().sum(-1).mean().sqrt().item())
    return errors


@torch.no_grad()
@pytest.mark.parametrize(
    ("method", "calculus", "problem"), combinations(), ids=lambda x: x.name if isinstance(x, ExactProblem) else x
)
def test_strong_order(method: str, calculus: str, problem: ExactProblem) -> None:
    expected = SDE_METHODS[method].strong[problem.noise_type]  # type: ignore[index]
    if method == "srk" and problem is ADDITIVE:
        expected = 2.0  # terms of order 1.5 have a factor f'', and this drift is linear
    counts = full((16, 32, 64, 128), (16, 32, 64))
    if problem.noise_type == "general":  # with areas made of n² cells
        counts = (4, 8, 16, 32) if SDE_METHODS[method].area_for("general") == "area" else (8, 16, 32, 64)
        counts = full(counts, counts[:3])
    errors = strong_errors(method, calculus, problem, counts, 1000)
    assert errors[-1] < full(0.2, 0.3)  # half as many steps: larger by √2 at order one half
    assert slope([T / n for n in counts], errors) == pytest.approx(expected, abs=0.2)


@torch.no_grad()
@pytest.mark.parametrize(("noise_type", "evaluations"), [("diagonal", (2, 4)), ("additive", (2, 2))])
def test_srk_evaluates_each_stage_once(noise_type: str, evaluations: tuple[int, int]) -> None:
    """For diagonal noise all but one of the stages of f are the start of the step, so f is evaluated twice."""
    calls = {"f": 0, "g": 0}

    class Counted:
        sde_type = "ito"

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            calls["f"] += 1
            return -y

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            calls["g"] += 1
            return torch.cos(y) if noise_type == "diagonal" else torch.ones(*y.shape, 1, dtype=y.dtype)

    equation = Counted()
    equation.noise_type = noise_type  # type: ignore[attr-defined]
    found = []
    for steps in (4, 14):  # the difference leaves out what is evaluated once a solve
        calls.update(f=0, g=0)
        sdeint(equation, torch.ones(3, 1, dtype=torch.float64), [0.0, T], None, "srk", T / steps)
        found.append((calls["f"], calls["g"]))
    (few_f, few_g), (many_f, many_g) = found
    assert (many_f - few_f, many_g - few_g) == (10 * evaluations[0], 10 * evaluations[1])


def test_strong_order_of_srk_where_the_components_of_diagonal_noise_meet_in_the_drift() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[..., 1] - y[..., 0] * y[..., 1], torch.sin(y[..., 0])), -1)

    equation = Equation(
        f, lambda t, y: torch.stack((0.8 * y[..., 0], 0.5 * (1 + y[..., 1] ** 2).sqrt()), -1), "diagonal", "ito"
    )
    y0 = torch.tensor([1.0, 0.5], dtype=torch.float64).expand(1000, 2)
    bm = BrownianMotion(0.0, T, (1000, 2), torch.float64, entropy=1, dt=T / 1024, levy_area_approximation="space-time")
    fine = sdeint(equation, y0, [0.0, T], bm, "srk", T / 1024)[-1]
    counts = (8, 16, 32, 64)
    errors = [
        (sdeint(equation, y0, [0.0, T], bm, "srk", T / n)[-1] - fine).square().mean().sqrt().item() for n in counts
    ]
    assert slope([T / n for n in counts], errors) == pytest.approx(1.5, abs=0.2)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)


def quadrature(h: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return W, U, each (144, 1), and weights (144,): means of polynomials of W and H over a step, without chance."""
    x, z = (torch.tensor(part, dtype=torch.float64).reshape(-1, 1) for part in np.meshgrid(NODES, NODES))
    weights = torch.tensor(np.outer(WEIGHTS, WEIGHTS).ravel() / (2 * math.pi), dtype=torch.float64)
    W, H = math.sqrt(h) * x, math.sqrt(h / 12) * z
    return W, h * (W / 2 + H), weights


def one_step(method: str, equation: Equation, y0: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Return y₁ for all nodes, (144, d), and their weights."""
    W, U, weights = quadrature(h)

    def bm(s: float, t: float, return_U: bool = False) -> object:
        return (W, U) if return_U else W

    return sdeint(equation, y0.expand(len(W), -1), [0.0, h], bm, method, h)[-1], weights


# A commutative noise of one channel is none of the other types' special cases in the code.
WEAK = [(m.name, c) for m in sde_methods() for c in m.calculus]


@torch.no_grad()
@pytest.mark.parametrize(("method", "calculus"), WEAK)
@pytest.mark.parametrize("power", [1, 2])
def test_weak_order_of_the_moments_of_geometric_brownian_motion(method: str, calculus: str, power: int) -> None:
    """E y^p = exp((p a + p (p − 1) b²/2) t). A global error of order q is a local one of order q + 1."""
    equation = LINEAR.equation(calculus)
    y0 = torch.tensor([1.0], dtype=torch.float64)
    steps, errors = (0.1, 0.05, 0.025, 0.0125), []
    for h in steps:
        y1, weights = one_step(method, equation, y0, h)
        exact = math.exp((power * a + power * (power - 1) * b * b / 2) * h)
        errors.append(abs((weights @ y1**power).item() - exact))
    # At least: Heun's and the midpoint method have an error of higher order for some moments.
    assert slope(steps, errors) > SDE_METHODS[method].weak + 1 - 0.2


@torch.no_grad()
@pytest.mark.parametrize(("method", "calculus"), WEAK)
def test_weak_order_for_one_noise_in_the_plane(method: str, calculus: str) -> None:
    """E z = e^{at} z0 and E |z|² = e^{(2a + |ν|²) t} |z0|²."""
    equation = SCALAR.equation(calculus)
    y0 = torch.tensor(SCALAR.y0, dtype=torch.float64)
    steps, errors = (0.1, 0.05, 0.025, 0.0125), []
    for h in steps:
        y1, weights = one_step(method, equation, y0, h)
        mean = (weights @ y1 - math.exp(a * h) * y0).norm()
        square = weights @ y1.square().sum(-1) - math.exp((2 * a + NU.abs().item() ** 2) * h) * y0.square().sum()
        errors.append((mean + square.abs()).item())
    assert slope(steps, errors) > SDE_METHODS[method].weak + 1 - 0.2


@torch.no_grad()
def test_weak_order_of_reversible_heun_over_many_steps() -> None:
    """Its steps are linear in (y, ŷ) here, so the moments of many steps are powers of the mean of L and of L ⊗ L."""
    equation, errors, counts = LINEAR.equation("stratonovich"), [], (10, 20, 40, 80)
    for n in counts:
        h = T / n
        W, _, weights = quadrature(h)
        y0 = torch.ones(len(W), 1, dtype=torch.float64)
        problem = StochasticProblem(
            equation, y0, [0.0, h], "reversible_heun", lambda s, t, W=W: W, Options(step_size=h)
        )
        problem.enter(0.0, h)
        columns = []
        for y, other in ((y0, 0 * y0), (0 * y0, y0)):
            memory = other, equation.f(0.0, other), equation.g(0.0, other)  # type: ignore[arg-type]
            step = problem.make_step(0.0, y, h, None, Step(-h, 0.0, y, y, [], None, None, memory))
            columns.append(torch.cat((step.y1, step.memory[0]), -1))
        L = torch.stack(columns, -1)
        start = torch.ones(2, dtype=torch.float64)
        mean = torch.linalg.matrix_power(torch.einsum("q,qij->ij", weights, L), n) @ start
        both = torch.einsum("q,qij,qkl->ikjl", weights, L, L).reshape(4, 4)
        square = torch.linalg.matrix_power(both, n) @ start.kron(start)
        errors.append(abs(mean[0].item() - math.exp(a * T)) + abs(square[0].item() - math.exp((2 * a + b * b) * T)))
    assert slope([T / n for n in counts], errors) > SDE_METHODS["reversible_heun"].weak - 0.2
