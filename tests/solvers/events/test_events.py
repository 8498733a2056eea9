"""Events happen when mathematics says, once each, and their times and all that follows have the right gradients."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from ndelib import solve_ivp
from ndelib.solvers import SolverError
from ndelib.solvers.events.crossings import NODES, brackets
from ndelib.solvers.events.events import Event, find_root
from tests.conftest import full

GRAVITY = 9.81


def vector(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def fall(t, y):
    """(height, velocity) under gravity."""
    return torch.stack([y[1], -torch.full_like(y[1], GRAVITY)])


def oscillator(t, y):
    return torch.stack([y[1], -y[0]])


def position(t, y):
    return y[0]


def bounce(restitution=0.8):
    return Event(position, direction=-1, reset=lambda t, y: torch.stack([y[0], -restitution * y[1]]))


def bounce_times(speed, count, restitution=0.8):
    """A ball thrown up from the floor flies 2v/g, then 2ev/g, …"""
    return vector(*(2 * speed / GRAVITY * sum(restitution**j for j in range(n + 1)) for n in range(count)))


# where events are


@pytest.mark.parametrize("amplitude", [0.3, 1.5, 3.0])
def test_period_of_the_pendulum_is_the_elliptic_integral(amplitude):
    def pendulum(t, y):
        return torch.stack([y[1], -torch.sin(y[0])])

    options = {"rtol": 1e-10, "atol": 1e-10, "method": "dopri8"}
    solution = solve_ivp(pendulum, (0.0, 40.0), vector(amplitude, 0.0), events=Event(position, direction=1), **options)
    period = 4 * scipy.special.ellipk(math.sin(amplitude / 2) ** 2)
    expected = period * (torch.arange(len(solution.t_events[0])).double() + 0.75)
    assert len(expected) == int(40 / period + 0.25)
    assert torch.allclose(solution.t_events[0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("rtol", "method"), [(1e-4, "dopri5"), (1e-7, "tsit5"), (1e-10, "dopri8"), (1e-6, "kvaerno3")])
def test_event_times_are_as_accurate_as_the_tolerance(rtol, method):
    solution = solve_ivp(
        oscillator, (0.0, 10.0), vector(1.0, 0.0), events=position, rtol=rtol, atol=rtol, method=method
    )
    expected = math.pi * (torch.arange(3).double() + 0.5)
    # Errors of a step of at most rtol add up over the steps; |dg/dt| = 1 here.
    assert (solution.t_events[0] - expected).abs().max() < solution.steps * rtol
    assert solution.y_events[0][:, 0].abs().max() < 1e-14


@pytest.mark.parametrize("method", ["rk4", "leapfrog", "adams_bashforth_moulton", "implicit_midpoint"])
def test_fixed_steps_locate_events_with_the_order_of_the_method(method):
    def error(step_size):
        solution = solve_ivp(
            lambda t, s: (s[1], -s[0]),
            (0.0, 4.0),
            (vector(1.0), vector(0.0)),
            events=lambda t, s: s[0][0],
            method=method,
            step_size=step_size,
        )
        return abs(solution.t_events[0][0].item() - math.pi / 2)

    order = 2 if method in ("leapfrog", "implicit_midpoint") else 4
    assert error(0.05) < 0.05**order
    assert error(0.0125) < error(0.05) / 4**order * 4


def test_events_agree_with_scipy():
    def lotka_volterra(t, y):
        return torch.stack([y[0] * (1 - y[1]), y[1] * (y[0] - 1)])

    def even(t, y):
        return y[0] - y[1]

    def scarce(t, y):
        return y[1] - 0.6 * (1 + 0.1 * (torch if isinstance(t, torch.Tensor) else math).sin(t))

    scarce.direction = -1.0
    ours = solve_ivp(lotka_volterra, (0, 20), vector(0.5, 2.0), events=[even, scarce], rtol=1e-10, atol=1e-10)
    theirs = scipy.integrate.solve_ivp(
        lambda t, y: [y[0] * (1 - y[1]), y[1] * (y[0] - 1)],
        (0, 20),
        [0.5, 2.0],
        events=[even, scarce],
        rtol=1e-10,
        atol=1e-10,
    )
    for t, y, t_scipy, y_scipy in zip(ours.t_events, ours.y_events, theirs.t_events, theirs.y_events, strict=True):
        assert len(t) == len(t_scipy) > 2
        assert torch.allclose(t, torch.as_tensor(t_scipy), rtol=0, atol=1e-7)
        assert torch.allclose(y, torch.as_tensor(y_scipy), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("direction", "expected"), [(0, [0.5, 1.5, 2.5]), (1, [1.5]), (-1, [0.5, 2.5])])
@pytest.mark.parametrize("way", [1, -1])
def test_direction_is_that_in_which_the_solve_goes(direction, expected, way):
    event = Event(position, direction=direction)  # the cosine falls through zero first, forwards and backwards
    solution = solve_ivp(oscillator, (0.0, way * 9.0), vector(1.0, 0.0), events=event)
    assert solution.t_events[0].tolist() == pytest.approx([way * math.pi * n for n in expected], abs=1e-4)


def test_poincare_section_of_a_forced_linear_oscillator_is_a_fixed_point():
    def forced(t, y):
        return torch.stack([y[1], -y[0] - 0.5 * y[1] + torch.cos(2 * t)])

    def phase(t, y):
        return torch.sin(t)

    solution = solve_ivp(forced, (0.0, 60.0), vector(2.0, 0.0), events=Event(phase, direction=1), rtol=1e-9, atol=1e-9)
    assert torch.allclose(solution.t_events[0], 2 * math.pi * torch.arange(1, 10).double(), rtol=0, atol=1e-13)
    # The response to cos 2t of y″ + y′/2 + y is Re(e^{2it} / (−3 + i)); transients decay like e^{−t/4}.
    response = 1 / (-3 + 1j)
    assert solution.y_events[0][-1].tolist() == pytest.approx([response.real, (2j * response).real], abs=1e-5)


def test_two_zeros_inside_one_step_are_both_found():
    # y = t is exact in one long step, so the step says nothing about g.
    solution = solve_ivp(
        lambda t, y: torch.ones_like(y),
        (0.0, 1.0),
        vector(0.0),
        events=[lambda t, y: (y[0] - 0.6) * (y[0] - 0.63), lambda t, y: (y[0] - 0.03) * (y[0] - 0.05)],
        first_step=1.0,
    )
    assert solution.steps == 1
    assert solution.t_events[0].tolist() == pytest.approx([0.6, 0.63])
    assert solution.t_events[1].tolist() == pytest.approx([0.03, 0.05])


def test_an_event_at_the_exact_end_of_a_step_is_reported_once():
    for t1 in (1.0, 2.0):
        solution = solve_ivp(
            lambda t, y: torch.ones_like(y), (0.0, t1), vector(-1.0), events=position, method="euler", step_size=0.25
        )
        assert solution.t_events[0].tolist() == [1.0]


def test_several_events_come_in_the_order_of_time_and_a_terminal_one_cuts_the_rest_off():
    levels = [Event(lambda t, y, a=a: y[0] - a, terminal=a == 0.6) for a in (0.8, 0.2, 0.6, 0.4, 0.6)]
    solution = solve_ivp(lambda t, y: torch.ones_like(y), (0.0, 1.0), vector(0.0), events=levels, first_step=1.0)
    assert [t.tolist() for t in solution.t_events] == [
        [],
        [pytest.approx(0.2)],
        [pytest.approx(0.6)],
        [pytest.approx(0.4)],
        [pytest.approx(0.6)],  # at the same time as the terminal one: reported
    ]


# where a solve begins at an event


def test_a_ball_that_starts_on_the_floor_has_not_landed():
    solution = solve_ivp(fall, (0.0, 3.0), vector(0.0, 5.0), events=Event(position, terminal=True))
    assert solution.t_events[0].tolist() == pytest.approx([10 / GRAVITY], rel=1e-12)


@pytest.mark.parametrize("angle", [0.5 * math.pi, 1.5 * math.pi])
def test_a_start_at_zero_up_to_rounding_is_a_start_at_zero(angle):
    for speed in (1.0, -1.0):
        solution = solve_ivp(
            lambda t, y, s=speed: torch.full_like(y, s),
            (0.0, 4.0),
            vector(angle),
            events=lambda t, y: torch.cos(y[0]),
        )
        assert solution.t_events[0].tolist() == pytest.approx([math.pi], abs=1e-12)


@pytest.mark.parametrize("first_step", [1.0, 0.1, 1e-3])
def test_a_flight_shorter_than_the_first_step_is_not_missed(first_step):
    solution = solve_ivp(fall, (0.0, 1.0), vector(0.0, 0.01), events=position, first_step=first_step)
    assert solution.t_events[0].tolist() == pytest.approx([0.02 / GRAVITY], rel=1e-9)


# terminal events


def test_a_terminal_event_ends_times_states_and_dense_output():
    def landing(t, y):
        return y[0]

    landing.terminal = True
    solution = solve_ivp(fall, (0.0, 9.0), vector(0.0, 5.0), events=[lambda t, y: y[1], landing], dense=True)
    end = 10 / GRAVITY
    assert solution.status == "event"
    assert solution.message == "event 1 (landing) ended the solve at t = 1.019367992"
    assert solution.t[-1].item() == solution.t_events[1].item() == pytest.approx(end, rel=1e-13)
    assert torch.equal(solution.y[-1], solution.y_events[1][0])
    assert solution.y[-1].tolist() == pytest.approx([0.0, -5.0], abs=1e-12)
    assert solution.sol(solution.t[-1]).tolist() == pytest.approx([0.0, -5.0], abs=1e-12)
    with pytest.raises(ValueError, match=r"t = 1\.02 is outside the solve, which went from 0 to 1\.019367992"):
        solution.sol(1.02)


def test_wanted_times_after_a_terminal_event_are_left_out():
    event = Event(position, terminal=True)
    solution = solve_ivp(fall, (0.0, 9.0), vector(0.0, 5.0), events=event, t_eval=[0.25, 0.5, 1.0, 2.0, 3.0])
    assert solution.t.tolist() == [0.25, 0.5, 1.0]
    assert torch.allclose(solution.y[:, 1], 5 - GRAVITY * solution.t)
    nothing = solve_ivp(fall, (0.0, 9.0), vector(0.0, 5.0), events=event, t_eval=[2.0])
    assert nothing.t.shape == (0,)
    assert nothing.y.shape == (0, 2)


def test_a_number_ends_the_solve_at_that_occurrence():
    solution = solve_ivp(oscillator, (0.0, 30.0), vector(1.0, 0.0), events=Event(position, terminal=3))
    assert solution.status == "event"
    assert solution.t_events[0].tolist() == pytest.approx([math.pi * (n + 0.5) for n in range(3)], abs=1e-4)


# resets


@pytest.mark.parametrize(
    ("method", "options"),
    [("dopri5", {}), ("dopri8", {}), ("kvaerno3", {}), ("rk4", {"step_size": 0.07}), ("leapfrog", {"step_size": 0.07})],
)
def test_the_bouncing_ball(method, options):
    """All these methods are exact for a parabola, so times are limited by the location of the event alone."""
    solution = solve_ivp(
        lambda t, s: (s[1], -torch.full_like(s[1], GRAVITY)),
        (0.0, 4.0),
        (vector(0.0), vector(5.0)),
        events=Event(lambda t, s: s[0][0], direction=-1, reset=lambda t, s: (s[0], -0.8 * s[1])),
        method=method,
        dense=True,
        **options,
    )
    times = solution.t_events[0]
    assert torch.allclose(times, bounce_times(5.0, 6), rtol=0, atol=1e-12)
    assert solution.y_events[0][1][:, 0].tolist() == pytest.approx([-5 * 0.8**n for n in range(6)], rel=1e-11)
    middle = (times[1:] + times[:-1]) / 2  # the tops of the arcs
    height, speed = solution.sol(middle)
    assert height[:, 0].tolist() == pytest.approx([(5 * 0.8**n) ** 2 / 2 / GRAVITY for n in range(1, 6)], rel=1e-10)
    assert speed.abs().max() < 1e-10


def test_the_time_of_a_reset_stands_twice_with_the_states_before_and_after():
    solution = solve_ivp(fall, (0.0, 2.0), vector(0.0, 5.0), events=bounce(), dense=True)
    (i,) = (solution.t == solution.t_events[0][0]).nonzero()[:1, 0].tolist()
    assert solution.t[i] == solution.t[i + 1]
    assert solution.y[i, 1].item() == pytest.approx(-5.0)
    assert solution.y[i + 1, 1].item() == pytest.approx(4.0)
    assert solution.sol(solution.t[i])[1].item() == pytest.approx(-5.0)


def test_single_precision_bounces_too():
    solution = solve_ivp(fall, (0.0, 4.0), vector(0.0, 5.0, dtype=torch.float32), events=bounce(), rtol=1e-4, atol=1e-5)
    assert solution.y.dtype == torch.float32
    assert solution.t_events[0].dtype == torch.float64
    assert torch.allclose(solution.t_events[0], bounce_times(5.0, 6), rtol=0, atol=1e-4)


def test_a_ball_bounces_backwards_in_time():
    """Time reversed, gravity still pulls down; restitution 1/0.8 undoes the losses."""
    forwards = solve_ivp(fall, (0.0, 2.0), vector(0.0, 5.0), events=bounce())
    undo = Event(position, direction=-1, reset=lambda t, y: torch.stack([y[0], -y[1] / 0.8]))
    backwards = solve_ivp(fall, (2.0, 0.5), forwards.y[-1], events=undo)
    assert backwards.t_events[0].tolist() == pytest.approx(forwards.t_events[0].tolist()[::-1], abs=1e-11)
    assert backwards.y[-1].tolist() == pytest.approx([5 * 0.5 - GRAVITY / 8, 5 - GRAVITY / 2], abs=1e-10)


def test_without_a_direction_a_reset_does_not_fire_again():
    event = Event(position, reset=lambda t, y: torch.stack([y[0], -0.8 * y[1]]))
    solution = solve_ivp(fall, (0.0, 4.0), vector(0.0, 5.0), events=event)
    assert torch.allclose(solution.t_events[0], bounce_times(5.0, 6), rtol=0, atol=1e-12)


def test_a_reset_that_moves_away_from_zero_is_seen_again():
    """Integrate and fire: y′ = 2 − y from 0 reaches 1 after log 2, again and again."""
    fire = Event(lambda t, y: y[0] - 1, reset=lambda t, y: torch.zeros_like(y))
    solution = solve_ivp(lambda t, y: 2 - y, (0.0, 5.0), vector(0.0), events=fire, rtol=1e-9, atol=1e-9)
    assert solution.t_events[0].tolist() == pytest.approx([n * math.log(2) for n in range(1, 8)], abs=1e-7)


def test_a_reset_that_changes_nothing_leaves_the_solution_as_it_is():
    same = Event(position, reset=lambda t, y: y)
    with_reset = solve_ivp(oscillator, (0.0, 10.0), vector(1.0, 0.0), events=same, rtol=1e-9, atol=1e-9)
    assert with_reset.t_events[0].tolist() == pytest.approx([math.pi * (n + 0.5) for n in range(3)], abs=1e-7)
    assert with_reset.y[-1].tolist() == pytest.approx([math.cos(10), -math.sin(10)], abs=1e-7)


@pytest.mark.parametrize("later", [0.0, 1e-15, 1e-13, 1e-11, 1e-8, 1e-3])
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.1, 0.3), (0.7, 0.3)])
def test_a_corner_reflects_at_both_walls(start, later):
    """The second wall is met in the same moment or a little later, and never passed."""
    p = vector(*start)
    walls = [
        Event(lambda t, y: 1 - y[0], reset=lambda t, y: y * vector(1, 1, -1, 1)),
        Event(lambda t, y: 3 * (1 + later - y[1]), reset=lambda t, y: y * vector(1, 1, 1, -1)),
    ]
    solution = solve_ivp(
        lambda t, y: torch.cat([y[2:], torch.zeros_like(y[2:])]), (0.0, 1.5), torch.cat([p, 1 - p]), events=walls
    )
    assert [t.tolist() for t in solution.t_events] == [
        [pytest.approx(1.0)],
        [pytest.approx(1 + later / (1 - start[1]), abs=1e-14)],
    ]
    expected = torch.cat([1 - (1 - p) / 2, p - 1]) + vector(0, 2 * later, 0, 0)
    assert torch.allclose(solution.y[-1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("floor", [0.0, 5.0])
def test_infinitely_many_bounces_in_finite_time_are_an_error_that_says_so(floor):
    event = Event(lambda t, y: y[0] - floor, reset=lambda t, y: torch.stack([y[0], -0.5 * y[1]]))
    with pytest.raises(SolverError, match=r"event 0 resets the state again and again at t = 2\.0387.*Zeno") as caught:
        solve_ivp(fall, (0.0, 3.0), vector(floor, 5.0), events=event)
    assert caught.value.t == pytest.approx(2 * 5 / GRAVITY / (1 - 0.5), abs=1e-6)


def test_a_terminal_number_ends_a_bouncing_ball_on_arrival():
    event = Event(position, terminal=4, direction=-1, reset=bounce().reset)
    solution = solve_ivp(fall, (0.0, 9.0), vector(0.0, 5.0), events=event)
    assert torch.allclose(solution.t_events[0], bounce_times(5.0, 4), rtol=0, atol=1e-12)
    assert solution.y[-1, 1].item() == pytest.approx(-5 * 0.8**3)


def test_f_is_never_asked_outside_the_span():
    times = []

    def field(t, y):
        times.append(t.item())
        return fall(t, y)

    for method in ("dopri5", "dopri8", "kvaerno3"):
        solve_ivp(field, (0.5, 3.0), vector(0.0, 5.0), events=bounce(), method=method)
    assert min(times) == 0.5
    assert max(times) == 3.0


# samples


def test_each_sample_of_a_batch_has_its_own_events():
    speed = vector(1.0, 3.0, 5.0)
    solution = solve_ivp(
        lambda t, y: torch.stack([y[:, 1], torch.full_like(y[:, 1], -GRAVITY)], dim=1),
        (0.0, 0.8),
        torch.stack([torch.zeros(3).double(), speed], dim=1),
        events=[lambda t, y: y[:, 0], lambda t, y: y[:, 1]],
    )
    landed, top = solution.t_events
    assert [t.tolist() for t in landed] == [[pytest.approx(2 * v / GRAVITY)] if v < 3.9 else [] for v in speed.tolist()]
    assert [t.item() for t in top] == pytest.approx((speed / GRAVITY).tolist())
    assert [y.tolist() for y in solution.y_events[0]] == [
        [[pytest.approx(0.0, abs=1e-12), pytest.approx(-v)]] if v < 3.9 else [] for v in speed.tolist()
    ]


def test_times_of_samples_have_gradients_of_their_own():
    speed = vector(1.0, 3.0).requires_grad_()
    solution = solve_ivp(
        lambda t, y: torch.stack([y[:, 1], torch.full_like(y[:, 1], -GRAVITY)], dim=1),
        (0.0, 0.8),
        torch.stack([torch.zeros(2).double(), speed], dim=1),
        events=lambda t, y: y[:, 0],
    )
    (gradient,) = torch.autograd.grad(solution.t_events[0][1].sum(), speed)
    assert gradient.tolist() == pytest.approx([0.0, 2 / GRAVITY], abs=1e-12)


# gradients


def thrown(gravity, restitution, speed, floor, start, **options):
    """Return times, states at events and states at fixed times of a ball; every number is a parameter."""
    solution = solve_ivp(
        lambda t, y: torch.stack([y[1], -gravity - 0.1 * y[1] * torch.cos(t)]),
        (0.0, 2.0),
        torch.stack([floor + start, speed]),
        t_eval=[0.5, 1.0, 1.5, 2.0],
        events=Event(
            lambda t, y: y[0] - floor * (1 + 0.1 * t),
            direction=-1,
            reset=lambda t, y: torch.stack([y[0] + 0.01 * t, -restitution * y[1] + 0.1 * t]),
        ),
        **options,
    )
    assert len(solution.t_events[0]) == 3
    return solution.t_events[0], solution.y_events[0], solution.y


@pytest.mark.parametrize(
    ("tolerance", "options"),
    [
        (1e-6, {"rtol": 1e-9, "atol": 1e-9}),
        (1e-6, {"method": "rk4", "step_size": 0.02}),
        # How the time of a reset moves what follows is known of the exact flow; steps obey to their order, h³ = 1e-4.
        (3e-4, {"rtol": 1e-13, "atol": 1e-13, "method": "kvaerno3", "step_size": 0.05}),
    ],
)
def test_gradients_of_times_and_states_through_resets_agree_with_finite_differences(tolerance, options):
    parameters = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (9.81, 0.8, 2.0, 0.5, 0.6)]
    # In the short form one random product of the Jacobian: an error in any entry changes it.
    quick = {"rtol": 1e-5, "atol": tolerance, "fast_mode": full(False, True)}
    assert torch.autograd.gradcheck(lambda *p: thrown(*p, **options), parameters, **quick)


def test_gradients_of_the_bouncing_ball_are_the_analytic_ones():
    """t₁ = 2v/g; after the first bounce y(t) = e v s − g s²/2 with s = t − t₁."""
    v, e, g = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (5.0, 0.8, GRAVITY))
    solution = solve_ivp(
        lambda t, y: torch.stack([y[1], -g.expand(())]),
        (0.0, 1.5),
        torch.stack([torch.zeros_like(v), v]),
        t_eval=[0.0, 1.5],
        events=Event(position, direction=-1, reset=lambda t, y: torch.stack([y[0], -e * y[1]])),
    )
    s = 1.5 - 2 * v / g
    exact = torch.stack([2 * v / g, -v, e * v * s - g * s**2 / 2, e * v - g * s])
    ours = torch.stack([solution.t_events[0][0].to(v), solution.y_events[0][0, 1], *solution.y[-1]])
    assert torch.allclose(ours, exact, rtol=0, atol=1e-12)
    for i in range(4):
        gradient, expected = (
            torch.autograd.grad(x[i], (v, e, g), retain_graph=True, materialize_grads=True) for x in (ours, exact)
        )
        assert torch.allclose(torch.stack(gradient), torch.stack(expected), rtol=0, atol=1e-11)


def test_gradient_of_the_last_state_follows_the_time_of_a_terminal_event():
    """Where the solve ends is a function of the initial state: the ball always arrives at height zero."""

    def end(y0):
        solution = solve_ivp(fall, (0.0, 9.0), y0, events=Event(position, terminal=True))
        return solution.t[-1], solution.y[-1]

    y0 = vector(1.0, 5.0).requires_grad_()
    assert torch.autograd.gradcheck(end, y0)
    (gradient,) = torch.autograd.grad(end(y0)[1][0], y0)
    assert gradient.abs().max() < 1e-12


def test_a_threshold_that_is_a_parameter_gets_a_gradient():
    """y = e^t reaches a at log a, and d(log a)/da = 1/a, though neither f nor y0 has a gradient."""
    a = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    solution = solve_ivp(lambda t, y: y, (0.0, 2.0), vector(1.0), events=lambda t, y: y[0] - a, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(solution.t_events[0].sum(), a)
    assert gradient.item() == pytest.approx(1 / 3, rel=1e-7)


def test_functional_jacobians_equal_backpropagation():
    def end(p):
        return torch.cat([x.reshape(-1) for x in thrown(*p)])

    p = vector(9.81, 0.8, 2.0, 0.5, 0.6)
    expected = torch.autograd.functional.jacobian(end, p)
    assert torch.allclose(torch.func.jacrev(end)(p), expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(torch.func.jacfwd(end)(p), expected, rtol=1e-10, atol=1e-12)


def test_a_touch_has_no_derivative():
    """y = t touches (y − 1)² = 0 at the exact end of a step."""

    def solve():
        return solve_ivp(
            lambda t, y: torch.ones_like(y),
            (0.0, 2.0),
            y0,
            events=lambda t, y: (y[0] - 1) ** 2,
            method="euler",
            step_size=0.5,
        )

    y0 = vector(0.0)
    assert solve().t_events[0].tolist() == [1.0]
    y0.requires_grad_()
    with pytest.raises(ValueError, match=r"touches zero at t = 1 without passing through it"):
        solve()


# the parts


@pytest.mark.parametrize(
    "g", [lambda x: x**9 - 0.3, lambda x: math.atan(1e6 * (x - 0.7)), lambda x: math.exp(5 * x) - 2, lambda x: x - 0.5]
)
def test_the_root_finder_needs_hardly_more_than_bisection_and_often_less(g):
    calls = []

    def counted(x):
        calls.append(x)
        return g(x)

    x = find_root(counted, 0.0, g(0.0), 1.0, g(1.0), 1e-12)
    assert g(x - 3e-12) * g(x + 3e-12) < 0
    assert len(calls) <= math.log2(1 / 2e-12) + 2


def test_sign_changes_are_found_in_their_columns():
    table = torch.tensor([[1.0, 0.0, 1.0], [2.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [-1.0, -1.0, 1.0], [3.0, -1.0, 1.0]])
    found = [(b.column, b.a, b.b, b.rises) for b in brackets(table.double(), lambda column, theta: 1.0)]
    quarter, half, three, one = NODES[1:]
    assert sorted(found) == [
        (0, quarter, half, False),
        (0, three, one, True),
        (1, half, three, False),  # begins at zero: no event there
        (2, 0.0, quarter, False),  # reaches zero, and leaves it: one event
    ]


# errors


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        (lambda t, y: 1.0, TypeError, r"events\[0\] must return a tensor, got float"),
        (lambda t, y: y[0] > 0, TypeError, r"events\[0\] must return a real floating-point tensor, got torch.bool"),
        ([position, lambda t, y: torch.cat([y, y])], ValueError, r"events\[1\] must return a scalar.*returned \(4,\)"),
        (
            Event(lambda t, y: y, terminal=True),
            ValueError,
            r"events\[0\] gives one value a sample, .* terminal acts on",
        ),
        (3, TypeError, r"events\[0\] must be a function g\(t, y\) or an Event, got int"),
        (Event(position, direction=2), ValueError, r"direction of events\[0\] must be -1, 0 or 1, got 2"),
        (Event(position, terminal=-1), ValueError, r"terminal of events\[0\] must be True, False or how often"),
        *[
            (Event(position, terminal=wrong), ValueError, r"terminal of events\[0\] must be True, False or how often")
            for wrong in (1.5, "no", "1", math.inf, math.nan, [1], (True,), torch.tensor([1, 2]))
        ],
        *[
            (Event(position, direction=wrong), ValueError, r"direction of events\[0\] must be -1, 0 or 1")
            for wrong in ("up", None, [1], 0.5, math.nan, torch.ones(2))
        ],
        (lambda t: t, TypeError, r"events\[0\] is called as a function \(t, y\): too many positional arguments"),
        (Event(position, reset=3), TypeError, r"reset of events\[0\] must be a function"),
        (
            Event(position, reset=lambda t, y: y[0]),
            ValueError,
            r"reset of events\[0\] must return a state like y0.*\(2,\)",
        ),
        (lambda t, y: torch.log(y[0] - 9), SolverError, r"events\[0\] is infinite or NaN at t = 0"),
    ],
)
def test_bad_events_are_named(events, error, message):
    with pytest.raises(error, match=message):
        solve_ivp(oscillator, (0.0, 9.0), vector(1.0, 0.0), events=events)


@pytest.mark.parametrize("terminal", [True, 1, 1.0, np.True_, np.int64(1), torch.tensor(1), torch.tensor(True)])
def test_whatever_is_one_ends_the_solve_at_the_first_event(terminal):
    solution = solve_ivp(oscillator, (0.0, 9.0), vector(1.0, 0.0), events=Event(position, terminal=terminal))
    assert solution.status == "event"
    assert solution.t[-1].item() == pytest.approx(math.pi / 2, abs=1e-5)


# more arguments


def test_events_and_resets_get_the_args_of_the_solve_as_in_scipy():
    def decay(t, y, rate, level):
        return -rate * y

    event = Event(
        lambda t, y, rate, level: y[0] - level,
        reset=lambda t, y, rate, level: y + level,
    )
    rate, level = vector(2.0, 0.25)
    solution = solve_ivp(decay, (0.0, 0.9), vector(1.0), args=(rate, level), events=event, rtol=1e-9, atol=1e-9)
    # from 1 to a quarter in log(4)/2, then from a half to a quarter in log(2)/2
    assert solution.t_events[0] == pytest.approx([math.log(4) / 2], abs=1e-8)
    assert solution.y[-1].item() == pytest.approx(0.5 * math.exp(-2 * 0.9 + math.log(4)), abs=1e-8)


def test_the_gradient_for_an_argument_of_an_event_is_that_of_its_formula():
    level = vector(0.25).requires_grad_()
    event = Event(lambda t, y, rate, level: (y - level).sum(), terminal=True)
    solution = solve_ivp(
        lambda t, y, rate, level: -rate * y, (0.0, 9.0), vector(1.0), args=(2.0, level), events=event, rtol=1e-9
    )
    (gradient,) = torch.autograd.grad(solution.t_events[0][0], level)  # t = −log(level) / 2
    assert gradient.item() == pytest.approx(-1 / (2 * 0.25), rel=1e-5)  # dg/dt is that of the dense output


def test_events_of_single_samples_get_the_args_too():
    rates = vector(1.0, 2.0)
    solution = solve_ivp(
        lambda t, y, rates: -rates * y, (0.0, 2.0), vector(1.0, 1.0), args=(rates,), events=lambda t, y, rates: y - 0.5
    )
    assert torch.cat(solution.t_events[0]) == pytest.approx([math.log(2), math.log(2) / 2], abs=1e-5)


def test_an_event_or_reset_that_does_not_take_the_args_is_named():
    for events, name in ((position, r"events\[0\]"), (Event(lambda t, y, k: y[0], reset=position), r"reset of events")):
        with pytest.raises(TypeError, match=name + r".* is called as a function \(t, y, \*args\), with the 1 args"):
            solve_ivp(lambda t, y, k: -y, (0.0, 1.0), vector(1.0), args=(3.0,), events=events)


def test_a_reset_that_writes_into_its_state_changes_nothing_else():
    def ball(t, y):
        return torch.stack([y[1], torch.full_like(y[1], -9.81)])

    def untidy_reset(t, y):
        y[1] *= -0.8
        return y

    y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    tidy = Event(lambda t, y: y[0], direction=-1, reset=lambda t, y: torch.stack([y[0], -0.8 * y[1]]))
    events = [Event(lambda t, y: y[0], direction=-1, reset=untidy_reset), tidy]
    untidily, tidily = (solve_ivp(ball, (0.0, 1.0), y0, events=event) for event in events)
    assert torch.allclose(untidily.y, tidily.y, atol=1e-9)
    assert torch.allclose(untidily.y_events[0], tidily.y_events[0], atol=1e-9)


@pytest.mark.parametrize("dense", [False, True])
def test_an_event_that_writes_into_its_state_changes_nothing_else(dense):
    def untidy(t, y):
        return y.mul_(3.0)[0]

    y0 = vector(1.0, 0.0).requires_grad_()
    untidily, tidily = (
        solve_ivp(oscillator, (0.0, 5.0), y0, events=events, dense=dense)
        for events in ([untidy, untidy], [lambda t, y: 3.0 * y[0]] * 2)
    )
    assert torch.equal(untidily.y, tidily.y)
    for i in range(2):
        assert torch.equal(untidily.t_events[i], tidily.t_events[i])
        assert torch.equal(untidily.y_events[i], tidily.y_events[i])
    gradients = [torch.autograd.grad(s.t_events[0][0], y0)[0] for s in (untidily, tidily)]
    assert torch.equal(*gradients)
