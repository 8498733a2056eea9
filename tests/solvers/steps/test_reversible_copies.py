"""An adaptive reversible solve ends where the copies of its state part, instead of leaving the solution."""

import math
import warnings
from itertools import pairwise

import pytest
import torch

from ndelib import odeint
from ndelib.solvers import StepSizeTooSmall
from ndelib.solvers.steps.reversible import (
    HARMFUL,
    METHODS,
    difference_of_copies,
    second_copy,
    where_the_velocity_leads,
)
from ndelib.solvers.steps.step import Statistics

METHODS_WITH_COPIES = list(METHODS)

Y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)


def oscillator(t, y):
    return torch.stack([y[1], -y[0]])


def van_der_pol(t, y):
    return torch.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]])


def test_copies_stay_a_few_tolerances_apart_where_nothing_is_lost():
    ys = odeint(oscillator, Y0, [0.0, 100.0], method="reversible_dopri5", rtol=1e-6, atol=1e-6)
    exact = torch.stack([math.cos(100) * Y0[0] + math.sin(100) * Y0[1], math.cos(100) * Y0[1] - math.sin(100) * Y0[0]])
    assert (ys[-1] - exact).abs().max() < 1e-4


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_a_flow_that_contracts_ends_the_solve_instead_of_leaving_the_solution(tolerance):
    # Van der Pol's cycle attracts: without a look at the copies the state is off by 0.06 at t = 10 and 1e-8.
    with pytest.raises(
        StepSizeTooSmall, match="two copies of the state that reversible_dopri5 carries have come apart"
    ):
        odeint(van_der_pol, 2 * Y0, [0.0, 10.0], method="reversible_dopri5", rtol=tolerance, atol=tolerance)


def test_what_was_solved_before_the_copies_parted_is_right():
    exact = odeint(van_der_pol, 2 * Y0, [0.0, 2.0], method="dopri8", rtol=1e-12, atol=1e-12)[-1]
    ys = odeint(van_der_pol, 2 * Y0, [0.0, 2.0], method="reversible_dopri5", rtol=1e-8, atol=1e-8)
    assert (ys[-1] - exact).abs().max() < 1e-6  # a hundred tolerances


# The measure of what their difference does


def copies_at(name, f, y0, end, steps):
    """Return the measure at the end of ``steps`` equal steps from 0 to ``end``, and the last state."""
    make, before, y, times = METHODS[name].start(f, Statistics()), None, y0, [end * n / steps for n in range(steps + 1)]
    for t, t1 in pairwise(times):
        step = make(t, y, t1, before.f1 if before else None, before)
        start, y, before = y, step.y1, step
    alone = make(t, start, t1, None, None)
    return difference_of_copies(
        step, alone, where_the_velocity_leads if name == "asynchronous_leapfrog" else second_copy
    ), y


@pytest.mark.parametrize("name", METHODS_WITH_COPIES)
@pytest.mark.parametrize(
    ("f", "steps"), [(oscillator, 100), (oscillator, 1000), (lambda t, y: torch.cos(t + 0 * y), 100)]
)
def test_oscillation_and_quadrature_leave_copies_together(name, f, steps):
    copies, _ = copies_at(name, f, Y0, 50.0, steps)
    assert copies.harm < 3


@pytest.mark.parametrize("x", [0.1, 0.02])
def test_reversible_heun_on_a_decay_has_the_copies_of_its_two_step_factors(x):
    # (y, ŷ) moves by [[1 − x, x²/2], [2, −(1 + x)]] from (1, 1), x = hλ; a step from equal copies makes a difference of
    # x²/2 of y, and a difference d changes y by x²/2 d.
    steps = round(5 / x)
    y, other = 1.0, 1.0
    for _ in range(steps):
        before = y, other
        y, other = (1 - x) * y + x * x / 2 * other, 2 * y - (1 + x) * other
    copies, _ = copies_at("reversible_heun", lambda t, y: -y, torch.ones(1, dtype=torch.float64), steps * x, steps)
    assert copies.apart == pytest.approx(abs(other - y) / abs(y), rel=1e-6)
    assert copies.harm == pytest.approx(abs(before[1] - before[0]) / abs(before[0]), rel=1e-6)


@pytest.mark.parametrize("name", METHODS_WITH_COPIES)
def test_harm_is_noted_before_the_error_is_ten_times_that_of_the_method_and_not_before_it_shows(name):
    """Along y' = −y the error of y, relative to y, grows in proportion to t while the copies are together."""
    noted = 0
    early = abs(
        copies_at(name, lambda t, y: -y, torch.ones(1, dtype=torch.float64), 0.5, 5)[1].item() / math.exp(-0.5) - 1
    )
    for end in range(1, 11):
        copies, y = copies_at(name, lambda t, y: -y, torch.ones(1, dtype=torch.float64), float(end), 10 * end)
        error = abs(y.item() / math.exp(-end) - 1) / (2 * end * early)
        noted = noted or (copies.harm > HARMFUL and end)
        assert noted or error < 20
    assert 1 < noted < 8


@pytest.mark.parametrize("name", METHODS_WITH_COPIES)
def test_fixed_steps_on_a_decay_warn_once_with_the_size_of_the_difference(name):
    y0 = torch.ones(3, dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match=rf"{name!r} carries come apart: at t = .* they differ by .* times") as said:
        odeint(
            lambda t, y: -5 * y, y0, [0.0, 1.0, 2.0, 4.0], method=name, step_size=0.02, step_at=[1.5], adaptive=False
        )
    assert len(said) == 1


@pytest.mark.parametrize("name", METHODS_WITH_COPIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_steps_do_not_warn_where_it_is_safe(name, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        odeint(oscillator, Y0.to(dtype), [0.0, 50.0], method=name, step_size=0.05, adaptive=False)
        odeint(lambda t, y: -y, Y0.to(dtype), [0.0, 1.0], method=name, step_size=0.05, adaptive=False)
        odeint(lambda t, y: 0 * y, 0 * Y0.to(dtype), [0.0, 1.0], method=name, step_size=0.1, adaptive=False)
        odeint(
            lambda t, y: torch.cos(t + 0 * y), 0 * Y0.to(dtype), [0.0, 20.0], method=name, step_size=0.1, adaptive=False
        )
