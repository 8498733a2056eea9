"""The costates are what backpropagation computes; shooting meets closed forms of optimal controls and of a throw."""

import math

import pytest
import torch
from torch.func import grad

from ndelib.physics import ShootingFailed, costates, hamiltonian_field, rollout, shooting, total_cost
from tests.physics.hamiltonian_cases import states as random

F64 = torch.float64


W, V = random(3, 3, seed=1) / 2, random(2, 3, seed=2) / 2


def f(x, u):
    return x + 0.2 * (x @ W + u @ V).tanh()


def l(x, u):  # noqa: E743
    return x.square().sum(-1) * 0.1 + (u * x[..., :2]).sum(-1) + u.square().sum(-1)


def Phi(x):
    return x.cos().sum(-1)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_costates_are_backpropagation_to_rounding(batch):
    x0, u = random(*batch, 3), random(10, *batch, 2, seed=3)
    x = rollout(f, x0, u)
    lam, gradient = costates(f, l, Phi, x, u)
    by_x0, by_u = grad(lambda x0, u: total_cost(f, l, Phi, x0, u).sum(), argnums=(0, 1))(x0, u)
    assert torch.allclose(lam[0], by_x0, rtol=1e-14, atol=1e-14)
    assert torch.allclose(gradient, by_u, rtol=1e-14, atol=1e-14)
    # the costate in the middle is the derivative of what is still to pay
    rest = grad(lambda x: total_cost(f, l, Phi, x, u[6:]).sum())(x[6])
    assert torch.allclose(lam[6], rest, rtol=1e-14, atol=1e-14)


def test_gradient_steps_with_costates_reach_riccatis_solution():
    a, b, q, r, s, N = 0.9, 0.5, 1.0, 0.4, 2.0, 6

    def step(x, u):
        return a * x + b * u

    def cost(x, u):
        return (q * x**2 + r * u**2).sum(-1)

    def final(x):
        return (s * x**2).sum(-1)

    P = [s]  # the cost to go is P x²
    for _ in range(N):
        P.append(q + a * a * P[-1] - (a * b * P[-1]) ** 2 / (r + b * b * P[-1]))
    x0, u = torch.tensor([1.5], dtype=F64), torch.zeros(N, 1, dtype=F64)
    for _ in range(400):
        u = u - 0.12 * costates(step, cost, final, rollout(step, x0, u), u)[1]
    assert total_cost(step, cost, final, x0, u).item() == pytest.approx(P[-1] * 1.5**2, rel=1e-12)
    x = rollout(step, x0, u)
    gains = [-a * b * p / (r + b * b * p) for p in reversed(P[:-1])]
    assert torch.allclose(u, torch.tensor(gains, dtype=F64)[:, None] * x[:-1], atol=1e-10)
    lam, _ = costates(step, cost, final, x, u)
    assert lam[0].item() == pytest.approx(2 * P[-1] * 1.5)


def test_shooting_moves_a_mass_with_least_effort():
    """ẍ = u, from rest at 0 to rest at 1 in a time of 1: u = 6 − 12t, the cost ∫u²/2 = 6."""

    def H(x, lam):  # λ₁v + λ₂u + u²/2 at its minimum u = −λ₂
        return lam[..., 0] * x[..., 1] - lam[..., 1] ** 2 / 2

    t = torch.linspace(0, 1, 21, dtype=F64)
    target = torch.tensor([1.0, 0.0], dtype=F64)
    lam0, y = shooting(hamiltonian_field(H), torch.zeros(2, dtype=F64), t, lambda x, lam: x - target)
    assert torch.allclose(lam0, torch.tensor([-12.0, -6.0], dtype=F64), atol=1e-8)
    assert torch.allclose(-y[:, 3], 6 - 12 * t, atol=1e-8)
    assert torch.allclose(y[:, 0], 3 * t**2 - 2 * t**3, atol=1e-8)


def test_shooting_with_a_final_cost_meets_riccatis_equation():
    """ẋ = u with the cost ∫(x² + u²)/2 + Φ, Φ = 0: λ(0) = tanh(T) x(0)."""

    def H(x, lam):  # λu + (x² + u²)/2 at its minimum u = −λ
        return ((x**2 - lam**2) / 2).sum(-1)

    x0 = torch.tensor([2.0], dtype=F64)
    lam0, _ = shooting(hamiltonian_field(H), x0, [0.0, 1.5], lambda x, lam: lam)
    assert lam0.item() == pytest.approx(2 * math.tanh(1.5), rel=1e-8)
    # with Φ = x²/2, λ(T) = x(T): then λ = x all the time
    lam0, _ = shooting(hamiltonian_field(H), x0, [0.0, 1.5], lambda x, lam: lam - x)
    assert lam0.item() == pytest.approx(2.0, rel=1e-8)


def test_shooting_is_newtons_method_on_a_nonlinear_problem():
    def H(q, p):
        return (p**2 / 2 - q.cos()).sum(-1)

    q0, target = torch.tensor([0.2], dtype=F64), 2.0
    p0, y = shooting(hamiltonian_field(H), q0, [0.0, 0.7, 1.4], lambda q, p: q - target)
    assert abs(y[-1, 0].item() - target) < 1e-10
    assert not p0.requires_grad
    assert torch.equal(y[0], torch.cat((q0, p0)))


def test_what_shooting_cannot_reach_is_an_error():
    def H(q, p):  # at most the speed 1
        return (1 + p**2).sqrt().sum(-1)

    q0 = torch.zeros(1, dtype=F64)
    with pytest.raises(ShootingFailed, match=r"did not meet its condition.*Give p0 nearer") as caught:
        shooting(hamiltonian_field(H), q0, [0.0, 1.0], lambda q, p: q - 2.0, max_iterations=5)
    assert caught.value.residual > 0.9
    with pytest.raises(ValueError, match=r"end\(q, p\) must return 1 numbers"):
        shooting(hamiltonian_field(H), q0, [0.0, 1.0], lambda q, p: torch.cat((q, p)))
    with pytest.raises(ValueError, match="q0 must be one state"):
        shooting(hamiltonian_field(H), q0[None], [0.0, 1.0], lambda q, p: q)
    with pytest.raises(ValueError, match="one longer than u"):
        costates(f, l, Phi, random(3, 3), random(3, 2))
