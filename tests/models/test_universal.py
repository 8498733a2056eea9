"""A universal ODE with a zero network is what is known; parameters stay positive; physics comes first if wished."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.models import UniversalODE, perceptron, segments, shooting_loss
from ndelib.training import fit

F64 = torch.float64
START = {"growth": 1.0, "decay": 1.0}
T = torch.linspace(0, 4, 41, dtype=F64)


def lotka_volterra(t, y):
    x, z = y.unbind(-1)
    return torch.stack([1.3 * x - 0.9 * x * z, 0.8 * x * z - 1.8 * z], -1)


def known(t, y, growth, decay):
    return y * torch.stack([growth, -decay])


def model(parameters=START, **options):
    torch.manual_seed(0)
    return UniversalODE(known, perceptron(2, 2, 8).double(), parameters, **options).double()


def test_with_a_zero_network_it_is_what_is_known():
    y = torch.randn(5, 2, dtype=F64)
    assert torch.equal(model()(0.0, y), known(0.0, y, torch.tensor(1.0), torch.tensor(1.0)))
    assert model().network_size(y) == 0
    assert model(zero=False).network_size(y) > 0


def test_the_network_is_added_to_the_chosen_components_and_sees_the_chosen_inputs():
    net = nn.Linear(1, 1).double()
    field = UniversalODE(lotka_volterra, net, components=[1], inputs=[0], zero=False)
    y = torch.randn(3, 4, 2, dtype=F64)
    added = field(0.0, y) - lotka_volterra(0.0, y)
    assert (added[..., 0] == 0).all()
    assert torch.allclose(added[..., 1:], net(y[..., :1]))
    assert torch.allclose(field.missing(y), added)
    assert field.network_size(y).item() == pytest.approx(added.square().mean().item())


def test_parameters_are_handed_over_by_order_and_only_positive_ones_are_exponentials():
    field = UniversalODE(lambda t, y, a, b: a * y + b, perceptron(1, 1), {"a": 2.0, "b": -0.5}, positive={"a"})
    assert field.values == pytest.approx({"a": 2.0, "b": -0.5})
    assert field(0.0, torch.tensor([[3.0]])).item() == pytest.approx(5.5)
    with torch.no_grad():
        for raw in field.physics:
            raw -= 20
    assert field.values["a"] > 0 > field.values["b"]


def test_the_gradient_is_that_of_finite_differences():
    field = model(zero=False)
    y0 = torch.tensor([[1.0, 0.6]], dtype=F64)
    names = [name for name, _ in field.named_parameters()]

    def end(*parameters):
        chosen = dict(zip(names, parameters, strict=True))
        return odeint(lambda t, y: torch.func.functional_call(field, chosen, (t, y)), y0, T[:5], method="rk4")[-1]

    assert any("physics" in name for name in names)
    assert torch.autograd.gradcheck(end, tuple(field.parameters()))


def test_physics_first_then_both():
    y = odeint(lambda t, y: known(t, y, torch.tensor(0.7), torch.tensor(0.4)) - 0.2 * y, torch.ones(2, dtype=F64), T)
    data, field = segments(T, y, 10), model()
    field.learn("physics")
    fit(field, shooting_loss, data, steps=200, lr=0.05, schedule="cosine", progress=False)
    # −0.2 y is of the form that physics has, so physics takes it over: the network stays zero.
    assert field.values == pytest.approx({"growth": 0.5, "decay": 0.6}, abs=1e-3)
    assert field.network_size(y) == 0
    field.learn("network")
    before = field.values
    fit(field, shooting_loss, data, steps=3, lr=0.05, progress=False)
    assert field.values == before
    assert field.network_size(y) > 0
    field.learn("both")
    assert all(p.requires_grad for p in field.parameters())


def test_a_parameter_and_a_network_trade_exactly():
    # growth · x + net = (growth − c) · x + (net + c x): the data see the sum only.
    y = torch.rand(20, 2, dtype=F64)
    net = nn.Linear(2, 2, bias=False).double()
    field = UniversalODE(known, net, {"growth": 1.0, "decay": 2.0}).double()
    first = field(0.0, y)
    with torch.no_grad():
        field.physics[0].copy_(torch.tensor(0.4, dtype=F64).log())
        net.weight[0, 0] += 0.6
    assert torch.allclose(field(0.0, y), first)


def test_the_missing_interaction_is_found_along_the_orbit():
    y = odeint(lotka_volterra, torch.tensor([0.44, 4.6], dtype=F64), T, rtol=1e-9, atol=1e-9)
    torch.manual_seed(0)
    field = UniversalODE(lambda t, y: y * torch.tensor([1.3, -1.8]), perceptron(2, 2, 16).double())
    fit(field, shooting_loss, segments(T, y, 5), steps=300, lr=0.03, schedule="cosine", progress=False)
    true = torch.stack([-0.9 * y[:, 0] * y[:, 1], 0.8 * y[:, 0] * y[:, 1]], -1)
    assert (field.missing(y) - true).norm() < 0.3 * true.norm()  # a short training; at first it is 1


WRONG = [
    (lambda: UniversalODE(3, perceptron(2, 2)), TypeError, r"known must be a function"),
    (lambda: UniversalODE(known, lambda y: y), TypeError, r"network must be a module"),
    (lambda: model({"growth": -1.0, "decay": 1.0}), ValueError, r"parameters\['growth'\] must be positive"),
    (lambda: model({"growth": math.nan}, positive=False), ValueError, r"parameters\['growth'\] must be finite"),
    (lambda: model(positive={"speed"}), ValueError, r"positive names speed, which parameters does not have"),
    (lambda: UniversalODE(known, nn.Identity()), ValueError, r"no linear layer to begin at zero: give zero=False"),
    (lambda: model().learn("all"), ValueError, r'part must be "physics", "network" or "both"'),
    (lambda: model(components=[0])(0.0, torch.ones(3, 2).double()), ValueError, r"network must return \(3, 1\)"),
    (
        lambda: UniversalODE(lambda t, y: y[..., :1], perceptron(2, 2))(0.0, torch.ones(3, 2)),
        ValueError,
        r"known must return the shape of y, \(3, 2\); it returned \(3, 1\)",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_wrong_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
