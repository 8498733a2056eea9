"""Symplectic methods: their orders, also where time matters, and the geometry that they are made for."""

import math
from functools import partial

import pytest
import torch

from ndelib.solvers.steps import symplectic
from ndelib.solvers.steps.symplectic import METHODS, tao_step
from tests.conftest import full
from tests.solvers.steps.hamiltonians import (
    PROBLEMS,
    forced_pendulum,
    kepler,
    kepler_solution,
    oscillator,
    path,
    pendulum,
    solve,
    start,
    steps,
    tao_example,
    vector,
)


def measured_order(solve, problem):
    f, solution, end, steps = PROBLEMS[problem]

    def error(steps):
        return (solve(f, solution(0.0), 0.0, end, steps) - solution(end)).abs().max().item()

    return math.log2(error(steps) / error(2 * steps))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", METHODS)
def test_measured_order_is_the_stated_order(name, problem):
    assert measured_order(partial(solve, name), problem) == pytest.approx(METHODS[name].order, abs=0.15)


@pytest.mark.parametrize("name", ["leapfrog", "yoshida4"])
def test_wrong_times_would_be_caught(name, monkeypatch):
    monkeypatch.setattr(symplectic, "_at", lambda node, t, t1: t)
    assert measured_order(partial(solve, name), "rotation at the rate 2t") < METHODS[name].order - 0.5


@pytest.mark.parametrize("name", METHODS)
def test_time_can_run_backwards(name):
    f, solution, end, _ = PROBLEMS["forced pendulum"]
    error = solve(name, f, solution(end), end, 0.0, 2000) - solution(0.0)
    assert error.abs().max() < {1: 1e-2, 2: 2e-5, 4: 1e-9}[METHODS[name].order]


# Geometry


def omega_form(n):
    identity = torch.eye(n, dtype=torch.float64)
    return torch.kron(vector(0, 1, -1, 0).reshape(2, 2), identity)


def defect(step_map, z):
    """Return max |JᵀΩJ − Ω| for the Jacobian J of a map of z = (positions, momenta)."""
    J, Omega = torch.func.jacrev(step_map)(z), omega_form(len(z) // 2)
    return (J.T @ Omega @ J - Omega).abs().max().item()


def coupled(t, y):
    """H = Σ (p²/2 + p⁴/4) (1 + t) + cos(q₁ q₂ + t) + q₁⁴/4: separable, nonlinear, time-dependent, two positions."""
    q, p = y[:2], y[2:]
    force = torch.sin(q[0] * q[1] + t) * torch.stack([q[1], q[0]]) - torch.stack([q[0] ** 3, 0 * q[1]])
    return torch.cat([(p + p**3) * (1 + t), force])


STATE = vector(0.7, -0.4, 0.5, 0.8)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "tao"])
def test_a_step_preserves_the_symplectic_form(name):
    assert defect(lambda y: start(name, coupled, 2)(0.3, y, 0.5, None).y1, STATE) < 1e-14


def test_a_step_of_runge_kutta_does_not_preserve_it():
    assert defect(lambda y: start("rk4", coupled, 2)(0.3, y, 0.5, None).y1, STATE) > 1e-5


@pytest.mark.parametrize("omega", [0.5, 7.0])
def test_a_step_of_tao_preserves_the_symplectic_form_of_the_doubled_space(omega):
    def doubled_step(z):
        q, x, p, y = z.split(1)
        u, w = torch.cat([q, y]), torch.cat([x, p])
        u, w, _ = tao_step(tao_example, omega, 1, 0.0, 0.2, (u, w, tao_example(0.0, u)))
        return torch.stack([u[0], w[0], w[1], u[1]])

    assert defect(doubled_step, vector(0.3, 0.35, -0.8, -0.7)) < 1e-14


def test_tao_in_q_and_p_alone_is_symplectic_up_to_the_second_order():
    def after_three_steps(h, y):
        return solve("tao", tao_example, y, 0.0, 3 * h, 3)

    defects = [defect(partial(after_three_steps, h), vector(0.3, -0.8)) for h in (0.02, 0.01)]
    assert defects[1] > 1e-8
    assert math.log2(defects[0] / defects[1]) > 1.8


@pytest.mark.parametrize("name", ["leapfrog", "yoshida4", "implicit_midpoint"])
@pytest.mark.parametrize("f", [pendulum, forced_pendulum])
def test_run_backwards_it_returns_to_its_start(name, f):
    y = vector(1.0, 0.5)
    end = solve(name, f, y, 0.0, 2.0, 200)
    assert (end - y).abs().max() > 0.1
    assert (solve(name, f, end, 2.0, 0.0, 200) - y).abs().max() < 1e-12


