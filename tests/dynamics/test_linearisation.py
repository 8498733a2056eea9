"""The Jacobian of a field: against formulas, in any dimension and precision, for states in any batch."""

import pytest
import torch
from torch import nn

from ndelib.dynamics import jacobian


def lorenz(t, y):
    x, v, z = y.unbind(-1)
    return torch.stack([10 * (v - x), x * (28 - z) - v, x * v - 8 / 3 * z], dim=-1)


def test_it_is_the_jacobian_of_lorenz_at_every_state_of_a_batch():
    y = torch.randn(4, 2, 3, dtype=torch.float64)
    J = jacobian(lorenz, y)
    x, v, z = y.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = [[-10 * one, 10 * one, zero], [28 - z, -one, -x], [v, x, -8 / 3 * one]]
    assert torch.allclose(J, torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2))
    assert torch.equal(jacobian(lorenz, y[0, 0]), J[0, 0])


def test_it_agrees_with_differences_of_a_network_in_float32():
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 5))
    y, step = torch.randn(5), 1e-5 * torch.eye(5, dtype=torch.float64)
    J = jacobian(lambda t, y: net(y), y)
    net.double()
    with torch.no_grad():
        differences = (net(y.double() + step) - net(y.double() - step)).T / 2e-5
    assert torch.allclose(J, differences, atol=1e-5)


def test_the_time_is_frozen():
    assert jacobian(lambda t, y: t * y, torch.ones(2), t=3.0).diagonal().tolist() == [3.0, 3.0]


def test_a_number_is_refused():
    with pytest.raises(ValueError, match="single number"):
        jacobian(lambda t, y: y, torch.tensor(1.0))
