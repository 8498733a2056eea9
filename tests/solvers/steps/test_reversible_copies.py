"""An adaptive reversible solve ends where the copies of its state part, instead of leaving the solution."""

import math

import pytest
import torch

from ndelib import odeint
from ndelib.solvers import StepSizeTooSmall

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
