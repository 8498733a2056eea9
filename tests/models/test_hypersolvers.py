"""Hypersolvers: with g = 0 the base, with the exact residual one order more, and gradients for what is trained."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ndelib import odeint
from ndelib.models import (
    MLP,
    Concat,
    DataControlled,
    HyperEuler,
    HyperHeun,
    HyperMidpoint,
    Hypersolver,
    NeuralODE,
    perceptron,
)
from ndelib.solvers import TABLEAUS
from ndelib.training import fit, supervised

F64 = torch.float64
A = torch.tensor([[-0.3, -1.2], [1.1, 0.2]], dtype=F64)
Y0 = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.7, -1.1]], dtype=F64)
HYPER = {HyperEuler: "euler", HyperMidpoint: "midpoint", HyperHeun: "heun2"}
KINDS = pytest.mark.parametrize("kind", HYPER, ids=lambda kind: kind.__name__)


def linear(t, y):
    return y @ A.T


def zero(t, y, dy):
    return torch.zeros_like(y)


def leading(kind):
    """The residual of ``kind`` on the linear field for h -> 0: the first term of exp(hA) that the method has not."""
    p = TABLEAUS[HYPER[kind]].order
    power = torch.linalg.matrix_power(A, p) / math.factorial(p + 1)
    return lambda t, y, dy: dy @ power.T


def error(method, h, f=linear, exact=None, end=2.0):
    exact = Y0 @ torch.linalg.matrix_exp(end * A).T if exact is None else exact
    return (odeint(f, Y0, [0.0, end], method=method, step_size=h)[-1] - exact).abs().max().item()


@KINDS
def test_without_a_correction_it_is_the_base_method(kind):
    for t in ([0.0, 2.0], [2.0, 0.5]):
        ours, base = (odeint(linear, Y0, t, method=m, step_size=0.1) for m in (kind(zero), HYPER[kind]))
        assert torch.equal(ours, base)


@KINDS
@pytest.mark.parametrize("forwards", [True, False])
def test_the_exact_residual_raises_the_order_by_one(kind, forwards):
    end = 2.0 if forwards else -2.0
    p = TABLEAUS[HYPER[kind]].order
    slopes = [
        math.log2(error(method, 0.02, end=end) / error(method, 0.01, end=end))
        for method in (HYPER[kind], kind(leading(kind)))
    ]
    assert slopes == pytest.approx([p, p + 1], abs=0.1)
    assert kind(zero).order == p + 1


def test_the_correction_sees_the_time_of_the_step():
    # dy/dt = cos(t) y: the residual of Euler's method for h -> 0 is y''/2 = (cos² t - sin t) y / 2
    def f(t, y):
        return torch.cos(t) * y

    seen = []

    def g(t, y, dy):
        seen.append(t.item())
        return (torch.cos(t) * dy - torch.sin(t) * y) / 2

    hyper = HyperEuler(g)
    odeint(f, Y0, [0.0, 0.25, 0.75], method=hyper)
    assert seen == [0.0, 0.25], "the beginnings of the steps"
    exact = Y0 * math.exp(math.sin(2.0))
    assert error(hyper, 0.01, f, exact) == pytest.approx(error(hyper, 0.02, f, exact) / 4, rel=0.1)


@KINDS
@pytest.mark.parametrize("h", [0.3, -0.3])
def test_the_residual_is_what_the_step_leaves_out(kind, h):
    p, z = TABLEAUS[HYPER[kind]].order, h * A
    unit = torch.eye(2, dtype=F64)
    step = unit + z if p == 1 else unit + z + z @ z / 2
    expected = Y0 @ ((torch.linalg.matrix_exp(z) - step) / h ** (p + 1)).T
    assert torch.allclose(kind(zero).residual(linear, Y0, 0.0, h), expected, rtol=1e-6, atol=1e-9)


def test_the_residual_of_a_field_in_single_precision_has_its_digits():
    torch.manual_seed(0)
    net = MLP(2, 8)
    y, h = torch.randn(50, 2), 0.01
    found = HyperHeun(zero).residual(net, y, 0.0, h)
    assert found.dtype == torch.float32
    by_hand = odeint(net, y, [0.0, h], method="dopri8", adaptive=False)[-1]
    by_hand = (by_hand - odeint(net, y, [0.0, h], method="heun2", adaptive=False)[-1]) / h**3
    net.double()
    expected = HyperHeun(zero).residual(net, y.double(), 0.0, h)
    # Rounding f by some 1e-7 makes h ψ / h³ wrong by 1e-7 / h² = 1e-3; rounding the states, by 1e-7 / h³ = 1e-1.
    assert (found - expected).abs().max() < 1e-2 < (by_hand - expected).abs().max()


@pytest.mark.parametrize("kind", [HyperEuler, HyperMidpoint], ids=lambda kind: kind.__name__)
def test_the_steps_are_those_of_torchdyn(kind):
    # torchdyn is not needed for it: its numerics/solvers/hyper.py has x + base step + dt^(order + 1) hypernet(t, x),
    # in steps from one time to the next. It has the classes HyperEuler, HyperMidpoint and HyperRungeKutta4.
    def f(t, y):
        return linear(t, y) * torch.cos(y) + t

    def hypernet(t, x):
        return torch.sin(x + t)

    times = torch.tensor([0.3, 0.5, 0.8, 1.2], dtype=F64)
    ours = odeint(f, Y0, times, method=kind(lambda t, y, dy: hypernet(t, y)))
    x, states = Y0, [Y0]
    for t, dt in zip(times[:-1], times.diff(), strict=True):
        k1 = f(t, x)
        if kind is HyperEuler:
            x = x + dt * k1 + dt**2 * hypernet(t, x)
        else:
            x = x + dt * f(t + dt / 2, x + dt / 2 * k1) + dt**3 * hypernet(t, x)
        states.append(x)
    assert torch.allclose(ours, torch.stack(states), rtol=1e-13, atol=0)


def test_losses_are_mean_squares():
    method, h = HyperEuler(leading(HyperEuler)), 0.2
    off = method.g(None, Y0, linear(None, Y0)) - method.residual(linear, Y0, 0.0, h)
    assert method.residual_loss(linear, Y0, 0.0, h).item() == pytest.approx(off.square().mean().item())
    times = torch.linspace(0, 1, 6)
    true, found = odeint(linear, Y0, times, rtol=1e-9, atol=1e-9), odeint(linear, Y0, times, method=method)
    assert method.trajectory_loss(linear, Y0, times).item() == pytest.approx(
        (found - true)[1:].square().mean().item(), rel=1e-3
    )


@pytest.mark.parametrize("which", ["residual_loss", "trajectory_loss"])
def test_a_trained_correction_beats_its_base_where_it_was_not_trained(which):
    torch.manual_seed(0)

    def f(t, y):  # a pendulum
        return torch.stack([y[:, 1], -torch.sin(y[:, 0])], -1)

    net = Concat(perceptron(4, 2, 16))
    method = HyperEuler(lambda t, y, dy: net(y, dy))
    times = torch.linspace(0, 1, 6)

    def loss(net, y):
        return method.residual_loss(f, y, 0.0, 0.2) if which == "residual_loss" else method.trajectory_loss(f, y, times)

    fit(net, loss, 2 * torch.rand(64, 2) - 1, steps=150, lr=0.02, progress=False)
    new = 2 * torch.rand(256, 2) - 1
    true = odeint(f, new, [0.0, 1.0])[-1]
    found, base = (
        (odeint(f, new, [0.0, 1.0], method=m, step_size=0.2)[-1] - true).square().mean() for m in (method, "euler")
    )
    assert found < base / 100


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "interpolated"])
@KINDS
def test_a_fixed_correction_lets_every_gradient_through(kind, gradient):
    torch.manual_seed(0)
    f, g = MLP(2, 8).double(), Concat(perceptron(4, 2, 8)).double().requires_grad_(False)
    method = kind(lambda t, y, dy: 0.1 * g(y, dy))
    wanted = list(f.parameters())

    def found(gradient, h, **options):
        y0 = Y0.clone().requires_grad_()
        y = odeint(f, y0, [0.0, 1.0], method=method, step_size=h, gradient=gradient, **options)[-1]
        return torch.cat([x.flatten() for x in torch.autograd.grad(y.square().sum(), [y0, *wanted])])

    if gradient == "checkpoint":
        assert torch.allclose(found(gradient, 0.1), found("backprop", 0.1), atol=1e-12)
    else:  # the gradient of the equation: as far from that of the steps as the steps are from it, O(h^p), g being any
        options = {"deviation": "ignore"} if gradient == "adjoint" else {}
        off = [(found(gradient, h, **options) - found("backprop", h)).abs().max().item() for h in (0.05, 0.025)]
        assert off[1] < 0.6 * off[0] < 0.1


@pytest.mark.parametrize("slots", [None, 2])
def test_a_correction_in_training_gets_its_gradient(slots):
    torch.manual_seed(0)
    f, g = MLP(2, 8).double(), Concat(perceptron(4, 2, 8)).double()
    method = HyperEuler(lambda t, y, dy: g(y, dy))
    wanted, options = [*f.parameters(), *g.parameters()], {"params": g, "checkpoints": slots}
    ys = [
        odeint(f, Y0, [0.0, 1.0], method=method, step_size=0.1, gradient=gradient, **more)[-1]
        for gradient, more in (("backprop", {}), ("checkpoint", options))
    ]
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in ys), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_the_continuous_adjoints_refuse_a_correction_in_training(gradient):
    f, g = MLP(2, 8).double(), Concat(perceptron(4, 2, 8)).double()
    method = HyperEuler(lambda t, y, dy: g(y, dy))
    with pytest.raises(ValueError, match="differentiates the equation and not the method"):
        odeint(f, Y0, [0.0, 1.0], method=method, step_size=0.1, gradient=gradient)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
def test_a_neural_ode_takes_it(gradient):
    torch.manual_seed(0)
    method = HyperHeun(zero)
    how = {"method": method, "step_size": 0.25, "gradient": gradient, "deviation": "ignore"}
    model = NeuralODE(MLP(2), decoder=nn.Linear(2, 2), **how)
    y = (Y0[:, 0] > 0).long()
    how = {"steps": 30, "lr": 0.02, "progress": False}
    history = fit(model, supervised(cross_entropy), (Y0.float(), y), **how)
    assert history.loss[-1] < history.loss[0]
    assert model.nfe == 8
    assert "hyper_heun2" in repr(model)


def test_fields_with_arguments():
    field = DataControlled(lambda z, x: -(z + x))
    model, base = (NeuralODE(field, method=m, step_size=0.1) for m in (HyperEuler(zero), "euler"))
    assert torch.equal(model(Y0), base(Y0))


def test_any_table_can_be_the_base():
    method = Hypersolver(TABLEAUS["rk4"], zero)
    assert (method.name, method.order) == ("hyper_rk4", 5)
    assert torch.equal(*(odeint(linear, Y0, [0.0, 1.0], method=m, step_size=0.5) for m in (method, "rk4")))


def test_what_is_wrong_is_named():
    with pytest.raises(TypeError, match=r"g must be a function g\(t, y, dy\), got int"):
        HyperEuler(3)
    wrong = HyperEuler(lambda t, y, dy: y[:, :1])
    with pytest.raises(ValueError, match=r"g\(t, y, dy\) must return the shape of y, \(3, 2\); it returned \(3, 1\)"):
        odeint(linear, Y0, [0.0, 1.0], method=wrong)
    with pytest.raises(ValueError, match="h must be the length of a step, not zero"):
        HyperEuler(zero).residual_loss(linear, Y0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no error estimate"):
        odeint(linear, Y0, [0.0, 1.0], method=HyperEuler(zero), adaptive=True)
