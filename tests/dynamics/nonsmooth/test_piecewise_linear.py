"""Exact orbits of piecewise-linear systems, and the two examples of the lecture: a limit cycle and chaos."""

import math
import time

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from ndelib.dynamics import PiecewiseLinear, fundamental_matrix, nonsmooth_lyapunov_spectrum
from ndelib.dynamics.attractors.spectrum import first_frame
from tests.conftest import full

PLANAR = {"A1": [[-1, 1], [-1, 0]], "A2": [[2, 1], [-5, 0]], "b": [0, 1], "c": [1, 0]}
SPATIAL = {
    "A1": [[-0.8, 1, 0], [-0.57, 0, 1], [-0.09, 0, 0]],
    "A2": [[0.1, 1, 0], [-0.2, 0, 1], [-60, 0, 0]],
    "b": [0, 0, 1],
    "c": [1, 0, 0],
}
AS_PRINTED = {**SPATIAL, "A1": [[0.8, 1, 0], [0.57, 0, 1], [-0.09, 0, 0]]}


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def half_map(A, b, y):
    """By other means: from (0, y) on the boundary to the next zero of the first component. Returns (y', time)."""
    M = np.block([[np.array(A, float), np.array(b, float)[:, None]], [np.zeros((1, 3))]])
    height = lambda t: (scipy.linalg.expm(M * t) @ [0, y, 1])[0]  # noqa: E731
    grid = np.arange(0.05, 20, 0.05)
    first = next(t for t in grid if height(t) * height(t + 0.05) <= 0)
    t = brentq(height, first, first + 0.05, xtol=1e-15)
    return (scipy.linalg.expm(M * t) @ [0, y, 1])[1], t


def turn(y, mu):
    """The return map of the planar example on x = 0, y > 0, with its time."""
    y, first = half_map(PLANAR["A2"], [0, mu], y)
    y, second = half_map(PLANAR["A1"], [0, mu], y)
    return y, first + second


def test_the_planar_cycle_is_the_fixed_point_of_a_return_map_by_matrix_exponentials():
    y = brentq(lambda y: turn(y, 1.0)[0] - y, 1, 50, xtol=1e-14)
    slope = (turn(y + 1e-4, 1.0)[0] - turn(y - 1e-4, 1.0)[0]) / 2e-4
    cycle = PiecewiseLinear(**PLANAR, mu=1.0).limit_cycle()
    assert cycle.y.tolist() == pytest.approx([0, y], abs=1e-11)
    assert cycle.period == pytest.approx(turn(y, 1.0)[1], abs=1e-11)
    assert cycle.multipliers.real.tolist() == pytest.approx([1, slope], abs=1e-6)
    assert cycle.stable


@pytest.mark.parametrize("mu", [1e-3, 0.1, 7.0])
def test_its_amplitude_is_proportional_to_mu_and_its_period_does_not_depend_on_it(mu):
    one, other = (PiecewiseLinear(**PLANAR, mu=m).limit_cycle() for m in (1.0, mu))
    assert (other.y / mu - one.y).abs().max() <= 1e-12 * one.y.norm()
    assert other.period == pytest.approx(one.period, rel=1e-12)
    amplitude = [c.orbit.sol(torch.linspace(0, c.period, 200, dtype=torch.float64))[:, 0].max() for c in (one, other)]
    assert (amplitude[1] / amplitude[0]).item() == pytest.approx(mu, rel=1e-12)


def test_for_negative_mu_the_planar_example_ends_in_its_stable_focus():
    system = PiecewiseLinear(**PLANAR, mu=-1.0)
    (point,) = [p for p in system.equilibria() if p.admissible]
    assert (point.side, point.stable) == (-1, True)
    assert (system.orbit([5.0, 5.0], 400).y[-1] - point.y).norm() <= 1e-12
    with pytest.raises(ValueError, match="no image of the return map"):
        system.limit_cycle()


def test_the_event_solver_runs_into_the_same_cycle():
    system = PiecewiseLinear(**PLANAR, mu=1.0)
    cycle = system.limit_cycle()
    turned = fundamental_matrix(
        system, cycle.y + tensor(1e-9, 0), (0, cycle.period), method="dopri8", rtol=1e-11, atol=1e-11
    )
    assert (turned.y - cycle.y).abs().max() <= 1e-7
    assert (turned.matrix - cycle.orbit.fundamental).abs().max() <= 1e-6


entries = st.floats(-2, 2).map(lambda x: round(x, 2))


