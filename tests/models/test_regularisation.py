"""Running costs of RNODE have their exact values on linear fields, and gradients in every way."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint_with_cost
from ndelib.models import (
    MLP,
    Augmented,
    Concat,
    DataControlled,
    DepthConcat,
    NeuralODE,
    jacobian_norm,
    kinetic_energy,
    perceptron,
)

F64 = torch.float64
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
A = torch.tensor([[-0.3, -1.2], [1.1, 0.2]], dtype=F64)
X = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.7, -1.1]], dtype=F64)
T = torch.tensor(0.3, dtype=F64)


def linear(t, y):
    return y @ A.T


def test_the_kinetic_energy_of_a_decay():
    k = 0.8
    cost = odeint_with_cost(lambda t, y: -k * y, kinetic_energy(lambda t, y: -k * y), X, [0.0, 1.5], **TIGHT)[1]
    # ∫ k² y0² exp(-2kt) dt
    assert torch.allclose(cost[-1], k / 2 * (1 - math.exp(-2 * k * 1.5)) * X.square().sum(1), rtol=1e-8)


def test_the_kinetic_energy_of_a_linear_field():
    # ∫ |A exp(At) y0|² dt by a sum over 2000 midpoints, whose error is O(1e-7)
    times = (torch.arange(2000, dtype=F64) + 0.5) / 2000
    speeds = torch.stack([X @ (A @ torch.linalg.matrix_exp(t * A)).T for t in times])
    cost = odeint_with_cost(linear, kinetic_energy(linear), X, [0.0, 1.0], **TIGHT)[1]
    assert torch.allclose(cost[-1], speeds.square().sum(2).mean(0), rtol=1e-6)


def test_the_jacobian_norm_of_a_linear_field_is_that_of_its_matrix():
    cost = odeint_with_cost(linear, jacobian_norm(linear), X, [0.0, 2.0])[1]
    assert torch.allclose(cost[-1], 2 * A.square().sum().expand(3), rtol=1e-10)


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 1), (2,)])
def test_the_jacobian_norm_is_that_of_the_jacobian_of_every_sample(shape):
    torch.manual_seed(0)
    net = perceptron(2, 2, 8).double()
    y = torch.randn(shape, dtype=F64)

    def f(t, y):
        return t * net(y.reshape(-1, 2)).reshape(y.shape)

    samples = y[None] if len(shape) == 1 else y
    jacobians = [torch.autograd.functional.jacobian(lambda y: f(T, y), sample[None]) for sample in samples]
    expected = torch.stack([jacobian.square().sum() for jacobian in jacobians])
    assert torch.allclose(jacobian_norm(f)(T, y), expected if len(shape) > 1 else expected[0])


def test_probes_estimate_it_without_bias():
    # Over the 4 sign vectors in the plane the mean of ‖εᵀJ‖² is ‖J‖²: it is one for every entry εᵢεⱼ of the identity
    torch.manual_seed(0)
    net = MLP(2, 8).double()
    unit = torch.tensor([0.0, 3.0], dtype=F64).expand(3, 2)  # three times the second row of the Jacobian
    rows = torch.stack([torch.autograd.functional.jacobian(lambda y: net(T, y)[1], x) for x in X])
    assert torch.allclose(jacobian_norm(net, unit)(T, X), 9 * rows.square().sum(1))
    signs = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0])).double()
    estimates = [jacobian_norm(net, sign.expand(3, 2))(T, X) for sign in signs]
    assert torch.allclose(torch.stack(estimates).mean(0), jacobian_norm(net)(T, X))
    assert not torch.allclose(estimates[0], jacobian_norm(net)(T, X), rtol=1e-2)


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint", "interpolated"])
@pytest.mark.parametrize(
    "make", [kinetic_energy, jacobian_norm, "probe"], ids=lambda make: getattr(make, "__name__", make)
)
def test_costs_have_their_gradient(gradient, make):
    torch.manual_seed(0)
    net = DepthConcat(perceptron(3, 2, 8)).double()
    cost = jacobian_norm(net, torch.randn_like(X)) if make == "probe" else make(net)
    parameters = list(net.parameters())

    def loss(gradient="backprop"):
        y, costs = odeint_with_cost(net, cost, X, [0.0, 1.0], gradient=gradient, **TIGHT)
        return y[-1].square().sum() + costs[-1].sum()

    found = torch.autograd.grad(loss(gradient), parameters, materialize_grads=True)
    ways = [torch.randn_like(p) for p in parameters]
    slope = sum((g * way).sum().item() for g, way in zip(found, ways, strict=True))
    with torch.no_grad():
        values, e = [], 1e-5
        for move in (e, -2 * e):
            for p, way in zip(parameters, ways, strict=True):
                p += move * way
            values.append(loss().item())
    assert (values[0] - values[1]) / (2 * e) == pytest.approx(slope, rel=1e-5)


def test_a_model_gives_its_output_with_the_cost():
    torch.manual_seed(0)
    model = NeuralODE(Augmented(MLP(3, 8), 1).double(), decoder=nn.Linear(3, 4, dtype=F64), **TIGHT)
    output, cost = model.with_cost(X, kinetic_energy(model.field))
    assert torch.allclose(output, model(X))
    assert cost.shape == (3,)
    assert model.nfe > 6
    controlled = NeuralODE(DataControlled(Concat(perceptron(4, 2, 8))).double(), **TIGHT)
    assert controlled.with_cost(X, jacobian_norm(controlled.field))[1].shape == (3,)


def test_less_energy_needs_fewer_evaluations():
    """A rotation and the straight way have the same ends; the cost tells which one a solver likes."""

    def turn(t, y):
        return math.pi * torch.stack([-y[:, 1], y[:, 0]], -1)

    there = torch.tensor([[1.0, 0.0]], dtype=F64)
    straight = NeuralODE(lambda t, y: -2 * there.expand_as(y), **TIGHT)
    bent = NeuralODE(turn, **TIGHT)
    (a, short), (b, long) = (model.with_cost(there, kinetic_energy(model.field)) for model in (straight, bent))
    assert torch.allclose(a, b, atol=1e-7)
    assert short.item() == pytest.approx(4)
    assert long.item() == pytest.approx(math.pi**2)
    assert straight.nfe < bent.nfe / 5


def test_a_probe_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"probe must have the shape of the state, \(3, 2\); it is \(2,\)"):
        jacobian_norm(linear, torch.ones(2))(T, X)
