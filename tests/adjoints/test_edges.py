"""Fields and states at the edge: zero, empty, complex, single precision, one time; every gradient gets them right."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import (
    EXACT,
    IMPLICIT,
    IN_PAIRS,
    WORKING,
    Y0,
    K,
    apart,
    each_kind,
    leaves,
    solve,
    swing,
    total,
    vector,
)

WITH_METHODS = [(gradient, "reversible_dopri5" if gradient == "reversible" else "dopri5") for gradient in GRADIENTS]


def network(*, last_layer_zero=False, dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)
    if last_layer_zero:
        for parameter in net[-1].parameters():
            nn.init.zeros_(parameter)
    return net


# Zeros


@pytest.mark.parametrize(("method", "gradient"), each_kind(WORKING))
def test_a_field_of_zeros_has_the_gradient_of_the_identity(method, gradient):
    # y stays y₀, and y(T) = y₀ + T k to first order in k: ∂(sum of y(T))/∂k = T for every component
    y0, k = leaves(Y0, torch.zeros(2, dtype=torch.float64))

    def f(t, y, k):
        return (k[:1].expand(1), k[1:].expand(1)) if method in IN_PAIRS else k + 0 * y

    ys = solve(method, gradient, y0, [0.0, 0.7, 1.5], k, f, step_size=0.5)
    for_y0, for_k = torch.autograd.grad(ys[-1].sum(), (y0, k))
    assert torch.allclose(for_y0, torch.ones_like(y0), rtol=1e-14)
    assert torch.allclose(for_k, torch.full_like(k, 1.5), rtol=1e-14)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_last_layer_of_zeros_has_the_gradient_by_hand(gradient, method):
    # f = W h(y) + b with W = 0, b = 0: y stays y₀, so ∂L/∂W = T ∂L/∂y h(y₀)ᵀ, ∂L/∂b = T ∂L/∂y, and none before it.
    net = network(last_layer_zero=True)
    y0 = torch.stack([Y0, -Y0, 0 * Y0]).requires_grad_()
    ys = odeint(lambda t, y: net(y), y0, [0.0, 1.0, 2.0], method=method, gradient=gradient, params=net.parameters())
    ys[-1].square().sum().backward()
    a = 2 * y0.detach()
    assert torch.allclose(net[2].weight.grad, 2.0 * a.T @ net[:2](y0).detach(), rtol=1e-6)
    assert torch.allclose(net[2].bias.grad, 2.0 * a.sum(0), rtol=1e-6)
    assert torch.equal(net[0].weight.grad, torch.zeros_like(net[0].weight))
    assert torch.allclose(y0.grad, a, rtol=1e-12)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_state_of_zeros_that_stays_there(gradient, method):
    # y' = −k y from 0: ∂y(T)/∂y₀ = exp(−kT), ∂y(T)/∂k = 0. No error of the state asks for small steps here, and
    # gradients of the numbers are as good as the steps that were made.
    y0, k = leaves(torch.zeros(3, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64))
    steps = {"max_step": 0.1} if gradient in EXACT else {}
    ys = odeint(lambda t, y, k: -k * y, y0, [0.0, 1.0], method=method, gradient=gradient, args=(k,), **steps)
    for_y0, for_k = torch.autograd.grad(ys[-1].sum(), (y0, k))
    assert torch.allclose(for_y0, torch.full_like(y0, math.exp(-0.8)), rtol=1e-6)
    assert for_k == 0


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_zero_tolerance_of_one_kind(gradient, method):
    y0, k = leaves(Y0, K)
    expected = torch.autograd.grad(
        total(solve("dopri8", "backprop", y0, [0.0, 1.0], k, rtol=1e-11, atol=1e-11)), (y0, k)
    )
    for tolerances in ({"rtol": 1e-8, "atol": 0.0}, {"rtol": 0.0, "atol": 1e-8}):
        found = torch.autograd.grad(total(solve(method, gradient, y0, [0.0, 1.0], k, **tolerances)), (y0, k))
        assert apart(found, expected) < 1e-5


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_field_that_ignores_its_state_or_its_parameters(gradient, method):
    y0, k = leaves(Y0, K)
    constant = torch.autograd.grad(
        odeint(lambda t, y, k: k.expand(2), y0, [0.0, 2.0], method=method, gradient=gradient, args=(k,))[-1].sum(),
        (y0, k),
    )
    assert [g.tolist() for g in constant] == [[1, 1], pytest.approx([2, 2])]
    for f in (lambda t, y: -y, lambda t, y: -y.detach(), lambda t, y: torch.ones_like(y)):
        y = odeint(f, y0, [0.0, 1.0], method=method, gradient=gradient, params=[k])[-1]
        for_y0, for_k = torch.autograd.grad(y.sum(), (y0, k), allow_unused=True)
        assert for_y0 is not None
        assert for_k is None or not for_k.any()


# Empty, one time, many shapes


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
@pytest.mark.parametrize("shape", [(0, 2), (0,), (3, 0, 2)])
def test_an_empty_batch(gradient, method, shape):
    y0, k = leaves(torch.zeros(shape, dtype=torch.float64), K)
    times = vector(0.0, 0.5, 1.0).requires_grad_()
    options = {"method": method, "gradient": gradient, "args": (k,)}
    ys, costs = odeint_with_cost(lambda t, y, k: -k[0] * y * t, lambda t, y, k: k[1] * y.sum(), y0, times, **options)
    assert ys.shape == (3, *shape)
    assert costs.tolist() == [0, 0, 0]
    found = torch.autograd.grad(ys.sum() + costs.sum(), (y0, k, times), allow_unused=True)
    assert found[0].shape == shape
    assert all(g is None or not g.any() for g in found[1:])


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_one_time_is_the_initial_state_and_its_gradient_the_identity(gradient, method):
    y0, k, t = leaves(Y0, K, vector(0.3))
    for times in ([0.3], t):
        ys, costs = odeint_with_cost(
            swing, lambda t, y, k: k * y, y0, times, method=method, gradient=gradient, args=(k,)
        )
        assert torch.equal(ys, y0[None])
        assert torch.equal(costs, torch.zeros(1, 2, dtype=torch.float64))
        (found,) = torch.autograd.grad(total(ys), y0)
        assert torch.equal(found, torch.autograd.grad(total(y0[None]), y0)[0])
        plain = odeint(swing, y0, times, method=method, gradient=gradient, args=(k,))
        plain.sum().backward()
        assert y0.grad.tolist() == [1, 1]
        y0.grad = None


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_gradient_for_the_state_alone_or_for_parameters_alone(gradient, method):
    both = leaves(Y0, K)
    expected = torch.autograd.grad(total(solve(method, gradient, both[0], [0.0, 1.0], both[1])), both)
    (y0,), (k,) = leaves(Y0), leaves(K)
    assert torch.equal(torch.autograd.grad(total(solve(method, gradient, y0, [0.0, 1.0], K)), y0)[0], expected[0])
    assert torch.equal(torch.autograd.grad(total(solve(method, gradient, Y0, [0.0, 1.0], k)), k)[0], expected[1])
    assert not solve(method, gradient, Y0, [0.0, 1.0], K).requires_grad


# Dtypes


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_single_precision_is_kept_and_its_gradient_is_near_that_of_double(gradient, method):
    def gradients(dtype, **options):
        net = network(dtype=dtype)
        y0 = torch.linspace(-1, 1, 12, dtype=dtype).reshape(6, 2).requires_grad_()
        t = torch.tensor([0.0, 0.3, 1.0], dtype=dtype, requires_grad=True)
        options = {"method": method, "gradient": gradient, "params": net.parameters()} | options
        ys = odeint(lambda t, y: net(y) * torch.cos(t), y0, t, **options)
        assert ys.dtype == dtype
        return torch.autograd.grad(total(ys), (y0, t, *net.parameters()))

    found = gradients(torch.float32, rtol=1e-5, atol=1e-6)
    assert all(g.dtype == torch.float32 for g in found)
    assert apart([g.double() for g in found], gradients(torch.float64, rtol=1e-9, atol=1e-9)) < 1e-4


@pytest.mark.parametrize("method", [name for name in METHODS if name not in (*IN_PAIRS, *IMPLICIT)])
def test_complex_states_and_parameters_have_the_gradients_of_torch(method):
    def end(gradient, z0, k, **options):
        options = {"method": method, "gradient": gradient, "step_size": 0.1, "deviation": "ignore"} | options
        return odeint(lambda t, z, k: 1j * k * t * z**2, z0, [0.1, 0.35, 0.6], args=(k,), **options)

    inputs = leaves(
        torch.tensor([0.3 + 0.2j, -0.5j], dtype=torch.complex128), torch.tensor(0.3 + 0.4j, dtype=torch.complex128)
    )
    assert gradcheck(lambda *z: end("backprop", *z)[1:].sum(), inputs, eps=1e-5, atol=1e-7, check_undefined_grad=False)
    expected = torch.autograd.grad(total(end("backprop", *inputs)), inputs)
    for gradient in GRADIENTS[1:]:
        if (method, gradient) in WORKING:
            options = {} if gradient in EXACT else {"step_size": 0.1 if METHODS[method].order > 3 else 0.01}
            found = torch.autograd.grad(total(end(gradient, *inputs, **options)), inputs)
            h = options.get("step_size")
            # Where a gradient is one of the solution, the order of the method says how near it is.
            assert apart(found, expected) < (1e-11 if h is None else 2 * 0.1 ** METHODS[method].order + 1e-9)


@pytest.mark.parametrize(("gradient", "method"), WITH_METHODS)
def test_a_complex_state_of_a_field_with_a_known_gradient(gradient, method):
    # z(T) = z₀ exp(iωT): for L = Re(c̄ z(T)) torch's gradients are c exp(−iωT) for z₀ and Re(c̄ iT z(T)) for ω
    c, T, omega = 0.6 - 0.8j, 1.1, 1.7
    z0, w = leaves(torch.tensor(0.4 + 1.2j, dtype=torch.complex128), torch.tensor(omega, dtype=torch.float64))
    options = {"method": method, "gradient": gradient, "rtol": 1e-9, "atol": 1e-9}
    z = odeint(lambda t, z, w: 1j * w * z, z0, [0.0, T], args=(w,), **options)[-1]
    for_z0, for_w = torch.autograd.grad((c.conjugate() * z).real, (z0, w))
    turned = complex(math.cos(omega * T), math.sin(omega * T))
    assert for_z0.item() == pytest.approx(c * turned.conjugate(), rel=1e-7)
    assert for_w.item() == pytest.approx((c.conjugate() * 1j * T * (0.4 + 1.2j) * turned).real, rel=1e-7)


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "interpolated"])
def test_implicit_methods_refuse_complex_states_with_every_gradient(method, gradient):
    (z0,) = leaves(torch.ones(2, dtype=torch.complex128))
    with pytest.raises(TypeError, match="view_as_real"):
        odeint(lambda t, z: 1j * z, z0, [0.0, 1.0], method=method, gradient=gradient)