@settings(max_examples=full(15, 5), deadline=None)
@given(
    st.lists(entries, min_size=9, max_size=9),
    st.lists(entries, min_size=3, max_size=3),
    st.lists(entries, min_size=3, max_size=3),
)
def test_exact_orbits_are_those_of_the_event_solver(matrix, q, start):
    A1 = np.reshape(matrix, (3, 3))
    A2 = A1 + np.outer(q, [1, 0, 0])
    system = PiecewiseLinear(A1, A2, b=[0.3, -1, 0.5], c=[1, 0, 0])
    exact = system.orbit(start, 3.0)
    if exact.escaped:
        return
    found = fundamental_matrix(system, tensor(*start), (0, 3), method="dopri8", rtol=1e-10, atol=1e-10)
    size = exact.y.abs().max() + exact.fundamental.norm()
    assert (found.y - exact.y[-1]).abs().max() <= 1e-7 * size**2
    assert (found.matrix - exact.fundamental).abs().max() <= 1e-6 * size**2


def test_where_the_field_jumps_the_exact_linear_flow_is_that_of_finite_differences():
    system = PiecewiseLinear([[-0.1, 1], [-2, 0]], [[0.1, 2], [-1, -0.3]], b=[0, 0], c=[1, 0.5])
    assert not system.continuous
    orbit, start, step = system.orbit([-1, 0.3], 6), tensor(-1.0, 0.3), 1e-5
    assert len(orbit.sides) >= 3
    ends = [[system.orbit(start + s * e, 6).y[-1] for s in (step, -step)] for e in torch.eye(2, dtype=torch.float64)]
    exact = torch.stack([(ahead - behind) / (2 * step) for ahead, behind in ends], dim=-1)
    assert (orbit.fundamental - exact).abs().max() <= 1e-8  # ε² = 1e-10 times third derivatives, and rounding / ε


def test_an_orbit_as_a_function_of_time_agrees_with_its_meetings():
    orbit = PiecewiseLinear(**SPATIAL, mu=1.0).orbit([0.1, 0, 0], 50)
    assert (orbit.sol(orbit.t) - orbit.y).abs().max() <= 1e-11 * orbit.y.abs().max()
    assert orbit.y[1:-1, 0].abs().max() == 0
    between = (orbit.t[1:] + orbit.t[:-1]) / 2
    assert torch.equal(orbit.sol(between)[:, 0].sign(), tensor(*orbit.sides))
    with pytest.raises(ValueError, match="outside the orbit"):
        orbit.sol(51.0)


def test_two_crossings_within_one_look_are_both_found():
    # A weak dip below the boundary between two grid points: y₁ = 1 − (1 + δ) cos t passes −δ … δ.
    for depth in (1e-3, 1e-6, 1e-9):
        system = PiecewiseLinear([[0, 1], [-1, 0]], [[0, 1], [-1, 0]], b=[0, 1 - depth], c=[1, 0])
        orbit = system.orbit([2.0 - depth, 0.0], 2 * math.pi)  # a circle of the radius 1 about 1 − depth
        assert orbit.sides == (1, -1, 1)
        half = math.acos(1 - depth)
        assert orbit.t[1:3].tolist() == pytest.approx([math.pi - half, math.pi + half], abs=1e-9)


def test_the_spatial_example_rests_for_negative_mu_and_is_chaotic_for_positive():
    system = PiecewiseLinear(**SPATIAL, mu=-1.0)
    (point,) = [p for p in system.equilibria() if p.admissible]
    assert sorted(point.eigenvalues.real.tolist()) == pytest.approx([-0.3, -0.3, -0.2])
    assert (system.orbit([1.0, 0.5, 0.2], 400).y[-1] - point.y).norm() <= 1e-10

    began = time.perf_counter()
    chaos = PiecewiseLinear(**SPATIAL, mu=1.0).lyapunov_spectrum([0.1, 0, 0], 2000, transient=100)
    assert time.perf_counter() - began < 20  # 2.5 s alone
    largest, along, _ = chaos.exponents.tolist()
    error = chaos.standard_error.tolist()
    assert largest > 5 * error[0]
    assert largest == pytest.approx(0.051, abs=4 * error[0])  # four other starts gave 0.049 … 0.051
    assert abs(along) <= 3 * error[1]
    assert 2 < chaos.kaplan_yorke < 2.2


