"""Steps made again give the gradient of backpropagation to rounding, whatever the solve was like."""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints.backward.checkpoint import steps_before
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import (
    IMPLICIT,
    IN_PAIRS,
    UNDOABLE,
    Y0,
    K,
    apart,
    force,
    leaves,
    solve,
    swing,
    total,
    vector,
    velocity,
)
from tests.conftest import full

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
AGAIN = [name for name in METHODS if name not in IMPLICIT]
"""methods whose steps are made again from their states alone"""
TIMES = vector(1.0, 0.97, 0.95, 0.7, 0.28, 0.25, 0.0)
JUMPS = [0.7, 0.3]
"""backwards in time, over jumps, one of which is a requested time; several times within a step"""


def jumping(t, y, k):
    """``swing`` with a force that is switched at the jumps."""
    return swing(t, y, k) * (1 + 0.5 * (t > JUMPS[0])) + 0.3 * (t > JUMPS[1])


def jumping_pairs(t, state, k):
    q, p = state
    return velocity(t, p, k) * (1 + 0.5 * (t > JUMPS[0])), force(t, q, k) + 0.3 * (t > JUMPS[1])


def gradients(method, gradient, times=TIMES, loss=total, **options):
    """Return the gradients for y0, the times and k of a solve with everything that makes it difficult."""
    y0, t, k = leaves(Y0, times, K)
    f = jumping_pairs if method in IN_PAIRS else jumping
    return torch.autograd.grad(loss(solve(method, gradient, y0, t, k, f, step_at=JUMPS, **options)), (y0, t, k))


@pytest.mark.parametrize("method", METHODS)
def test_checkpoints_give_the_gradient_of_backpropagation(method):
    expected = gradients(method, "backprop", step_size=0.2)
    assert apart(gradients(method, "checkpoint", step_size=0.2), expected) < 1e-12
    if method in AGAIN:
        for checkpoints in full((1, 2, 3, "log"), (2, "log")):  # 1 and 3 in the next test but one
            assert apart(gradients(method, "checkpoint", step_size=0.2, checkpoints=checkpoints), expected) < 1e-12


@pytest.mark.parametrize("method", UNDOABLE)
def test_steps_that_are_undone_give_the_gradient_of_backpropagation(method):
    found, expected = (gradients(method, gradient, step_size=0.2) for gradient in ("reversible", "backprop"))
    assert apart(found, expected) < 1e-10


@pytest.mark.parametrize("method", ADAPTIVE)
def test_steps_that_the_solver_chose_are_made_again(method):
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if METHODS[method].order < 4 else {"rtol": 1e-4, "atol": 1e-4}
    expected = gradients(method, "backprop", **tolerance)
    assert apart(gradients(method, "checkpoint", **tolerance), expected) < 1e-12
    if method in AGAIN:
        for checkpoints in (1, 3, "log"):
            assert apart(gradients(method, "checkpoint", checkpoints=checkpoints, **tolerance), expected) < 1e-12
    if method in UNDOABLE:
        assert apart(gradients(method, "reversible", **tolerance), expected) < 1e-10


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
@pytest.mark.parametrize("part", [slice(1, 4), slice(None)])
def test_several_times_may_lie_in_one_step(gradient, part):
    times = vector(0.0, 0.03, 0.1, 0.17, 0.25)
    options = {"rtol": 0.1, "atol": 0.1, "first_step": 1.0}  # one step for all of them

    def loss(ys):  # of those within it alone, and of all
        return total(ys[part])

    found, expected = (
        gradients("reversible_dopri5", how, times, loss=loss, **options) for how in (gradient, "backprop")
    )
    assert apart(found, expected) < 1e-11


@pytest.mark.parametrize("method", ["leapfrog", "yoshida4", "symplectic_euler", "tao"])
@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_velocity_and_force_in_two_functions(method, gradient):
    def solved(how, f):
        y0, t, k = leaves(Y0, TIMES, K)
        state = tuple(y0.reshape(2, 1, 1))
        ys = odeint(f, state, t, method=method, gradient=how, args=(k,), step_size=0.2)
        assert [tuple(part.shape) for part in ys] == [(7, 1, 1), (7, 1, 1)]
        return torch.autograd.grad(total(torch.cat(ys, -1)), (y0, t, k))

    pair = (velocity, force)
    expected = solved("backprop", pair)
    assert apart(solved(gradient, pair), expected) < 1e-11
    assert apart(solved("backprop", lambda t, s, k: (velocity(t, s[1], k), force(t, s[0], k))), expected) < 1e-11


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "interpolated", "reversible"])
def test_a_tuple_of_states_of_any_shapes(gradient):
    method = "reversible_dopri5" if gradient == "reversible" else "dopri5"

    def f(t, state, k):
        x, y, z = state
        return k[0] * torch.sin(y) * x, torch.cos(t + y) * x.mean(), -k[1] * z

    def solved(how):
        parts = leaves(vector(0.4, 1.0, -0.2).reshape(3, 1), vector(0.3), vector(1.0, 2.0).reshape(1, 2, 1))
        parts = (parts[0], parts[1].squeeze(), parts[2])
        (k,) = leaves(K)
        ys = odeint(f, parts, [0.0, 0.4, 1.0], method=method, gradient=how, args=(k,), rtol=1e-9, atol=1e-9)
        return torch.autograd.grad(sum(total(part) for part in ys), (*parts[::2], k))

    expected = solved("backprop")
    assert apart(solved(gradient), expected) < (1e-11 if gradient in ("checkpoint", "reversible") else 1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "adams_bashforth_moulton", "tao", "trapezoid", "reversible_rk4"])
