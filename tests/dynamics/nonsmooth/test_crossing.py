"""Crossing: where it happens, what it does to the linear flow, and what is left of that at grazing."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.integrate import solve_ivp as scipy_solve
from scipy.optimize import brentq

from ndelib import odeint
from ndelib.dynamics import Filippov, PiecewiseLinear, floquet_multipliers, fundamental_matrix, saltation_matrix

SCIPY = {"rtol": 1e-11, "atol": 1e-11}
TIGHT = {"method": "dopri8", **SCIPY}


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def pendulum(jump=0.5, tilt=0.1, other=-0.3):
    """A damped pendulum with a torque that jumps where q + tilt p = 0; no solution slides for a small tilt."""

    def f(torque):
        def field(t, y):
            q, p = y.unbind(-1)
            return torch.stack([p, -torch.sin(q) - 0.05 * p + torque], dim=-1)

        return field

    return Filippov(f(jump), f(other), lambda y: y[..., 0] + tilt * y[..., 1])


def kink():
    """A continuous field with a kink at q = 0: two springs."""
    return PiecewiseLinear([[0, 1], [-1, -0.1]], [[0, 1], [-4, -0.1]], b=[0.3, 0.2], c=[1, 0])


def end_of(system, y, t, **options):
    return system.solve(y, (0, t), t_eval=[t], **TIGHT, **options).y[-1]


def finite_differences(flow, y, step=1e-4):
    """Return the central differences of ``flow`` at ``y``, (d, d)."""
    shifts = step * torch.eye(len(y), dtype=y.dtype)
    return torch.stack([(flow(y + e) - flow(y - e)) / (2 * step) for e in shifts], dim=-1)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-7, 1e-9])
def test_a_crossing_is_located_to_the_tolerance_against_the_matrix_exponential(tolerance):
    A1, A2, c = np.array([[-0.1, 1.0], [-2.0, 0.0]]), np.array([[0.1, 2.0], [-1.0, -0.3]]), np.array([1.0, 0.5])
    y, t, exact = np.array([-1.0, 0.3]), 0.0, []
    for A in (A1, A2, A1):
        height = lambda s, A=A, y=y: c @ scipy.linalg.expm(A * s) @ y  # noqa: E731
        grid = np.arange(0.05, 5, 0.05)
        first = next(s for s in grid if height(s) * height(s + 0.05) < 0)
        s = brentq(height, first, first + 0.05, xtol=1e-15)
        t, y = t + s, scipy.linalg.expm(A * s) @ y
        exact.append(t)
    system = PiecewiseLinear(A1, A2, [0, 0], c)
    found = [e.t for e in system.solve(tensor(-1.0, 0.3), (0, t + 0.1), rtol=tolerance, atol=tolerance).events]
    # A solve errs by a few tolerances a unit of time, and |ẏ| > 1 at the boundary.
    assert found == pytest.approx(exact, abs=30 * tolerance)
    assert system.orbit([-1.0, 0.3], t + 0.1).t[1:-1].tolist() == pytest.approx(exact, abs=1e-13)


def test_crossings_agree_with_scipy():
    system, times, y, t, side = pendulum(), [], [-1.0, 0.0], 0.0, -1
    while t < 12:
        torque = 0.5 if side < 0 else -0.3
        surface = lambda t, y: y[0] + 0.1 * y[1]  # noqa: E731
        surface.terminal, surface.direction = True, -side
        part = scipy_solve(
            lambda t, y, torque=torque: [y[1], -np.sin(y[0]) - 0.05 * y[1] + torque],
            (t, 12),
            y,
            events=surface,
            **SCIPY,
        )
        t, y, side = part.t[-1], part.y[:, -1], -side
        times += part.t_events[0].tolist()
    ours = system.solve(tensor(-1.0, 0.0), (0, 12), t_eval=[12.0], **TIGHT)
    assert len(times) == 5
    assert {event.kind for event in ours.events} == {"crossing"}
    assert [event.t for event in ours.events] == pytest.approx(times, abs=1e-8)
    assert ours.y[-1].tolist() == pytest.approx(y.tolist(), abs=1e-8)


def test_the_saltation_matrix_is_the_derivative_of_a_passage_of_constant_fields():
    before, after, n = tensor(1.0, 0.5, -0.2), tensor(0.3, -1.0, 2.0), tensor(1.0, 0.4, 0.1)
    start = tensor(-0.7, 0.1, 0.2)

    def through(y):  # by hand: meet n·y = 0 after −n·y/n·before, and go on until t = 2
        s = -(n @ y) / (n @ before)
        return y + before * s + after * (2 - s)

    exact = torch.autograd.functional.jacobian(through, start)
    assert (saltation_matrix(before, after, n) - exact).abs().max() <= 1e-15
    assert (saltation_matrix(before, before, n) - torch.eye(3)).abs().max() == 0
    batch = saltation_matrix(before.expand(4, 3), after.expand(4, 3), n.expand(4, 3))
    assert batch.shape == (4, 3, 3)


def test_the_saltation_matrix_of_a_bounce():
    # A ball on the floor, v -> −r v under gravity: Leine & Nijmeijer (2004).
    v, r, g = -2.0, 0.8, 9.81
    S = saltation_matrix(tensor(v, -g), tensor(-r * v, -g), tensor(1.0, 0.0), reset=torch.diag(tensor(1.0, -r)))
    assert torch.allclose(S, tensor(-r, 0.0, -(1 + r) * g / v, -r).reshape(2, 2))


@pytest.mark.parametrize("duration", [2.0, 12.0])
def test_the_fundamental_matrix_is_that_of_finite_differences_over_several_crossings(duration):
    system, start = pendulum(), tensor(-1.0, 0.0)
    found = fundamental_matrix(system, start, (0, duration), **TIGHT)
    assert len(found.events) == (1 if duration == 2 else 5)
    exact = finite_differences(lambda y: end_of(system, y, duration), start)
    # Central differences with the step ε err by ε² = 1e-8 times third derivatives, which each crossing enlarges.
    assert (found.matrix - exact).abs().max() <= 1e-6
    assert (found.y - end_of(system, start, duration)).abs().max() <= 1e-8
    wrong = fundamental_matrix(system, start, (0, duration), saltation=False, **TIGHT).matrix
    assert (wrong - exact).abs().max() > 0.1


def test_where_the_field_is_continuous_the_saltation_matrix_is_the_identity():
    system, start = kink(), tensor(-1.0, 0.0)
    assert system.continuous
    with_it, without = (fundamental_matrix(system, start, (0, 8), saltation=s, **TIGHT) for s in (True, False))
    assert len(with_it.events) >= 4
    assert (with_it.matrix - without.matrix).abs().max() <= 1e-9  # crossings are located to about 1e-11
    exact = finite_differences(lambda y: end_of(system, y, 8.0), start)
    assert (with_it.matrix - exact).abs().max() <= 1e-6


def test_autograd_gives_the_fundamental_matrix():
    system, start = pendulum(), tensor(-1.0, 0.0)
    J = torch.autograd.functional.jacobian(lambda y: end_of(system, y, 12.0), start)
    assert (J - fundamental_matrix(system, start, (0, 12), **TIGHT).matrix).abs().max() <= 1e-7


def test_functional_jacobians_equal_backpropagation():
    system, start = pendulum(), tensor(-1.0, 0.0)
    end = lambda y: system.solve(y, (0, 3), t_eval=[3.0], rtol=1e-7, atol=1e-7).y[-1]  # noqa: E731
    assert (torch.func.jacrev(end)(start) - torch.autograd.functional.jacobian(end, start)).abs().max() <= 1e-12


def test_autograd_through_sliding_gives_the_fundamental_matrix_which_is_singular():
    n, start = tensor(0.2, 1.0), tensor(-0.5, -1.0)
    system = Filippov(
        lambda t, y: torch.stack([1 - 0.3 * y[..., 1], 1 + 0.2 * y[..., 0]], -1),
        lambda t, y: torch.stack([0.5 + 0.1 * y[..., 0], y[..., 0] - 2], -1),
        lambda y: y @ n + 0.1 * y[..., 0] ** 2,
    )
    solution = system.solve(start, (0, 6), **TIGHT)
    assert [event.kind for event in solution.events][:2] == ["sliding", "leaving"]
    J = torch.autograd.functional.jacobian(lambda y: end_of(system, y, 6.0), start)
    M = fundamental_matrix(system, start, (0, 6), **TIGHT).matrix
    assert (J - M).abs().max() <= 1e-6
    assert (M - finite_differences(lambda y: end_of(system, y, 6.0), start)).abs().max() <= 1e-5
    assert torch.linalg.det(M).abs() <= 1e-8 * M.norm() ** 2


def test_gradients_for_parameters_of_fields_and_surface_are_finite_differences():
    def loss(p):
        def f(torque):
            return lambda t, y: torch.stack([y[1], -torch.sin(y[0]) - p[0] * y[1] + torque])

        system = Filippov(f(p[1]), f(-0.3), lambda y: y[..., 0] + 0.1 * y[..., 1] - p[2])
        solution = system.solve(tensor(-1.0, 0.0), (0, 9), t_eval=[9.0], **TIGHT)
        return solution.y[-1].sum() + sum(event.time for event in solution.events)

    p = tensor(0.05, 0.5, 0.02)
    exact = torch.stack([(loss(p + e) - loss(p - e)) / 2e-4 for e in 1e-4 * torch.eye(3, dtype=torch.float64)])
    (gradient,) = torch.autograd.grad(loss(p.requires_grad_()), p)
    assert gradient.tolist() == pytest.approx(exact.tolist(), rel=1e-5)  # the differences err by 1e-8 y‴/6


def test_floquet_multipliers_of_a_relay_cycle_are_the_slope_of_its_return_map():
    # x″ + 0.4x′ + x = −sign(x′ − 0.3x) would slide; with +sign(x′) it gains energy: an oscillator driven by a relay.
    f = lambda u: lambda t, y: torch.stack([y[..., 1], -y[..., 0] - 0.4 * y[..., 1] + u], -1)  # noqa: E731
    system = Filippov(f(-1.0), f(1.0), lambda y: y[..., 1])
    # Half a turn maps x₀ = −a to +a: about ±1 the field is a linear focus, so a = 1 + (a + 1) e^{−λπ/ω}.
    decay, omega = 0.2, math.sqrt(1 - 0.04)
    factor = math.exp(-decay * math.pi / omega)
    a = (1 + factor) / (1 - factor)
    start, period = tensor(-a, 0.0), 2 * math.pi / omega
    back = system.solve(start, (0, period), t_eval=[period], **TIGHT).y[-1]
    assert (back - start).abs().max() <= 1e-8
    inside = system.solve(start, (0, 1), t_eval=[1.0], **TIGHT).y[
        -1
    ]  # a start on the surface itself would be half a crossing
    multipliers = floquet_multipliers(system, inside, period, **TIGHT)
    assert multipliers.real.tolist() == pytest.approx([1, factor**2], abs=1e-7)
    assert multipliers.imag.abs().max() <= 1e-9


def grazing(discontinuous):
    """A parabola below y = 0 with the top at height ε over it at x = 0; above, the field is another one."""

    def below(t, y):
        return torch.stack([torch.ones_like(y[..., 0]), -y[..., 0]], -1)

    def above(t, y):
        if discontinuous:
            return torch.ones_like(y)
        return below(t, y) + torch.stack([torch.zeros_like(y[..., 1]), y[..., 1]], -1)

    return Filippov(below, above, lambda y: y[..., 1])


def test_at_grazing_the_derivative_of_a_jumping_field_grows_like_the_inverse_root():
    system, sizes = grazing(True), []
    heights = [10.0**-k for k in range(2, 7)]
    for height in heights:
        start = tensor(-1.0, height - 0.5)  # y = height − x²/2 until it meets zero
        M = fundamental_matrix(system, start, (0, 2), **TIGHT).matrix
        sizes.append(M[1, 1].item())
        # It crosses at x = −√(2ε) and climbs with slope 1, so ∂y/∂ε = 1/√(2ε).
        assert sizes[-1] == pytest.approx(1 / math.sqrt(2 * height), rel=1e-5)
    exponent = np.polyfit(np.log(heights), np.log(sizes), 1)[0]
    assert exponent == pytest.approx(-0.5, abs=1e-4)
    ends = [end_of(system, tensor(-1.0, h - 0.5), 2.0)[1].item() - 1 for h in heights]
    assert np.polyfit(np.log(heights), np.log(ends), 1)[0] == pytest.approx(0.5, abs=1e-4)


def test_at_grazing_the_derivative_of_a_continuous_field_stays():
    system = grazing(False)
    touch = fundamental_matrix(system, tensor(-1.0, -1e-3 - 0.5), (0, 2), **TIGHT)
    assert touch.events == ()
    sizes = []
    for height in (1e-3, 1e-4, 1e-5):
        found = fundamental_matrix(system, tensor(-1.0, height - 0.5), (0, 2), **TIGHT)
        assert len(found.events) == 2
        sizes.append((found.matrix - touch.matrix).norm().item())
    # Above, the linear flow differs by the time spent there, 2√(2ε).
    assert [s / math.sqrt(h) for s, h in zip(sizes, (1e-3, 1e-4, 1e-5), strict=True)] == pytest.approx([4] * 3, rel=0.1)


def test_a_touch_goes_on_in_its_own_region():
    # Both a touch from below, which stays, and f₊, which leads up, would be solutions: the field of the region holds.
    assert grazing(True).mode_at(tensor(0.0, 0.0), 0.0, 1.0, "error", came_from=-1) == -1
    assert grazing(True).kind(tensor(0.0, 0.0)) == "tangency"


def test_times_dense_output_and_modes_fit_together():
    system = pendulum()
    times = torch.linspace(0, 9, 37, dtype=torch.float64)
    solution = system.solve(tensor(-1.0, 0.0), (0, 9), t_eval=times, dense=True, rtol=1e-9, atol=1e-9)
    assert torch.equal(solution.t, times)
    assert solution.y.shape == (37, 2)
    assert (solution.sol(times) - solution.y).abs().max() <= 1e-8
    assert torch.equal(system.region(solution.y), solution.modes)
    every = system.solve(tensor(-1.0, 0.0), (0, 9), rtol=1e-9, atol=1e-9)
    assert (every.t.diff() > 0).all()
    assert len(every.t) == every.steps + 1
    with pytest.raises(ValueError, match="outside the solve"):
        solution.sol(9.5)
    with pytest.raises(ValueError, match="dense=True"):
        every.sol(1.0)


def test_a_solve_without_events_is_that_of_the_plain_solver():
    system = pendulum()
    y = odeint(system.f_minus, tensor(-1.0, 0.0), [0, 0.5], rtol=1e-9, atol=1e-9)[-1]
    assert torch.equal(system.solve(tensor(-1.0, 0.0), (0, 0.5), t_eval=[0.5], rtol=1e-9, atol=1e-9).y[-1], y)


def test_single_precision_crosses_and_slides():
    solution = pendulum().solve(tensor(-1.0, 0.0).float(), (0, 12), t_eval=[12.0], rtol=1e-5, atol=1e-5)
    assert solution.y.dtype == torch.float32
    assert len(solution.events) == 5


def test_wrong_shapes_of_a_saltation_matrix_and_a_tangent_field_are_named():
    with pytest.raises(ValueError, match="must have one shape"):
        saltation_matrix(tensor(1, 2), tensor(1, 2, 3), tensor(1, 0))
    with pytest.raises(ValueError, match="grazing"):
        saltation_matrix(tensor(0, 1), tensor(1, 2), tensor(1, 0))
