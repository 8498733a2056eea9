"""Cycles of maps: doublings at their closed forms, Feigenbaum's δ from located ones, and invariant curves."""

import itertools
import math

import pytest
import torch

from ndelib.dynamics import ContinuationError, continuation, switch_branch
from tests.conftest import full


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def kinds(branch):
    return [point.kind for point in branch.points]


def logistic(x, r):
    return r * x * (1 - x)


def henon(y, a, b=0.3):
    u, v = y.unbind(-1)
    return torch.stack([1 - a * u**2 + v, b * u], dim=-1)


@pytest.fixture(scope="module")
def cascade():
    """The branches of the cycles 1, 2, 4, 8, 16 (and 32) of the logistic map, each to the point where it doubles."""
    start = continuation(logistic, vector(0.6), 2.5, p_range=(2, 3.7), kind="map", step=0.1, stop_at="period-doubling")
    branches = [start]
    for _ in range(full(5, 4)):
        branches.append(switch_branch(branches[-1], branches[-1].points[-1], stop_at="period-doubling"))
    return branches


def test_the_logistic_map_doubles_at_its_known_values(cascade):
    r = [branch.points[-1].p for branch in cascade]
    assert [branch.problem.period for branch in cascade] == [1, 2, 4, 8, 16, 32][: len(cascade)]
    assert r[0] == pytest.approx(3, abs=1e-10)
    assert r[1] == pytest.approx(1 + math.sqrt(6), abs=1e-10)
    # OEIS A086181 for the third; the others to the digits that are commonly printed.
    assert r[2] == pytest.approx(3.5440903595519, abs=1e-10)
    assert r[3:] == pytest.approx([3.564407266, 3.568759420, 3.569691610][: len(r) - 3], abs=2e-9)
    assert all(branch.points[-1].accuracy < 1e-7 for branch in cascade)
    assert all(branch.points[-1].supercritical for branch in cascade)
    assert all(branch.stable[2:-1].all() for branch in cascade[1:])


def test_feigenbaum_s_delta_from_located_doublings(cascade):
    r = [branch.points[-1].p for branch in cascade]
    gaps = [b - a for a, b in itertools.pairwise(r)]
    ratios = [a / b for a, b in itertools.pairwise(gaps)]
    errors = [abs(ratio - 4.669201609) for ratio in ratios]
    assert errors[-1] < 0.005  # 4.7, and 4.67 to three digits
    assert errors[-1] < errors[0] / 5


def test_the_doubled_cycle_is_the_two_cycle(cascade):
    # x = (r + 1 ± √((r + 1)(r − 3))) / 2r, with the multiplier 4 + 2r − r².
    r, x = cascade[1].p, cascade[1].y[:, 0]
    distance = (x - (r + 1) / (2 * r)).abs() - ((r + 1) * (r - 3)).clamp(min=0).sqrt() / (2 * r)
    assert distance.abs().max() < 1e-7  # a square root of rounding at its beginning
    assert torch.allclose(cascade[1].eigenvalues[:, 0].real, 4 + 2 * r - r**2, atol=1e-10)


def test_the_coefficient_of_a_doubling():
    # By hand: for one variable c = (f″/2)² + f‴/6 at f′ = −1; of the logistic map at r = 3 it is r² = 9.
    branch = continuation(logistic, vector(0.6), 2.5, p_range=(2, 3.7), kind="map", step=0.1, stop_at="period-doubling")
    assert branch.points[0].coefficient == pytest.approx(9, rel=1e-9)
    cubic = continuation(lambda x, p: -p * x - x**3, vector(0.0), 0.5, p_range=(0, 1.5), kind="map", step=0.1)
    assert cubic.points[0].coefficient == pytest.approx(-1, rel=1e-9)
    assert not cubic.points[0].supercritical


