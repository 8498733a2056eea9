"""Residuals of exact solutions are zero, conditions hold by construction, lines converge to series and to Cole–Hopf."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.models import PINN, MethodOfLines, SpaceTimeNetwork, burgers, heat, perceptron
from ndelib.training import fit

F64 = torch.float64
T = torch.linspace(0.5, 3, 26, dtype=F64)
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def rotation(t, y):
    return torch.stack([y[..., 1], -y[..., 0]], -1)


def test_the_residual_of_the_exact_solution_is_zero():
    # y = (cos t, −sin t) = y0 + (t − t0) N(t), so N is known.
    y0 = torch.tensor([math.cos(0.2), -math.sin(0.2)], dtype=F64)
    exact = PINN(lambda t: (torch.cat([t.cos(), -t.sin()], 1) - y0) / (t - 0.2), y0, t0=0.2)
    assert torch.allclose(exact(T), torch.stack([T.cos(), -T.sin()], 1))
    assert exact.residual(T, rotation).abs().max() < 1e-13
    assert exact.residual(T, lambda t, y: rotation(t, y) + t).allclose(-T[:, None].expand(-1, 2))


def test_the_initial_state_is_exact_whatever_the_weights_are():
    y0 = torch.tensor([1.0, -2.0, 0.5])
    assert torch.equal(PINN(perceptron(1, 3), y0, t0=0.7)(torch.tensor([0.7]))[0], y0)


def test_the_residual_is_that_of_finite_differences():
    torch.manual_seed(0)
    pinn = PINN(perceptron(1, 2).double(), torch.ones(2, dtype=F64))
    h = 1e-5
    slope = (pinn(T + h) - pinn(T - h)) / (2 * h)
    assert torch.allclose(pinn.residual(T, rotation), slope - rotation(T, pinn(T)), atol=1e-8)
    weight = torch.linspace(1, 0, 26, dtype=F64)
    assert torch.allclose(
        pinn.loss(T, rotation, weight), (weight[:, None] * pinn.residual(T, rotation).square()).mean()
    )


def test_with_a_linear_net_it_is_a_least_squares_problem():
    # y = 1 + t (a + b t): the residual of dy/dt = −y is (1 + t) a + (2t + t²) b + 1, linear in a and b.
    t = torch.linspace(0, 1, 11, dtype=F64)
    M = torch.stack([1 + t, 2 * t + t**2], 1)
    a, b = torch.linalg.lstsq(M, -torch.ones(11, 1, dtype=F64)).solution[:, 0]
    net = nn.Linear(1, 1).double()
    pinn = PINN(net, torch.ones(1, dtype=F64))
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure():
        optimizer.zero_grad()
        loss = pinn.loss(t, lambda t, y: -y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert net.bias.item() == pytest.approx(a.item(), abs=1e-6)
    assert net.weight.item() == pytest.approx(b.item(), abs=1e-6)


class Given(nn.Module):
    """The net that makes u a given function: (u − u₀)/(t · shape)."""

    def __init__(self, u, u0, shape):
        super().__init__()
        self.u, self.u0, self.shape = u, u0, shape

    def forward(self, points):
        t, x = points[:, 0], points[:, 1]
        return ((self.u(t, x) - self.u0(x)) / (t * self.shape(x)))[:, None]


POINTS = [torch.rand(40, dtype=F64, generator=torch.Generator().manual_seed(i)) * 0.9 + 0.05 for i in range(2)]


def test_the_residual_of_exact_solutions_of_heat_and_burgers_is_zero():
    t, x = POINTS
    wave = lambda t, x: torch.exp(-0.3 * math.pi**2 * t) * torch.sin(math.pi * x)  # noqa: E731
    u0 = lambda x: torch.sin(math.pi * x)  # noqa: E731
    exact = SpaceTimeNetwork(Given(wave, u0, lambda x: x * (1 - x)), u0)
    assert exact.residual(t, x, heat(0.3)).abs().max() < 1e-10
    assert exact.residual(t, x, heat(0.4)).abs().max() > 0.1
    # x/(1 + t) solves Burgers' equation with any ν, and is 0 at x = 0; its end values move, so take the shape 1.
    free = SpaceTimeNetwork(perceptron(2, 1), u0)
    free.forward = lambda t, x: x / (1 + t)
    assert free.residual(t, x, burgers(0.1)).abs().max() < 1e-12


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_conditions_hold_and_derivatives_are_those_of_finite_differences(boundary):
    torch.manual_seed(0)
    a, b = -1.0, 2.0
    wave = lambda x: torch.sin(2 * math.pi * (x - a) / (b - a))  # noqa: E731
    u = SpaceTimeNetwork(perceptron(2 + (boundary == "periodic"), 1).double(), wave, (a, b), boundary)
    t, x = POINTS[0], a + (b - a) * POINTS[1]
    left, right = u(t, torch.full_like(t, a)), u(t, torch.full_like(t, b))
    if boundary == "dirichlet":
        assert left.abs().max() < 1e-14
        assert right.abs().max() < 1e-14
    assert torch.allclose(left, right)
    assert torch.equal(u(torch.zeros_like(x), x), wave(x))
    h = 1e-4
    value, u_t, u_x, u_xx = u.derivatives(t, x)
    assert torch.equal(value, u(t, x))
    assert torch.allclose(u_t, (u(t + h, x) - u(t - h, x)) / (2 * h), atol=1e-6)
    assert torch.allclose(u_x, (u(t, x + h) - u(t, x - h)) / (2 * h), atol=1e-6)
    assert torch.allclose(u_xx, (u(t, x + h) - 2 * u(t, x) + u(t, x - h)) / h**2, atol=1e-5)


def series(t, x, nu=0.1):
    """Heat on (0, 1) from x(1 − x): the sum of 8/(πk)³ e^(−ν(πk)²t) sin(πkx) over odd k."""
    k = math.pi * torch.arange(1, 200, 2, dtype=F64)
    return (8 / k**3 * torch.exp(-nu * k**2 * t) * torch.sin(k * x[:, None])).sum(1)


def heat_error(n, space):
    rod = MethodOfLines(heat(0.1), n, space=space)
    u = odeint(rod, rod.x * (1 - rod.x), [0.0, 1.0], method="dopri8", **EXACT)[-1]
    return (u - series(1.0, rod.x)).abs().max().item()


def test_heat_by_lines_converges_to_its_series():
    assert math.log2(heat_error(11, "differences") / heat_error(21, "differences")) == pytest.approx(2, abs=0.1)
    assert heat_error(21, "chebyshev") < 1e-7 < 1e-4 < heat_error(21, "differences")


def cole_hopf(t, x, nu):
    """Burgers from sin(πx), period 2: u = −2ν φ_x/φ, where φ solves the heat equation from exp(−∫u₀/(2ν))."""
    n = 512
    s = 2 * torch.arange(n, dtype=F64) / n
    phi0 = torch.exp(-(1 - torch.cos(math.pi * s)) / (2 * math.pi * nu))
    k = math.pi * torch.arange(n // 2 + 1, dtype=F64)
    c = torch.fft.rfft(phi0) / n * torch.exp(-nu * k**2 * t)
    c[1:] *= 2
    waves = torch.exp(1j * k * x[:, None])
    return -2 * nu * (1j * k * c * waves).sum(1).real / (c * waves).sum(1).real


@pytest.mark.parametrize(("boundary", "space"), [("periodic", "differences"), ("dirichlet", "differences")])
def test_burgers_by_lines_converges_to_cole_hopf(boundary, space):
    def error(n):
        lines = MethodOfLines(burgers(0.1), n, (0.0, 2.0), boundary=boundary, space=space)
        u = odeint(lines, torch.sin(math.pi * lines.x), [0.0, 0.5], **EXACT)[-1]
        return (u - cole_hopf(0.5, lines.x, 0.1)).abs().max().item()

    assert error(200) < 1e-3
    assert math.log2(error(101) / error(201)) == pytest.approx(2, abs=0.25)


def test_burgers_on_chebyshev_points_is_exact_to_many_digits():
    lines = MethodOfLines(burgers(0.1), 33, (0.0, 2.0), space="chebyshev")
    u = odeint(lines, torch.sin(math.pi * lines.x), [0.0, 0.5], **EXACT)[-1]
    assert (u - cole_hopf(0.5, lines.x, 0.1)).abs().max() < 1e-5


@pytest.mark.parametrize(("space", "bound"), [("differences", 4 * 40**2 / 9), ("chebyshev", 0.19 * 40**4 / 9)])
def test_the_largest_eigenvalue_is_as_stated(space, bound):
    lines = MethodOfLines(heat(1.0), 41, (0.0, 3.0), space=space)
    J = torch.func.jacrev(lambda u: lines(0.0, u))(torch.zeros(41, dtype=F64))
    assert torch.linalg.eigvals(J).abs().max().item() == pytest.approx(bound, rel=0.02)


def test_lines_take_batches_and_give_gradients_to_nu():
    nu = torch.tensor(0.1, dtype=F64, requires_grad=True)
    rod = MethodOfLines(heat(nu), 31)
    u0 = torch.stack([rod.x * (1 - rod.x), torch.sin(math.pi * rod.x)])
    end = odeint(rod, u0, [0.0, 0.5], **EXACT)[-1, 1, 15]
    end.backward()
    assert nu.grad.item() == pytest.approx(-0.5 * math.pi**2 * end.item(), rel=3e-3)  # u = e^(−νπ²t) sin πx


def test_a_pinn_of_the_heat_equation_learns_it():
    torch.manual_seed(0)
    u = SpaceTimeNetwork(perceptron(2, 1, 16).double(), lambda x: torch.sin(math.pi * x))
    t, x = torch.rand(2, 100, dtype=F64)
    history = fit(u, lambda u, t, x: u.loss(t, x, heat(0.1)), (t, x), steps=200, lr=0.02, progress=False)
    assert history.loss[-1] < 1e-2 * history.loss[0]
    assert (u(t, x) - torch.exp(-0.1 * math.pi**2 * t) * torch.sin(math.pi * x)).abs().max() < 0.02


WRONG = [
    (lambda: PINN(perceptron(1, 1), torch.tensor(1.0)), ValueError, r"y0 must be .* \(d,\), got \(\)"),
    (lambda: PINN(perceptron(1, 1), torch.tensor([math.nan])), ValueError, r"y0 and t0 must be finite"),
    (lambda: PINN(3, torch.ones(1)), TypeError, r"net must be a network of the time"),
    (lambda: PINN(perceptron(1, 2), torch.ones(1))(torch.ones(4)), ValueError, r"net must return \(4, 1\), as y0 has"),
    (lambda: PINN(perceptron(1, 1), torch.ones(1))(torch.ones(4, 1)), ValueError, r"t must be tensors \(n,\)"),
    (
        lambda: PINN(perceptron(1, 2), torch.ones(2)).residual(torch.ones(4), lambda t, y: y[:, 0]),
        ValueError,
        r"field must return \(4, 2\), the shape of y; it returned \(4,\)",
    ),
    (lambda: SpaceTimeNetwork(perceptron(2, 1), torch.sin, (1.0, 0.0)), ValueError, r"interval must be two finite"),
    (lambda: SpaceTimeNetwork(perceptron(2, 1), torch.sin, boundary="free"), ValueError, r"boundary must be"),
    (
        lambda: SpaceTimeNetwork(perceptron(2, 1), torch.sin)(torch.ones(3), torch.ones(4)),
        ValueError,
        r"t and x must be tensors \(n,\) of one length",
    ),
    (lambda: MethodOfLines(0.1, 11), TypeError, r"F must be a function F\(t, x, u, u_x, u_xx\)"),
    (lambda: MethodOfLines(heat(0.1), 2), ValueError, r"n must be a number of points, at least 3"),
    (lambda: MethodOfLines(heat(0.1), 9, space="fourier"), ValueError, r"space must be"),
    (
        lambda: MethodOfLines(heat(0.1), 9, boundary="periodic", space="chebyshev"),
        ValueError,
        r'with a periodic boundary take "differences"',
    ),
    (lambda: MethodOfLines(heat(0.1), 9)(0.0, torch.ones(8)), ValueError, r"u must be \(\*, 9\)"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_wrong_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
