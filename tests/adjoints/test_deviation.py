"""A state that is walked back is compared with what it was: who left the path hears of it."""

import math
import warnings

import pytest
import torch

from ndelib import odeint
from ndelib.adjoints import AdjointError, AdjointWarning
from ndelib.adjoints.backward.deviation import FAIL_AT, WARN_AT, check_deviation
from ndelib.solvers import SolverError
from tests.adjoints.problems import apart, leaves, solve, swing, total, vector

POLICIES = ("warn", "raise", "ignore")


def decay_gradient(rate, policy, gradient="adjoint", method="dopri5", times=(0.0, 1.0), **options):
    """Return ∂y(1)/∂y(0) for y' = −λ (y − cos t); walked back, errors grow by e^λ."""
    y0, k = leaves(vector(2.0), vector(rate))
    options = {"rtol": 1e-8, "atol": 1e-8} | options
    y = odeint(
        lambda t, y, k: -k * (y - torch.cos(t)),
        y0,
        times,
        method=method,
        gradient=gradient,
        args=(k,),
        deviation=policy,
        **options,
    )[-1]
    return torch.autograd.grad(y, (y0, k))


@pytest.mark.parametrize("policy", POLICIES)
def test_within_the_tolerance_nobody_hears_anything(policy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decay_gradient(2.0, policy)
    assert found[0].item() == pytest.approx(math.exp(-2), rel=1e-6)


def test_a_state_that_is_off_warns_and_says_by_how_much():
    with pytest.warns(AdjointWarning, match=r"at t = 0 it is off by .* tolerances, .* Use gradient='checkpoint'"):
        decay_gradient(9.0, "warn")
    with pytest.raises(AdjointError, match="left the forward solution"):
        decay_gradient(9.0, "raise")


@pytest.mark.parametrize("policy", ["warn", "raise"])
def test_a_state_that_is_lost_raises(policy):
    with pytest.raises(AdjointError, match="left the forward solution") as caught:
        decay_gradient(20.0, policy)
    assert caught.value.t == 0.0
    assert isinstance(caught.value, SolverError)


@pytest.mark.parametrize("rate", [9.0, 20.0])
def test_who_wants_to_ignore_it_can(rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decay_gradient(rate, "ignore")[0].isfinite().all()


def test_more_times_set_the_state_right():
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decay_gradient(20.0, "raise", times=times)
    assert found[0].item() == pytest.approx(math.exp(-20), abs=1e-9)


def test_it_is_said_at_which_time_the_path_was_left():
    with pytest.raises(AdjointError, match=r"at t = 0\.25 it is off") as caught:
        decay_gradient(30.0, "raise", times=[0.0, 0.125, 0.25, 1.0])
    assert caught.value.t == 0.25


def test_chaos_is_noticed_too():
    def lorenz(t, y, k):
        x, y, z = y
        return torch.stack([10 * (y - x), x * (k - z) - y, x * y - 8 / 3 * z])

    y0, k = leaves(vector(1.0, 2.0, 20.0), torch.tensor(28.0, dtype=torch.float64))
    # Volumes shrink by e^(−41/3 t) on the way there, and distances from the attractor grow like that on the way back.
    y = odeint(lorenz, y0, [0.0, 1.2], gradient="adjoint", args=(k,), rtol=1e-6, atol=1e-6, max_steps=1000)[-1]
    with pytest.raises(AdjointError, match=r"left the forward solution|the backward solve failed"):
        torch.autograd.grad(y[0], (y0, k))


@pytest.mark.parametrize("policy", ["warn", "raise"])
def test_one_lost_sample_of_a_batch_is_noticed(policy):
    rates = torch.ones(1000, 1, dtype=torch.float64)
    rates[417] = 11.0
    (y0,) = leaves(torch.full((1000, 1), 2.0, dtype=torch.float64))
    options = {"gradient": "adjoint", "deviation": policy, "rtol": 1e-7, "atol": 1e-7}
    y = odeint(lambda t, y: -rates * (y - torch.cos(t)), y0, [0.0, 1.0], **options)[-1]
    if policy == "warn":
        with pytest.warns(AdjointWarning):
            y.sum().backward()
    else:
        with pytest.raises(AdjointError):
            y.sum().backward()


def test_a_backward_solve_that_fails_raises_and_says_what_the_solver_said():
    with pytest.raises(AdjointError, match=r"the backward solve failed .* What the solver said: ") as caught:
        decay_gradient(40.0, "ignore", max_steps=250)
    assert 0 < caught.value.t < 1
    assert isinstance(caught.value.__cause__, SolverError)


# Steps that are undone


def test_rounding_that_grows_over_reversible_steps_is_noticed():
    # e²⁴ on the way back, of rounding errors
    def gradient(policy):
        (y0,) = leaves(vector(1.0, 0.5))
        options = {"method": "reversible_rk4", "step_size": 0.02, "gradient": "reversible", "deviation": policy}
        y = odeint(lambda t, y: -6 * (y - torch.cos(t)), y0, [0.0, 4.0], rtol=1e-12, atol=1e-12, **options)[-1]
        return torch.autograd.grad(y.sum(), y0)

    with pytest.warns(AdjointWarning, match="gradient='reversible' walks the state back"):
        gradient("warn")
    with pytest.raises(AdjointError, match="gradient='reversible'"):
        gradient("raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)  # that the two copies come apart is told of the solve itself
        gradient("ignore")


def test_steps_that_cannot_be_undone_raise_an_error_of_gradients():
    # Walked back, −200 (sinh y − …) explodes, and the fixed-point iteration of the midpoint rule with it.
    y0, k = leaves(vector(2.0), vector(1.0))
    y = odeint(
        lambda t, y, k: -50 * (torch.sinh(y) - k * torch.cos(t)),
        y0,
        [0.0, 1.0],
        method="implicit_midpoint",
        gradient="reversible",
        step_size=0.002,
        args=(k,),
    )[-1]
    with pytest.raises(AdjointError, match=r"gradient='reversible': .* fixed-point iterations"):
        torch.autograd.grad(y, (y0, k))


def test_nothing_is_said_where_reversible_steps_return():
    y0, k = leaves(vector(0.8, -0.3), vector(1.1, 1.3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = (
            torch.autograd.grad(total(solve("reversible_heun", how, y0, [0.0, 3.0], k, swing, step_size=0.01)), (y0, k))
            for how in ("reversible", "backprop")
        )
    assert apart(found, expected) < 1e-10


# The rule itself


@pytest.mark.parametrize(
    ("off", "size", "expected"),
    [
        (0.99 * WARN_AT, 1e3, "silence"),
        (1.01 * WARN_AT, 1e3, "warning"),
        (1.01 * WARN_AT, 1e-5, "error"),  # more than a hundredth of the state
        (0.2 * WARN_AT, 1e-5, "warning"),
        (0.09 * WARN_AT, 1e-8, "silence"),  # beside a state as small as the tolerance
    ],
)
def test_what_is_said_depends_on_tolerances_and_on_the_size_of_the_state(off, size, expected):
    tolerance = 1e-6
    there = vector(size, 0.0)
    found = there + vector(0.0, off * tolerance)
    arguments = (found, there, 0.0, tolerance, 0.5)
    relative = off * tolerance / size
    assert (relative > FAIL_AT) == (size < 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if expected == "error":
            with pytest.raises(AdjointError):
                check_deviation(*arguments, "warn")
        else:
            check_deviation(*arguments, "warn")
        assert bool(caught) == (expected == "warning")
        if expected == "silence":
            check_deviation(*arguments, "raise")
        else:
            with pytest.raises(AdjointError):
                check_deviation(*arguments, "raise")
        check_deviation(*arguments, "ignore")


def test_a_state_that_is_nan_is_lost():
    with pytest.raises(AdjointError):
        check_deviation(vector(math.nan), vector(1.0), 1e-6, 1e-6, 0.0, "warn")
