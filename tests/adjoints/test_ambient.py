"""What f depends on besides its arguments is on the way back as it was on the way there, or the gradient is refused."""

import math
import warnings

import pytest
import torch
from torch import nn

from ndelib import odeint, odeint_adjoint, odeint_with_cost, sdeint
from ndelib.adjoints import GRADIENTS, AdjointError, AdjointWarning
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import IMPLICIT, IN_PAIRS, Y0, apart, leaves, total, vector

OTHERS = [gradient for gradient in GRADIENTS if gradient != "backprop"]
METHOD = {gradient: "reversible_rk4" if gradient == "reversible" else "rk4" for gradient in GRADIENTS}
EXPLICIT = [name for name in METHODS if name not in (*IMPLICIT, "implicit_midpoint")]
WAYS = [{}, {"checkpoints": 1}, {"checkpoints": 2}, {"checkpoints": "log"}]


def noisy(t, y, a):
    """A field with a random number for each component and evaluation."""
    return a * torch.rand_like(y) * torch.sin(y + t)


def differentiated(gradient, method="rk4", f=noisy, y0=Y0, seed=1, **options):
    """Return the solution, the gradients for y0 and a, and what a random number is after the backward pass."""
    torch.manual_seed(seed)
    y0, a = leaves(y0, vector(1.3))
    start, f = (tuple(y0.chunk(2, -1)), (f, f)) if method in IN_PAIRS else (y0, f)
    options = {"step_size": 0.13} | options
    ys = odeint(f, start, [0.0, 0.5, 1.0], method=method, gradient=gradient, args=(a,), **options)
    ys = torch.cat(ys, -1) if isinstance(ys, tuple) else ys
    found = torch.autograd.grad(total(ys), (y0, a))
    return ys.detach(), found, torch.rand(3)


# Random numbers


def test_the_gradient_of_one_random_step_is_the_random_number():
    # y₁ = y₀ + a u y₀, so ∂y₁/∂a = u y₀ = (y₁ − y₀)/a
    torch.manual_seed(0)
    (a,) = leaves(vector(2.0))
    options = {"method": "euler", "gradient": "checkpoint", "params": (a,)}
    y = odeint(lambda t, y: a * torch.rand(1, dtype=torch.float64) * y, vector(1.0), [0.0, 1.0], **options)[-1]
    assert torch.autograd.grad(y, a)[0].item() == pytest.approx((y.item() - 1) / 2, rel=1e-15)


@pytest.mark.parametrize("method", EXPLICIT)
def test_steps_made_again_see_the_same_random_numbers(method):
    adaptive = {"adaptive": False} if METHODS[method].adaptive else {}
    expected = differentiated("backprop", method, **adaptive)
    for way in WAYS:
        found = differentiated("checkpoint", method, **adaptive, **way)
        assert torch.equal(found[0], expected[0])  # the same solution: the look at f has drawn nothing
        assert apart(found[1], expected[1]) < 1e-12
        assert torch.equal(found[2], expected[2])  # and neither has the backward pass


@pytest.mark.parametrize("way", WAYS)
def test_jumps_costs_and_random_numbers_that_are_drawn_late(way):
    def late(t, y, a):
        return noisy(t, y, a) if t > 0.4 else -a * y

    def solved(gradient, **options):
        torch.manual_seed(2)
        y0, a = leaves(Y0, vector(1.3))
        ys, costs = odeint_with_cost(
            late,
            lambda t, y, a: (a * torch.rand(()) * y).sum(),
            y0,
            [0.0, 0.3, 1.0],
            method="tsit5",
            step_size=0.13,
            step_at=[0.25, 0.7],
            gradient=gradient,
            args=(a,),
            **options,
        )
        return ys[-1].detach(), *torch.autograd.grad(total(ys) + total(costs), (y0, a))

    found, expected = solved("checkpoint", **way), solved("backprop")
    assert torch.equal(found[0], expected[0])
    assert apart(found[1:], expected[1:]) < 1e-12
    without_cost = [
        differentiated(g, "dopri5", late, adaptive=False, **o) for g, o in (("checkpoint", way), ("backprop", {}))
    ]
    assert torch.equal(without_cost[0][0], without_cost[1][0])
    assert apart(without_cost[0][1], without_cost[1][1]) < 1e-12


