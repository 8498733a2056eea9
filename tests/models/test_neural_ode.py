"""A neural ODE is a solve: its output is odeint's, for every method and gradient, and it says what is wrong."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from ndelib import methods, odeint
from ndelib.models import MLP, DepthConcat, NeuralODE, perceptron
from ndelib.solvers import TABLEAUS, ButcherTableau, Method, Statistics, Step

F64 = torch.float64
X = torch.tensor([[1.0, 0.5], [-0.3, 0.2], [0.7, -1.1]], dtype=F64)


def field(width=8):
    torch.manual_seed(0)
    return MLP(2, width).double()


def gradients(model, x=X):
    x = x.clone().requires_grad_()
    model(x).square().sum().backward()
    return [x.grad, *(p.grad for p in model.parameters())]


def start_euler(field, statistics):
    def step(t, y, t1, f0, before=None):
        k = field(t, y) if f0 is None else f0
        return Step(t, t1, y, y + (t1 - t) * k, k=[k], f1=None, error=None)

    return step


OWN = [
    ButcherTableau("mine", 1, c=(0,), a=((),), b=(1,)),
    Method("own euler", 1, "one step", "me", start_euler),
]
ON_TENSORS = [m.name for m in methods() if m.kind != "symplectic" or m.name in ("implicit_midpoint",)]


def test_a_linear_field_is_the_matrix_exponential():
    A = torch.tensor([[0.2, -1.0], [1.5, -0.4]], dtype=F64)
    model = NeuralODE(lambda t, y: y @ A.T, t=(0.0, 2.0), rtol=1e-9, atol=1e-11)
    assert torch.allclose(model(X), X @ torch.linalg.matrix_exp(2 * A).T, rtol=1e-7)


def test_time_is_the_fields_own():
    model = NeuralODE(lambda t, y: torch.cos(t) * y, t=(0.5, 2.0), rtol=1e-9, atol=1e-11)
    assert torch.allclose(model(X), X * math.exp(math.sin(2.0) - math.sin(0.5)), rtol=1e-7)


@pytest.mark.parametrize("method", [*ON_TENSORS, *OWN], ids=lambda method: getattr(method, "name", method))
def test_the_output_is_odeints_last_state_with_every_method(method):
    net = field()
    ours = NeuralODE(net, method=method, step_size=0.25)(X)
    theirs = odeint(net, X, [0.0, 1.0], method=method, step_size=0.25, rtol=1e-4, atol=1e-5)[-1]
    assert torch.equal(ours, theirs)


def test_symplectic_methods_say_what_they_need():
    with pytest.raises(ValueError, match="positions and momenta apart"):
        NeuralODE(field(), method="leapfrog", step_size=0.1)(X)


@pytest.mark.parametrize(
    ("gradient", "options", "bound"),
    [
        ("checkpoint", {}, 1e-12),
        ("adjoint", {"rtol": 1e-9, "atol": 1e-11}, 1e-6),
        ("interpolated", {"rtol": 1e-9, "atol": 1e-11}, 1e-6),
    ],
)
def test_every_gradient_is_that_of_backpropagation(gradient, options, bound):
    torch.manual_seed(0)
    net = DepthConcat(perceptron(3, 2, 8)).double()
    expected = gradients(NeuralODE(net, **options))
    net.zero_grad()
    for found, wanted in zip(gradients(NeuralODE(net, gradient=gradient, **options)), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=bound)


def test_the_reversible_gradient_is_that_of_backpropagation():
    options = {"method": "reversible_heun", "step_size": 0.05}
    net = field()
    expected = gradients(NeuralODE(net, **options))
    net.zero_grad()
    for found, wanted in zip(gradients(NeuralODE(net, gradient="reversible", **options)), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-11)


def test_the_gradient_is_a_difference_quotient():
    model = NeuralODE(field(), method="rk4", step_size=0.25)
    assert gradcheck(model, X.clone().requires_grad_())


def test_a_learned_end_time_gets_its_gradient():
    t = nn.Parameter(torch.tensor([0.0, 1.0], dtype=F64))
    model = NeuralODE(lambda t, y: -y, t=t, rtol=1e-9, atol=1e-11)
    model(X).sum().backward()
    assert dict(model.named_parameters()).keys() == {"t"}
    assert t.grad[1].item() == pytest.approx(-X.sum().item() * math.exp(-1), rel=1e-6)


def test_encoder_and_decoder_stand_around_the_solve():
    torch.manual_seed(0)
    encoder, decoder, net = nn.Linear(5, 2, dtype=F64), nn.Linear(2, 3, dtype=F64), field()
    x = torch.randn(4, 5, dtype=F64)
    model = NeuralODE(net, encoder=encoder, decoder=decoder)
    assert torch.equal(model(x), decoder(NeuralODE(net)(encoder(x))))
    assert len(list(model.parameters())) == 8
    assert model.trajectory(x, torch.linspace(0, 1, 7)).shape == (7, 4, 2)
    assert all(g is not None for g in gradients(model, x))


def test_images_are_states_too():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = NeuralODE(lambda t, y: torch.tanh(conv(y)), method="euler", step_size=0.5)
    x = torch.randn(2, 3, 8, 8)
    half = x + 0.5 * torch.tanh(conv(x))
    assert torch.allclose(model(x), half + 0.5 * torch.tanh(conv(half)), atol=1e-6)


def test_the_trajectory_starts_at_x_and_passes_the_states_of_a_solve():
    t, net = torch.linspace(0, 2, 5), field()
    z = NeuralODE(net).trajectory(X, t)
    assert torch.equal(z[0], X)
    assert torch.equal(z, odeint(net, X, t, rtol=1e-4, atol=1e-5))


def test_without_step_size_a_fixed_method_steps_from_time_to_time():
    model = NeuralODE(field(), t=[0.0, 0.25, 0.5, 1.0], method="euler")
    model(X)
    assert model.nfe == 3


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint", "interpolated"])
def test_nfe_counts_the_forward_pass_and_nothing_else(gradient):
    calls = []

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = field()

        def forward(self, t, y):
            calls.append(float(t))
            return self.net(t, y)

    model = NeuralODE(Counted(), method="rk4", step_size=0.1, gradient=gradient, deviation="ignore")
    model(X).sum().backward()
    assert model.nfe == 40
    assert len(calls) == 40 or gradient != "backprop"


def test_nfe_grows_with_the_accuracy_asked_for():
    counts = []
    for rtol in (1e-2, 1e-5, 1e-8):
        model = NeuralODE(lambda t, y: torch.sin(5 * t) * y, rtol=rtol, atol=rtol)
        model(X)
        counts.append(model.nfe)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_samples_with_steps_of_their_own_do_not_depend_on_their_mates():
    model = NeuralODE(field(), batch="independent")
    assert torch.allclose(model(X)[:1], model(X[:1]), rtol=1e-12)
    assert model.nfe > 6


def test_vmap_over_samples_is_the_batch():
    model = NeuralODE(field(), method="rk4", step_size=0.25)
    assert torch.allclose(torch.func.vmap(model)(X), model(X))


@pytest.mark.usefixtures("traced_if_short")
def test_a_compiled_step_gives_the_same_model_and_counts():
    model, compiled = (NeuralODE(field(), method="tsit5", compile=how) for how in (None, "step"))
    try:
        y = compiled(X)
    except Exception as failure:
        if "ompiler" not in f"{type(failure).__name__} {failure}":
            raise
        pytest.skip("no C++ compiler here")
    assert torch.allclose(y, model(X), rtol=1e-10)
    assert compiled.nfe == model.nfe


def test_a_model_can_be_saved_and_loaded(tmp_path):
    model, other = NeuralODE(field(), decoder=nn.Linear(2, 1, dtype=F64)), None
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = NeuralODE(MLP(2, 8).double(), decoder=nn.Linear(2, 1, dtype=F64))
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(model(X), other(X))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_that_of_the_data(dtype):
    assert NeuralODE(MLP(2).to(dtype))(X.to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"t": 1.0}, TypeError, "t must be a tensor or a sequence of times, got float"),
        ({"t": (1.0,)}, ValueError, "t must hold the time of the input and that of the output"),
        ({"t": (0.0, 2.0, 1.0)}, ValueError, "t must be strictly increasing or strictly decreasing"),
        ({"t": (0.0, math.nan)}, ValueError, "t holds an infinity or NaN"),
        ({"method": "dopri"}, ValueError, "method 'dopri' is unknown: did you mean 'dopri"),
        ({"gradient": "adjiont"}, ValueError, "gradient 'adjiont' is unknown: did you mean 'adjoint'"),
        ({"field": 3}, TypeError, r"field must be a function field\(t, y\) -> dy/dt, got int"),
        (
            {"field": torch.nn.Linear(2, 2)},
            TypeError,
            r"field\(t, y\); Linear takes one argument: use Autonomous\(net\)",
        ),
        ({"field": lambda y: -y}, TypeError, r"function takes one argument: use Autonomous\(net\)"),
    ],
)
def test_a_wrong_argument_is_named_where_the_model_is_made(arguments, kind, message):
    with pytest.raises(kind, match=message):
        NeuralODE(**{"field": field(), **arguments})


def test_wrong_data_is_named():
    model = NeuralODE(field())
    with pytest.raises(ValueError, match="x holds an infinity or NaN"):
        model(torch.full((3, 2), math.nan, dtype=F64))
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        model([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"MLP\(2\) got a state of the shape \(3, 5\), whose last axis must be 2"):
        model(torch.zeros(3, 5, dtype=F64))
    with pytest.raises(TypeError, match="floating-point dtype"):
        model(torch.zeros(3, 2, dtype=torch.long))


def test_a_field_that_changes_the_shape_is_named():
    with pytest.raises(ValueError, match=r"f\(t, y\) must return the shape of y, \(3, 2\); it returned \(3, 1\)"):
        NeuralODE(lambda t, y: y[:, :1])(X)
    with pytest.raises(TypeError, match="'step' is not an option"):
        NeuralODE(field(), step=0.1)(X)


def test_statistics_are_those_of_the_solve():
    counts = Statistics()
    odeint(lambda t, y: -y, X, [0.0, 1.0], method="rk4", step_size=0.1, statistics=counts)
    assert (counts.steps, counts.nfe, counts.rejected) == (10, 40, 0)
    odeint(lambda t, y: -y, X, [0.0, 1.0], method="euler", step_size=0.1, statistics=counts)
    assert (counts.steps, counts.nfe) == (10, 10), "a solve counts from zero"
    odeint(lambda t, y: -y, X, [0.0, 1.0], batch="independent", statistics=counts)
    assert counts.nfe >= 6 * counts.steps > 0
    with pytest.raises(TypeError, match=r"statistics must be an ndelib.solvers.Statistics to fill, got dict"):
        odeint(lambda t, y: -y, X, [0.0, 1.0], statistics={})
    assert TABLEAUS["rk4"].order == 4