def test_tao_returns_to_its_start_together_with_its_second_copy():
    y = vector(0.5, -1.0)
    step = start("tao", tao_example, 1)
    *_, there = steps(step, y, 0.0, 2.0, 200)
    *_, back = steps(step, there.y1, 2.0, 0.0, 200, there)
    end, back = there.y1, back.y1
    assert (back - y).abs().max() < 1e-12
    assert (solve("tao", tao_example, end, 2.0, 0.0, 200) - y).abs().max() > 1e-9


def test_symplectic_euler_is_not_reversible():
    y = vector(1.0, 0.5)
    end = solve("symplectic_euler", pendulum, y, 0.0, 2.0, 200)
    assert (solve("symplectic_euler", pendulum, end, 2.0, 0.0, 200) - y).abs().max() > 1e-4


def energy_errors(name, steps, h=0.3, **options):
    """Return the largest energy error of an oscillator in the first and in the last tenth of the steps."""
    ys = torch.stack(list(path(start(name, oscillator, 1, **options), vector(1.0, 0.0), 0.0, h * steps, steps)))
    errors = (ys.square().sum(1) / 2 - 0.5).abs()
    return errors[: steps // 10].max().item(), errors[-steps // 10 :].max().item()


@pytest.mark.parametrize(
    ("name", "steps", "bound"),
    # Symplectic Euler conserves q² + p² − h q p, leapfrog p² + (1 − h²/4) q²: the energies on these ellipses are within
    # h / (2 (2 − h)) and h²/8 of the first one. For the others the order gives the size. In the short form a tenth of
    # the steps still goes round hundreds of times, so that its largest error is that of the ellipse; and no number of
    # steps shows a slow drift as the next test does.
    [
        ("symplectic_euler", full(100_000, 5000), 0.3 / (2 * (2 - 0.3))),
        ("leapfrog", full(100_000, 5000), 0.3**2 / 8),
        ("yoshida4", full(100_000, 5000), 0.3**4),
        ("tao", 10_000, 0.3**2),
    ],
)
def test_energy_error_stays_bounded_without_a_trend(name, steps, bound):
    first, last = energy_errors(name, steps)
    assert 0.01 * bound < last < bound
    assert last == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("name", ["symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint", "rk4"])
def test_a_step_turns_an_ellipse_into_itself_so_the_energy_error_stays_bounded_for_ever(name):
    # Of the oscillator a step is a matrix M. Where det M = 1 and |tr M| < 2 it is similar to a rotation, all its powers
    # are bounded, and the states stay on one ellipse. A factor of 1 + 1e-15 a step would be a drift of 1e-10 in 10⁵.
    M = torch.func.jacrev(lambda y: start(name, oscillator, 1)(0.0, y, 0.3, None).y1)(vector(0.4, -0.7))
    if name == "rk4":  # |R(ih)|² = 1 − h⁶/72 + h⁸/576
        assert torch.linalg.det(M).item() - 1 == pytest.approx(-(0.3**6) / 72 + 0.3**8 / 576, rel=1e-9)
        return
    assert abs(torch.linalg.det(M).item() - 1) < 1e-15
    assert abs(M.trace().item()) < 2 - 0.3**2 / 2


def test_energy_error_of_runge_kutta_drifts():
    first, last = energy_errors("rk4", 10_000)
    # Every step multiplies q² + p² by |R(ih)|² = 1 − h⁶/72 + h⁸/576.
    expected = (1 - (1 - 0.3**6 / 72 + 0.3**8 / 576) ** 10_000) / 2
    assert last == pytest.approx(expected, rel=1e-3)
    assert last > 5 * first


def test_implicit_midpoint_conserves_quadratic_invariants_to_rounding():
    momentum = [
        y[0] * y[3] - y[1] * y[2] for y in path(start("implicit_midpoint", kepler, 2), kepler_solution(0.0), 0, 30, 600)
    ]
    assert (torch.stack(momentum) - math.sqrt(0.75)).abs().max() < 1e-13


def test_leapfrog_conserves_the_modified_hamiltonian_to_a_higher_order():
    def variation(h):
        q, p = torch.stack(list(path(start("leapfrog", pendulum, 1), vector(2.0, 0.0), 0.0, 20.0, round(20 / h)))).T
        H = p**2 / 2 - q.cos()
        # H + h² (pᵀ V″ p / 12 − |V′|² / 24): Hairer, Lubich & Wanner, section IX.3, for T = p²/2, V = −cos q
        modified = H + h**2 * (q.cos() * p**2 / 12 - q.sin() ** 2 / 24)
        return [(energy.max() - energy.min()).item() for energy in (H, modified)]

    (H, modified), (H_half, modified_half) = variation(0.1), variation(0.05)
    assert math.log2(H / H_half) == pytest.approx(2, abs=0.1)
    assert math.log2(modified / modified_half) == pytest.approx(4, abs=0.1)