@pytest.mark.parametrize(
    ("gradient", "options", "message"),
    [
        ("adjoint", {}, "gradient='adjoint' asks f at other places"),
        ("interpolated", {}, "gradient='interpolated' asks f at other places"),
        ("reversible", {"method": "reversible_rk4"}, "gradient='reversible' asks f at other places"),
        ("checkpoint", {"method": "dopri5", "step_size": None, "rtol": 0.9, "atol": 10.0}, "chosen by their errors"),
        ("checkpoint", {"method": "trapezoid"}, "by Newton's method"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_random_numbers_are_refused_where_they_cannot_be_had_again(gradient, options, message, late):
    if late and options.get("method") == "trapezoid":
        return  # its Jacobian is taken by vmap, which has an error of its own for random numbers
    f = (lambda t, y, a: noisy(t, y, 1e-9 * a) if t > 0.4 else -a * y) if late else noisy
    with pytest.raises(ValueError, match=f"f draws random numbers, and .*{message}"):
        differentiated(gradient, **{"f": f, **options})


@pytest.mark.parametrize("way", WAYS)
def test_stochastic_equations_with_dropout(way):
    class Noisy(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)).double()

        def f(self, t, y):
            return self.net(y)

        def g(self, t, y):
            return 0.1 * self.net(y)

    sde = Noisy()

    def solved(gradient, method, **options):
        torch.manual_seed(3)
        (y0,) = leaves(torch.ones(4, 3, dtype=torch.float64))
        ys = sdeint(sde, y0, [0.0, 0.2, 0.5], dt=0.05, method=method, gradient=gradient, **options)
        return ys.detach(), torch.autograd.grad(total(ys), (y0, *sde.parameters()))

    for method in ("euler", "srk", "milstein"):
        found, expected = solved("checkpoint", method, **way), solved("backprop", method)
        assert torch.equal(found[0], expected[0])
        assert apart(found[1], expected[1]) < 1e-12
    sde.sde_type = "stratonovich"
    for gradient in ("reversible", "adjoint"):
        with pytest.raises(ValueError, match="f draws random numbers"):
            solved(gradient, "reversible_heun" if gradient == "reversible" else "midpoint")


# Autocast


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_what_ran_under_autocast_runs_under_it_again(gradient):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

    def solved(gradient):
        # Without the cache backpropagation sums the gradients of weights in float32, as the others do.
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
            options = {"method": METHOD[gradient], "step_size": 0.1, "gradient": gradient, "deviation": "ignore"}
            ys = odeint(lambda t, y: net(y), torch.ones(4, 2), [0.0, 0.5, 1.0], params=net, **options)
            assert ys.dtype == torch.float32
        return torch.autograd.grad(ys[-1].square().sum(), tuple(net.parameters()))  # outside, as one should

    expected = solved("backprop")
    if gradient == "checkpoint":
        assert apart(solved(gradient), expected) < 1e-6
    else:
        assert apart(solved(gradient), expected) < 0.03  # f is rounded to 2⁻⁸, and these ask it elsewhere


def test_dtypes_under_autocast_are_those_of_the_state_and_elsewhere_an_error():
    net = nn.Linear(2, 2)
    y0 = torch.ones(3, 2)

    class Equation:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return net(y)

        def g(self, t, y):
            return net(y)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert odeint(lambda t, y: net(y), y0, [0.0, 1.0]).dtype == torch.float32
        assert odeint(lambda t, y: net(y), y0, [0.0, 1.0], batch="independent").dtype == torch.float32
        pair = odeint(lambda t, y: (net(y[0]), y[1]), (y0, y0), [0.0, 1.0], method="rk4")
        assert [part.dtype for part in pair] == [torch.float32] * 2
        ys, costs = odeint_with_cost(lambda t, y: net(y), lambda t, y: net(y).sum(), y0, [0.0, 1.0], method="rk4")
        assert (ys.dtype, costs.dtype) == (torch.float32,) * 2
        assert sdeint(Equation(), y0, [0.0, 0.1], dt=0.05).dtype == torch.float32
        assert odeint(lambda t, y: net(y), y0, [0.0, 0.1], method="trapezoid", step_size=0.1).dtype == torch.float32
        with pytest.raises(TypeError, match="must return the dtype of y"):
            odeint(lambda t, y: y.to(torch.complex64), y0, [0.0, 1.0])
    with pytest.raises(TypeError, match="must return the dtype of y"):
        odeint(lambda t, y: y.bfloat16(), y0, [0.0, 1.0])


# Buffers, counters and all else


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).double()

    def forward(self, t, y):
        return self.net(y) - y


@pytest.mark.parametrize("gradient", OTHERS)
def test_batch_norm_has_the_gradient_and_the_statistics_of_backpropagation(gradient):
    # In training its output depends on the batch alone, so f is a function; statistics are those of the solve.
    def solved(gradient, step_size):
        f, (y0,) = Normed(), leaves(torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2))
        options = {"method": method, "step_size": step_size, "gradient": gradient, "deviation": "ignore"}
        ys = odeint(f, y0, [0.0, 0.5], **options)
        return torch.autograd.grad(total(ys), (y0, *f.parameters())), f.net[1]

    def off(step_size):
        (found, norm), (expected, of_backprop) = solved(gradient, step_size), solved("backprop", step_size)
        assert norm.num_batches_tracked == of_backprop.num_batches_tracked
        assert torch.equal(norm.running_mean, of_backprop.running_mean)
        kept = [i for i, g in enumerate(expected) if g.norm() > 1e-12]  # a bias before the norm does nothing
        return apart([found[i] for i in kept], [expected[i] for i in kept])

    method = METHOD[gradient]
    if gradient in ("checkpoint", "reversible"):
        assert off(0.05) < 1e-10
    else:  # solved backwards by a method of order four, and so off by h⁴
        assert math.log2(off(1 / 64) / off(1 / 128)) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("gradient", OTHERS)
