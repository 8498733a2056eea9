"""Systems with known energies for the tests of the learners, and data on them."""

import torch
from torch import Tensor

from ndelib.physics import HNN, SRNN, SeparableEnergy


def kinetic(p: Tensor) -> Tensor:
    return p.square().sum(-1) / 2


def pendulum_potential(q: Tensor) -> Tensor:
    return -q.cos().sum(-1)


def henon_heiles_potential(q: Tensor) -> Tensor:
    x, y = q.unbind(-1)
    return (x**2 + y**2) / 2 + x**2 * y - y**3 / 3


def nonseparable(y: Tensor) -> Tensor:
    q, p = y.chunk(2, -1)
    return ((q**2 + 1) * (p**2 + 1)).sum(-1) / 2


def pendulum() -> HNN:
    return HNN(SeparableEnergy(kinetic, pendulum_potential))


def henon_heiles() -> HNN:
    return HNN(SeparableEnergy(kinetic, henon_heiles_potential))


def states(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trajectories(field: HNN, y0: Tensor, h: float, steps: int, method: str = "yoshida4", substeps: int = 20) -> Tensor:
    """States (N, steps + 1, 2n), times h apart; the error is far below that of one step of h."""
    return SRNN(field, h, method, substeps).trajectory(y0, steps).movedim(0, 1)
