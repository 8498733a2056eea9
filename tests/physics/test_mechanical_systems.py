"""Known systems: conserved quantities along their motions, closed forms, and H, L and the field that fit together."""

import math

import pytest
import torch
from torch.func import grad, vmap

from ndelib import odeint
from ndelib.physics import (
    ChargedParticle,
    DoublePendulum,
    HenonHeiles,
    Kepler,
    MassSpring,
    NBody,
    NonSeparable,
    Pendulum,
    RelativisticParticle,
    SpringChain,
    TwoLinkArm,
    hamiltonian_field,
)
from ndelib.physics.systems.system import Linear
from tests.physics.hamiltonian_cases import states as random

F64 = torch.float64
SYSTEMS = [
    MassSpring(mass=2.0, stiffness=3.0),
    SpringChain(n=5, stiffness=2.0),
    Pendulum(mass=2.0, length=0.7, gravity=3.0),
    DoublePendulum(m1=1.3, m2=0.8, l1=0.6, l2=1.1),
    TwoLinkArm(m1=1.3, m2=0.8, l1=0.6, l2=1.1),
    Kepler(mu=1.5),
    NBody((1.0, 0.5, 2.0), G=0.7, softening=0.1),
    NBody((1.0, 0.5), space=3),
    HenonHeiles(coupling=0.8),
    NonSeparable(),
    RelativisticParticle(n=2, mass=1.5, light=2.0, pull=0.2),
    ChargedParticle(mass=2.0, charge=-1.0, field=1.5, stiffness=0.4),
]


def names(system):
    return type(system).__name__


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_the_field_is_hamiltons_and_h_is_the_energy(system):
    y = random(4, 3, 2 * system.n, scale=0.7)
    by_autograd = hamiltonian_field(system.hamiltonian)(0.0, y)
    assert torch.allclose(system(0.0, y), by_autograd, rtol=1e-12, atol=1e-12)
    q, p = y.chunk(2, -1)
    v = system.velocity(q, p)
    assert torch.allclose(system.momentum(q, v), p, rtol=1e-13, atol=1e-13)
    assert torch.allclose(system.hamiltonian(q, p) + system.lagrangian(q, v), (p * v).sum(-1), rtol=1e-12, atol=1e-12)
    assert torch.equal(system.energy(y), system.hamiltonian(q, p))
    pair = system(0.0, (q, p))
    assert torch.equal(torch.cat(pair, -1), system(0.0, y))
    assert torch.allclose(vmap(lambda y: system(0.0, y))(y), system(0.0, y), atol=1e-14)
    assert system(0.0, y.float()).dtype == torch.float32
    assert system.dimension == 2 * system.n


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_separable_systems_have_halves_and_no_others(system):
    y = random(5, 2 * system.n, scale=0.7)
    q, p = y.chunk(2, -1)
    if system.separable:
        velocity, force = system.halves
        assert torch.allclose(torch.cat((velocity(0.0, p), force(0.0, q)), -1), system(0.0, y), atol=1e-13)
    else:
        mixed = grad(lambda p: hamiltonian_field(system.hamiltonian)(0.0, torch.cat((q, p), -1))[..., -1].sum())
        assert mixed(p).abs().max() > 1e-3
        with pytest.raises(AttributeError, match="tao"):
            _ = system.halves


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_the_energy_is_constant_along_a_trajectory(system):
    y = system.trajectory(random(2, 2 * system.n, scale=0.4, seed=2), torch.linspace(0, 1, 9, dtype=F64))
    assert y.shape == (9, 2, 2 * system.n)
    energy = system.energy(y)
    assert ((energy - energy[0]).abs() / (1 + energy[0].abs())).max() < 1e-10


@pytest.mark.parametrize("system", [s for s in SYSTEMS if isinstance(s, Linear)], ids=names)
def test_linear_motions_are_exact(system):
    y0, t = random(3, 2 * system.n), torch.tensor([0.5, 1.0, 4.0], dtype=F64)
    solved = odeint(system, y0, t, method="dopri8", rtol=1e-12, atol=1e-12)
    assert torch.allclose(system.trajectory(y0, t), solved, atol=1e-10)