def test_running_costs_are_differentiated_in_the_same_way(method):
    def solved(gradient, **options):
        y0, t, k = leaves(Y0, TIMES, K)
        state = tuple(y0.split(1)) if method in IN_PAIRS else y0
        ys, costs = odeint_with_cost(
            jumping_pairs if method in IN_PAIRS else jumping,
            lambda t, y, k: k[0] * t * sum(part.square().sum() for part in (y if method in IN_PAIRS else (y,))),
            state,
            t,
            method=method,
            gradient=gradient,
            args=(k,),
            step_at=JUMPS,
            **options,
        )
        ys = torch.cat(ys, -1) if method in IN_PAIRS else ys
        return torch.autograd.grad(total(ys) + total(costs), (y0, t, k))

    fixed = {} if method == "dopri5" else {"step_size": 0.17}
    expected = solved("backprop", **fixed)
    ways = [("checkpoint", {})]
    ways += [("checkpoint", {"checkpoints": n}) for n in (1, "log") if method in AGAIN]
    ways += [("reversible", {})] if method in UNDOABLE else []
    for gradient, options in ways:
        assert apart(solved(gradient, **options, **fixed), expected) < 1e-11


# How often steps are made again


class Counted:
    """A field that notes at which times it was asked."""

    def __init__(self):
        self.times = []

    def __call__(self, t, y, k):
        self.times.append(t.item())
        return k[0] * torch.sin(y)


def most_repetitions(steps, checkpoints):
    """Return how often the step that is made most often on the way back was made there; Euler asks once a step."""
    f = Counted()
    (k,) = leaves(K)
    y = odeint(
        f,
        Y0,
        [0.0, 1.0],
        method="euler",
        step_size=1 / steps,
        gradient="checkpoint",
        args=(k,),
        checkpoints=checkpoints,
    )
    before = len(f.times)
    y[-1].sum().backward()
    made = f.times[before:]
    return max(made.count(t) for t in set(made))


@pytest.mark.parametrize("slots", [2, 3, 4])
@pytest.mark.parametrize("repetitions", [1, 2, 3])
def test_the_binomial_number_of_steps_can_be_differentiated(slots, repetitions):
    # Griewank (1992): with s states, the first among them, (s + r choose s) steps are made again at most r times each,
    # and once more to be differentiated; one step more needs one repetition more.
    steps = math.comb(slots + repetitions, slots)
    assert most_repetitions(steps, slots) == repetitions + 1
    assert most_repetitions(steps + 1, slots) == repetitions + 2


def test_with_one_state_the_first_step_is_made_again_for_each():
    assert most_repetitions(7, 1) == 7


def test_every_state_kept_means_that_no_step_is_made_twice():
    assert most_repetitions(30, None) == 1
    assert most_repetitions(30, 30) == 2
    assert most_repetitions(256, "log") <= 5


@functools.cache
def fewest_made_again(steps: int, slots: int) -> int:
    """The best of all schedules, by trying every place of the next state that is kept."""
    if slots == 0 or steps == 1:
        return steps * (steps - 1) // 2
    return min(m + fewest_made_again(steps - m, slots - 1) + fewest_made_again(m, slots) for m in range(1, steps))


@functools.cache
def made_again(steps: int, slots: int) -> int:
    if slots == 0 or steps == 1:
        return steps * (steps - 1) // 2
    m = steps_before(steps, slots)
    return m + made_again(steps - m, slots - 1) + made_again(m, slots)


@pytest.mark.parametrize("slots", range(1, 7))
def test_no_schedule_makes_fewer_steps_again(slots):
    assert all(made_again(steps, slots) == fewest_made_again(steps, slots) for steps in range(2, 90))


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 10_000), st.integers(1, 20))
def test_both_parts_of_a_split_can_be_done_with_what_they_get(steps, slots):
    before, s = steps_before(steps, slots), slots + 1
    assert 1 <= before < steps
    r = next(r for r in range(1, steps + 1) if math.comb(s + r, s) >= steps)
    assert before <= math.comb(s + r - 1, s)  # one repetition less
    assert steps - before <= math.comb(s - 1 + r, s - 1)  # one slot less
