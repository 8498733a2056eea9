"""Bounds of networks: above every slope that can be measured, in the order that theory says, exact where known."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ndelib.dynamics import curvature_bound, jacobian, lipschitz_bound, logarithmic_norm, one_sided_bound

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.SiLU, nn.GELU, nn.ELU, nn.LeakyReLU, nn.Hardtanh]


def network(sizes, activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b, dtype=torch.float64), activation()]
        nn.init.normal_(layers[-2].weight)
    return nn.Sequential(*layers[:-1])


def slopes(net, d, seed=1):
    """Jacobians of ``net`` at 300 states, (300, out, d)."""
    torch.manual_seed(seed)
    return torch.func.vmap(torch.func.jacrev(net))(2 * torch.randn(300, d, dtype=torch.float64))


@settings(max_examples=12, deadline=None)
@given(
    activation=st.sampled_from(ACTIVATIONS),
    sizes=st.sampled_from([(2, 9, 2), (1, 7, 2), (2, 5, 1), (3, 8, 3), (2, 6, 5, 2), (4, 4, 4, 4, 1)]),
    seed=st.integers(0, 10**6),
)
def test_no_slope_exceeds_a_bound_and_the_bounds_are_ordered(activation, sizes, seed):
    net = network(sizes, activation, seed)
    steepest = torch.linalg.matrix_norm(slopes(net, sizes[0]), 2).max().item()
    product, averaged = (lipschitz_bound(net, method=name) for name in ("product", "averaged"))
    assert steepest <= averaged * (1 + 1e-12)
    assert averaged <= product * (1 + 1e-12)
    assert steepest <= lipschitz_bound(net) <= averaged
    if len(sizes) == 3 and max(sizes[0], sizes[-1]) <= 2:
        assert steepest <= lipschitz_bound(net, method="directions") * (1 + 1e-12)
        assert lipschitz_bound(net, method="directions") <= averaged * 1.0002


@settings(max_examples=12, deadline=None)
@given(activation=st.sampled_from(ACTIVATIONS), d=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_no_symmetric_part_exceeds_the_one_sided_bound(activation, d, seed):
    net = network((d, 7, d), activation, seed)
    assert logarithmic_norm(slopes(net, d)).max() <= one_sided_bound(net) + 1e-12
    assert one_sided_bound(net) <= lipschitz_bound(net) * (1 + 1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 2), (1, 2), (2, 1), (1, 1)])
def test_the_bound_by_directions_is_the_largest_norm_over_all_patterns_of_a_relu_layer(inputs, outputs):
    net = network((inputs, 8, outputs), nn.ReLU, seed=3)
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=torch.float64)
    every = net[2].weight.detach() @ (patterns[:, :, None] * net[0].weight.detach())
    largest = torch.linalg.matrix_norm(every, 2).max().item()
    assert largest * (1 - 1e-12) <= lipschitz_bound(net, method="directions") <= largest * 1.0002
    if inputs == outputs:
        growth = logarithmic_norm(every).max().item()
        # Neighbouring directions are 2π/360 apart, so the pairs that are tried exceed pairs of equals by so much of Λ.
        assert growth - 1e-12 <= one_sided_bound(net) <= growth + 0.0176 * largest + 1e-12


def test_a_one_sided_bound_may_be_negative():
    net = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.5), nn.Linear(2, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
        net[2].weight.copy_(-torch.eye(2))
    assert one_sided_bound(net) == pytest.approx(-0.5, abs=1e-12)


def test_the_averaged_bound_of_two_layers_is_half_the_product_and_half_the_norm_of_the_product():
    net = network((3, 6, 4))
    first, last = net[0].weight.detach(), net[2].weight.detach()
    norms = [torch.linalg.matrix_norm(W, 2) for W in (last @ first, last, first)]
    assert lipschitz_bound(net, method="averaged") == pytest.approx(((norms[0] + norms[1] * norms[2]) / 2).item())


def test_a_linear_network_has_its_own_norm():
    layer = nn.Linear(3, 3).double()
    norm = torch.linalg.matrix_norm(layer.weight.detach(), 2).item()
    for method in ("product", "averaged", "best"):
        assert lipschitz_bound(layer, method=method) == pytest.approx(norm)
    assert one_sided_bound(layer) == pytest.approx(logarithmic_norm(layer.weight.detach()).item())


def test_two_linear_layers_in_a_row_are_one_and_containers_may_be_nested():
    a, b, c = nn.Linear(2, 5), nn.Linear(5, 4), nn.Linear(4, 2)
    nested = nn.Sequential(a, nn.Sequential(b, nn.Dropout(), nn.Tanh()), nn.Identity(), c)
    merged = nn.Linear(2, 4).double()
    with torch.no_grad():
        merged.weight.copy_(b.weight.double() @ a.weight.double())
    assert lipschitz_bound(nested) == pytest.approx(lipschitz_bound([merged, nn.Tanh(), c]))


def test_the_logarithmic_norm_is_the_derivative_of_the_norm_of_the_exponential():
    A = torch.randn(5, 3, 3, dtype=torch.float64)
    for t in (1e-6, 0.5, 2.0):
        norm = torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t), 2)
        assert (norm <= torch.exp(logarithmic_norm(A) * t) * (1 + 1e-12)).all()
        if t == 1e-6:
            assert torch.allclose((norm - 1) / t, logarithmic_norm(A), atol=1e-4)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Softplus(beta=3.0)])
def test_no_difference_of_jacobians_exceeds_the_curvature_bound(activation):
    net = network((2, 6, 2))
    net[1] = activation
    y = torch.randn(3000, 2, dtype=torch.float64)
    step = 1e-3 * torch.randn(3000, 2, dtype=torch.float64)
    J, moved = (jacobian(lambda t, y: net(y), at) for at in (y, y + step))
    assert (torch.linalg.matrix_norm(moved - J, 2) / step.norm(dim=1)).max() <= curvature_bound(net)


def test_the_curvature_bound_is_reached_by_one_unit():
    net = network((1, 1, 1))
    w, v = net[0].weight.item(), net[2].weight.item()
    x = math.atanh(1 / math.sqrt(3))
    second = abs(-2 * math.tanh(x) / math.cosh(x) ** 2)
    assert curvature_bound(net) == pytest.approx(abs(v) * w**2 * second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lipschitz_bound(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))), "LayerNorm"),
        (lambda: lipschitz_bound(nn.Sequential(nn.Tanh(), nn.Linear(2, 2))), "Linear"),
        (lambda: lipschitz_bound(nn.Sequential(nn.Linear(2, 2), nn.Tanh())), "end with a Linear"),
        (lambda: lipschitz_bound(nn.Sequential()), "begin and end"),
        (lambda: lipschitz_bound(network((2, 4, 2)), method="fast"), "method must be"),
        (lambda: lipschitz_bound(network((3, 4, 3)), method="directions"), "at most two"),
        (lambda: lipschitz_bound([nn.Linear(2, 2), nn.GELU("tanh"), nn.Linear(2, 2)]), "GELU"),
        (lambda: one_sided_bound(network((2, 4, 3))), "as many outputs"),
        (lambda: curvature_bound(network((2, 4, 2), nn.ReLU)), "net must be"),
        (lambda: curvature_bound(network((2, 4, 4, 2))), "net must be"),
        (lambda: logarithmic_norm(torch.zeros(2, 3)), "square"),
    ],
)
def test_what_has_no_bound_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
