"""Reversible methods: steps are undone to rounding, and an adaptive solve ends where the copies of the state part."""

import math
from itertools import pairwise

import pytest
import torch

from ndelib import odeint
from ndelib.solvers import StepSizeTooSmall
from ndelib.solvers.methods import METHODS
from ndelib.solvers.step import Statistics, Step

NAMES = [name for name, method in METHODS.items() if method.kind == "reversible"]
Y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)


def oscillator(t, y):
    return torch.stack([y[1], -y[0]])


def forced(t, y):
    return torch.stack([y[1], -torch.sin(y[0]) + math.cos(t)])


def van_der_pol(t, y):
    return torch.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]])


@pytest.mark.parametrize("name", NAMES)
def test_two_hundred_steps_are_undone_to_rounding(name):
    method = METHODS[name]
    make, undo = method.start(forced, Statistics()), method.reverse(forced, Statistics())
    times = [0.05 * n for n in range(201)]
    steps = []
    y, before = Y0, None
    for t, t1 in pairwise(times):
        before = make(t, y, t1, None, before)
        steps.append(before)
        y = before.y1
    for step in reversed(steps):
        after = step._replace(y=y, y1=y, k=[], f1=None, memory=before.memory)
        before = undo(step.t1, y, step.t, None, after)
        y = before.y1
        assert (y - step.y).abs().max() < 1e-12


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


def test_asynchronous_leapfrog_has_the_ghost_of_theory():
    # On y' = −3y with h = 0.1 a step multiplies by −x ± √(1 + x²), x = 0.3: trace −2x, determinant −1.
    step = METHODS["asynchronous_leapfrog"].start(lambda t, y: -3 * y, Statistics())

    def move(state):
        y, v = state[:1], state[1:]
        made = step(0.0, y, 0.1, None, Step(-0.1, 0.0, y, y, [], None, None, (v,)))
        return torch.cat([made.y1, *made.memory])

    matrix = torch.func.jacfwd(move)(torch.ones(2, dtype=torch.float64))
    found = torch.linalg.eigvals(matrix).real.sort().values
    expected = torch.tensor([-0.3 - math.hypot(1, 0.3), -0.3 + math.hypot(1, 0.3)], dtype=torch.float64)
    assert torch.allclose(found, expected, atol=1e-12)
