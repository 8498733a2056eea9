"""Every gradient runs through a method that a reader made; tensors inside its steps get theirs, or an error says so."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from ndelib import cdeint, natural_cubic_coeffs, odeint, odeint_adjoint, odeint_with_cost, sdeint
from ndelib.adjoints.compare import compare_gradients
from ndelib.solvers import ButcherTableau, CubicSpline, Method, Step, StochasticMethod

ONE_STAGE = ButcherTableau("mine", 1, c=(0,), a=((),), b=(1,))
K = torch.tensor([0.7, -0.4], dtype=torch.float64)
Y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
TIMES = [0.0, 0.25, 1.0]


def start_euler(field, statistics):
    def step(t, y, t1, f0, before=None):
        k = field(t, y) if f0 is None else f0
        return Step(t, t1, y, y + (t1 - t) * k, k=[k], f1=None, error=None)

    return step


OWN_EULER = Method("own euler", 1, "one step", "me", start_euler, reverse=None)


class Corrected(nn.Module):
    """Euler's step and a network's idea of what it leaves out, h² g(t, y): a hypersolver."""

    def __init__(self):
        super().__init__()
        self.g = nn.Linear(2, 2, dtype=torch.float64)
        nn.init.constant_(self.g.weight, 0.3)
        nn.init.constant_(self.g.bias, -0.1)

    def start(self, field, statistics):
        def step(t, y, t1, f0, before=None):
            k, h = field(t, y) if f0 is None else f0, t1 - t
            return Step(t, t1, y, y + h * k + h * h * self.g(y), k=[k], f1=None, error=None)

        return step

    @property
    def method(self):
        return Method("hyper", 1, "one step", "me", self.start)


def solve(y0, k, gradient, method, **options):
    return odeint(lambda t, y: -k * y.flip(-1) + torch.cos(t), y0, TIMES, method=method, gradient=gradient, **options)


@pytest.mark.parametrize("method", [ONE_STAGE, OWN_EULER], ids=["table", "function"])
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_gradients_of_one_stage_are_difference_quotients(method, gradient):
    def loss(y0, k):
        return solve(y0, k, gradient, method, step_size=0.1, **({"params": k} if gradient == "checkpoint" else {}))

    assert gradcheck(loss, [Y0.clone().requires_grad_(), K.clone().requires_grad_()], check_undefined_grad=False)


@pytest.mark.parametrize("method", [ONE_STAGE, OWN_EULER], ids=["table", "function"])
@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_continuous_gradients_of_one_stage_come_nearer_with_the_step(method, gradient):
    def off(h):
        y0, k = Y0.clone().requires_grad_(), K.clone().requires_grad_()
        options = {"params": k, "deviation": "ignore"} if gradient == "adjoint" else {"params": k}
        found = torch.autograd.grad(solve(y0, k, gradient, method, step_size=h, **options)[-1].sum(), [y0, k])
        exact = torch.autograd.grad(solve(y0, k, "backprop", method, step_size=h)[-1].sum(), [y0, k])
        return max((a - b).abs().max().item() for a, b in zip(found, exact, strict=True))

    assert off(0.0025) == pytest.approx(off(0.005) / 2, rel=0.1)  # both are off by O(h)


def test_the_other_doors_take_a_method_too():
    y0 = Y0.clone().requires_grad_()
    y1 = odeint_adjoint(lambda t, y: -y, y0, [0.0, 1.0], method=ONE_STAGE, step_size=1e-3, deviation="ignore")[-1]
    assert torch.allclose(torch.autograd.grad(y1.sum(), y0)[0], torch.full_like(Y0, 0.999**1000), rtol=1e-3)
    ys, cost = odeint_with_cost(lambda t, y: -y, lambda t, y: y.sum(), Y0, [0.0, 0.5, 1.0], method=ONE_STAGE)
    assert torch.equal(ys[-1], Y0 / 4)
    # one Gauss node a step of order one: the middle of the cubic with the slopes −a, −b at its ends
    first, second = (0.5 * ((a + b) / 2 + 0.5 * (-a + b) / 8) for a, b in ((1.0, 0.5), (0.5, 0.25)))
    assert cost[-1].item() == pytest.approx(1.5 * (first + second), rel=1e-12)
    X = CubicSpline(natural_cubic_coeffs(torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]))
    z = cdeint(X, lambda t, z: z.unsqueeze(-1), Y0, method=ONE_STAGE, step_size=1.0)
    assert torch.allclose(z[-1], Y0 * 1.25**4, rtol=1e-12)


def test_compare_gradients_names_a_method_of_ones_own():
    f = nn.Linear(2, 2, dtype=torch.float64)
    table = compare_gradients(
        lambda t, y: f(y),
        Y0,
        [0.0, 1.0],
        gradients=["backprop", "checkpoint"],
        params=f.parameters(),
        method=OWN_EULER,
        step_size=0.05,
        repetitions=1,
    )
    assert [row.method for row in table] == ["own euler"] * 2
    assert not any(row.failure for row in table)
    assert 0 < table["backprop"].error < 0.2
    assert table["checkpoint"].error == pytest.approx(table["backprop"].error, rel=1e-9)


@pytest.mark.parametrize("slots", [None, 2])
def test_what_a_step_is_corrected_by_gets_its_gradient(slots):
    hyper = Corrected()
    wanted = [hyper.g.weight, hyper.g.bias]
    found = []
    for gradient, options in (("backprop", {}), ("checkpoint", {"params": wanted, "checkpoints": slots})):
        y = solve(Y0, K, gradient, hyper.method, step_size=0.1, **options)
        found.append(torch.autograd.grad(y.square().sum(), wanted))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*found, strict=True))

    direction, losses = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64), []
    with torch.no_grad():
        for move in (1e-5, -2e-5):
            hyper.g.weight += move * direction
            losses.append(solve(Y0, K, "backprop", hyper.method, step_size=0.1).square().sum().item())
    quotient = (losses[0] - losses[1]) / 2e-5
    assert (found[0][0] * direction).sum().item() == pytest.approx(quotient, rel=1e-7)


def test_a_correction_that_checkpoint_was_not_told_of_is_an_error_and_not_a_gradient_without_it():
    y0, hyper = Y0.clone().requires_grad_(), Corrected()
    message = "the steps of method 'hyper' use 2 tensors that need a gradient .*params="
    with pytest.raises(ValueError, match=message):
        solve(y0, K, "checkpoint", hyper.method, step_size=0.1)
    with pytest.raises(ValueError, match=message.replace("2 tensors", "1 tensor")):
        solve(y0, K, "checkpoint", hyper.method, step_size=0.1, params=hyper.g.weight)


@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_a_continuous_adjoint_refuses_a_correction(gradient):
    y0, hyper = Y0.clone().requires_grad_(), Corrected()
    for params in ((), tuple(hyper.parameters())):
        with pytest.raises(ValueError, match=r"differentiates the equation and not the method.*'hyper'"):
            solve(y0, K, gradient, hyper.method, step_size=0.1, params=params)
    hyper.requires_grad_(False)
    assert solve(y0, K, gradient, hyper.method, step_size=0.1).requires_grad


class Noisy(nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return 0.1 * y


def test_what_a_stochastic_step_is_corrected_by_gets_its_gradient_or_an_error():
    scale = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)

    def start(field, statistics, *, diffusion, noise, calculus):
        def step(t, y, t1, f0, before=None):
            moved = y + scale * (t1 - t) * field(t, y)
            return Step(t, t1, y, diffusion.plus(moved, diffusion(t, y), noise.increment(t, t1).W), [], None, None)

        return step

    own = StochasticMethod("own", 0.5, "stochastic", "me", start, strong={"diagonal": 0.5}, calculus=("ito",))
    y0, found = Y0.expand(3, 2), []
    for gradient, params in (("backprop", None), ("checkpoint", scale)):
        torch.manual_seed(0)
        y = sdeint(Noisy(), y0, [0.0, 1.0], method=own, dt=0.1, gradient=gradient, params=params)
        found.append(torch.autograd.grad(y.sum(), scale)[0])
    assert torch.allclose(*found, rtol=1e-12)
    with pytest.raises(ValueError, match="the steps of method 'own' use 1 tensor"):
        sdeint(Noisy(), y0, [0.0, 1.0], method=own, dt=0.1, gradient="checkpoint")
