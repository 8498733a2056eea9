"""All gradients of ``cdeint``: against closed forms, finite differences and each other."""

from itertools import product

import pytest
import torch
from torch import nn

from ndelib import CubicSpline, LinearInterpolation, cdeint, linear_interpolation_coeffs, natural_cubic_coeffs
from ndelib import hermite_cubic_coefficients_with_backward_differences as hermite_coeffs
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.conftest import full

PATHS = {
    "linear": LinearInterpolation,
    "rectilinear": lambda x, t=None: LinearInterpolation(linear_interpolation_coeffs(x, rectilinear=0)),
    "hermite": lambda x, t=None: CubicSpline(hermite_coeffs(x, t), t),
    "natural": lambda x, t=None: CubicSpline(natural_cubic_coeffs(x, t), t),
}
every_gradient = pytest.mark.parametrize("gradient", GRADIENTS)
REVERSIBLE = next(
    name for name, method in METHODS.items() if method.reverse is not None and "split" not in method.options
)


def how(gradient, step_size=None):
    """Return options: fixed steps where the gradient is that of the steps, tight tolerances where of the equation."""
    if gradient in ("adjoint", "interpolated"):
        return {"gradient": gradient, "rtol": 1e-9, "atol": 1e-9}
    method = REVERSIBLE if gradient == "reversible" else "rk4"
    return {"gradient": gradient, "method": method, "step_size": step_size}