def test_a_spring_and_a_chain_swing_with_their_frequencies():
    spring = MassSpring(mass=2.0, stiffness=8.0)
    y = spring.trajectory(torch.tensor([1.0, 0.0], dtype=F64), [0.0, 0.3])[-1]
    assert torch.allclose(y, torch.tensor([math.cos(0.6), -4 * math.sin(0.6)], dtype=F64), atol=1e-14)
    chain = SpringChain(n=6, mass=0.5, stiffness=2.0)
    j = torch.arange(1, 7, dtype=F64)
    for k in (1, 4):
        mode, w = (k * math.pi * j / 7).sin(), 2 * 2.0 * math.sin(k * math.pi / 14)
        y = chain.trajectory(torch.cat((mode, 0 * mode)), [0.0, 1.7])[-1]
        assert torch.allclose(y[:6], mode * math.cos(1.7 * w), atol=1e-12)


def test_a_charge_goes_round_in_a_circle():
    charge = ChargedParticle(mass=2.0, charge=3.0, field=0.5)
    y0 = charge.to_momenta(torch.tensor([1.0, 0.0, 0.0, -1.5], dtype=F64))
    t = torch.linspace(0, 3, 7, dtype=F64)
    q = charge.trajectory(y0, t)[:, :2]
    radius, w = 1.5 / 0.75, 0.75  # v / ω, ω = eB/m, clockwise for eB > 0
    centre = torch.tensor([1.0 - radius, 0.0], dtype=F64)
    circle = centre + radius * torch.stack(((w * t).cos(), -(w * t).sin()), -1)
    assert torch.allclose(q, circle, atol=1e-12)


@pytest.mark.parametrize("e", [0.0, 0.3, 0.9, 0.99])
def test_keplers_ellipse_in_closed_form(e):
    kepler = Kepler(mu=2.0)
    y0 = kepler.perihelion(torch.tensor(e, dtype=F64))
    T = 2 * math.pi / math.sqrt(2.0)
    assert kepler.period(y0).item() == pytest.approx(T, rel=1e-12)
    assert kepler.eccentricity_vector(y0).tolist() == pytest.approx([e, 0.0], abs=1e-13)
    t = torch.tensor([0.0, 0.2 * T, 0.5 * T, T, 100.3 * T], dtype=F64)
    y = kepler.trajectory(y0, t)
    assert y[2, :2].tolist() == pytest.approx([-1 - e, 0.0], abs=1e-10)
    assert torch.allclose(y[3], y0, atol=1e-10 / (1 - e))
    for conserved in (kepler.energy, kepler.angular_momentum, kepler.eccentricity_vector):
        assert torch.allclose(conserved(y), conserved(y[:1]).expand_as(conserved(y)), atol=1e-10)
    if e < 0.95:
        solved = odeint(kepler, y0, t[:4], method="dopri8", rtol=1e-13, atol=1e-13)
        assert torch.allclose(y[:4], solved, atol=1e-8)
    middle = kepler.trajectory(y[1], [0.0, 0.3 * T])[-1]  # from any other point, backward too
    assert torch.allclose(middle, y[2], atol=1e-9)
    assert torch.allclose(kepler.trajectory(y[2], [0.5, 0.5 - 0.3 * T])[-1], y[1], atol=1e-9)


def test_an_unbound_comet_is_solved():
    kepler = Kepler()
    y = kepler.trajectory(torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=F64), [0.0, 5.0])
    assert kepler.energy(y).tolist() == pytest.approx([1.0, 1.0], abs=1e-10)


def test_bodies_keep_momentum_and_spin_and_two_of_them_are_keplers():
    bodies = NBody((1.0, 0.5, 2.0), softening=0.1)
    y = bodies.trajectory(random(12, scale=0.5), torch.linspace(0, 1, 5, dtype=F64))
    assert (bodies.total_momentum(y) - bodies.total_momentum(y[0])).abs().max() < 1e-11
    assert (bodies.angular_momentum(y) - bodies.angular_momentum(y[0])).abs().max() < 1e-10
    two, m1, m2 = NBody((1.0, 3.0)), 1.0, 3.0
    y0, t = random(8, seed=5), torch.tensor([0.0, 0.7], dtype=F64)
    v = two.to_velocities(y0)
    relative = torch.stack((v[0] - v[2], v[1] - v[3], v[4] - v[6], v[5] - v[7]))
    y = two.to_velocities(two.trajectory(y0, t))[-1]
    kepler = Kepler(mu=m1 + m2).trajectory(relative, t)[-1]
    assert torch.allclose(torch.stack((y[0] - y[2], y[1] - y[3], y[4] - y[6], y[5] - y[7])), kepler, atol=1e-8)
    space = NBody((1.0, 2.0), space=3)
    y = space.trajectory(random(12, seed=1), torch.tensor([0.0, 0.5], dtype=F64))
    assert (space.angular_momentum(y)[1] - space.angular_momentum(y)[0]).abs().max() < 1e-10


