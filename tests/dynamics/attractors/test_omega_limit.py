"""Where orbits of maps end: known periods, windows in closed form, and an escape that touches nobody else."""

import math

import pytest
import torch

from ndelib.dynamics import CircleMap, HenonMap, LogisticMap, SigmoidMap, StepMap, TentMap, omega_limit_sets


def r(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_known_periods_of_the_logistic_map():
    window = 1 + math.sqrt(8)  # here period 3 is born
    sets = omega_limit_sets(
        LogisticMap(r(0.5, 2.0, 2.9, 3.1, 1 + math.sqrt(6) + 0.01, 3.55, window - 1e-3, window + 1e-3, 4.0)), 0.3
    )
    assert sets.period.tolist() == [1, 1, 1, 2, 4, 8, 0, 3, 0]
    assert not sets.escaped.any()


def test_points_are_those_of_the_cycle():
    value = 3.2
    sets = omega_limit_sets(LogisticMap(value), 0.3)
    pair = [(value + 1 + sign * math.sqrt((value - 3) * (value + 1))) / (2 * value) for sign in (-1, 1)]
    assert sets.points.shape == (128,)
    assert sorted(sets.points[-2:].tolist()) == pytest.approx(pair, abs=1e-12)
    assert sets.period.item() == 2


def test_superstable_orbits_are_reached_to_the_last_digit():
    # The critical point x = 1/2 lies on the cycle. The parameters: r = 2, 1 + √5, and the known one of period 4.
    sets = omega_limit_sets(
        LogisticMap(r(2.0, 1 + math.sqrt(5), 3.4985616993277016)), 0.3, transient=100, tolerance=1e-14
    )
    assert sets.period.tolist() == [1, 2, 4]
    assert ((sets.points[-4:] - 0.5).abs().amin(0) < 1e-15).all()


def test_an_orbit_that_escapes_does_not_touch_the_others():
    stay = r(3.2, 3.7, 3.5)
    alone = omega_limit_sets(LogisticMap(stay), 0.3)
    both = omega_limit_sets(LogisticMap(torch.cat([stay, r(4.1, 5.0, 1e5)])), 0.3)
    assert both.escaped.tolist() == [False] * 3 + [True] * 3
    assert torch.equal(both.points[:, :3], alone.points)
    assert both.points[:, 3:].isnan().all()
    assert both.period.tolist() == [*alone.period.tolist(), 0, 0, 0]
    assert alone.period.tolist() == [2, 0, 4]


def test_a_map_that_forgets_where_it_was_still_escapes():
    sets = omega_limit_sets(lambda x: torch.where(x.abs() < 1, 1e9, 0.5) + 0 * x.nan_to_num(), r(0.5, 2.0))
    assert sets.escaped.tolist() == [True, True]
    sets = omega_limit_sets(lambda x: (2 * x).clamp(max=10.0), r(1.0, 0.0), escape=5.0)
    assert sets.escaped.tolist() == [True, False]


def test_an_orbit_that_escapes_late_is_seen_while_points_are_kept():
    sets = omega_limit_sets(lambda x: x + 1, 0.0, transient=10, keep=100, escape=60.0)
    assert sets.escaped.item()
    assert sets.points[:51].tolist() == list(range(10, 61))
    assert sets.points[51:].isnan().all()


def test_states_of_the_plane():
    a = r(0.2, 0.5, 1.0, 1.4, 2.0)
    sets = omega_limit_sets(HenonMap(a=a), torch.zeros(5, 2, dtype=torch.float64))
    assert sets.points.shape == (128, 5, 2)
    # Period doubles at a = 3(1 − b)²/4 = 0.3675 and at a = (1 − b)² + (1 + b)²/4 = 0.9125.
    assert sets.period.tolist() == [1, 2, 4, 0, 0]
    assert sets.escaped.tolist() == [False] * 4 + [True]


def test_a_map_of_the_plane_of_ones_own_says_its_dimension():
    turn = math.pi / 3

    def rotate(x):
        u, v = x.unbind(-1)
        c, s = math.cos(turn), math.sin(turn)
        return torch.stack([c * u - s * v, s * u + c * v], dim=-1)

    sets = omega_limit_sets(rotate, torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double(), dimension=2)
    assert sets.period.tolist() == [6, 1]


def test_windows_of_the_step_map_have_their_widths():
    """x ↦ ax − H(x) + b on 0 ≤ b < 1: a window of period q for each p/q, (1 − a)² a^(q−2)/(1 − a^q) wide."""
    a, n = 0.8, 20_000
    b = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    sets = omega_limit_sets(StepMap(a=a, b=b), 0.1, transient=400, keep=40, max_period=12)
    for q in range(2, 9):
        windows = sum(math.gcd(p, q) == 1 for p in range(1, q))
        width = (1 - a) ** 2 * a ** (q - 2) / (1 - a**q)
        assert (sets.period == q).sum().item() / n == pytest.approx(windows * width, abs=windows / n)


def test_without_steepness_the_sigmoid_map_has_fixed_points_only():
    b = torch.linspace(-0.2, 1.2, 2000, dtype=torch.float64)
    assert (omega_limit_sets(SigmoidMap(b=b, c=1.0), 0.1).period == 1).all()
    periods = omega_limit_sets(SigmoidMap(b=b, c=10.0), 0.1).period
    assert {0, 1, 2, 3, 4} <= set(periods.tolist())


def test_the_circle_map_locks_inside_its_tongue_only():
    # The tongue of rotation 0 is |Ω| < K/2π.
    edge = 0.8 / (2 * math.pi)
    sets = omega_limit_sets(CircleMap(omega=r(0.99, 1.01) * edge, k=0.8), 0.3)
    assert sets.period.tolist() == [1, 0]


def test_binary_digits_run_out_on_the_tent():
    sets = omega_limit_sets(TentMap(slope=r(2.0, 1.99)), 0.3, transient=100)
    assert sets.points[:, 0].abs().max() == 0  # a true orbit would be chaotic
    assert sets.period[1] == 0


def test_starts_broadcast_with_parameters():
    grid = omega_limit_sets(LogisticMap(r(2.5, 3.2)), torch.tensor([[0.2], [0.3], [0.4]]).double())
    assert grid.period.tolist() == [[1, 2]] * 3
    assert grid.points.shape == (128, 3, 2)
    assert omega_limit_sets(LogisticMap(3.2), 0.3).points.dtype == torch.float64
    assert omega_limit_sets(LogisticMap(3.2), torch.tensor([0.3])).points.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 64, "max_period": 64}, "keep larger than max_period"),
        ({"max_period": 0}, "max_period at least 1"),
        ({"transient": -1}, "transient must not be negative"),
        ({"tolerance": 0.0}, "tolerance and escape must be positive"),
        ({"escape": -1.0}, "tolerance and escape must be positive"),
        ({"dimension": 2}, r"x0 must be states \(\*, 2\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        omega_limit_sets(LogisticMap(), 0.3, **arguments)


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"map must return states of x0's shape, \(3,\).*shape \(2,\)"):
        omega_limit_sets(lambda x: x[:2], torch.zeros(3))


def test_a_start_that_is_nan_has_escaped():
    assert omega_limit_sets(LogisticMap(3.2), r(math.nan, 0.3)).escaped.tolist() == [True, False]


def test_what_has_only_just_settled_has_not_repeated_itself():
    def climb(x):
        return (x + 1).clamp(max=100.0)

    assert omega_limit_sets(climb, 0.0, transient=0, keep=110, max_period=3).period.item() == 0
    assert omega_limit_sets(climb, 0.0, transient=100, keep=110, max_period=3).period.item() == 1


def test_a_state_repeats_itself_and_escapes_as_a_whole():
    def f(x):  # u stays, v: changes its sign; wanders; grows
        return torch.stack([x[:, 0], torch.stack([-x[0, 1], 3.9 * x[1, 1] * (1 - x[1, 1]), 2 * x[2, 1]])], dim=-1)

    sets = omega_limit_sets(f, torch.tensor([[0.3, 0.3]] * 3).double(), dimension=2)
    assert sets.period.tolist() == [2, 0, 0]
    assert sets.escaped.tolist() == [False, False, True]
    assert sets.points[:, 2].isnan().all()