def data(*batch, length=4, channels=2):
    x = torch.randn(*batch, length, channels, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x[..., 0] = torch.linspace(0, 1.5, length, dtype=torch.float64)  # the time
    return x


class Net(nn.Module):
    def __init__(self, hidden=2, channels=2):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(hidden, hidden * channels, dtype=torch.float64)
        self.channels = channels

    def forward(self, t, z):
        return torch.tanh(self.linear(z)).reshape(*z.shape, self.channels)


class Scale(nn.Module):
    """dz = a z dX in one dimension, so that z(T) = z₀ exp(a (X_T − X_0))."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))

    def forward(self, t, z):
        return (self.a * z).unsqueeze(-1)


@every_gradient
@pytest.mark.parametrize("kind", ["linear", "hermite", "natural"])
def test_with_one_channel_the_gradient_to_the_data_is_at_its_ends(kind, gradient):
    x = torch.tensor([[0.0], [1.2], [0.5], [0.9]], dtype=torch.float64, requires_grad=True)
    z0, func = torch.tensor([1.5], dtype=torch.float64, requires_grad=True), Scale()
    z = cdeint(PATHS[kind](x), func, z0, **how(gradient, 0.01))[-1].sum()
    z.backward()
    a, moved = func.a.item(), 0.9
    end = 1.5 * torch.exp(torch.tensor(a * moved)).item()
    exact = {"rtol": 0, "atol": 2e-4 if gradient == "reversible" else 1e-6}  # the first has order two
    torch.testing.assert_close(x.grad[:, 0], torch.tensor([-a * end, 0.0, 0.0, a * end]).double(), **exact)
    torch.testing.assert_close(z0.grad, torch.tensor([end / 1.5]).double(), **exact)
    torch.testing.assert_close(func.a.grad, torch.tensor(end * moved).double(), **exact)


EVERY = list(product(PATHS, GRADIENTS))
# A gradient of the steps and one of the equation with every path, the others with one
SOME = [(kind, gradient) for kind, gradient in EVERY if gradient in ("backprop", "adjoint") or kind == "natural"]


@pytest.mark.parametrize(("kind", "gradient"), full(EVERY, SOME))
def test_gradients_to_everything_are_those_of_finite_differences(kind, gradient):
    func, x, z0 = Net(), data(), torch.tensor([0.3, -0.8], dtype=torch.float64)

    def solve(x, z0, weight, bias):
        with torch.no_grad():  # so that the parameters are those that are moved
            func.linear.weight.copy_(weight)
            func.linear.bias.copy_(bias)
        z = cdeint(
            PATHS[kind](x),
            lambda t, z: torch.tanh(nn.functional.linear(z, weight, bias)).reshape(2, 2),
            z0,
            params=(weight, bias),
            **how(gradient),
        )
        return z[-1]

    inputs = [x, z0, func.linear.weight.detach().clone(), func.linear.bias.detach().clone()]
    for tensor in inputs:
        tensor.requires_grad_()
    # a random direction for each of them: the full Jacobian of a solve takes many solves
    assert torch.autograd.gradcheck(solve, inputs, fast_mode=True, atol=1e-6, rtol=1e-5)


@every_gradient
def test_parameters_and_data_are_found_in_batches(gradient):
    func, x, z0 = Net(), data(2, 3).requires_grad_(), torch.randn(2, 3, 2, dtype=torch.float64)

    def gradients(gradient, **options):
        z = cdeint(PATHS["hermite"](x), func, z0, [0.0, 1.2, 2.6], gradient=gradient, **options)
        return torch.autograd.grad(z[..., 1:, :].square().sum(), (*func.parameters(), x))

    options = {key: value for key, value in how(gradient).items() if key != "gradient"}
    exact = gradients("backprop", **options)
    for found, expected in zip(gradients(gradient, **options), exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gradients_flow_to_the_times_of_observations_of_a_cubic_path_and_to_those_asked_for():
    x, z0, func = data(), torch.tensor([0.3, -0.8], dtype=torch.float64), Net()
    t = torch.tensor([0.0, 0.4, 1.3, 2.0], dtype=torch.float64, requires_grad=True)
    asked = torch.tensor([0.1, 0.9, 1.8], dtype=torch.float64, requires_grad=True)

    def solve(t, asked):
        return cdeint(PATHS["natural"](x, t), func, z0, asked, method="dopri8", rtol=1e-11, atol=1e-12)

    assert torch.autograd.gradcheck(solve, (t, asked), fast_mode=True, atol=1e-6, rtol=1e-5)
    found = [
        torch.autograd.grad(
            cdeint(PATHS["natural"](x, t), func, z0, gradient=gradient, rtol=1e-9, atol=1e-10)[-1].sum(), t
        )[0]
        for gradient in ("backprop", "checkpoint", "adjoint")
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_what_is_found_and_declared_too_counts_once(gradient):
    """As users of torchcde declare the coefficients of a path."""
    coeffs, func = natural_cubic_coeffs(data()).requires_grad_(), Net()
    z0 = torch.tensor([0.3, -0.8], dtype=torch.float64)

    def to_coefficients(**options):
        z = cdeint(CubicSpline(coeffs), func, z0, rtol=1e-9, atol=1e-9, **options)
        return torch.autograd.grad(z[-1].sum(), coeffs)

    found = to_coefficients(gradient=gradient, params=(*func.parameters(), coeffs))
    torch.testing.assert_close(found, to_coefficients(), rtol=1e-6, atol=1e-8)


def test_the_times_of_a_linear_path_have_no_gradient_that_would_be_wrong():
    t = torch.arange(4, dtype=torch.float64, requires_grad=True)
    X = LinearInterpolation(data(), t)
    with pytest.raises(ValueError, match="give the time as a channel"):
        cdeint(X, Net(), torch.zeros(2, dtype=torch.float64))
    with torch.no_grad():
        assert cdeint(X, Net(), torch.zeros(2, dtype=torch.float64)).shape == (2, 2)


def test_a_linear_path_does_not_depend_on_the_times_at_which_it_is_at_its_points():
    """So the gradient that is refused above would be zero, for a field without t."""
    z0 = torch.tensor([0.3, -0.8], dtype=torch.float64)
    solve = [cdeint(LinearInterpolation(data(), t), Net(), z0)[-1] for t in ([0.0, 1, 2, 3], [0.0, 1.3, 2, 3])]
    torch.testing.assert_close(*solve, rtol=0, atol=1e-5)


def test_tensors_that_nobody_declared_are_reported():
    weight = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    X, z0 = PATHS["hermite"](data()), torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="was not told of: pass them as params"):
        cdeint(X, lambda t, z: weight * z.unsqueeze(-1), z0, gradient="adjoint")


def test_a_second_derivative_goes_through_backpropagation():
    x, z0 = data().requires_grad_(), torch.tensor([0.3, -0.8], dtype=torch.float64)
    solve = lambda x: cdeint(PATHS["natural"](x), Net(), z0, method="rk4")[-1]  # noqa: E731
    assert torch.autograd.gradgradcheck(solve, (x,), fast_mode=True, atol=1e-6)


def test_a_path_that_is_a_module_is_asked_for_its_parameters():
    class Ramp(nn.Module):
        """X(t) = s t."""

        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(torch.tensor([0.7], dtype=torch.float64))

        def derivative(self, t):
            return self.s

    X, func, z0 = Ramp(), Scale(), torch.ones(1, dtype=torch.float64)
    z = cdeint(X, func, z0, [0.0, 2.0], gradient="adjoint", rtol=1e-8, atol=1e-8)
    z[-1].sum().backward()
    exact = 2 * func.a.detach() * torch.exp(2 * func.a.detach() * 0.7)
    torch.testing.assert_close(X.s.grad, exact.reshape(1), rtol=1e-6, atol=0)
