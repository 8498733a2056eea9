"""What a gradient is wanted for: found in modules and args, declared, or missed with an error that says so."""

import functools

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.adjoints import GRADIENTS
from ndelib.adjoints.parameters import find_parameters
from tests.adjoints.problems import EXACT, Y0, K, apart, leaves, swing, total, vector

OTHERS = [gradient for gradient in GRADIENTS if gradient != "backprop"]
METHOD = {gradient: "reversible_dopri5" if gradient == "reversible" else "dopri5" for gradient in GRADIENTS}
TIMES = [0.0, 0.4, 1.0]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        self.unused = nn.Parameter(vector(1.0, 2.0))

    def forward(self, t, y):
        return self.layers(y) * torch.cos(t)

    def twice(self, t, y):
        return 2 * self(t, y)


def gradients(gradient, f, wanted, **options):
    options = {"method": METHOD[gradient], "gradient": gradient, "rtol": 1e-8, "atol": 1e-8} | options
    return torch.autograd.grad(total(odeint(f, Y0, TIMES, **options)), wanted, allow_unused=True)


def agree(gradient, found, expected):
    return apart(found, expected) < (1e-11 if gradient in EXACT else 1e-6)


@pytest.mark.parametrize("gradient", OTHERS)
@pytest.mark.parametrize("form", ["module", "method", "closure", "generator", "one tensor"])
def test_parameters_are_found_or_declared_in_any_form(gradient, form):
    net = Net()
    f = net.twice if form == "method" else net if form == "module" else lambda t, y: net(t, y)
    params = {"closure": list(net.parameters()), "generator": (p for p in net.parameters())}.get(form)
    if form == "one tensor":
        for parameter in net.parameters():
            parameter.requires_grad_(parameter is net.layers[0].weight)
        params = net.layers[0].weight
    wanted = [p for p in net.layers.parameters() if p.requires_grad]
    expected = gradients("backprop", f, wanted, method=METHOD[gradient])
    assert agree(gradient, gradients(gradient, f, wanted, params=params), expected)


@pytest.mark.parametrize("gradient", OTHERS)
def test_a_pair_of_modules_has_the_parameters_of_both(gradient):
    torch.manual_seed(0)

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1).double()

        def forward(self, t, x):
            return torch.tanh(self.layer(x)) * (1 + t)

    velocity, force = Half(), Half()
    wanted = [*velocity.parameters(), *force.parameters()]

    def solved(gradient):
        options = {"adjoint_method": "dopri5"} if gradient in ("adjoint", "interpolated") else {}
        ys = odeint(
            (velocity, force),
            tuple(Y0.split(1)),
            TIMES,
            method="yoshida4",
            step_size=0.02,
            gradient=gradient,
            **options,
        )
        return torch.autograd.grad(total(torch.cat(ys, -1)), wanted)

    assert apart(solved(gradient), solved("backprop")) < (1e-11 if gradient in EXACT else 1e-5)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_frozen_parameters_have_no_gradient_and_unused_ones_none_or_zero(gradient):
    net = Net()
    net.layers[0].requires_grad_(False)
    total(odeint(net, Y0, TIMES, method=METHOD[gradient], gradient=gradient)).backward()
    assert net.layers[0].weight.grad is None
    assert net.layers[2].weight.grad.abs().min() > 0
    assert net.unused.grad is None or not net.unused.grad.any()


@pytest.mark.parametrize("gradient", OTHERS)
def test_tensors_in_args_and_those_that_were_computed(gradient):
    (k,) = leaves(K)

    def solved(gradient, form):
        doubled = (k * 2).exp() / 9  # no leaf: the gradient flows on to k
        if form == "args":
            f, options = swing, {"args": (doubled,)}
        else:  # where its leaf is declared, the graph between them is used at every step
            f, options = (lambda t, y: swing(t, y, doubled)), {"params": k if form == "leaf" else [doubled]}
        return gradients(gradient, f, [k], **options)

    expected = gradients("backprop", lambda t, y: swing(t, y, (k * 2).exp() / 9), [k], method=METHOD[gradient])
    for form in ("args", "declared", "leaf"):
        assert agree(gradient, solved(gradient, form), expected)


