"""Lyapunov functions: the matrix equation by its residual, checks and proofs by fields with known basins."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ndelib import odeint
from ndelib.dynamics import check_lyapunov, curvature_bound, lipschitz_bound, lyapunov_equation, prove_decrease


def square(y):
    return (y**2).sum(-1)


def line(low, high, n):
    return torch.linspace(low, high, n, dtype=torch.float64)[:, None]


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_the_solution_solves_the_equation_and_is_positive_definite_for_a_stable_matrix(d, seed):
    torch.manual_seed(seed)
    A = torch.randn(d, d, dtype=torch.float64)
    A = A - (torch.linalg.eigvals(A).real.max() + 0.5) * torch.eye(d, dtype=torch.float64)
    B = torch.randn(d, d, dtype=torch.float64)
    Q = B @ B.T + torch.eye(d, dtype=torch.float64)
    P = lyapunov_equation(A, Q)
    assert torch.allclose(A.T @ P + P @ A, -Q, atol=1e-8 * P.abs().max().item())
    assert torch.equal(P, P.T)
    assert torch.linalg.eigvalsh(P).min() > 0


def test_the_solution_is_the_integral_of_the_squared_solutions():
    A = torch.tensor([[-1.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    times = torch.linspace(0, 40, 8001, dtype=torch.float64)
    flow = torch.linalg.matrix_exp(times[:, None, None] * A)
    assert torch.allclose(torch.trapezoid(flow.mT @ flow, times, dim=0), lyapunov_equation(A), atol=1e-4)


def test_the_solution_for_an_unstable_matrix_is_not_positive_definite():
    P = lyapunov_equation(torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
    assert torch.linalg.eigvalsh(P)[0] < 0
    assert P.dtype == torch.float32


@pytest.mark.parametrize(
    ("A", "Q", "message"),
    [
        (torch.zeros(2, 3), None, "square"),
        (torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), None, "sum is zero"),
        (-torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), "symmetric"),
        (-torch.eye(2), torch.eye(3), "shape of A"),
    ],
)
def test_an_equation_without_one_solution_is_refused(A, Q, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_equation(A, Q)


def test_a_check_gives_values_and_rates_and_finds_the_border_of_a_basin():
    check = check_lyapunov(square, lambda t, y: -y + y**3, line(-2, 2, 401))
    y = line(-2, 2, 401)
    y = y[y[:, 0] != 0]
    assert torch.allclose(check.values, y[:, 0] ** 2)
    assert torch.allclose(check.rates, (2 * y * (-y + y**3))[:, 0])
    assert check.level == pytest.approx(1.0)
    assert (check.failures.abs() >= 1 - 1e-12).all()
    assert not check.holds


def test_a_function_that_is_not_positive_fails_although_it_falls():
    """The lecture's criterion, V̇ ≤ 0 alone: V = −y² falls along ẏ = y, which is unstable."""
    check = check_lyapunov(lambda y: -square(y), lambda t, y: y, line(-1, 1, 10))
    assert (check.rates < 0).all()
    assert len(check.failures) == 10


def test_an_energy_that_only_does_not_grow_fails_where_it_stands_still():
    def oscillator(t, y):
        return torch.stack([y[:, 1], -y[:, 0]], dim=1)

    check = check_lyapunov(square, oscillator, torch.randn(50, 2))
    assert not check.holds


def test_the_equilibrium_may_lie_elsewhere_and_v_counts_from_there():
    at = torch.tensor([3.0])
    check = check_lyapunov(lambda y: square(y - at) + 7, lambda t, y: 3 - y, line(0, 6, 61), at=at)
    assert check.holds
    assert check.level == math.inf
    assert len(check.values) == 60


def test_a_nan_counts_as_a_failure():
    check = check_lyapunov(square, lambda t, y: torch.where(y > 0.5, y / 0 - y / 0, -y), line(-1, 1, 11))
    assert not check.holds


