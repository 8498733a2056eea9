"""LNN and DeLaN: their derivatives by hand are those of autograd, and with the true L they are the true system."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from ndelib import odeint
from ndelib.physics import (
    LNN,
    ChargedParticle,
    DeLaN,
    DoublePendulum,
    Features,
    Perceptron,
    RelativisticParticle,
    SingularMassMatrix,
    TwoLinkArm,
    accelerations,
    energy_function,
    mass_matrix,
    momentum,
)
from ndelib.training import Ensemble, fit
from tests.physics.hamiltonian_cases import states as random

F64 = torch.float64


def make(kind, *args, seed=0, **options):
    torch.manual_seed(seed)
    model = kind(*args, **options).double()
    for p in model.parameters():  # far from the start, where terms are small
        p.data += 0.3 * torch.randn_like(p)
    return model


class TrueLagrangian(nn.Module):
    """A network that is the Lagrangian of a system: it sees q and v side by side."""

    def __init__(self, system):
        super().__init__()
        self.system = system

    def forward(self, x):
        return self.system.lagrangian(*x.chunk(2, -1))


@pytest.mark.parametrize("activation", ["softplus", "tanh", "silu", "sin"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_perceptrons_derivatives_are_autograds(activation, depth):
    net = make(Perceptron, 3, 2, 8, depth, activation=activation)
    x, dx = random(4, 5, 3), random(4, 5, 6, 3, seed=1)
    each = vmap(vmap(jacrev(net)))(x)
    y, dy = net.along(x, dx)
    assert torch.equal(y, net(x))
    assert torch.allclose(dy, dx @ each.mT, atol=1e-13)
    total = vmap(vmap(grad(lambda x: net(x).sum())))(x)
    hessian = vmap(vmap(jacrev(grad(lambda x: net(x).sum()))))(x)
    assert torch.allclose(net.gradient(x), total, atol=1e-13)
    gradient, second = net.second_order(x, dx)
    assert torch.allclose(gradient, total, atol=1e-13)
    assert torch.allclose(second, dx @ hessian @ dx.mT, atol=1e-12)


def test_features_have_no_seam_and_the_right_derivatives():
    features = Features(3, angles=[2, 0])
    q = random(7, 3)
    assert features.size == 5
    assert torch.allclose(
        features(q), torch.stack((q[:, 0].cos(), q[:, 2].cos(), q[:, 0].sin(), q[:, 2].sin(), q[:, 1]), -1)
    )
    assert torch.allclose(features.jacobian(q), vmap(jacrev(features))(q).mT, atol=1e-15)
    around = torch.tensor([2 * math.pi, 0.0, -2 * math.pi], dtype=F64)
    assert torch.allclose(features(q + around), features(q), atol=1e-14)
    assert Features(3, True).size == 6
    assert Features(3).size == 3


@pytest.mark.parametrize("angles", [(), [1], True])
def test_lnns_equation_is_lagranges_equation_of_its_network(angles):
    model = make(LNN, 3, 16, angles=angles)
    q, v, tau = random(3, 4, 5, 3)
    L = model.lagrangian
    assert torch.allclose(model.accelerations(q, v, tau), accelerations(L, q, v, tau), rtol=1e-9, atol=1e-10)
    assert torch.allclose(model.mass(q, v), mass_matrix(L)(q, v), atol=1e-12)
    assert torch.allclose(model.momentum(q, v), momentum(L)(q, v), atol=1e-12)
    y = torch.cat((q, v), -1)
    assert torch.allclose(model.energy(y), energy_function(L)(q, v), atol=1e-11)
    assert torch.allclose(model(0.0, y, tau), torch.cat((v, model.accelerations(q, v, tau)), -1))
    assert torch.allclose(model.condition(q, v), torch.linalg.cond(mass_matrix(L)(q, v)), rtol=1e-6)


SYSTEMS = [
    DoublePendulum(m1=1.3, l2=0.8),
    TwoLinkArm(),
    RelativisticParticle(n=2, light=2.0),
    ChargedParticle(field=1.5, stiffness=0.3),
]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_an_lnn_with_the_true_lagrangian_is_the_system(system):
    model = LNN(2, net=TrueLagrangian(system), inertia=0.0)
    q, v, tau = random(3, 10, 2, scale=0.5)
    assert torch.allclose(model.accelerations(q, v, tau), system.accelerations(q, v, tau), rtol=1e-10, atol=1e-11)
    y = torch.cat((q, v), -1)
    assert torch.allclose(model.energy(y), system.energy(system.to_momenta(y)), atol=1e-12)


def test_an_lnn_conserves_its_own_energy_whatever_it_learned():
    model = make(LNN, 2, 16, angles=True, inertia=5.0)
    t = torch.linspace(0, 3, 7, dtype=F64)
    with torch.no_grad():
        y = odeint(model, random(4, scale=0.5), t, method="dopri8", rtol=1e-11, atol=1e-11)
        energy = model.energy(y)
    assert (y[-1] - y[0]).norm() > 0.5
    assert (energy - energy[0]).abs().max() < 1e-9


def test_inertia_adds_to_every_eigenvalue_of_the_mass_matrix():
    model = make(LNN, 2, 16, inertia=0.0)
    q, v = random(2, 5, 2)
    before = torch.linalg.eigvalsh(model.mass(q, v))
    model.inertia = 2.5
    assert torch.allclose(torch.linalg.eigvalsh(model.mass(q, v)), before + 2.5, atol=1e-12)


@pytest.mark.parametrize(("n", "angles"), [(1, True), (2, [0]), (3, ()), (4, [1, 3])])
def test_delans_equation_is_lagranges_equation_of_its_lagrangian(n, angles):
    model = make(DeLaN, n, 16, angles=angles)
    q, v, a = random(3, 4, 5, n)
    tau = model.inverse(q, v, a)
    assert torch.allclose(accelerations(model.lagrangian, q, v, tau), a, rtol=1e-9, atol=1e-9)
    assert torch.allclose(model.forward_dynamics(q, v, tau), a, rtol=1e-9, atol=1e-9)
    assert torch.allclose(mass_matrix(model.lagrangian)(q, v), model.mass(q), rtol=1e-12, atol=1e-12)
    y = torch.cat((q, v), -1)
    assert torch.allclose(model.energy(y), energy_function(model.lagrangian)(q, v), rtol=1e-12, atol=1e-12)
    assert torch.allclose(model.energy(y), model.kinetic(q, v) + model.potential(q), rtol=1e-12, atol=1e-12)
    assert torch.allclose(model(0.0, y, tau), torch.cat((v, a), -1), rtol=1e-9, atol=1e-9)


def test_delans_derivatives_of_its_triangular_factor_are_autograds():
    model = make(DeLaN, 3, 16, angles=[1])
    q, v, a = random(3, 6, 3)
    M, dM = model.mass(q), vmap(jacrev(model.mass))(q)  # dM: (6, 3, 3, 3), the last axis is that of q
    dV = vmap(grad(model.potential))(q)
    rate = (dM * v[:, None, None, :]).sum(-1)
    pull = torch.einsum("bi,bijk,bj->bk", v, dM, v) / 2
    inertia, motion, slope = model.parts(q, v, a)
    assert torch.allclose(inertia, (M @ a[..., None])[..., 0], atol=1e-12)
    assert torch.allclose(motion, (rate @ v[..., None])[..., 0] - pull, atol=1e-12)
    assert torch.allclose(slope, dV, atol=1e-12)


def test_delans_mass_matrix_is_symmetric_and_positive_for_any_weights():
    for seed in range(5):
        model = make(DeLaN, 3, 16, seed=seed)
        for p in model.parameters():
            p.data *= 3
        q = random(200, 3, seed=seed, scale=3)
        M, factor = model.mass(q), model.factor(q)
        assert torch.equal(M, M.mT)
        assert torch.equal(factor, factor.tril())
        assert (factor.diagonal(dim1=-2, dim2=-1) >= model.epsilon).all()
        assert (torch.linalg.eigvalsh(make(DeLaN, 3, 16, seed=seed).mass(q)) > 0).all()


def test_delan_conserves_its_energy_and_the_torques_do_work():
    model = make(DeLaN, 2, 16, angles=True)
    t = torch.linspace(0, 2, 5, dtype=F64)
    with torch.no_grad():
        y = odeint(model, random(4, scale=0.5), t, method="dopri8", rtol=1e-11, atol=1e-11)
    assert (model.energy(y) - model.energy(y[0])).abs().max() < 1e-9
    q, v, tau = random(3, 6, 2)
    y = torch.cat((q, v), -1)
    gradient = grad(lambda y: model.energy(y).sum())(y)
    assert torch.allclose((gradient * model(0.0, y, tau)).sum(-1), (v * tau).sum(-1), atol=1e-10)


@pytest.mark.parametrize("kind", [LNN, DeLaN])
def test_seeds_train_at_once_and_learn(kind):
    arm = TwoLinkArm()
    q, v, a = random(3, 100, 2)
    tau = arm.inverse(q, v, a)
    models = Ensemble(lambda: kind(2, 16, angles=True).double(), 2)

    def loss(model, q, v, a, tau):
        return model.loss(q, v, a, tau)

    first = models.measure(loss, q, v, a, tau)
    fit(models, models.each(loss), (q, v, a, tau), steps=60, lr=1e-2, progress=False)
    last = models.measure(loss, q, v, a, tau)
    assert first.shape == (2,)
    assert (last < 0.5 * first).all()
    alone = models[1]
    assert torch.allclose(loss(alone, q, v, a, tau), last[1], rtol=1e-10)


@pytest.mark.parametrize("kind", [LNN, DeLaN])
def test_the_jacobian_of_every_sample_by_the_parameters(kind):
    """What Levenberg and Marquardt's method takes: vmap over members of vmap over samples of jacrev."""
    model = make(kind, 2, 4, angles=True)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    two = {name: torch.stack((p, 2 * p)) for name, p in parameters.items()}
    y = random(3, 4)

    def one(parameters, y):
        return functional_call(model, parameters, (0.0, y))

    J = vmap(vmap(jacrev(one), in_dims=(None, 0)), in_dims=(0, None))(two, y)
    h, name = 1e-6, "net.layers.0.bias"
    shifted = [dict(parameters, **{name: parameters[name] + s * h * torch.eye(4, dtype=F64)[1]}) for s in (1, -1)]
    slope = (one(shifted[0], y) - one(shifted[1], y)) / (2 * h)
    assert J[name].shape == (2, 3, 4, 4)
    assert torch.allclose(J[name][0, :, :, 1], slope, atol=1e-7)


