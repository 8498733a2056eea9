"""Residual networks are steps of a solve: with shared weights to rounding, with more layers nearer to the equation."""

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.models import (
    MLP,
    AdaptiveDepth,
    Augmented,
    Concat,
    ConvField,
    DataControlled,
    DepthConcat,
    NeuralODE,
    ResNet,
    RKNet,
    perceptron,
)
from ndelib.solvers import TABLEAUS, ButcherTableau

F64 = torch.float64
X = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.7, -1.1]], dtype=F64)


def block():
    torch.manual_seed(0)
    return DepthConcat(perceptron(3, 2, 8)).double()


@pytest.mark.parametrize("depth", [1, 3, 10, 49])
def test_shared_layers_are_eulers_method_to_rounding(depth):
    net = block()
    expected = odeint(net, X, [0.0, 1.0], method="euler", step_size=1 / depth)[-1]
    assert torch.allclose(ResNet(net, depth, shared=True)(X), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", TABLEAUS)
def test_shared_runge_kutta_layers_are_the_method_to_rounding(method):
    net, depth = block(), 7
    model = RKNet(net, depth, shared=True, method=method)
    expected = odeint(net, X, [0.0, 1.0], method=method, step_size=1 / depth)[-1]
    assert torch.allclose(model(X), expected, rtol=0, atol=1e-14)
    assert model.nfe == depth * len(TABLEAUS[method].c)


@pytest.mark.parametrize(("model", "order"), [(ResNet, 1), (RKNet, 4)])
def test_depth_converges_to_the_equation_with_the_order_of_the_method(model, order):
    net = block()
    exact = NeuralODE(net, rtol=1e-12, atol=1e-13)(X)
    coarse, fine = ((model(net, depth, shared=True)(X) - exact).abs().max().item() for depth in (8, 16))
    assert coarse / fine == pytest.approx(2**order, rel=0.15)


def test_the_gradient_is_that_of_eulers_method():
    net = block()
    found = torch.autograd.grad(ResNet(net, 5, shared=True)(X).sum(), list(net.parameters()))
    ys = odeint(net, X, [0.0, 1.0], method="euler", step_size=0.2)
    for a, b in zip(found, torch.autograd.grad(ys[-1].sum(), list(net.parameters())), strict=True):
        assert torch.allclose(a, b, atol=1e-13)


def test_layers_of_their_own_are_drawn_anew():
    model = ResNet(MLP(2, 8), 4)
    first = [block.net[0].weight for block in model.blocks]
    assert all((a != b).any() for i, a in enumerate(first) for b in first[:i])
    count = sum(p.numel() for p in model.parameters())
    assert count == 4 * sum(p.numel() for p in ResNet(MLP(2, 8), 4, shared=True).parameters())


def test_the_states_between_the_layers():
    net = MLP(2, 8).double()
    model = ResNet(net, 3, shared=True, t=(0.0, 3.0), decoder=nn.Linear(2, 4, dtype=F64))
    z = model.trajectory(X)
    assert z.shape == (4, 3, 2)
    assert torch.equal(z[0], X)
    assert torch.equal(z[1], X + net(0.0, X)), "h = 1 over (0, depth)"
    assert torch.equal(model(X), model.decoder(z[-1]))
    assert model.nfe == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvField(3),
        lambda: Augmented(ConvField(4), 1, dim=-3),
    ],
)
def test_images(make):
    x = torch.randn(2, 3, 8, 8)
    assert ResNet(make(), 2)(x).shape == RKNet(make(), 2)(x).shape == x.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda: Augmented(DataControlled(Concat(perceptron(5, 3, 8))), 1, learned=nn.Linear(2, 1)),
        lambda: AdaptiveDepth(DepthConcat(perceptron(3, 2, 8)), nn.Sequential(nn.Linear(2, 1), nn.Softplus())),
    ],
)
def test_the_same_blocks_as_a_neural_ode(make):
    torch.manual_seed(0)
    net = make().double()
    ours, theirs = ResNet(net, 6, shared=True), NeuralODE(net, method="euler", step_size=1 / 6)
    assert torch.allclose(ours(X), theirs(X), rtol=0, atol=1e-14)
    ResNet(net, 3)(X).sum().backward()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="depth must be a number of layers, at least 1, got 0"):
        ResNet(MLP(2), 0)
    with pytest.raises(TypeError, match="block must be a module, so that layers can have copies of it, got function"):
        ResNet(lambda t, y: y, 3)
    with pytest.raises(ValueError, match="t must hold two times"):
        ResNet(MLP(2), 3, t=(0.0, 0.5, 1.0))
    with pytest.raises(ValueError, match="'kvaerno3' is no explicit Runge–Kutta method"):
        RKNet(MLP(2), 3, method="kvaerno3")
    with pytest.raises(ValueError, match="x holds an infinity or NaN"):
        ResNet(MLP(2), 3)(torch.full((1, 2), torch.inf))


def test_a_table_of_ones_own_and_a_function_for_a_block():
    table = ButcherTableau("mine", 1, c=(0,), a=((),), b=(1,))
    model = RKNet(lambda t, y: -y, 2, shared=True, method=table)
    assert torch.allclose(model(X), X / 4)