@pytest.mark.parametrize("way", WAYS)
def test_a_field_that_counts_is_noticed(gradient, way):
    if way and gradient != "checkpoint":
        return
    calls = [0]

    def counting(t, y, a):
        calls[0] += 1
        return -a * y / (1 + 0.01 * calls[0])

    with pytest.raises(AdjointError, match="f depends on something besides t, y and its parameters"):
        differentiated(gradient, METHOD[gradient], counting, deviation="ignore", **way)


@pytest.mark.parametrize("gradient", OTHERS)
def test_a_global_that_changes_between_the_passes_is_noticed(gradient):
    rate = [1.0]
    (y0,) = leaves(Y0)
    options = {"method": METHOD[gradient], "gradient": gradient, "step_size": 0.1, "deviation": "ignore"}
    ys = odeint(lambda t, y: -rate[0] * y, y0, [0.0, 1.0], **options)
    torch.autograd.grad(ys.sum(), y0, retain_graph=True)
    rate[0] = 1.001
    with pytest.raises(AdjointError, match="a counter, a global"):
        torch.autograd.grad(ys.sum(), y0)


def test_a_generator_of_its_own_is_noticed():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(AdjointError, match="random numbers from a generator of its own"):
        differentiated("checkpoint", f=lambda t, y, a: a * torch.rand(2, generator=generator, dtype=y.dtype) * y)


def test_rounding_alone_is_no_reason():
    calls = [0]

    def rounded(t, y, a):
        calls[0] += 1
        return -a * y * (1 + 1e-15 * (calls[0] % 2))

    differentiated("checkpoint", f=rounded)


# Which parameters get a gradient


def test_adjoint_params_are_those_that_get_a_gradient_and_no_others():
    net = Normed().eval()
    (y0,) = leaves(Y0[None])
    for f in (net, lambda t, y: net(t, y)):
        for only in ((), net.net[0], [net.net[3].weight], iter([net.net[3].weight])):
            wanted = [] if only == () else list(only.parameters()) if only is net.net[0] else [net.net[3].weight]
            net.zero_grad()
            odeint_adjoint(f, y0, [0.0, 1.0], adjoint_params=only)[-1].sum().backward()
            assert {id(p) for p in net.parameters() if p.grad is not None} == {id(p) for p in wanted}
        still = odeint_adjoint(f, Y0[None], [0.0, 1.0], adjoint_params=())
        assert not still.requires_grad
    odeint_adjoint(net, y0, [0.0, 1.0])[-1].sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with pytest.raises(TypeError, match=r"adjoint_params must be tensors, .* got float"):
        odeint_adjoint(net, y0, [0.0, 1.0], adjoint_params=[1.0])


def test_a_module_stands_for_its_parameters():
    net = Normed().eval()
    wanted = tuple(net.parameters())
    for params in (net, [net], (net.net[0], *net.net[1].parameters(), net.net[3])):
        ys = odeint(lambda t, y: net(t, y), Y0[None], [0.0, 1.0], gradient="checkpoint", params=params)
        assert all(g is not None for g in torch.autograd.grad(ys.sum(), wanted))


# Coarse steps


@pytest.mark.parametrize("method", ["midpoint", "euler"])
def test_coarse_fixed_steps_of_an_adjoint_warn_with_the_measured_deviation(method):
    # Two steps of y' = −y there and two back: (1 ∓ h + h²/2) each way for the midpoint rule, (1 ∓ h) for Euler's.
    factor = {"midpoint": (0.625 * 1.625) ** 2, "euler": (0.5 * 1.5) ** 2}[method]
    (y0,) = leaves(vector(1.0, 2.0))
    ys = odeint_adjoint(lambda t, y: -y, y0, [0.0, 1.0], method=method, step_size=0.5, adjoint_params=())
    with pytest.warns(AdjointWarning, match=rf"off by {2 * abs(1 - factor):.2g} in its worst component"):
        ys[-1].sum().backward()
    # da/dt = a backwards over two steps of the same method
    assert torch.allclose(y0.grad, torch.full_like(y0, {"midpoint": 0.625**2, "euler": 0.5**2}[method]))
    ys = odeint_adjoint(lambda t, y: -y, y0, [0.0, 1.0], method=method, step_size=0.5, deviation="raise")
    with pytest.raises(AdjointError):
        ys[-1].sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"method": method, "step_size": 0.5, "deviation": "ignore"}
        odeint_adjoint(lambda t, y: -y, y0, [0.0, 1.0], **options)[-1].sum().backward()