def test_the_largest_exponent_is_the_rate_at_which_two_orbits_part():
    """Benettin's method, which knows neither Jacobians nor saltation matrices."""
    system = PiecewiseLinear(**SPATIAL, mu=1.0)
    y, growth = tensor(0.1, 0.0, 0.2), 0.0
    shift = 1e-7 * first_frame(y, 1)[:, 0]  # the direction in which the spectrum begins, too
    for _ in range(100):
        one, other = (system.orbit(start, 0.5).y[-1] for start in (y, y + shift))
        growth += math.log((other - one).norm() / 1e-7)
        y, shift = one, 1e-7 * (other - one) / (other - one).norm()
    exact = system.lyapunov_spectrum([0.1, 0, 0.2], 50, interval=0.5, count=1).exponents.item()
    assert growth / 50 == pytest.approx(exact, abs=1e-5)


def test_the_sum_of_exponents_is_the_mean_trace():
    system = PiecewiseLinear(**SPATIAL, mu=1.0)
    start = [0.3, -1.0, 0.5]
    spectrum, orbit = system.lyapunov_spectrum(start, 30, interval=0.5), system.orbit(start, 30)
    stays = orbit.t.diff() * tensor(*[{-1: -0.8, 1: 0.1}[side] for side in orbit.sides])
    assert spectrum.exponents.sum().item() == pytest.approx(stays.sum().item() / 30, abs=1e-8)


def test_exponents_of_the_cycle_are_the_logarithms_of_its_multipliers():
    system = PiecewiseLinear(**PLANAR, mu=1.0)
    cycle = system.limit_cycle()
    expected = cycle.multipliers.abs().log() / cycle.period
    options = {"interval": cycle.period / 2, "transient": 100 * cycle.period}  # 0.8¹⁰⁰: the columns have turned
    exact = system.lyapunov_spectrum(cycle.y, 4 * cycle.period, **options)
    assert (exact.exponents - expected).abs().max() <= 1e-9
    options["transient"] = 0.0
    short = system.lyapunov_spectrum(cycle.y, 2 * cycle.period, **options)
    general = nonsmooth_lyapunov_spectrum(system, cycle.y, 2 * cycle.period, rtol=1e-9, atol=1e-9, **options)
    assert (general.exponents - short.exponents).abs().max() <= 1e-6


def test_a_part_of_the_spectrum_is_the_first_of_the_whole():
    system = PiecewiseLinear(**SPATIAL, mu=1.0)
    whole, part = (system.lyapunov_spectrum([0.1, 0, 0], 50, transient=20, count=k).exponents for k in (None, 2))
    assert (whole[:2] - part).abs().max() <= 1e-9


@pytest.mark.parametrize("mu", [-1.0, 1.0])
def test_as_printed_the_spatial_example_blows_up(mu):
    for start in ([0.1, 0, 0], [-0.1, 0, 0], [1, 1, 1]):
        assert PiecewiseLinear(**AS_PRINTED, mu=mu).orbit(start, 400).escaped
    with pytest.raises(ValueError, match="escapes to infinity"):
        PiecewiseLinear(**AS_PRINTED, mu=mu).lyapunov_spectrum([0.1, 0, 0], 400)


def test_a_piecewise_linear_system_that_slides_does_so_in_solve_and_is_refused_by_the_exact_path():
    system = PiecewiseLinear([[0, 1], [0, 0]], [[0, -1], [0, 0]], b=[0, 0.5], c=[1, 0])
    assert not system.continuous
    assert [e.kind for e in system.solve(tensor(-1, 1), (0, 2)).events] == ["sliding"]
    with pytest.raises(ValueError, match=r"begins to slide.*Use solve"):
        system.orbit([-1, 1], 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A1": [[1, 2, 3]]}, "A1 must be finite and of the shape"),
        ({"b": [0, math.nan]}, "b must be finite"),
        ({"c": [0, 0]}, "c must not be zero"),
    ],
)
def test_wrong_matrices_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinear(**{**PLANAR, **change})


def test_wrong_arguments_are_named():
    system = PiecewiseLinear(**PLANAR)
    with pytest.raises(ValueError, match="y0 must be one finite state"):
        system.orbit([1, 2, 3], 1)
    with pytest.raises(ValueError, match="count must be between 1 and"):
        system.lyapunov_spectrum([1, 1], 10, count=3)
    with pytest.raises(ValueError, match="A2 must be invertible"):
        PiecewiseLinear([[1, 0], [0, 1]], [[0, 0], [0, 1]], [0, 1], [1, 0]).equilibria()