def test_the_figure_eight_closes():
    bodies = NBody((1.0, 1.0, 1.0))
    y = bodies.trajectory(bodies.figure_eight(), torch.tensor([0.0, 6.32591398 / 3, 6.32591398], dtype=F64))
    assert (y[2] - y[0]).abs().max() < 1e-6
    moved = y[1].unflatten(0, (2, 3, 2))[:, [1, 2, 0]].flatten()  # a third of a period later each is where another was
    back = y[1].unflatten(0, (2, 3, 2))[:, [2, 0, 1]].flatten()
    assert min((moved - y[0]).abs().max(), (back - y[0]).abs().max()) < 1e-6


def test_a_pendulums_period():
    pendulum = Pendulum(length=2.0, gravity=9.81)
    a, b = 1.0, math.cos(0.5)  # the period by the mean of arithmetic and geometric means: 2π√(l/g) / M(1, cos(θ/2))
    for _ in range(6):
        a, b = (a + b) / 2, math.sqrt(a * b)
    T = 2 * math.pi * math.sqrt(2 / 9.81) / a
    y = pendulum.trajectory(torch.tensor([1.0, 0.0], dtype=F64), [0.0, T / 4, T])
    assert abs(y[1, 0].item()) < 1e-10
    assert torch.allclose(y[2], y[0], atol=1e-9)


def test_positions_are_where_the_energies_say():
    for system, height in ((DoublePendulum(m1=2.0), (2.0, 1.0)), (TwoLinkArm(m1=0.0, gravity=9.81), None)):
        q = random(6, 2)
        where = system.positions(q)
        if height:
            weight = 9.8 * (height[0] * where[:, 0, 1] + height[1] * where[:, 1, 1])
        else:  # a uniform rod's centre is half way
            weight = 9.81 * where[:, :, 1].mean(1)
        assert torch.allclose(system.potential(q), weight, atol=1e-12)
        v = random(6, 2, seed=1)
        h = 1e-6
        speed = (system.positions(q + h * v) - system.positions(q - h * v)) / (2 * h)
        if height:
            kinetic = (torch.tensor(height, dtype=F64) * speed.square().sum(-1)).sum(-1) / 2
            assert torch.allclose((v * system.momentum(q, v)).sum(-1) / 2, kinetic, atol=1e-8)
        else:  # of a rod with the ends a and b: m (|a|² + a·b + |b|²)/6
            a, b = speed.unbind(1)
            kinetic = (a.square().sum(-1) + (a * b).sum(-1) + b.square().sum(-1)) / 6
            assert torch.allclose((v * system.momentum(q, v)).sum(-1) / 2, kinetic, atol=1e-8)


def test_henon_and_heiles_saddles_have_a_sixth():
    system = HenonHeiles()
    for q in ([0.0, 1.0], [math.sqrt(0.75), -0.5], [-math.sqrt(0.75), -0.5]):
        y = torch.tensor([*q, 0.0, 0.0], dtype=F64)
        assert system(0.0, y).abs().max() < 1e-15
        assert system.energy(y).item() == pytest.approx(1 / 6)


def test_slow_relativistic_particles_are_newtons():
    q, v = random(2, 4, 2)
    fast, slow = RelativisticParticle(n=2, light=1e6), SpringChain(n=2, stiffness=0.0)
    free = fast.replace(stiffness=0.0)
    assert torch.allclose(free.lagrangian(q, v), slow.lagrangian(q, v), rtol=1e-10)
    assert torch.allclose(free.hamiltonian(q, v), slow.hamiltonian(q, v), rtol=1e-10)
    assert torch.allclose(fast.accelerations(q, v), -q, rtol=1e-10)


def test_a_parameter_may_be_one_for_each_state():
    g = torch.tensor([1.0, 2.0, 4.0], dtype=F64)
    y = random(3, 4)
    many = DoublePendulum(gravity=g)
    for i in range(3):
        alone = DoublePendulum(gravity=g[i].item())
        assert many.energy(y)[i].item() == pytest.approx(alone.energy(y[i]).item())
