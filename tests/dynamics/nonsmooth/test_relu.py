"""ReLU fields: the two linear fields at a kink, and where a solution meets the kinks of a network."""

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.dynamics import relu_kinks, relu_normal_form


def random_field(seed, d=3):
    generator = torch.Generator().manual_seed(seed)
    A1, A2 = (torch.randn(d, d, generator=generator, dtype=torch.float64) for _ in range(2))
    b1, at = (torch.randn(d, generator=generator, dtype=torch.float64) for _ in range(2))
    b2 = torch.randn(d, generator=generator, dtype=torch.float64)
    b2[1] = -A2[1] @ at  # the second ReLU switches at ``at``
    return A1, b1, A2, b2, at


@pytest.mark.parametrize("seed", range(20))
def test_the_normal_form_is_the_field_near_the_kink(seed):
    A1, b1, A2, b2, at = random_field(seed)
    system = relu_normal_form(A1, b1, A2, b2, at)
    assert system.continuous
    others = (A2 @ at + b2).abs()[[0, 2]].min() / A2.norm()  # how far the next kink is, at least
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x = 0.9 * others * x / x.norm(dim=1, keepdim=True)
    exact = (at + x) @ A1.T + b1 + torch.relu((at + x) @ A2.T + b2)
    side = system.region(x)
    assert {-1, 1} <= set(side.tolist())
    form = torch.where((side < 0)[:, None], system.f_minus(0.0, x), system.f_plus(0.0, x))
    assert (form - exact).abs().max() <= 1e-13


def test_a_boundary_equilibrium_of_a_relu_field_unfolds_in_a_direction_that_is_given():
    # ẋ = x₂ − x₁ + ReLU(3x₁), ẏ = −x₁ − ReLU(…): the kink at zero, which rests there.
    system = relu_normal_form([[-1, 1], [-1, 0]], [0, 0], [[3, 0], [0, 0]], [0, 1], [0, 0], b=[0, 1], mu=-0.5)
    assert system.mu == -0.5
    assert system.A2.tolist() == [[2.0, 1.0], [-1.0, 0.0]]
    assert system.b.tolist() == [0.0, 1.0]


def test_places_where_no_or_two_relus_switch_are_refused():
    eye = torch.eye(2)
    with pytest.raises(ValueError, match="but 0 are"):
        relu_normal_form(eye, [0, 0], eye, [1, 1], [0, 0])
    with pytest.raises(ValueError, match="but 2 are"):
        relu_normal_form(eye, [0, 0], eye, [0, 0], [0, 0])
    with pytest.raises(ValueError, match="b1 must be finite and of the shape"):
        relu_normal_form(eye, [0, 0, 0], eye, [0, 0], [0, 0])


def test_the_kinks_of_a_network_lie_where_its_relus_switch():
    torch.manual_seed(4)
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    start = torch.tensor([1.0, -1.0], dtype=torch.float64)
    with torch.no_grad():
        kinks = relu_kinks(network, start, (0.0, 6.0), rtol=1e-9, atol=1e-9)
        assert {layer for layer, _ in kinks.units} == {0, 1}
        assert (kinks.t.diff() > 0).all()
        first = network[0]
        second = lambda y: network[2](torch.relu(first(y)))  # noqa: E731
        for (layer, unit), y in zip(kinks.units, kinks.y, strict=True):
            assert abs((first(y) if layer == 0 else second(y))[unit]) <= 1e-12
        # A pattern of signs on a fine grid of times counts the same switches.
        times = torch.linspace(0, 6, 20001, dtype=torch.float64)
        path = odeint(lambda t, y: network(y), start, times, rtol=1e-9, atol=1e-9)
        on = torch.cat([first(path) > 0, second(path) > 0], dim=1)
        changes = (on[1:] != on[:-1]).nonzero()
        assert len(changes) == len(kinks.units)
        assert (times[changes[:, 0]] - kinks.t).abs().max() <= 6 / 20000


def test_what_is_no_relu_network_is_refused():
    with pytest.raises(TypeError, match=r"nn.Sequential with nn.ReLU"):
        relu_kinks(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.zeros(2), (0.0, 1.0))