@pytest.mark.parametrize("gradient", OTHERS)
def test_the_initial_state_may_be_a_parameter_too(gradient):
    # y' = y₀ y: ∂y(1)/∂y₀ = e^{y₀} (1 + y₀), one part from the start and one from the rate
    (y0,) = leaves(vector(0.3))
    options = {"method": METHOD[gradient], "gradient": gradient, "rtol": 1e-9, "atol": 1e-9}
    for start in (y0, y0 * 1):
        y = odeint(lambda t, y: y0 * y, start, [0.0, 1.0], params=[y0], **options)[-1]
        (found,) = torch.autograd.grad(y, y0)
        assert found.item() == pytest.approx(torch.tensor(0.3).double().exp().item() * 1.3, rel=1e-7)


@pytest.mark.parametrize("gradient", OTHERS)
def test_a_shared_parameter_counts_once(gradient):
    net = nn.Linear(2, 2).double()
    f = lambda t, y: torch.tanh(net(y)) - net(torch.cos(y))  # noqa: E731
    expected = gradients("backprop", f, [net.weight], method=METHOD[gradient])
    params = [net.weight, *net.parameters(), net.weight]
    assert agree(gradient, gradients(gradient, f, [net.weight], params=params), expected)
    assert len(find_parameters([net, net.forward], params, [net.bias])) == 2


@pytest.mark.parametrize("gradient", OTHERS)
def test_a_field_that_differentiates_a_hamiltonian(gradient):
    torch.manual_seed(1)
    H = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()

    def f(t, y):
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            (dH,) = torch.autograd.grad(H(y).sum(), y, create_graph=True)
        return torch.stack([dH[..., 1], -dH[..., 0]], -1)

    wanted = [p for p in H.parameters() if p is not H[2].bias]  # the energy's zero is nobody's business
    expected = gradients("backprop", f, wanted, method=METHOD[gradient])
    assert agree(gradient, gradients(gradient, f, wanted, params=H.parameters()), expected)


# What was forgotten


@pytest.mark.parametrize("gradient", OTHERS)
def test_tensors_that_nobody_declared_are_named(gradient):
    net, k = Net(), K.clone().requires_grad_()
    options = {"method": METHOD[gradient], "gradient": gradient}
    with pytest.raises(ValueError, match=r"f uses 4 tensors that need .*\(4, 2\).* params=\(…\).*'backprop' finds"):
        odeint(lambda t, y: net(t, y), Y0, TIMES, **options)
    with pytest.raises(ValueError, match=r"f uses 1 tensor that needs a gradient \(of the shape \(2,\)\)"):
        odeint(lambda t, y: swing(t, y, k), Y0, TIMES, **options)
    with pytest.raises(ValueError, match=r"f uses 1 tensor"):
        odeint(lambda t, y: k, Y0, TIMES, **options)  # the slope is the parameter itself
    with pytest.raises(ValueError, match=r"f uses 3 tensors"):
        odeint(lambda t, y: net(t, y), Y0, TIMES, params=[net.layers[0].bias], **options)
    with pytest.raises(ValueError, match=r"f uses 1 tensor"):
        odeint(functools.partial(lambda k, t, y: swing(t, y, k), k), Y0, TIMES, **options)


def test_nobody_is_asked_to_declare_where_no_gradient_is_wanted():
    (k,) = leaves(K)
    f = lambda t, y: swing(t, y, k)  # noqa: E731
    with torch.no_grad():
        for gradient in GRADIENTS:
            assert not odeint(f, Y0, TIMES, method=METHOD[gradient], gradient=gradient).requires_grad
    assert odeint(f, Y0, TIMES).requires_grad
    still = lambda t, y: swing(t, y, k.detach())  # noqa: E731
    for gradient in OTHERS:
        assert not odeint(still, Y0, TIMES, method=METHOD[gradient], gradient=gradient).requires_grad


@pytest.mark.parametrize("gradient", OTHERS)
def test_what_depends_on_a_computed_tensor_beyond_the_declared_one_is_found(gradient):
    # 2k is declared, and f uses k beside it.
    (k,) = leaves(K)
    doubled = 2 * k
    options = {"method": METHOD[gradient], "gradient": gradient, "params": [doubled]}
    odeint(lambda t, y: swing(t, y, doubled), Y0, TIMES, **options)
    with pytest.raises(ValueError, match="f uses 1 tensor"):
        odeint(lambda t, y: swing(t, y, doubled) * k, Y0, TIMES, **options)
