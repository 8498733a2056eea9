"""Branches of equilibria of flows: what is found on them stands where closed forms say, and nothing else is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib.dynamics import ContinuationError, continuation, first_lyapunov_coefficient, switch_branch
from ndelib.dynamics.continuation.problem import FixedPointProblem
from ndelib.dynamics.continuation.switching import other_direction
from tests.conftest import full


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def kinds(branch):
    return [point.kind for point in branch.points]


def lorenz(y, rho, sigma=10.0, beta=8 / 3):
    a, b, c = y.unbind(-1)
    return torch.stack([sigma * (b - a), a * (rho - c) - b, a * b - beta * c], dim=-1)


def brusselator(a):
    def f(y, b):
        u, v = y.unbind(-1)
        return torch.stack([a - (b + 1) * u + u**2 * v, b * u - u**2 * v], dim=-1)

    return f


def hopf_normal_form(sigma, omega):
    def f(y, p):
        turned = torch.stack([-y[..., 1], y[..., 0]], dim=-1)
        return (p + sigma * (y**2).sum(-1, keepdim=True)) * y + omega * turned

    return f


def test_a_fold_is_located_and_the_branch_turns_there():
    branch = continuation(lambda y, p: p + y**2, vector(-1.5), -2.25, p_range=(-3, 1), step=0.2)
    assert kinds(branch) == ["fold"]
    assert abs(branch.points[0].p) < 1e-10
    assert branch.points[0].y.abs().max() < 1e-10
    assert branch.status == "left p_range"
    assert (branch.p[0], branch.p[-1]) == (-2.25, -3)  # it comes back, and ends exactly on the border
    assert branch.y[-1].item() == pytest.approx(math.sqrt(3), abs=1e-12)
    assert torch.allclose(branch.p[:, None] + branch.y**2, torch.zeros_like(branch.y), atol=1e-12)
    assert torch.equal(branch.stable, branch.y[:, 0] < 0)  # f_y = 2y


@settings(max_examples=full(20, 3), deadline=None)
@given(h=st.floats(0.05, 0.5), r=st.floats(0.3, 1.0))
def test_folds_of_the_cusp_in_both_parameters(h, r):
    # y³ = r y + h has a double root where 27 h² = 4 r³.
    in_r = continuation(lambda y, r: h + r * y - y**3, vector(-1.5), 2.0, p_range=(-1, 2), direction=-1, step=0.2)
    assert kinds(in_r) == ["fold"]
    assert abs(in_r.points[0].p - 3 * (h / 2) ** (2 / 3)) < 1e-10
    in_h = continuation(lambda y, h: h + r * y - y**3, vector(-2.0), -4.0, p_range=(-4, 4), step=0.2)
    assert kinds(in_h) == ["fold", "fold"]
    assert [point.p for point in in_h.points] == pytest.approx([2 * (r / 3) ** 1.5, -2 * (r / 3) ** 1.5], abs=1e-10)
    assert in_h.p[-1] == 4


def test_the_branch_points_of_a_pitchfork_and_the_way_onto_the_other_branch():
    def pitchfork(y, p):
        return p * y - y**3

    trivial = continuation(pitchfork, vector(0.0), -0.7, p_range=(-1, 1), step=0.2)
    assert kinds(trivial) == ["branch"]
    assert abs(trivial.points[0].p) < 1e-10
    parabola = switch_branch(trivial, trivial.points[0])
    assert parabola.status == "left p_range"
    assert torch.allclose(parabola.p[:, None], parabola.y**2, atol=1e-12)
    assert sorted([parabola.y[0].item(), parabola.y[-1].item()]) == pytest.approx([-1, 1])
    assert parabola.stable[0]
    assert parabola.stable[-1]
    # From the parabola the same point is a branch point, not a fold, although p turns there.
    down = continuation(pitchfork, vector(1.0), 1.0, p_range=(-1, 1), step=0.2, direction=-1)
    assert kinds(down) == ["branch"]
    assert abs(down.points[0].p) < 1e-10
    back = switch_branch(down, down.points[0])
    assert back.y.abs().max() < 1e-12
    assert {back.p[0].item(), back.p[-1].item()} == {-1.0, 1.0}


def test_a_transcritical_point_and_its_other_branch():
    trivial = continuation(lambda y, p: p * y - y**2, vector(0.0), -0.7, p_range=(-1, 1), step=0.2)
    assert kinds(trivial) == ["branch"]
    other = switch_branch(trivial, trivial.points[0])
    assert torch.allclose(other.p[:, None], other.y, atol=1e-12)
    assert torch.equal(other.stable, other.p > 0)


def test_an_imperfect_pitchfork_has_a_fold_and_no_branch_point():
    branch = continuation(lambda y, p: 1e-3 + p * y - y**3, vector(0.0), -1.0, p_range=(-1, 1), step=0.05)
    assert kinds(branch) == []  # the branch bends away to √p, however near the other one is
    assert branch.y[-1].item() == pytest.approx(1.0005, abs=1e-3)


def test_a_step_over_a_gap_to_another_curve_finds_no_branch_point():
    # The gap is too narrow for the step: signs change, and Moore's equations have a solution, but not of f = 0.
    branch = continuation(lambda y, p: 1e-6 + p * y - y**3, vector(0.0), -1.0, p_range=(-1, 1), step=0.2)
    assert branch.y[-1].item() == pytest.approx(-1e-6, rel=1e-3)
    assert kinds(branch) == []


def test_the_other_direction_at_a_crossing_of_two_lines():
    problem = FixedPointProblem(lambda y, p: (y - p) * (y + 3 * p))  # y = p and y = −3p
    direction = other_direction(problem, vector(0.0, 0.0), vector(1.0, 1.0) / math.sqrt(2))
    assert (direction / direction[1]).tolist() == pytest.approx([-3, 1], abs=1e-12)


def test_a_closed_branch_is_gone_round_once():
    branch = continuation(lambda y, p: y**2 + p**2 - 1, vector(1.0), 0.0, p_range=(-2, 2), step=0.1)
    assert branch.status == "closed"
    assert [point.p for point in branch.points] == pytest.approx([1, -1], abs=1e-10)


@pytest.mark.parametrize("a", [0.8, 1.5])
def test_hopf_points_of_the_brusselator(a):
    branch = continuation(brusselator(a), vector(a, 1 / a), 1.0, p_range=(0.9, 4), step=0.3)
    assert kinds(branch) == ["hopf"]
    point = branch.points[0]
    assert point.p == pytest.approx(1 + a**2, abs=1e-10)
    assert point.frequency == pytest.approx(a, abs=1e-10)
    assert point.accuracy < 1e-7  # Newton's method on the defining equations has converged
    assert point.supercritical
    assert torch.equal(branch.stable, branch.p < 1 + a**2)


def test_lorenz_loses_stability_at_a_pitchfork_and_at_subcritical_hopf_points():
    sigma, beta = 10.0, 8 / 3
    trivial = continuation(lorenz, vector(0.0, 0.0, 0.0), 0.5, p_range=(0.2, 30), step=2.0, stop_at="branch")
    assert trivial.status == "stopped at branch"
    assert trivial.points[0].p == pytest.approx(1, abs=1e-10)
    pair = switch_branch(trivial, trivial.points[0])
    assert kinds(pair) == ["hopf", "hopf"]
    for point in pair.points:
        assert point.p == pytest.approx(sigma * (sigma + beta + 3) / (sigma - beta - 1), abs=1e-10)
        assert point.frequency == pytest.approx(math.sqrt(beta * (sigma + point.p)), abs=1e-9)  # λ³ + … : ω² = β(σ + ρ)
        assert not point.supercritical


@pytest.mark.parametrize("sigma", [-1.0, 0.7])
def test_the_first_lyapunov_coefficient_of_the_normal_form(sigma):
    # z = √2 w for y = w q + w̄ q̄ with |q| = 1, so σ|z|² z is 2σ|w|² w, and l₁ is that divided by ω.
    omega = 1.3
    branch = continuation(hopf_normal_form(sigma, omega), vector(0.0, 0.0), -0.5, p_range=(-1, 1), step=0.2)
    assert kinds(branch) == ["hopf"]
    assert abs(branch.points[0].p) < 1e-10
    assert branch.points[0].coefficient == pytest.approx(2 * sigma / omega, rel=1e-10)
    assert branch.points[0].supercritical == (sigma < 0)


def test_the_first_lyapunov_coefficient_with_quadratic_terms():
    # ẋ = −y + a x², ẏ = x + b x²: by the formula of Guckenheimer & Holmes (3.4.11), with ω = 1,
    # 16 × its coefficient is f_xy(f_xx + f_yy) − g_xy(g_xx + g_yy) − f_xx g_xx + f_yy g_yy = −4ab; l₁ is twice a.
    a, b = 0.6, 1.1

    def f(y):
        u, v = y.unbind(-1)
        return torch.stack([-v + a * u**2, u + b * u**2], dim=-1)

    assert first_lyapunov_coefficient(f, vector(0.0, 0.0), 1.0) == pytest.approx(2 * (-4 * a * b / 16), rel=1e-10)


def test_a_neutral_saddle_is_no_hopf_point():
    def saddle(y, p):  # eigenvalues of the sum p and the product −1
        u, v = y.unbind(-1)
        return torch.stack([v, u + p * v - u**3], dim=-1)

    assert kinds(continuation(saddle, vector(0.0, 0.0), -0.5, p_range=(-1, 1), step=0.2)) == []


def test_why_a_branch_ends():
    ends = continuation(lambda y, p: torch.sqrt(1 - p) - y, vector(1.0), 0.0, p_range=(-1, 2), step=0.2)
    assert ends.status.startswith("step collapsed")
    assert "p = 1" in ends.status
    jumps = continuation(lambda y, p: y - torch.sign(p), vector(-1.0), -0.53, p_range=(-1, 2), step=0.2)
    assert jumps.status.startswith("step collapsed")
    pole = continuation(lambda y, p: p * y - 1, vector(1.0), 1.0, p_range=(-1, 2), direction=-1, step=0.2, max_steps=40)
    assert pole.status == "max_steps"
    assert len(pole) == 41


def test_bad_input_is_named():
    def f(y, p):
        return p + y**2

    y0 = vector(-1.0)
    with pytest.raises(ContinuationError, match=r"\|f\(y, p\)\| = 2 there.*fixed_points"):
        continuation(f, y0, 1.0, p_range=(0, 2))
    with pytest.raises(ValueError, match="p0 must lie in p_range"):
        continuation(f, y0, -1.0, p_range=(0, 2))
    with pytest.raises(ValueError, match="low < high"):
        continuation(f, y0, -1.0, p_range=(0, -2))
    with pytest.raises(ValueError, match=r"shape \(d,\)"):
        continuation(f, torch.tensor(1.0), -1.0, p_range=(-2, 0))
    with pytest.raises(ValueError, match="finite"):
        continuation(f, vector(math.nan), -1.0, p_range=(-2, 0))
    with pytest.raises(ValueError, match="shape of y"):
        continuation(lambda y, p: (p + y**2).sum(-1), y0, -1.0, p_range=(-2, 0))
    with pytest.raises(ValueError, match=r"y\[\.\.\., 0\]"):
        continuation(lambda y, p: torch.stack([y[0] - p, y[1]]), vector(0.0, 0.0), 0.0, p_range=(-2, 1))
    with pytest.raises(ValueError, match="float64"):
        continuation(lambda y, p: (p + y).float(), y0, -1.0, p_range=(-2, 0))
    with pytest.raises(ValueError, match="kind must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), kind="fluid")
    with pytest.raises(ValueError, match="period must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), period=2)
    with pytest.raises(ValueError, match="step must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), step=0.0)
    with pytest.raises(ValueError, match="max_steps must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), max_steps=0)
    with pytest.raises(ValueError, match="direction must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), direction=0)
    with pytest.raises(ValueError, match="stop_at must be"):
        continuation(f, y0, -1.0, p_range=(-2, 0), stop_at="period-doubling")
    with pytest.raises(ContinuationError, match="begin a little beside it"):
        continuation(f, vector(0.0), 0.0, p_range=(-2, 1))
    fold = continuation(f, y0, -1.0, p_range=(-2, 1))
    with pytest.raises(ValueError, match="goes on beyond it"):
        switch_branch(fold, fold.points[0])
    with pytest.raises(ValueError, match="no coefficient"):
        _ = fold.points[0].supercritical