def test_a_map_s_fold_and_branch_point():
    fold = continuation(
        lambda x, p: x + p - x**2, vector(1.0), 1.0, p_range=(-1, 2), kind="map", direction=-1, step=0.1
    )
    assert kinds(fold) == ["fold"]
    assert abs(fold.points[0].p) < 1e-10
    trivial = continuation(logistic, vector(0.0), 0.4, p_range=(0.3, 2), kind="map", step=0.1)
    assert kinds(trivial) == ["branch"]
    assert trivial.points[0].p == pytest.approx(1, abs=1e-10)
    other = switch_branch(trivial, trivial.points[0])
    assert torch.allclose(other.y[:, 0], 1 - 1 / other.p, atol=1e-10)


def test_the_three_cycle_is_born_in_a_fold_at_one_plus_root_eight():
    branch = continuation(
        logistic, vector(0.514355), 3.84, p_range=(3.8, 3.85), kind="map", period=3, direction=-1, step=0.01
    )
    folds = [point for point in branch.points if point.kind == "fold"]
    assert folds[0].p == pytest.approx(1 + math.sqrt(8), abs=1e-10)


def test_the_delayed_logistic_map_sheds_an_invariant_curve():
    def delayed(y, r):  # Maynard Smith; Kuznetsov (2004), example 4.7: at r = 2 with e^{±iπ/3}
        u, v = y.unbind(-1)
        return torch.stack([r * u * (1 - v), u], dim=-1)

    branch = continuation(delayed, vector(0.4, 0.4), 1.6, p_range=(1.2, 2.3), kind="map", step=0.1)
    assert kinds(branch) == ["neimark-sacker"]
    point = branch.points[0]
    assert point.p == pytest.approx(2, abs=1e-10)
    assert point.frequency == pytest.approx(math.pi / 3, abs=1e-10)
    assert point.supercritical


@pytest.mark.parametrize("sigma", [-0.4, 0.9])
def test_the_neimark_sacker_coefficient_of_the_normal_form(sigma):
    theta = 1.1
    turn = torch.tensor([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]], dtype=torch.float64)

    def f(y, p):  # z ↦ e^{iθ} z (1 + p + σ|z|²), and |z|² = 2|w|²
        return ((1 + p + sigma * (y**2).sum(-1, keepdim=True)) * y) @ turn.T

    branch = continuation(f, vector(0.0, 0.0), -0.25, p_range=(-0.5, 0.5), kind="map", step=0.1)
    assert kinds(branch) == ["neimark-sacker"]
    assert abs(branch.points[0].p) < 1e-10
    assert branch.points[0].coefficient == pytest.approx(2 * sigma, rel=1e-9)


def test_a_real_pair_with_product_one_is_no_neimark_sacker_point():
    def saddle(y, p):
        return torch.stack([2 * y[..., 0], p * y[..., 1]], dim=-1)

    assert kinds(continuation(saddle, vector(0.0, 0.0), 0.2, p_range=(0.1, 0.8), kind="map", step=0.1)) == []


def test_the_doublings_of_henon_s_map():
    b = 0.3
    branch = continuation(henon, vector(0.8, 0.24), 0.2, p_range=(-0.5, 1.4), kind="map", step=0.1)
    assert kinds(branch) == ["period-doubling"]
    assert branch.points[0].p == pytest.approx(3 * (1 - b) ** 2 / 4, abs=1e-10)
    doubled = switch_branch(branch, branch.points[0], stop_at="period-doubling")
    assert doubled.points[-1].p == pytest.approx((1 - b) ** 2 + (1 + b) ** 2 / 4, abs=1e-10)
    start = continuation(
        henon, vector(1.4, 0.4), 0.05, p_range=(-0.5, 1.4), kind="map", step=0.1, direction=-1, stop_at="fold"
    )
    assert start.points[0].p == pytest.approx(-((1 - b) ** 2) / 4, abs=1e-10)


def test_a_start_that_is_no_cycle():
    with pytest.raises(ContinuationError, match="iterate the map"):
        continuation(lambda x, p: x + 1 + x**2, vector(0.5), 1.0, p_range=(0, 2), kind="map")
