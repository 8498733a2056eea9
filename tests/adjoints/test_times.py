"""Gradients for the requested times: y(t) moves by f(t, y), and the start of the solve moves all that follows."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ndelib import odeint
from ndelib.adjoints import GRADIENTS
from tests.adjoints.problems import WORKING, Y0, K, apart, each_kind, leaves, solve, swing, total, vector
from tests.conftest import full

WITH_METHODS = [(gradient, "reversible_dopri5" if gradient == "reversible" else "dopri5") for gradient in GRADIENTS]
TIMES = vector(0.2, 0.5, 0.55, 1.0)


@pytest.mark.parametrize(("method", "gradient"), each_kind(WORKING))
def test_they_are_products_of_the_cotangents_with_the_slopes(method, gradient):
    """∂L/∂tᵢ = ∂L/∂yᵢ · f(tᵢ, yᵢ), and ∂L/∂t₀ = −(∂L/∂y₀ through the solve) · f(t₀, y₀), at any step."""
    y0, t, k = leaves(Y0, TIMES, K)
    ys = solve(method, gradient, y0, t, k, step_size=0.2)
    cotangents = torch.autograd.grad(total(ys), ys, retain_graph=True)[0]
    for_y0, for_t = torch.autograd.grad(total(ys), (y0, t))
    slopes = torch.stack([swing(time, y, k) for time, y in zip(t, ys, strict=True)])
    expected = (cotangents * slopes).sum(-1)
    expected[0] = -((for_y0 - cotangents[0]) * slopes[0]).sum()
    assert (for_t - expected).abs().max() < 1e-13


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
@pytest.mark.parametrize("backwards", [False, True])
def test_they_are_difference_quotients_of_adaptive_solves(gradient, method, backwards):
    times = TIMES.flip(0) if backwards else TIMES
    assert gradcheck(
        lambda t: total(solve(method, gradient, Y0, t, K, rtol=1e-10, atol=1e-10)),
        leaves(times),
        eps=1e-3,  # the error of the quotient is about its square, that of the solves a tolerance over it
        atol=1e-5,
        check_undefined_grad=False,
        fast_mode=full(False, True),  # one random product of the Jacobian instead of all its entries
    )


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_where_f_does_not_know_the_time_all_times_may_move_together(gradient, method):
    (t,) = leaves(TIMES)
    ys = odeint(
        lambda t, y: torch.stack([y[1], -torch.sin(y[0])]),
        Y0,
        t,
        method=method,
        gradient=gradient,
        rtol=1e-9,
        atol=1e-9,
    )
    (found,) = torch.autograd.grad(total(ys), t)
    assert found.abs().min() > 1e-2
    assert abs(found.sum().item()) < 1e-7


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_sequence_in_which_some_times_have_a_gradient(gradient, method):
    end = torch.tensor(1.5, dtype=torch.float32, requires_grad=True)
    early = torch.tensor(0.25, dtype=torch.float64)
    ys = odeint(lambda t, y: -y, vector(1.0), [0, early, end], method=method, gradient=gradient, rtol=1e-9, atol=1e-9)
    ys[-1].backward()
    assert end.grad.dtype == torch.float32
    assert end.grad.item() == pytest.approx(-math.exp(-1.5), rel=1e-6)


def test_times_that_are_computed_pass_their_gradient_on():
    (period,) = leaves(torch.tensor(2.0, dtype=torch.float64))
    for gradient, method in WITH_METHODS:
        t = period * torch.linspace(0, 1, 5, dtype=torch.float64)
        y = odeint(
            lambda t, y: torch.cos(t) * y, vector(1.0), t, method=method, gradient=gradient, rtol=1e-9, atol=1e-9
        )
        (found,) = torch.autograd.grad(y[-1], period)
        assert found.item() == pytest.approx(math.cos(2) * math.exp(math.sin(2)), rel=1e-6)


def test_second_derivatives_of_backpropagation():
    def loss(y0, t, k):
        return total(solve("rk4", "backprop", y0, t, k, step_size=0.01))

    # In the mixed ones the slope at a time meets the derivative of the steps, as exact as they are.
    assert gradgradcheck(loss, leaves(Y0, vector(0.2, 0.25, 0.32), K), eps=1e-5, atol=1e-5, check_undefined_grad=False)


def test_a_loss_of_a_complex_state_has_real_gradients_for_times():
    # z' = (−0.3 + 2i) t z: z = z₀ exp((−0.3 + 2i)(t² − t₀²)/2), and L = Re(z̄₁ c)
    c = torch.tensor(0.7 - 1.1j, dtype=torch.complex128)
    z0 = torch.tensor(1.2 + 0.4j, dtype=torch.complex128)
    rate = -0.3 + 2j
    for gradient, method in WITH_METHODS:
        (t,) = leaves(vector(0.5, 1.3))
        z = odeint(lambda t, z: rate * t * z, z0, t, method=method, gradient=gradient, rtol=1e-9, atol=1e-9)[-1]
        (found,) = torch.autograd.grad((z.conj() * c).real, t)
        slopes = torch.stack([-rate * 0.5 * z, rate * 1.3 * z]).detach()
        assert torch.allclose(found, (slopes.conj() * c).real, rtol=1e-6)


# Where f jumps


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_at_a_jump_the_slope_is_that_on_the_side_of_the_solve(gradient, method, dtype):
    jumps = [0.25, 1.125]

    def f(t, y):
        assert not (t == torch.tensor(jumps, dtype=t.dtype)).any(), "asked at a jump"
        return y * torch.where(t < jumps[0], 5.0, torch.where(t < jumps[1], -1.0, 7.0)).to(y)

    for times, slopes in (([0.25, 1.125], [1.0, -1.0]), ([1.125, 0.25], [1.0, -1.0]), ([0.0, 0.25], [-5.0, 5.0])):
        t = torch.tensor(times, dtype=dtype, requires_grad=True)
        y0 = torch.ones(1, dtype=dtype)
        y = odeint(f, y0, t, method=method, gradient=gradient, step_at=jumps, rtol=1e-5, atol=1e-5)[-1]
        (found,) = torch.autograd.grad(y, t)
        assert torch.allclose(found, y.detach() * torch.tensor(slopes, dtype=dtype), rtol=1e-4)


def test_a_second_derivative_at_a_jump_knows_that_the_slope_moves():
    # y' = t y before the jump: ∂²y/∂t² = (1 + t²) y
    (t,) = leaves(vector(0.0, 1.0))
    y = odeint(lambda t, y: torch.where(t < 1, t, -3.0) * y, vector(1.0), t, step_at=[1.0], rtol=1e-10, atol=1e-10)[-1]
    (first,) = torch.autograd.grad(y, t, create_graph=True)
    (second,) = torch.autograd.grad(first[1], t)
    assert first[1].item() == pytest.approx(math.exp(0.5), rel=1e-8)
    assert second[1].item() == pytest.approx(2 * math.exp(0.5), rel=1e-8)


# What is refused


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
@pytest.mark.parametrize("as_list", [False, True])
def test_times_moved_in_forward_mode_or_by_a_transform_are_refused(gradient, as_list):
    def end(t):
        t = list(t) if as_list else t
        return odeint(lambda t, y: -y, vector(1.0), t, gradient=gradient)[-1].sum()

    t = vector(0.0, 1.0)
    message = r"t is moved by vmap, grad, jvp, … of torch.func or in forward mode"
    for transformed in (
        lambda: torch.func.jvp(end, (t,), (t,)),
        lambda: torch.func.grad(end)(t),
        lambda: torch.func.vmap(end)(torch.stack([t, t])),
    ):
        with pytest.raises(ValueError, match=message):
            transformed()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(t, t)
        with pytest.raises(ValueError, match=message):
            end(dual)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("t", "error", "message"),
    [
        ([0.0, 1.0, 1.0], ValueError, r"strictly increasing or strictly decreasing"),
        ([0.0, math.nan], ValueError, r"infinity or NaN"),
        ([[0.0, 1.0]], ValueError, r"non-empty vector of times"),
    ],
)
def test_bad_times_with_a_gradient_are_named_too(gradient, t, error, message):
    (times,) = leaves(torch.tensor(t, dtype=torch.float64))
    with pytest.raises(error, match=message):
        odeint(lambda t, y: -y, vector(1.0), times, method="reversible_rk4", gradient=gradient)


def test_apart_from_rounding_the_times_do_not_change_the_states():
    for gradient, method in WITH_METHODS:
        plain, moving = (solve(method, gradient, *leaves(Y0), t, K) for t in (TIMES, *leaves(TIMES)))
        assert torch.equal(plain, moving)
        assert apart([moving[0]], [Y0]) == 0