@pytest.mark.parametrize(
    ("points", "at", "V", "message"),
    [
        (torch.zeros(3), None, square, "batch"),
        (torch.ones(3, 2), torch.zeros(3), square, "one state of 2"),
        (torch.ones(3, 2), None, lambda y: y, "one number a state"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(points, at, V, message):
    with pytest.raises(ValueError, match=message):
        check_lyapunov(V, lambda t, y: -y, points, at=at)


@pytest.mark.parametrize(("level", "proved"), [(0.9, True), (0.9999, True), (1.0001, False), (1.5, False)])
def test_a_proof_reaches_as_far_as_the_basin_and_no_further(level, proved):
    """ẏ = −y + y³ with V = y²: V falls for |y| < 1. On |y| ≤ 1.3 its slope is below 4.1, its curvature below 8."""
    one = torch.ones(1, 1)  # in float32: the proof is computed in float64 all the same
    proof = prove_decrease(lambda t, y: -y + y**3, one, level, at=torch.zeros(1), lipschitz=4.1, curvature=8.0)
    assert proof.proved == proved
    if not proved:
        assert 1 <= proof.counterexample.abs() <= math.sqrt(level)


def test_a_proof_that_is_too_hard_gives_up_and_says_where():
    one = torch.ones(1, 1, dtype=torch.float64)
    proof = prove_decrease(
        lambda t, y: -y + y**3, one, 1.0, at=torch.zeros(1), lipschitz=4.1, curvature=8.0, max_cells=2000
    )
    assert not proof.proved
    if proof.counterexample is None:
        assert (proof.undecided.abs() > 0.99).all()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_sharp_dip_between_coarse_cells_is_found_or_forbids_the_proof(d):
    """A field that points outwards in a small ball only, with honest constants: no cell may hide it."""
    place, width = 0.61, 0.03

    def field(t, y):
        bump = torch.exp(-((y - place) ** 2).sum(-1, keepdim=True) / width**2)
        return -y + 3 * bump * y

    one = torch.eye(d, dtype=torch.float64)
    # the slope of 3·bump·y: 3(1 + |y| 0.86 / width) below |y| = 1.2; curvature below 3(1.72/width + 2|y|/width²)
    lipschitz, curvature = 1 + 3 * (1 + 1.2 * 0.86 / width), 3 * (2 * 0.86 / width + 1.2 * 2 / width**2)
    if d < 3:
        proof = prove_decrease(field, one, 1.2, at=torch.zeros(d), lipschitz=lipschitz, curvature=curvature)
        assert not proof.proved
        assert proof.counterexample is not None
    assert prove_decrease(lambda t, y: -torch.sin(y), one, 1.0, at=torch.zeros(d), lipschitz=1.0, curvature=1.0).proved


def test_a_linear_field_is_proved_in_one_cell_and_an_unstable_one_is_not():
    A = torch.tensor([[-1.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    norm = torch.linalg.matrix_norm(A, 2).item()
    proof = prove_decrease(
        lambda t, y: y @ A.T, lyapunov_equation(A), 50.0, at=torch.zeros(2), lipschitz=norm, curvature=0.0
    )
    assert proof.proved
    assert proof.cells == 1
    identity = torch.eye(2, dtype=torch.float64)
    wrong = prove_decrease(lambda t, y: y @ A.T, identity, 50.0, at=torch.zeros(2), lipschitz=norm, curvature=0.0)
    assert wrong.counterexample is not None  # |y| itself grows in some directions


def test_where_a_network_is_proved_its_trajectories_fall():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2, bias=False)).double()
    net[0].bias.data.zero_()

    def field(t, y):
        return -2.0 * y + net(y)

    at = torch.zeros(2, dtype=torch.float64)
    P = lyapunov_equation(-2.0 * torch.eye(2, dtype=torch.float64) + net[2].weight.detach() @ net[0].weight.detach())
    lipschitz = 2.0 + lipschitz_bound(net)
    proof = prove_decrease(field, P, 0.5, at=at, lipschitz=lipschitz, curvature=curvature_bound(net))
    assert proof.proved
    starts = torch.randn(200, 2, dtype=torch.float64)
    starts = starts * (0.5 / ((starts @ P) * starts).sum(1, keepdim=True)).sqrt()
    with torch.no_grad():
        path = odeint(field, starts, torch.linspace(0, 3, 31, dtype=torch.float64))
    V = ((path @ P) * path).sum(-1)
    assert (V.diff(dim=0) < 0).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"P": -torch.eye(1)}, "positive definite"),
        ({"level": 0.0}, "level"),
        ({"lipschitz": math.inf}, "lipschitz"),
        ({"curvature": -1.0}, "curvature"),
    ],
)
def test_numbers_that_make_no_proof_are_refused(changed, message):
    given_ = {"P": torch.eye(1), "level": 1.0, "at": torch.zeros(1), "lipschitz": 1.0, "curvature": 1.0, **changed}
    with pytest.raises(ValueError, match=message):
        prove_decrease(lambda t, y: -y, **given_)
