"""A contraction, the hard case of every way back: the gradient is right to 1e-5, or it is refused.

y' = −λ (sinh y − sinh(θ cos t)) − θ sin t has the solution θ cos t. For θ = 1 and y(0) = 1 its sensitivity s = ∂y/∂θ
obeys s' = −λ cosh(cos t) (s − cos t) − sin t, s(0) = 0. So s − cos t decays from −1: s(t) = cos t − E(t) with
E(t) = exp(−λ ∫₀ᵗ cosh cos), and ∂y(t)/∂y(0) = E(t).
"""

import math
import warnings

import pytest
import torch
from scipy.integrate import quad

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints import AdjointError, AdjointWarning
from ndelib.solvers import SolverError
from tests.adjoints.problems import leaves, vector
from tests.conftest import full

RATES = (1, 3, 10, 30, 100)


def contraction(t, y, rate, theta):
    return -rate * (torch.sinh(y) - torch.sinh(theta * torch.cos(t))) - theta * torch.sin(t)


def decay(rate, t):
    return math.exp(-rate * quad(lambda s: math.cosh(math.cos(s)), 0, t, epsabs=1e-13)[0])


def gradients(rate, gradient, method, tolerance, **options):
    """Return ∂y(1)/∂y(0) and ∂y(1)/∂θ."""
    y0, theta = leaves(vector(1.0), vector(1.0))
    options |= {"rtol": tolerance, "atol": tolerance, "method": method, "gradient": gradient}
    y = odeint(contraction, y0, [0.0, 1.0], args=(rate, theta), **options)[-1]
    assert y.item() == pytest.approx(math.cos(1), abs=1e-6)
    return [g.item() for g in torch.autograd.grad(y, (y0, theta))]


def check(rate, found):
    E = decay(rate, 1)
    assert found[0] == pytest.approx(E, abs=1e-5)
    assert found[1] == pytest.approx(math.cos(1) - E, rel=1e-5)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "interpolated"])
@pytest.mark.parametrize(("rate", "method"), [*((rate, "dopri5") for rate in RATES), (100, "esdirk54")])
def test_gradients_that_do_not_walk_the_state_back_are_right_at_any_rate(gradient, method, rate):
    check(rate, gradients(rate, gradient, method, 1e-8))


@pytest.mark.parametrize("checkpoints", [3, "log"])
def test_also_where_most_states_are_made_again(checkpoints):
    check(100, gradients(100, "checkpoint", "dopri5", 1e-7, checkpoints=checkpoints))


@pytest.mark.parametrize("rate", [1, 3])
def test_the_continuous_adjoint_is_right_where_errors_grow_little(rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)
        check(rate, gradients(rate, "adjoint", "dopri5", 1e-8))


def test_the_continuous_adjoint_warns_before_it_is_wrong():
    with pytest.warns(AdjointWarning):  # e¹³: the state on the way back has lost six digits, and has two left
        check(10, gradients(10, "adjoint", "dopri5", 1e-8))


@pytest.mark.parametrize("rate", [30, 100])
def test_the_continuous_adjoint_is_refused_where_it_would_be_wrong(rate):
    with pytest.raises(AdjointError, match="Use gradient='checkpoint'"):
        gradients(rate, "adjoint", "dopri5", 1e-8)


def test_the_continuous_adjoint_goes_through_if_it_is_set_right_often_enough():
    # e^(−1.4 λ/40) is the loss of digits between two times: at each the state is taken from the way there.
    rate, intervals = full((100, 40), (30, 12))
    y0, theta = leaves(vector(1.0), vector(1.0))
    times = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
    options = {"rtol": 1e-9, "atol": 1e-9, "gradient": "adjoint", "deviation": "raise"}
    y = odeint(contraction, y0, times, args=(rate, theta), **options)[-1]
    check(rate, [g.item() for g in torch.autograd.grad(y, (y0, theta))])


@pytest.mark.parametrize("rate", [1, 3])
def test_reversible_steps_are_right_where_their_instability_grows_little(rate):
    check(rate, gradients(rate, "reversible", "reversible_dopri5", 1e-9))


@pytest.mark.parametrize("rate", [10, 30, 100])
def test_reversible_steps_are_refused_where_their_copies_part(rate):
    # On the way there they part like E⁻¹, unless a step is shorter than 10⁻³ / (1.4 λ): that takes too many.
    with pytest.raises(SolverError):
        gradients(rate, "reversible", "reversible_dopri5", 1e-9, max_steps=1000)


@pytest.mark.parametrize("rate", [1, 10, 100])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "interpolated", "adjoint"])
def test_running_costs_along_a_contraction(gradient, rate):
    # ∫₀¹ y dt has the derivative ∫ (cos t − E(t)) dt for θ, and ∫ E(t) dt for y(0).
    y0, theta = leaves(vector(1.0), vector(1.0))
    options = {"rtol": 1e-8, "atol": 1e-8, "gradient": gradient, "deviation": "raise"}
    _, costs = odeint_with_cost(
        contraction, lambda t, y, rate, theta: y.sum(), y0, [0.0, 1.0], args=(rate, theta), **options
    )
    assert costs[-1].item() == pytest.approx(math.sin(1), abs=1e-6)
    if gradient == "adjoint" and rate >= 10:
        with pytest.raises(AdjointError):
            torch.autograd.grad(costs[-1], (y0, theta))
        return
    found = torch.autograd.grad(costs[-1], (y0, theta))
    lost = quad(lambda t: decay(rate, t), 0, 1, epsabs=1e-10)[0]
    assert found[0].item() == pytest.approx(lost, abs=1e-5)
    assert found[1].item() == pytest.approx(math.sin(1) - lost, rel=1e-5)