def test_single_precision_stays_single():
    y = torch.zeros(3, 4)
    for model in (LNN(2, angles=[0]), DeLaN(2, angles=[0])):
        assert model(0.0, y).dtype == torch.float32
        assert model.energy(y).dtype == torch.float32
    a = random(3, 2).float()
    assert DeLaN(2).inverse(a, a, a).dtype == torch.float32


def test_a_joint_without_a_motor_has_a_finite_loss():
    model = make(DeLaN, 2, 8)
    q, v, a, tau = random(4, 5, 2)
    tau[:, 0] = 0.0
    error = (model.inverse(q, v, a) - tau).square().mean(0)
    wanted = (error[0] + error[1] / tau[:, 1].var(correction=0)) / 2
    assert torch.allclose(model.loss(q, v, a, tau), wanted, rtol=1e-12)


def piecewise():
    return nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 1))


BAD = [
    (lambda: LNN(2, activation="relu"), ValueError, "activation='relu' of LNN has no second derivative.*softplus"),
    (lambda: LNN(2, net=piecewise()), ValueError, "'leakyrelu' of LNN has no second derivative"),
    (lambda: LNN(2, activation=nn.ReLU), ValueError, "no second derivative"),
    (lambda: DeLaN(2, activation="hardtanh"), ValueError, "DeLaN has no second derivative"),
    (lambda: LNN(2, activation="gelu"), ValueError, "unknown: choose one of softplus, tanh, silu, sin"),
    (lambda: LNN(0), ValueError, "n, the number of coordinates.*got 0"),
    (lambda: LNN(2, angles=[2]), ValueError, r"angles must be.*0 to 1.*got \[2\]"),
    (lambda: LNN(2, angles=[1, 1]), ValueError, "angles must be different"),
    (lambda: LNN(2)(0.0, torch.zeros(5)), ValueError, r"\[q, v\] of LNN\(2\) has 5 numbers"),
    (lambda: LNN(2)(0.0, torch.zeros(6)), ValueError, r"LNN\(2\) must be \(\*, 4\), got \(6,\)"),
    (lambda: DeLaN(2)(0.0, torch.zeros(2)), ValueError, r"DeLaN\(2\) must be \(\*, 4\)"),
    (lambda: DeLaN(2, epsilon=0.0), ValueError, "epsilon must be positive"),
    (lambda: Perceptron(2, 1, 0), ValueError, "sizes must be at least 1"),
    (
        lambda: LNN(2, net=nn.Linear(4, 1), inertia=0.0)(0.0, torch.zeros(4)),
        SingularMassMatrix,
        "it is zero, so L is linear in v",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_of_a_network_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
