"""A solve that goes on from where a terminal event ended another: that event does not come again, the next one does."""

import math

import pytest
import torch

from ndelib import solve_ivp
from ndelib.solvers import Event

SINGLE, DOUBLE = torch.float32, torch.float64
OMEGA = 0.01
HALF = math.pi / OMEGA


def swing(t, y):
    return torch.stack([y[1], -OMEGA * OMEGA * y[0]])


def gaps(f, event, y, length, count, after=lambda y: y, **options):
    """Return the times between ``count`` events, each solve beginning where the one before was ended."""
    t, found = 0.0, []
    for _ in range(count):
        solution = solve_ivp(f, (t, t + length), y, events=event, **options)
        assert solution.status == "event"
        found.append(float(solution.t_events[0][-1]) - t)
        t, y = float(solution.t_events[0][-1]), after(solution.y_events[0][-1])
    return found


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dopri5", {"rtol": 1e-5, "atol": 1e-6}),
        ("tsit5", {"rtol": 1e-4, "atol": 1e-6}),
        ("dopri8", {}),
        ("bosh3", {"rtol": 1e-4, "atol": 1e-6}),
        ("rk4", {"step_size": 10.0}),
        ("dopri5", {"rtol": 1e-5, "atol": 1e-6, "first_step": 1e-6}),
    ],
)
@pytest.mark.parametrize("direction", [0, 1])
def test_zeros_of_a_swing_are_half_a_period_apart(dtype, method, options, direction):
    y0 = torch.tensor([1.0, 0.0], dtype=dtype)
    event = Event(lambda t, y: y[0], terminal=True, direction=direction)
    first, *others = gaps(swing, event, y0, 10 * HALF, 7, method=method, **options)
    assert first == pytest.approx(HALF / 2 if direction == 0 else 1.5 * HALF, rel=2e-3)
    assert others == pytest.approx([HALF if direction == 0 else 2 * HALF] * 6, rel=2e-3)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize("level", [0.0, 0.5, 1e3])
def test_a_first_step_of_nothing_but_rounding_makes_no_event(dtype, level):
    # g is a difference of numbers near ``level``: after a step of 1e-9 it is 0 or one ulp on either side.
    event = Event(lambda t, y: y[0] - level, terminal=True)
    y0 = torch.tensor([level, 1.0], dtype=dtype)

    def f(t, y):
        return torch.stack([y[1], level - y[0]])

    (found,) = gaps(f, event, y0, 10.0, 1, first_step=1e-9)
    assert found == pytest.approx(math.pi, rel=1e-3)


def test_the_state_at_an_event_lies_on_it_as_nearly_as_its_own_rounding_allows():
    y0 = torch.tensor([1.0, 0.0], dtype=SINGLE)
    for g in (lambda t, y: y[0], lambda t, y: y[0] + 3 * y[1], lambda t, y: y[0] * (2 + y[1]), lambda t, y: y[0].sin()):
        state = solve_ivp(swing, (0.0, 3 * HALF), y0, events=g).y_events[0]
        blur = 4 * torch.finfo(SINGLE).eps * (state[:, 1].abs() * 3 + state[:, 0].abs())
        assert all(abs(g(0.0, y)) <= b for y, b in zip(state, blur, strict=True))


def test_a_g_that_jumps_over_zero_moves_no_state():
    def jumps(t, y):
        return torch.where(y[0] > 0, 1.0 + y[0], -1.0 + y[0])

    solution = solve_ivp(swing, (0.0, HALF), torch.tensor([1.0, 0.0], dtype=DOUBLE), events=jumps)
    assert solution.t_events[0] == pytest.approx([HALF / 2], rel=1e-4)
    assert solution.y_events[0][0, 0].abs() < 1e-10


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize("direction", [0, -1])
def test_a_ball_that_is_thrown_up_by_hand_comes_down_at_ever_shorter_intervals(dtype, direction):
    def fall(t, y):
        return torch.stack([y[1], torch.full_like(y[1], -9.81)])

    event = Event(lambda t, y: y[0], terminal=True, direction=direction)
    y0 = torch.tensor([1.0, 0.0], dtype=dtype)
    bounce = torch.tensor([1.0, -0.5], dtype=dtype)
    first, *others = gaps(fall, event, y0, 3.0, 12, lambda y: y * bounce)
    speed = math.sqrt(2 * 9.81)
    assert first == pytest.approx(speed / 9.81, rel=1e-4)
    assert others == pytest.approx([2 * speed * 0.5 ** (n + 1) / 9.81 for n in range(11)], rel=1e-3)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
def test_a_zero_that_lies_just_beyond_the_start_is_not_taken_for_it(dtype):
    for before in (1e-2, 1e-4, 1e-6):
        for scale in (1.0, 1e-3):
            y0 = torch.tensor([-before * scale], dtype=dtype)
            event = Event(lambda t, y: y[0], terminal=True)
            rise = torch.tensor([scale], dtype=dtype)
            (found,) = gaps(lambda t, y, rise=rise: rise, event, y0, 1.0, 1, first_step=1e-7)
            assert found == pytest.approx(before, rel=1e-3)


def test_an_event_in_time_alone_does_not_come_again():
    event = Event(lambda t, y: torch.sin(t), terminal=True)
    for dtype in (SINGLE, DOUBLE):
        y0 = torch.tensor([1.0], dtype=dtype)
        assert gaps(lambda t, y: -y, event, y0, 5.0, 5) == pytest.approx([math.pi] * 5, rel=1e-5)
