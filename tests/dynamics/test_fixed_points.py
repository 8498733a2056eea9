"""Fixed points are found where they are, and nowhere else; their kind is what the flow does."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib import odeint
from ndelib.dynamics import fixed_points


def locations(points):
    return [p.location.item() for p in points]


def test_cubic_of_chapter_one():
    points = fixed_points(lambda t, x: x * (1 - x) * (x - 2), -1, 3)
    assert locations(points) == pytest.approx([0, 1, 2], abs=1e-12)
    assert [p.kind for p in points] == ["stable", "unstable", "stable"]
    assert [p.jacobian.item() for p in points] == pytest.approx([-2, 1, -2], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=6, unique=True))
def test_polynomials_give_back_their_roots(tenths):
    roots = [value / 10 for value in sorted(tenths)]

    def f(t, x):
        return -math.prod((x - root for root in roots), start=torch.ones_like(x))

    points = fixed_points(f, -5, 5)
    assert locations(points) == pytest.approx(roots, abs=1e-7)
    # The last root is stable, since f is negative beyond it, and stability alternates.
    assert [p.stable for p in reversed(points)] == [i % 2 == 0 for i in range(len(roots))]


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3))
def test_kind_on_the_line_is_what_the_flow_does(amplitude):
    def f(t, x):
        return torch.sin(3 * x) + amplitude * x / 10

    for point in fixed_points(f, -2, 2):
        start = point.location + torch.tensor([-1e-3, 1e-3], dtype=torch.float64)
        end = odeint(f, start, [0.0, 0.5], step_size=0.05)[-1]
        approaches = (end - point.location).abs() < (start - point.location).abs()
        assert approaches.all() == point.stable


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (lambda t, x: -(x**3), "stable"),
        (lambda t, x: x**3, "unstable"),
        (lambda t, x: x**2, "half-stable"),
        (lambda t, x: -(x**2), "half-stable"),
    ],
)
def test_zero_slope_is_decided_by_the_sign_of_f(f, kind):
    (point,) = fixed_points(f, -1.1, 1)  # the root is not on the grid of starts
    assert point.location.item() == pytest.approx(0, abs=1e-4)
    assert point.kind == kind


@pytest.mark.parametrize("f", [lambda t, x: 1 / x, lambda t, x: torch.sign(x - 0.01), lambda t, x: 1 + x**2])
def test_poles_jumps_and_near_misses_are_no_fixed_points(f):
    assert fixed_points(f, -1, 1.1) == []


def test_damped_pendulum():
    def f(t, y):
        q, v = y.unbind(-1)
        return torch.stack([v, -torch.sin(q) - 0.2 * v], dim=-1)

    points = fixed_points(f, (-4, -2), (7, 2))
    assert [p.location[0].item() / math.pi for p in points] == pytest.approx([-1, 0, 1, 2], abs=1e-10)
    assert [p.kind for p in points] == ["saddle", "stable spiral", "saddle", "stable spiral"]
    expected = torch.tensor([-0.1 - math.sqrt(0.99) * 1j, -0.1 + math.sqrt(0.99) * 1j])
    assert torch.allclose(torch.view_as_real(points[1].eigenvalues).abs(), torch.view_as_real(expected).abs().double())


def test_three_dimensions_and_a_frozen_time():
    def lorenz(t, y):
        x, y, z = y.unbind(-1)
        return torch.stack([10 * (y - x), x * (t - z) - y, x * y - 8 / 3 * z], dim=-1)

    points = fixed_points(lorenz, (-20, -20, -5), (20, 20, 40), t=28.0)
    c = math.sqrt(8 / 3 * 27)
    expected = torch.tensor([[-c, -c, 27.0], [0.0, 0.0, 0.0], [c, c, 27.0]], dtype=torch.float64)
    assert torch.allclose(torch.stack([p.location for p in points]), expected, atol=1e-8)
    assert [p.kind for p in points] == ["saddle", "saddle", "saddle"]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), ((0, 0), (1, 0)), ((0, 0), (1, 1, 1)), (0, (1, 1))])
def test_an_empty_region_is_refused(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        fixed_points(lambda t, y: y, low, high)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_slopes_are_found_where_gradients_are_switched_off(off):
    with off():
        points = fixed_points(lambda t, x: torch.sin(x), -1, 1.1)
    assert [p.jacobian.item() for p in points] == [pytest.approx(1.0)]
