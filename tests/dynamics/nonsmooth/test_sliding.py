"""Sliding: Filippov's field in closed form, where it begins and ends, that it stays on the surface, and its limits."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp as scipy_solve

from ndelib import odeint
from ndelib.dynamics import Filippov, nonsmooth_lyapunov_spectrum
from ndelib.solvers import SolverError

EPS = torch.finfo(torch.float64).eps


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def field(*parts):
    """Return f(t, y) with the components ``parts(x, y, …)``, on batches."""

    def f(t, y):
        return torch.stack([torch.as_tensor(p(*y.unbind(-1))).to(y).expand(y.shape[:-1]) for p in parts], dim=-1)

    return f


def brake(friction=1.0, belt=0.5, damping=0.0):
    """A block on a belt: x″ = −x − damping x′ − friction sign(x′ − belt)."""
    return Filippov(
        field(lambda x, v: v, lambda x, v: -x - damping * v + friction),
        field(lambda x, v: v, lambda x, v: -x - damping * v - friction),
        lambda y: y[..., 1] - belt,
    )


def sphere():
    """Both fields push onto the unit sphere and turn about different axes: sliding is a rotation."""
    first, second = tensor(0.0, 0.0, 1.0), tensor(1.0, 2.0, 0.0)
    return Filippov(
        lambda t, y: y + torch.linalg.cross(first.expand_as(y), y),
        lambda t, y: -2 * y + torch.linalg.cross(second.expand_as(y), y),
        lambda y: (y * y).sum(-1) - 1,
    ), first * 2 / 3 + second / 3  # α = 2/(2 + 4) everywhere


def rotation(axis, t):
    x, y, z = axis.tolist()
    return torch.linalg.matrix_exp(t * tensor(0, -z, y, z, 0, -x, -y, x, 0).reshape(3, 3))


def test_the_brake_slides_with_the_belt_to_rounding():
    y = torch.stack([torch.linspace(-0.9, 0.9, 7, dtype=torch.float64), torch.full((7,), 0.5, dtype=torch.float64)], -1)
    system = brake()
    assert (system.sliding_field(y) - tensor(0.5, 0.0)).abs().max() <= 4 * EPS
    # (1 − α)(1 − x) + α(−1 − x) = 0
    assert (system.weight(y) - (1 - y[:, 0]) / 2).abs().max() <= 4 * EPS


def test_sliding_on_a_tilted_plane_in_three_dimensions_is_the_closed_form_to_rounding():
    below, above, n = tensor(3, 1, 0), tensor(-1, -1, -2), tensor(1, 2, 2)
    system = Filippov(lambda t, y: below.expand_as(y), lambda t, y: above.expand_as(y), lambda y: y @ n - 1)
    y = tensor(1, 0, 0)
    assert system.weight(y).item() == pytest.approx(5 / 12, abs=2 * EPS)
    assert (system.sliding_field(y) - tensor(16, 2, -10) / 12).abs().max() <= 4 * EPS
    solution = system.solve(y, (0, 6), t_eval=[6.0])
    assert (solution.y[-1] - (y + 6 * tensor(16, 2, -10) / 12)).abs().max() <= 1e-13
    assert solution.modes.tolist() == [0]


def test_what_happens_at_a_point_is_named():
    system = brake()
    points = {0.0: "sliding", 2.0: "crossing", -2.0: "crossing", 1.0: "tangency", -1.0: "tangency"}
    assert {x: system.kind(tensor(x, 0.5)) for x in points} == points
    assert [system.kind(tensor(0.0, v)) for v in (0.4, 0.6)] == ["minus", "plus"]
    mirrored = Filippov(system.f_plus, system.f_minus, system.surface)
    assert mirrored.kind(tensor(0.0, 0.5)) == "repelling"
    assert system.region(tensor(0, 0.4, 0, 0.5, 0, 0.6).reshape(3, 2)).tolist() == [-1, 0, 1]


def test_a_solution_enters_slides_and_leaves_where_the_weight_reaches_zero():
    # Below the belt's speed the block runs on a circle about (1, 0): from (−0.5, 0) it reaches x′ = 0.5 at the angle a.
    a = math.asin(0.5 / 1.5)
    entry = 1 - 1.5 * math.cos(a)
    system = brake()
    solution = system.solve(tensor(-0.5, 0.0), (0, 6), rtol=1e-11, atol=1e-11)
    begin, end = solution.events[:2]
    assert (begin.kind, end.kind) == ("sliding", "leaving")
    assert begin.t == pytest.approx(a, abs=1e-10)
    assert begin.y.tolist() == pytest.approx([entry, 0.5], abs=1e-10)
    assert end.t == pytest.approx(a + (1 - entry) / 0.5, abs=1e-9)  # the belt carries it to x = 1, where α = 0
    assert system.weight(end.y).item() == pytest.approx(0, abs=1e-12)
    assert solution.final_mode == -1
    after = end.t + 1  # and from there it slips on the circle of the radius 0.5
    slip = system.solve(tensor(-0.5, 0.0), (0, after), t_eval=[after], rtol=1e-11, atol=1e-11).y[-1]
    assert slip.tolist() == pytest.approx([1 + 0.5 * math.sin(1), 0.5 * math.cos(1)], abs=1e-9)


@pytest.mark.parametrize("side", [-1, 1])
def test_sliding_ends_on_the_side_whose_field_becomes_tangent(side):
    up, down = field(lambda x, y: 1.0, lambda x, y: 1.0), field(lambda x, y: 1.0, lambda x, y: x - 1)
    flip = field(lambda x, y: 1.0, lambda x, y: -1.0), field(lambda x, y: 1.0, lambda x, y: 1 - x)
    system = Filippov(up, down, lambda y: y[..., 1]) if side > 0 else Filippov(flip[1], flip[0], lambda y: y[..., 1])
    solution = system.solve(tensor(0, 0), (0, 2), t_eval=[2.0])
    (event,) = solution.events
    assert (event.kind, event.after) == ("leaving", side)
    assert event.t == pytest.approx(1, abs=1e-9)
    assert system.weight(event.y).item() == pytest.approx((1 + side) / 2, abs=1e-9)
    assert solution.y[-1].tolist() == pytest.approx([2, side / 2], abs=1e-8)  # y = ±(x − 1)²/2


def test_sliding_on_a_sphere_stays_on_it_and_is_the_rotation():
    system, axis = sphere()
    start = tensor(0.0, 0.6, 0.8)
    times = torch.linspace(0, 10, 21, dtype=torch.float64)
    solution = system.solve(start, (0, 10), t_eval=times, rtol=1e-9, atol=1e-9, dense=True)
    assert (solution.y.norm(dim=1) - 1).abs().max() <= 4 * EPS
    between = solution.sol(times[:-1] + 0.217)
    assert (between.norm(dim=1) - 1).abs().max() <= 4 * EPS
    exact = torch.stack([rotation(axis, t.item()) @ start for t in times])
    assert (solution.y - exact).abs().max() <= 1e-7  # 10 time units with an error of about the tolerance in each
    # Without moving the state back the same solve leaves the sphere by what its error is.
    drift = odeint(lambda t, y: system.sliding_field(y), start, times, rtol=1e-9, atol=1e-9)
    assert (drift.norm(dim=1) - 1).abs().max() > 1e4 * EPS


def test_fields_that_depend_on_time_slide_and_leave():
    # ẏ = 1.5 sin t − sign y rests at zero until sin t = 2/3, from where it rises; ẏ = 1.5 sin t − 1 then.
    system = Filippov(
        lambda t, y: 1.5 * torch.sin(t) + 1 + 0 * y, lambda t, y: 1.5 * torch.sin(t) - 1 + 0 * y, lambda y: y[..., 0]
    )
    solution = system.solve(tensor(0.0), (0, 1.5), t_eval=[1.5], rtol=1e-10, atol=1e-10)
    (event,) = solution.events
    free = math.asin(2 / 3)
    assert (event.kind, event.after) == ("leaving", 1)
    assert event.t == pytest.approx(free, abs=1e-10)
    exact = 1.5 * (math.cos(free) - math.cos(1.5)) - (1.5 - free)
    assert solution.y[-1].item() == pytest.approx(exact, abs=1e-9)


def test_a_solution_that_slides_has_lost_an_exponent():
    system, _ = sphere()
    spectrum = nonsmooth_lyapunov_spectrum(system, tensor(0.0, 0.6, 0.8), 4.0, transient=1.0, rtol=1e-6, atol=1e-6)
    assert spectrum.exponents[:2].abs().max() <= 1e-4  # a rotation of the sphere
    assert spectrum.exponents[2] < -30  # −∞, or the logarithm of rounding


def test_repelling_sliding_needs_a_choice():
    away = Filippov(
        field(lambda x, y: 1.0, lambda x, y: -1.0), field(lambda x, y: 1.0, lambda x, y: 2.0), lambda y: y[..., 1]
    )
    with pytest.raises(ValueError, match=r"not unique at t = 0.*repelling='minus' or 'plus'"):
        away.solve(tensor(0, 0), (0, 1))
    assert away.solve(tensor(0, 0), (0, 1), repelling="minus").y[-1].tolist() == pytest.approx([1, -1])
    assert away.solve(tensor(0, 0), (0, 1), repelling="plus").y[-1].tolist() == pytest.approx([1, 2])
    with pytest.raises(ValueError, match="repelling must be"):
        away.solve(tensor(0, 0), (0, 1), repelling="left")


def test_backwards_in_time_attracting_sliding_repels():
    with pytest.raises(ValueError, match="not unique"):
        brake().solve(tensor(0.0, 0.5), (0, -1))
    there = brake().solve(tensor(3.0, 0.5), (0, -1), rtol=1e-10, atol=1e-10)  # a crossing in either direction
    back = brake().solve(there.y[-1], (-1, 0), rtol=1e-10, atol=1e-10)
    assert back.y[-1].tolist() == pytest.approx([3.0, 0.5], abs=1e-8)


def test_a_two_fold_is_refused_unless_a_choice_is_made():
    system = Filippov(
        field(lambda x, y: 1.0, lambda x, y: 1 - x), field(lambda x, y: 1.0, lambda x, y: x - 1), lambda y: y[..., 1]
    )
    with pytest.raises(ValueError, match="two-fold"):
        system.solve(tensor(0, 0), (0, 3))
    assert system.solve(tensor(0, 0), (0, 3), repelling="plus").y[-1].tolist() == pytest.approx([3, 2], abs=1e-6)


def test_a_smooth_field_tends_to_the_sliding_solution_with_its_width():
    system, end = brake(damping=0.1), 1.5
    exact = system.solve(tensor(-0.5, 0.0), (0, end), t_eval=[end], rtol=1e-10, atol=1e-10)
    assert exact.modes.tolist() == [0]
    misses = []
    for width in (0.04, 0.02, 0.01):
        smooth = odeint(system.regularised(width), tensor(-0.5, 0.0), [0, end], rtol=1e-9, atol=1e-9)[-1]
        misses.append((smooth - exact.y[-1]).norm().item())
    orders = [math.log2(a / b) for a, b in pairwise(misses)]
    assert orders == pytest.approx([1, 1], abs=0.2)  # the layer is as thick as the width


def test_stick_and_slip_agrees_with_scipy():
    """Scipy solves the three fields one after another, its events being those of the definition."""
    friction, belt, damping, end = 1.0, 0.5, -0.2, 25.0  # negative damping lets it stick again and again
    below = lambda t, y: [y[1], -y[0] - damping * y[1] + friction]  # noqa: E731
    stick = lambda t, y: [belt, 0.0]  # noqa: E731
    arrive = lambda t, y: y[1] - belt  # noqa: E731
    release = lambda t, y: -y[0] - damping * belt + friction  # noqa: E731
    arrive.terminal, arrive.direction, release.terminal = True, 1, True
    t, y, sticking, times = 0.0, np.array([-0.5, 0.0]), False, []
    while t < end:
        f, event = (stick, release) if sticking else (below, arrive)
        part = scipy_solve(f, (t, end), y, events=event, rtol=1e-11, atol=1e-11)
        t, y, sticking = part.t[-1], part.y[:, -1], not sticking
        times += part.t_events[0].tolist()
        if part.status == 1 and not sticking:
            y = y + np.array([0.0, -1e-13])
    ours = brake(friction, belt, damping).solve(tensor(-0.5, 0.0), (0, end), t_eval=[end], rtol=1e-10, atol=1e-10)
    assert len(times) >= 6
    assert [event.t for event in ours.events] == pytest.approx(times, abs=1e-6)
    assert ours.y[-1].tolist() == pytest.approx(y.tolist(), abs=1e-6)


def test_too_many_meetings_end_with_an_error_that_says_so():
    turning = Filippov(
        field(lambda x, y: y, lambda x, y: -2 * x), field(lambda x, y: y, lambda x, y: -x), lambda y: y[..., 0]
    )
    with pytest.raises(SolverError, match="more than max_events = 5 meetings"):
        turning.solve(tensor(1, 0), (0, 100), max_events=5)


@pytest.mark.parametrize(
    ("surface", "message"),
    [
        (lambda y: torch.sign(y[..., 0].detach()), "surface has no gradient"),
        (lambda y: (y[..., 0] > 0).to(y), "surface has no gradient"),
        (lambda y: y, "one number a state"),
        (lambda y: 1.0, "it returned a float"),
    ],
)
def test_a_surface_without_gradient_or_of_a_wrong_shape_is_named(surface, message):
    still = field(lambda x, y: 1.0, lambda x, y: 1.0)
    with pytest.raises(ValueError, match=message):
        Filippov(still, still, surface).solve(tensor(-1, 0), (0, 2))


def test_bad_states_and_fields_are_named():
    with pytest.raises(ValueError, match="y0 must be finite"):
        brake().solve(tensor(math.nan, 0), (0, 1))
    with pytest.raises(ValueError, match=r"y0 must be one real state.*one by one"):
        brake().solve(torch.zeros(3, 2), (0, 1))
    with pytest.raises(TypeError, match="y0 must be a tensor"):
        brake().solve([0.0, 1.0], (0, 1))
    with pytest.raises(TypeError, match="surface must be a function"):
        Filippov(brake().f_minus, brake().f_plus, 0.5)
