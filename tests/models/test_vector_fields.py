"""Fields are the formulas they say they are, and what they take from the model arrives with its gradient."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.models import (
    MLP,
    AdaptiveDepth,
    Augmented,
    Autonomous,
    Concat,
    ConvField,
    DataControlled,
    DepthConcat,
    Galerkin,
    NeuralODE,
    SecondOrder,
    perceptron,
)
from ndelib.models.galerkin import BASES

F64 = torch.float64
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
X = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.7, -1.1]], dtype=F64)
T = torch.tensor(0.3, dtype=F64)


def seeded(make):
    torch.manual_seed(0)
    return make().double()


def depth():
    return nn.Sequential(nn.Linear(2, 1), nn.Softplus())


FIELDS = {
    "mlp": lambda: MLP(2, 8),
    "autonomous": lambda: Autonomous(perceptron(2, 2, 8)),
    "depth": lambda: DepthConcat(perceptron(3, 2, 8)),
    "fourier": lambda: Galerkin(perceptron(2, 2, 8), "fourier", 3),
    "chebyshev": lambda: Galerkin(perceptron(2, 2, 8), "chebyshev", 3),
    "piecewise": lambda: Galerkin(perceptron(2, 2, 8), "piecewise", 3),
    "controlled": lambda: DataControlled(Concat(perceptron(4, 2, 8))),
    "augmented": lambda: Augmented(MLP(3, 8), 1),
    "learned": lambda: Augmented(MLP(3, 8), 1, learned=True),
    "second order": lambda: Augmented(SecondOrder(perceptron(4, 2, 8)), 2),
    "adaptive": lambda: AdaptiveDepth(DepthConcat(perceptron(3, 2, 8)), depth()),
    "augmented and controlled": lambda: Augmented(DataControlled(Concat(perceptron(5, 3, 8))), 1),
    "adaptive and controlled": lambda: AdaptiveDepth(DataControlled(Concat(perceptron(4, 2, 8))), depth()),
}


def gradients(name, gradient, **options):
    field = seeded(FIELDS[name])
    model = NeuralODE(field, gradient=gradient, step_at=getattr(field, "jumps", ()), **options)
    x = X.clone().requires_grad_()
    loss = model(x).square().sum()
    return loss.detach(), torch.autograd.grad(loss, [x, *model.parameters()]), model


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "interpolated"])
def test_every_gradient_gives_input_and_weights_what_backpropagation_gives(name, gradient):
    # The integral over the weights is by Gauss quadrature on the forward steps, whose error is that of a smooth
    # integrand: short steps make it small for the oscillating weights of Galerkin fields, too.
    options = {"max_step": 0.05, **TIGHT} if gradient != "checkpoint" else TIGHT
    loss, expected, _ = gradients(name, "backprop", **options)
    again, found, _ = gradients(name, gradient, **options)
    assert torch.equal(loss, again)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-11 if gradient == "checkpoint" else 1e-6)


@pytest.mark.parametrize("name", FIELDS)
def test_the_gradient_is_a_difference_quotient(name):
    _, found, model = gradients(name, "backprop", method="rk4", step_size=0.25)
    torch.manual_seed(1)
    tensors = [X, *(p.detach().clone() for p in model.parameters())]
    directions = [torch.randn_like(tensor) for tensor in tensors]

    @torch.no_grad()
    def loss(e):
        for p, at, way in zip(model.parameters(), tensors[1:], directions[1:], strict=True):
            p.copy_(at + e * way)
        return model(X + e * directions[0]).square().sum().item()

    slope = sum((g * way).sum().item() for g, way in zip(found, directions, strict=True))
    e = 1e-5  # the quotient's error is O(e²), about 1e-9
    assert (loss(e) - loss(-e)) / (2 * e) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in FIELDS if "adaptive" not in name])
def test_a_model_gives_each_sample_what_it_gives_it_alone(name):
    model = NeuralODE(seeded(FIELDS[name]), method="rk4", step_size=0.125)
    assert torch.allclose(model(X)[1:2], model(X[1:2]), rtol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "depth", "controlled", "augmented", "adaptive", "adaptive and controlled"])
def test_samples_may_have_steps_of_their_own(name):
    model = NeuralODE(seeded(FIELDS[name]), batch="independent", **TIGHT)
    assert torch.allclose(model(X), NeuralODE(model.field, **TIGHT)(X), atol=1e-7)


def test_perceptrons_have_the_layers_asked_for():
    net = perceptron(2, 3, width=5, depth=2, activation=nn.ReLU)
    assert [type(layer).__name__ for layer in net] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [tuple(p.shape) for p in net.parameters()] == [(5, 2), (5,), (5, 5), (5,), (3, 5), (3,)]
    assert len(perceptron(2, 3, depth=0)) == 1
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0, 2"):
        perceptron(0, 2)


def test_depth_stands_beside_the_state():
    field = DepthConcat(lambda y: y[..., :2] * y[..., 2:])  # dy/dt = t y
    assert torch.allclose(NeuralODE(field, **TIGHT)(X), X * math.exp(0.5), rtol=1e-7)
    images = DepthConcat(lambda y: y[:, :3] * y[:, 3:], dim=-3)
    y = torch.randn(2, 3, 4, 4, dtype=F64)
    assert torch.equal(images(T, y), T * y)


def test_the_data_controlled_reflection():
    # dz/dt = -θ (z + x), z(0) = x  has  z(1) = -x + 2 x exp(-θ)
    theta = 3.0
    model = NeuralODE(DataControlled(lambda z, x: -theta * (z + x)), **TIGHT)
    assert torch.allclose(model(X), -X + 2 * X * math.exp(-theta), rtol=1e-7)


def test_a_condition_of_another_batch_is_refused():
    field = DataControlled(Concat(perceptron(4, 2)))
    with pytest.raises(ValueError, match="x has 2 samples and the state 3: DataControlled needs one x a sample"):
        odeint(field, torch.zeros(3, 2), [0.0, 1.0], args=(torch.zeros(2, 2),))
    with pytest.raises(TypeError, match=r"field f\(t, y, x\): write odeint\(f, y0, t, args=\(x,\)\)"):
        odeint(field, torch.zeros(3, 2), [0.0, 1.0])


def test_the_input_of_a_controlled_field_is_the_models_and_not_the_encoders():
    torch.manual_seed(0)
    encoder = nn.Linear(5, 2, dtype=F64)
    x = torch.randn(3, 5, dtype=F64)
    model = NeuralODE(DataControlled(lambda z, x: x[:, :2]), encoder=encoder, **TIGHT)  # dz/dt = x
    assert torch.allclose(model(x), encoder(x) + x[:, :2])


def test_second_order_is_newtons_equation():
    model = NeuralODE(Augmented(SecondOrder(lambda y: -y[..., :2]), 2), t=(0.0, math.pi / 3), **TIGHT)
    assert torch.allclose(model(X), X / 2, rtol=1e-7), "a spring, from rest"
    with pytest.raises(ValueError, match="of even size"):
        SecondOrder(lambda y: y)(T, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"net must return the acceleration, \(2, 2\); it returned \(2, 4\)"):
        SecondOrder(lambda y: y)(T, torch.zeros(2, 4))


def test_convolutions_keep_the_image():
    field = ConvField(3, width=5)
    assert field(T, torch.zeros(2, 3, 7, 6)).shape == (2, 3, 7, 6)
    with pytest.raises(ValueError, match=r"ConvField\(3\) needs images \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        field(T, torch.zeros(2, 1, 8, 8))


def test_augmentation_adds_zeros_or_a_layer_and_a_decoder_sees_all():
    zeros, learned = seeded(FIELDS["augmented"]), seeded(FIELDS["learned"])
    assert torch.equal(zeros.initial(X), torch.cat([X, torch.zeros(3, 1, dtype=F64)], 1))
    assert torch.equal(learned.initial(X), torch.cat([X, learned.layer(X)], 1))
    assert torch.equal(zeros.output(zeros.initial(X)), X)
    assert NeuralODE(zeros)(X).shape == (3, 2)
    assert NeuralODE(zeros, decoder=nn.Linear(3, 5, dtype=F64))(X).shape == (3, 5)
    assert NeuralODE(zeros).trajectory(X)[-1].shape == (3, 3)


def test_images_get_channels():
    model = NeuralODE(Augmented(ConvField(4), 1, learned=nn.Conv2d(3, 1, 1), dim=-3), method="euler", step_size=0.5)
    x = torch.randn(2, 3, 8, 8)
    assert model(x).shape == x.shape
    assert model.trajectory(x).shape == (2, 2, 4, 8, 8)


def test_a_plane_is_enough_room_to_turn_the_line_over():
    def turn(t, y):  # of the plane by π
        return math.pi * torch.stack([-y[..., 1], y[..., 0]], -1)

    assert torch.allclose(NeuralODE(Augmented(turn, 1), **TIGHT)(X[:, :1]), -X[:, :1], atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"dims": 0}, ValueError, "dims must be at least 1"),
        ({"dims": 1.0}, TypeError, "dims must be a whole number, got 1.0"),
        ({"field": lambda t, y: y, "learned": True}, ValueError, "learned=True needs to know the size of x"),
        ({"field": 3}, TypeError, "field must be a function"),
    ],
)
def test_wrong_augmentations_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Augmented(**{"field": MLP(3), "dims": 1, **arguments})


def test_a_learned_layer_of_another_size_is_named():
    with pytest.raises(ValueError, match=r"learned must make the shape \(3, 1\) of x; it made \(3, 2\)"):
        Augmented(MLP(3), 1, learned=nn.Linear(2, 2, dtype=F64)).initial(X)


@pytest.mark.parametrize("basis", BASES)
def test_before_training_the_weights_are_those_of_the_network_at_every_depth(basis):
    net = seeded(lambda: perceptron(2, 2, 8))
    field = Galerkin(net, basis, 4)
    for t in (0.0, 0.3, 1.0):
        assert torch.allclose(field(torch.tensor(t, dtype=F64), X), net(X))
        assert torch.equal(field(t, X), field(torch.tensor(t, dtype=F64), X)), "a number will do"
    assert [tuple(a.shape) for a in field.alpha] == [(4, *p.shape) for p in net.parameters()]
    assert sum(p.numel() for p in field.parameters()) == 4 * sum(p.numel() for p in net.parameters())


def test_the_bases_are_what_their_names_say():
    s, n = torch.linspace(0, 1, 7, dtype=F64), 5
    table = {name: torch.stack([basis(x, n) for x in s]) for name, basis in BASES.items()}
    j = torch.arange(n)
    assert torch.allclose(table["chebyshev"], torch.cos(j * torch.arccos(2 * s - 1)[:, None]), atol=1e-12)
    columns = [torch.ones_like(s)]
    columns += [f(2 * math.pi * k * s) for k in (1, 2) for f in (torch.cos, torch.sin)]
    assert torch.allclose(table["fourier"], torch.stack(columns, 1), atol=1e-12)
    assert (table["piecewise"].sum(1) == 1).all()
    assert table["piecewise"].argmax(1).tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert [BASES["piecewise"](torch.tensor(t), 4, 1.0, 3.0).argmax() for t in (1.0, 1.5, 2.0, 2.5, 3.0)] == [
        0,
        1,
        2,
        3,
        3,
    ]


def test_a_linear_field_with_weights_that_change_has_its_closed_solution():
    # dy/dt = (a0 + a1 cos 2πt + a2 sin 2πt) y  has  y(t) = y(0) exp(a0 t + a1 sin(2πt)/2π + a2 (1 - cos 2πt)/2π)
    field = Galerkin(nn.Linear(1, 1, bias=False, dtype=F64), "fourier", 3, span=(0.0, 2.0))
    with torch.no_grad():
        field.alpha[0].copy_(torch.tensor([-0.5, 1.0, 2.0])[:, None, None])
    x, t, w = X[:, :1], 0.6, math.pi  # the period is the span, 2
    expected = x * math.exp(-0.5 * t + (math.sin(w * t) + 2 * (1 - math.cos(w * t))) / w)
    assert torch.allclose(NeuralODE(field, t=(0.0, t), **TIGHT)(x), expected, rtol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_piecewise_weights_are_networks_one_after_the_other(dtype):
    field = Galerkin(nn.Linear(1, 1, bias=False, dtype=dtype), "piecewise", 3)
    with torch.no_grad():
        field.alpha[0].copy_(torch.tensor([1.0, -2.0, 3.0])[:, None, None])
    x = X[:, :1].to(dtype)
    model = NeuralODE(field, step_at=field.jumps, rtol=1e-6, atol=1e-8)
    assert torch.allclose(model(x), x * math.exp(2 / 3), rtol=1e-5)
    euler = NeuralODE(field, step_at=field.jumps, method="euler", step_size=1.0)  # one step a network
    assert torch.allclose(euler(x), x * (1 + 1 / 3) * (1 - 2 / 3) * (1 + 1), rtol=1e-6)


@pytest.mark.parametrize("n", [3, 7, 10])
def test_every_step_between_jumps_meets_its_own_network(n):
    field = Galerkin(nn.Linear(1, 1, bias=False), "piecewise", n, span=(0.1, 3.7))
    with torch.no_grad():
        field.alpha[0].copy_(torch.arange(n)[:, None, None])
    rk4 = NeuralODE(
        field, t=(0.1, 3.7), step_at=field.jumps, method="rk4", step_size=10.0
    )  # asks at both ends of a step
    x, h = torch.ones(1, 1), 3.6 / n
    expected = math.prod(sum((k * h) ** i / math.factorial(i) for i in range(5)) for k in range(n))
    assert rk4(x).item() == pytest.approx(expected, rel=1e-5)


def test_spectral_gradients_are_integrals_of_the_adjoint():
    # dy/dt = θ(t) y, L = y(1): a(t) = exp(∫_t^1 θ), so dL/dα_j = ∫ a y ψ_j dt = y(1) ∫ ψ_j dt = 0 but for j = 0
    field = Galerkin(nn.Linear(1, 1, bias=False, dtype=F64), "fourier", 5)
    y = NeuralODE(field, max_step=0.05, **TIGHT)(torch.ones(1, 1, dtype=F64))
    y.sum().backward()
    assert torch.allclose(field.alpha[0].grad.flatten(), y.item() * torch.eye(5, dtype=F64)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"basis": "wavelet"}, "basis 'wavelet' is unknown: choose from fourier, chebyshev, piecewise"),
        ({"n": 0}, "n must be a number of functions, at least 1"),
        ({"span": (1.0, 0.0)}, "span must be two depths, the smaller first"),
        ({"net": nn.BatchNorm1d(2)}, "net must be a module with parameters and without buffers"),
        ({"net": nn.Tanh()}, "net must be a module with parameters and without buffers"),
    ],
)
def test_wrong_galerkin_fields_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Galerkin(**{"net": nn.Linear(2, 2), **arguments})


def test_weights_for_all_samples_and_times_for_each_do_not_go_together():
    with pytest.raises(ValueError, match=r"one set of weights for all samples, and got times of the shape \(3, 1\)"):
        NeuralODE(AdaptiveDepth(Galerkin(nn.Linear(2, 2).double()), lambda x: x[:, 0] ** 2))(X)


def test_every_sample_ends_at_its_own_time():
    g = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    model = NeuralODE(AdaptiveDepth(lambda t, y: 2 * t * y, lambda x: g), **TIGHT)
    assert torch.allclose(model(X), X * torch.exp(g**2)[:, None], rtol=1e-7), "dy/dt = 2 t y from 0 to g"


def test_end_times_that_are_none_are_refused():
    with pytest.raises(ValueError, match="g must return positive end times"):
        NeuralODE(AdaptiveDepth(MLP(2).double(), lambda x: x[:, 0]))(X)
    with pytest.raises(ValueError, match=r"g must return one end time a sample, \(3,\); it returned \(3, 2\)"):
        NeuralODE(AdaptiveDepth(MLP(2).double(), lambda x: x))(X)
    with pytest.raises(TypeError, match=r"write odeint\(f, y0, s, args=\(g\(x\),\)\)"):
        odeint(AdaptiveDepth(MLP(2).double(), lambda x: x), X, [0.0, 1.0])


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "interpolated"])
def test_a_parameter_behind_args_and_in_the_field_gets_its_gradient_once(gradient):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.k = nn.Parameter(torch.tensor(0.7, dtype=F64))

        def forward(self, t, y, k):
            return -k * y

    f, y0 = Both(), torch.ones(1, dtype=F64)
    y = odeint(f, y0, [0.0, 1.0], args=(f.k**2,), gradient=gradient, **TIGHT)[-1]  # y = exp(-k²)
    y.sum().backward()
    assert f.k.grad.item() == pytest.approx(-1.4 * math.exp(-0.49), rel=1e-6)


def test_an_autonomous_field_is_its_network_at_any_time():
    net = seeded(lambda: perceptron(2, 2, 8))
    for t in (T, 5.0):
        torch.testing.assert_close(Autonomous(net)(t, X), net(X), rtol=0, atol=0)
