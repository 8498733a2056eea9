"""The integral of a running cost: its value, its gradient by every way, and that it leaves the solve alone."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import EXACT, IMPLICIT, IN_PAIRS, Y0, K, apart, leaves, slope, swing, total, vector

WITH_METHODS = [(gradient, "reversible_dopri5" if gradient == "reversible" else "dopri5") for gradient in GRADIENTS]
TIGHT = {"rtol": 1e-9, "atol": 1e-9}


def running_cost(t, y, k):
    return k[0] * t * y.square().sum(-1) + torch.cos(k[1] * y[..., 0])


def with_cost(gradient, method, y0, t, k, f=swing, cost=running_cost, **options):
    return odeint_with_cost(f, cost, y0, t, method=method, gradient=gradient, args=(k,), **TIGHT | options)


@pytest.mark.parametrize("method", METHODS)
def test_the_integral_converges_at_the_order_of_the_method(method):
    # Rotation at the rate 2t: q = cos t², p = −sin t², and ∫ 2t q p dt = −(1 − cos 2t²) / 4.
    def f(t, state):
        q, p = state if method in IN_PAIRS else state.unbind()
        slopes = 2 * t * p, -2 * t * q
        return slopes if method in IN_PAIRS else torch.stack(slopes)

    def cost(t, state):
        q, p = state if method in IN_PAIRS else state.unbind()
        return 2 * t * q * p

    order = METHODS[method].order
    first = {1: 20, 2: 10, 3: 8, 4: 8, 5: 8, 8: 1}[order]
    times = [0.0, 0.3, 0.6, 0.9, 1.2]  # several: at some of them the leading terms of an error cancel
    exact = torch.tensor([-(1 - math.cos(2 * t * t)) / 4 for t in times], dtype=torch.float64)

    def error(steps):
        options = {"rtol": 1e-12, "atol": 1e-12} if method in IMPLICIT else {}
        y0 = tuple(vector(1.0, 0.0)) if method in IN_PAIRS else vector(1.0, 0.0)
        _, costs = odeint_with_cost(f, cost, y0, times, method=method, step_size=0.3 / steps, **options)
        return (costs - exact).norm().item()

    assert slope([error(first), error(2 * first)]) > order - 0.6


@pytest.mark.parametrize("times", [[0.0, 0.01, 0.02, 1.0, 1.5], [1.5, 0.3, 0.0]])
def test_the_integral_is_that_of_an_augmented_state(times):
    y0, t, k = leaves(Y0, vector(*times), K)

    def augmented(t, state):
        y, _ = state.split([2, 1])
        return torch.cat([swing(t, y, k), running_cost(t, y, k)[None]])

    tight = odeint(augmented, torch.cat([y0, y0.new_zeros(1)]), t, method="dopri8", rtol=1e-12, atol=1e-12)
    loss = total(tight[:, 2]) + total(tight[:, :2])
    expected = torch.autograd.grad(loss, (y0, t, k))
    for gradient, method in WITH_METHODS:
        ys, costs = with_cost(gradient, method, y0, t, k)
        assert torch.allclose(costs, tight[:, 2], atol=1e-8)
        assert costs[0] == 0
        assert apart(torch.autograd.grad(total(costs) + total(ys), (y0, t, k)), expected) < 1e-6


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_the_gradient_of_a_known_integral(gradient, method):
    # y' = −k y and l = y²: the cost is y₀² (1 − e) / (2k) with e = exp(−2kT)
    y0, k = leaves(vector(1.3), torch.tensor(0.7, dtype=torch.float64))
    T = 1.5
    _, costs = with_cost(gradient, method, y0, [0.0, T], k, f=lambda t, y, k: -k * y, cost=lambda t, y, k: (y**2).sum())
    found = torch.autograd.grad(costs[-1], (y0, k))
    e = math.exp(-2 * 0.7 * T)
    assert costs[-1].item() == pytest.approx(1.69 * (1 - e) / 1.4, rel=1e-8)
    assert found[0].item() == pytest.approx(1.3 * (1 - e) / 0.7, rel=1e-7)
    assert found[1].item() == pytest.approx(1.69 * (2 * T * e / 1.4 - (1 - e) / (2 * 0.49)), rel=1e-7)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_each_interval_has_its_part_where_several_times_lie_in_one_step(gradient, method, sign):
    # y = y₀ + k t and l = t y: ∫ l dt = y₀ t²/2 + k t³/3, a polynomial that the rule integrates exactly
    times = sign * vector(0.0, 0.1, 0.4, 0.7, 1.0)
    y0, k = leaves(vector(1.3), vector(0.7))
    options = {"f": lambda t, y, k: k + 0 * y, "cost": lambda t, y, k: (t * y).sum()}
    _, costs = with_cost(gradient, method, y0, times, k, first_step=2.0, rtol=1e-3, **options)
    assert torch.allclose(costs, 1.3 * times**2 / 2 + 0.7 * times**3 / 3, rtol=1e-13, atol=1e-15)
    w = vector(0.3, 1.0, -2.0, 0.5, 4.0)
    for_y0, for_k = torch.autograd.grad((w * costs).sum(), (y0, k))
    assert for_y0.item() == pytest.approx((w * times**2 / 2).sum().item(), rel=1e-6)
    assert for_k.item() == pytest.approx((w * times**3 / 3).sum().item(), rel=1e-6)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_gradients_are_difference_quotients(gradient, method):
    def loss(y0, t, k):
        ys, costs = with_cost(gradient, method, y0, t, k, step_size=0.03)
        return total(costs) + total(ys)

    inputs = leaves(Y0, vector(0.1, 0.15, 0.4), K)
    assert gradcheck(loss, inputs, eps=1e-4, atol=1e-5, check_undefined_grad=False)


def test_second_derivatives_of_backpropagation():
    def loss(y0, t, k):
        return total(with_cost("backprop", "rk4", y0, t, k, step_size=0.02)[1])

    inputs = leaves(Y0, vector(0.1, 0.15, 0.22), K)
    assert gradgradcheck(loss, inputs, eps=1e-5, atol=1e-5, check_undefined_grad=False)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_cost_may_have_any_one_shape(gradient, method):
    y0, k = leaves(torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 2, 2), K)
    times = [0.0, 0.05, 0.8]
    by_sample = torch.autograd.grad(with_cost(gradient, method, y0, times, k)[1][-1].sum(), (y0, k), retain_graph=True)
    ys, costs = with_cost(gradient, method, y0, times, k)
    assert costs.shape == (3, 3, 2)
    ys_of_sum, cost_of_sum = with_cost(gradient, method, y0, times, k, cost=lambda *args: running_cost(*args).sum())
    assert cost_of_sum.shape == (3,)
    assert torch.equal(ys, ys_of_sum)
    assert torch.allclose(costs.sum((1, 2)), cost_of_sum, rtol=1e-13)
    assert apart(torch.autograd.grad(cost_of_sum[-1], (y0, k)), by_sample) < 1e-7
    one = with_cost(gradient, method, y0, [0.5], k)[1]
    assert torch.equal(one, torch.zeros(1, 3, 2, dtype=torch.float64))


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_the_cost_has_no_part_in_the_solve(gradient, method):
    calls = []

    def f(t, y, k):
        calls.append(t.item())
        return swing(t, y, k)

    times = [0.0, 1.0, 2.0]
    plain = odeint(f, Y0, times, method=method, gradient=gradient, args=(K,), **TIGHT)
    alone = list(calls)
    ys, _ = with_cost(gradient, method, Y0, times, K, f=f, cost=lambda t, y, k: 1e6 * torch.sin(99 * t) * y.sum())
    assert torch.equal(ys, plain)
    assert calls[len(alone) :] == alone


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_cost_with_parameters_of_its_own(gradient, method):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    y0, k = leaves(Y0, K)

    class Cost(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, t, y, k):
            return self.net(y)

    def gradients(gradient, method, cost, **options):
        loss = with_cost(gradient, method, y0, [0.0, 1.0], k, cost=cost, **options)[1][-1].sum()
        return torch.autograd.grad(loss, (y0, k, *net.parameters()))

    expected = gradients("backprop", method, Cost())
    assert apart(gradients(gradient, method, Cost()), expected) < (1e-9 if gradient in EXACT else 1e-6)
    given = gradients(gradient, method, lambda t, y, k: net(y), params=net.parameters())
    assert apart(given, expected) < (1e-9 if gradient in EXACT else 1e-6)
    if gradient != "backprop":
        with pytest.raises(ValueError, match=r"f uses 4 tensors that need a gradient .* params="):
            gradients(gradient, method, lambda t, y, k: net(y))


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_costs_that_jump_are_asked_on_the_right_side(gradient, method):
    # l = 1 before t = 0.7, 3 after; both ends of the solve are jumps too
    jumps = [0.0, 0.7, 1.0]

    def cost(t, y, k):
        assert t.item() not in jumps, "asked at a jump"
        return torch.where((t < 0) | (t > 1), 100.0, torch.where(t < 0.7, 1.0, 3.0)).to(y) * k[0]

    t, k = leaves(vector(0.0, 1.0), K)
    _, costs = with_cost(gradient, method, Y0, t, k, cost=cost, step_at=jumps)
    assert costs[-1].item() == pytest.approx(1.1 * (0.7 + 3 * 0.3), rel=1e-13)
    for_t, for_k = torch.autograd.grad(costs[-1], (t, k))
    assert for_t.tolist() == pytest.approx([-1.1, 3.3])
    assert for_k.tolist() == pytest.approx([1.6, 0.0])


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_complex_state_has_a_real_cost(gradient, method):
    # z' = i k z keeps |z|; Re z = cos kt for z₀ = 1, so ∫ Re z = sin(kT)/k
    z0, k = leaves(torch.ones(1, dtype=torch.complex128), torch.tensor(1.4, dtype=torch.float64))
    T = 1.2
    options = {"f": lambda t, z, k: 1j * k * z, "cost": lambda t, z, k: z.real.sum()}
    _, costs = with_cost(gradient, method, z0, [0.0, T], k, **options)
    found = torch.autograd.grad(costs[-1], (z0, k))
    assert costs[-1].item() == pytest.approx(math.sin(1.4 * T) / 1.4, rel=1e-8)
    assert found[1].item() == pytest.approx(T * math.cos(1.4 * T) / 1.4 - math.sin(1.4 * T) / 1.96, rel=1e-7)
    # L = Re ∫ z₀ e^{ikt} dt: the gradient is the conjugate of ∫ e^{ikt} dt
    conjugate = complex(math.sin(1.4 * T) / 1.4, -(1 - math.cos(1.4 * T)) / 1.4)
    assert found[0].item() == pytest.approx(conjugate, rel=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("cost", "error", "message"),
    [
        (lambda t, y, k: 1.0, TypeError, r"running_cost\(t, y\) must return a tensor, got float"),
        (lambda t, y, k: (1j * y).sum(), TypeError, r"must return a real floating-point tensor, got torch.complex128"),
        (lambda t, y, k: (y > 0).sum(), TypeError, r"real floating-point tensor, got torch.int64"),
    ],
)
def test_a_cost_that_is_none_is_named(gradient, cost, error, message):
    method = dict(WITH_METHODS)[gradient]
    with pytest.raises(error, match=message):
        with_cost(gradient, method, Y0, [0.0, 1.0], *leaves(K), cost=cost)


def test_what_only_plain_solves_can_do_is_refused():
    for option, value in (("batch", "independent"), ("compile", "step")):
        with pytest.raises(
            ValueError, match=f"{option}='{value}' works with gradient='backprop' only, and with neither"
        ):
            with_cost("backprop", "dopri5", Y0[None], [0.0, 1.0], K, **{option: value})


def test_a_cost_that_does_not_take_the_args_of_the_solve_is_named():
    with pytest.raises(TypeError, match=r"running_cost is called as a function \(t, y, \*args\), with the 1 args"):
        odeint_with_cost(lambda t, y, k: -k * y, lambda t, y: y.sum(), torch.ones(1), [0.0, 1.0], args=(2.0,))
