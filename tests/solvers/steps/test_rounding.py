"""A step rounds the state once: y₁ is y plus one increment, however many stages that has."""

import pytest
import torch

from ndelib import odeint
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.runge_kutta import combine
from ndelib.solvers.steps.step import Statistics

ONE_INCREMENT = [name for name, method in METHODS.items() if method.kind != "symplectic"]
EPS = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("name", ONE_INCREMENT)
def test_a_step_of_constant_slope_is_rounded_once(name):
    """y + h c with one rounding is off by half a unit in the last place, EPS/2 of numbers from 1 to 2, and no more.

    The increment itself is exact to a few EPS of its own size, which is a thousandth.
    """
    y = 1.25 + 0.5 * torch.rand(1000, generator=torch.Generator().manual_seed(0))
    c, h = 0.2, 0.0037
    f = lambda t, y: torch.full_like(y, c)  # noqa: E731
    options = {"jacobian": lambda t, y: torch.zeros(1000, 1, 1)} if METHODS[name].solves_stages else {}
    start = y[:, None] if METHODS[name].solves_stages else y
    step = METHODS[name].start(f, Statistics(), **options)
    first = step(0.0, start, h, None)
    exact = first.y.double() + h * c
    assert (first.y1.double() - exact).abs().max() <= EPS / 2 + 8 * EPS * h * c


def test_the_first_state_of_tableaus_with_leading_zeros_is_right():
    # DOP853's last rows begin with weights of zero in between; combine() counts in parts of the first that is none.
    y = torch.linspace(1, 2, 7, dtype=torch.float64)
    for name in ("dopri8", "bosh3", "dopri5"):
        tableau = METHODS[name].tableau
        k = torch.randn(len(tableau.b), 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        expected = y + 0.3 * torch.tensor(tableau.b, dtype=torch.float64) @ k
        from_library = combine(y, 0.3, tableau.b, list(k))
        assert torch.allclose(from_library, expected, rtol=1e-14, atol=0)
    assert torch.equal(combine(y, 0.3, (0.0, 0.0), [y, y]), y)
    assert torch.allclose(combine(y, 0.3, (0.0, 2.0), [y, y]), 1.6 * y, rtol=1e-15)


def test_many_short_steps_in_float32_are_off_by_no_more_than_one_rounding_each():
    y0, steps = torch.linspace(1.0, 4.0, 50), 1000
    y = odeint(lambda t, y: 0.2 + 0 * y, y0, [0.0, 10.0], method="rk4_38", step_size=10 / steps)[-1]
    half_a_unit = 2 * EPS  # of numbers from 4 to 8
    assert (y.double() - y0.double() - 2).abs().max() <= steps * half_a_unit
