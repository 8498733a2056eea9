"""Lagrange's and Hamilton's equations against derivations by hand, Legendre both ways, Noether, the action."""

import math

import pytest
import torch
from torch.func import grad, jacfwd, jacrev, vmap

from ndelib import odeint
from ndelib.physics import (
    ChargedParticle,
    DoublePendulum,
    HenonHeiles,
    Kepler,
    NBody,
    NonSeparable,
    Pendulum,
    RelativisticParticle,
    SingularMassMatrix,
    TwoLinkArm,
    accelerations,
    action,
    check_unwrapped,
    conjugate,
    energy_function,
    euler_lagrange,
    hamiltonian_field,
    legendre,
    mass_matrix,
    momentum,
    noether,
    poisson_bracket,
    variation,
)
from tests.physics.hamiltonian_cases import states as random

F64 = torch.float64
DOUBLE = {"m1": 1.3, "m2": 0.7, "l1": 0.9, "l2": 1.4, "gravity": 9.81}


def double_pendulum_by_hand(q, v, m1, m2, l1, l2, g):
    """The solved equations of motion as they stand in textbooks, with the angles from the vertical."""
    (a, b), (u, w) = q.unbind(-1), v.unbind(-1)
    s, c = (a - b).sin(), (a - b).cos()
    bottom = 2 * m1 + m2 - m2 * (2 * a - 2 * b).cos()
    first = -g * (2 * m1 + m2) * a.sin() - m2 * g * (a - 2 * b).sin() - 2 * s * m2 * (w**2 * l2 + u**2 * l1 * c)
    second = 2 * s * (u**2 * l1 * (m1 + m2) + g * (m1 + m2) * a.cos() + w**2 * l2 * m2 * c)
    return torch.stack((first / (l1 * bottom), second / (l2 * bottom)), -1)


def test_the_pendulum_equals_its_derivation_by_hand_to_rounding():
    pendulum = Pendulum(mass=1.7, length=0.6, gravity=9.81)
    q, v = random(2, 5, 7, 1)
    assert torch.allclose(accelerations(pendulum.lagrangian, q, v), -9.81 / 0.6 * q.sin(), rtol=1e-14, atol=1e-14)


def test_the_double_pendulum_equals_its_derivation_by_hand_to_rounding():
    double = DoublePendulum(**DOUBLE)
    q, v = random(2, 50, 2, scale=2.0)
    by_hand = double_pendulum_by_hand(q, v, *DOUBLE.values())
    assert torch.allclose(accelerations(double.lagrangian, q, v), by_hand, rtol=1e-12, atol=1e-12)
    assert torch.allclose(double.accelerations(q, v), by_hand, rtol=1e-12, atol=1e-12)
    field = euler_lagrange(double.lagrangian)(0.0, torch.cat((q, v), -1))
    assert torch.equal(field[:, :2], v)
    assert torch.allclose(field[:, 2:], by_hand, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradients", [True, False], ids=["", "no_grad"])
@pytest.mark.parametrize("ways", [(jacfwd,), (jacrev,), (jacfwd, jacrev), (jacfwd, jacfwd)])
def test_derivatives_of_accelerations_are_right_in_every_mode_and_order(ways, gradients):
    # Those of torch.linalg.solve are not, inside vmap.
    L = DoublePendulum(**DOUBLE).lagrangian
    q = random(6, 2, scale=2.0)
    of_ours = lambda q: accelerations(L, q, torch.ones_like(q))  # noqa: E731
    by_hand = lambda q: double_pendulum_by_hand(q, torch.ones_like(q), *DOUBLE.values())  # noqa: E731
    for way in ways:
        of_ours, by_hand = way(of_ours), jacrev(by_hand)
    with torch.set_grad_enabled(gradients):
        found = vmap(of_ours)(q)
    exact = vmap(by_hand)(q)
    assert torch.allclose(found, exact, rtol=1e-10, atol=1e-10)


def test_forces_that_have_no_potential_enter_the_equation():
    def L(q, v):
        return (2 * v**2).sum(-1) - (3 * q**2).sum(-1)

    field = euler_lagrange(L, forces=lambda t, q, v: -0.5 * v + t)
    y = torch.tensor([1.0, 2.0], dtype=F64)
    assert torch.allclose(field(8.0, y), torch.tensor([2.0, (-6 - 1 + 8) / 4], dtype=F64))


def test_a_mixed_derivative_counts():
    def L(q, v):  # the term q²v is a derivative of q³/3 by t: it changes nothing
        return (v**2 / 2 - q**2 / 2 + q**2 * v).sum(-1)

    q, v = random(2, 9, 1)
    assert torch.allclose(accelerations(L, q, v), -q, atol=1e-14)


def test_the_equation_is_batched_and_works_under_vmap_and_grad():
    double, (q, v) = DoublePendulum(), random(2, 6, 2)
    alone = torch.stack([accelerations(double.lagrangian, q[i], v[i]) for i in range(6)])
    assert torch.allclose(accelerations(double.lagrangian, q, v), alone, rtol=1e-13)
    assert torch.allclose(vmap(lambda q, v: accelerations(double.lagrangian, q, v))(q, v), alone, rtol=1e-13)

    def speed(g):
        return accelerations(double.replace(gravity=g).lagrangian, q, v).sum()

    g, h = torch.tensor(9.8, dtype=F64), 1e-5
    assert grad(speed)(g).item() == pytest.approx(((speed(g + h) - speed(g - h)) / (2 * h)).item(), rel=1e-8)


def test_single_precision_stays_single():
    double, (q, v) = DoublePendulum(), random(2, 2).float()
    assert accelerations(double.lagrangian, q, v).dtype == torch.float32
    assert double.accelerations(q, v).dtype == torch.float32
    assert double.inverse(q, v, v).dtype == torch.float32
    assert legendre(double.lagrangian)(q, v).dtype == torch.float32


SYSTEMS = [
    Pendulum(mass=2.0, length=0.7),
    DoublePendulum(m1=1.3, l2=0.8),
    HenonHeiles(),
    NonSeparable(),
    RelativisticParticle(n=2, mass=1.5, light=2.0, pull=0.3),
    TwoLinkArm(m2=0.7, l1=1.2),
    ChargedParticle(field=1.5, stiffness=0.4),
]


def names(system):
    return type(system).__name__


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_accelerations_by_hand_equal_lagranges_equation(system):
    q, v, tau = random(3, 4, 3, system.n, scale=0.4)
    a = accelerations(system.lagrangian, q, v, tau)
    assert torch.allclose(system.accelerations(q, v, tau), a, rtol=1e-12, atol=1e-12)
    assert torch.allclose(system.inverse(q, v, a), tau, rtol=1e-11, atol=1e-12)
    y = torch.cat((q, v), -1)
    assert torch.allclose(system.second_order(0.0, y, tau), torch.cat((v, a), -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_legendre_goes_there_and_back(system):
    q, p = random(2, 4, 3, system.n, scale=0.8)
    v = system.velocity(q, p)
    assert torch.allclose(momentum(system.lagrangian)(q, v), p, atol=1e-12)
    assert torch.allclose(legendre(system.lagrangian)(q, p), system.hamiltonian(q, p), rtol=1e-12, atol=1e-12)
    assert torch.allclose(legendre(system.hamiltonian)(q, v), system.lagrangian(q, v), rtol=1e-12, atol=1e-12)
    assert torch.allclose(conjugate(system.lagrangian, q, p), v, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_the_field_of_a_transformed_lagrangian_is_hamiltons(system):
    y = torch.cat(tuple(random(2, 5, system.n, scale=0.8)), -1)
    wanted = hamiltonian_field(system.hamiltonian)(0.0, y)
    assert torch.allclose(hamiltonian_field(legendre(system.lagrangian))(0.0, y), wanted, rtol=1e-10, atol=1e-10)


def test_second_derivatives_of_a_transform_are_exact():
    particle = RelativisticParticle(n=1, stiffness=0.0)
    q, p = torch.zeros(1, dtype=F64), torch.tensor([0.9], dtype=F64)

    def speed(H, p):
        return grad(lambda p: H(q, p))(p).sum()

    wanted = grad(lambda p: speed(particle.hamiltonian, p))(p)
    assert torch.allclose(grad(lambda p: speed(legendre(particle.lagrangian), p))(p), wanted, rtol=1e-10)


def test_newtons_steps_are_shortened_where_the_whole_one_leads_away():
    def L(q, v):  # from v = 0 a whole step would leave the domain |v| < 1
        return -(1 - v**2).sqrt().sum(-1)

    p = torch.tensor([[30.0]], dtype=F64)
    assert torch.allclose(conjugate(L, torch.zeros_like(p), p), p / (1 + p**2).sqrt(), rtol=1e-12)


def test_a_momentum_that_no_velocity_has_is_an_error():
    def L(q, v):
        return (1 + v**2).sqrt().sum(-1)

    with pytest.raises(ArithmeticError, match=r"no v with ∂L/∂v = p.*p, up to 2.*outside"):
        legendre(L)(torch.zeros(1, dtype=F64), torch.tensor([2.0], dtype=F64))


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_lagranges_and_hamiltons_motions_are_one(system):
    y0 = torch.cat(tuple(random(2, system.n, seed=3, scale=0.4)))
    t = [0.0, 0.2, 0.5]
    tight = {"method": "dopri8", "rtol": 1e-11, "atol": 1e-11}
    lagrange = odeint(euler_lagrange(system.lagrangian), system.to_velocities(y0), t, **tight)
    hamilton = odeint(hamiltonian_field(system.hamiltonian), y0, t, **tight)
    assert torch.allclose(system.to_momenta(lagrange), hamilton, atol=1e-9)


def turn(q):
    return torch.stack((-q[..., 1], q[..., 0]), -1)


def turn_all(q):
    return turn(q.unflatten(-1, (-1, 2))).flatten(-2)


def shift(q):
    return torch.tensor([1.0, 0.0], dtype=q.dtype).expand_as(q)


def shift_all(q):
    return torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], dtype=q.dtype).expand_as(q)


CHARGE = ChargedParticle(field=1.5)
SYMMETRIES = [
    (Kepler(), turn, None),
    (NBody((1.0, 0.5, 2.0)), turn_all, None),
    (NBody((1.0, 0.5, 2.0)), shift_all, None),
    (ChargedParticle(field=1.5, stiffness=0.3), turn, None),
    (CHARGE, shift, lambda q: 0.75 * q[..., 1]),
    (RelativisticParticle(n=2), turn, None),
]


@pytest.mark.parametrize(("system", "xi", "F"), SYMMETRIES, ids=lambda x: names(x) if hasattr(x, "n") else "")
def test_each_symmetry_has_a_conserved_quantity(system, xi, F):
    q, v = random(2, 20, system.n, scale=0.3)
    assert variation(system.lagrangian, xi, F)(q, v).abs().max() < 1e-12
    y0 = system.to_momenta(torch.cat((3 * q[0], v[0])))
    y = system.to_velocities(system.trajectory(y0, torch.linspace(0, 1, 9, dtype=F64)))
    conserved = noether(system.lagrangian, xi, F)(*y.chunk(2, -1))
    assert (conserved - conserved[0]).abs().max() < 1e-9


def test_what_is_no_symmetry_is_seen():
    q, v = random(2, 20, 2)
    assert variation(Kepler().lagrangian, shift)(q, v).abs().min() > 1e-3
    assert variation(CHARGE.lagrangian, shift)(q, v).abs().max() > 0.1  # without the boundary term
    y = Kepler().trajectory(Kepler().perihelion(0.5).double(), [0.0, 1.0])
    drift = noether(Kepler().lagrangian, shift)(*y.chunk(2, -1)).diff()
    assert drift.abs() > 0.1


@pytest.mark.parametrize("system", SYSTEMS, ids=names)
def test_the_energy_function_is_the_energy_and_conserved(system):
    y = system.trajectory(torch.cat(tuple(random(2, system.n, seed=3, scale=0.4))), torch.linspace(0, 3, 7, dtype=F64))
    energy = energy_function(system.lagrangian)(*system.to_velocities(y).chunk(2, -1))
    assert torch.allclose(energy, system.energy(y), atol=1e-11)
    assert (energy - energy[0]).abs().max() < 1e-10


def test_the_action_is_stationary_at_the_true_path_and_only_there():
    pendulum, t = Pendulum(), torch.linspace(0, 2, 2001, dtype=F64)
    path = pendulum.trajectory(torch.tensor([1.0, 0.5], dtype=F64), t)[:, :1]
    bump = (math.pi * t / 2).sin()[:, None]

    def change(path, epsilon):
        return (action(pendulum.lagrangian, path + epsilon * bump, t) - action(pendulum.lagrangian, path, t)).item()

    # first order vanishes up to the error h² of the sum; the second order is what is left
    first = (change(path, 1e-2) - change(path, -1e-2)) / 2e-2
    assert abs(first) < 0.2 * 1e-2**2  # the rest is of third order in epsilon, from sin q
    assert change(path, 2e-2) / change(path, 1e-2) == pytest.approx(4, rel=0.01)
    wrong = path + 0.1 * bump
    assert abs(change(wrong, 1e-2) - change(wrong, -1e-2)) / 2e-2 > 0.1


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid"])
def test_the_action_is_of_second_order_and_batched(rule):
    def error(N):
        t = torch.linspace(0, 1, N + 1, dtype=F64)
        path = torch.stack((t.sin(), t**3), -1)[:, None, :].expand(-1, 4, -1)
        exact = (0.5 + math.sin(2) / 4) / 2 + 9 / 10 - (0.5 - math.sin(2) / 4) / 2
        value = action(lambda q, v: v.square().sum(-1) / 2 - q[..., 0] ** 2 / 2, path, t, rule)
        assert value.shape == (4,)
        return abs(value[0].item() - exact)

    assert error(50) / error(100) == pytest.approx(4, rel=0.02)


def test_a_path_with_stationary_action_is_the_implicit_midpoint_rule():
    def spring(q, v):
        return (v**2 - q**2).sum(-1) / 2

    t = torch.linspace(0, 1, 11, dtype=F64)
    field = hamiltonian_field(lambda q, p: (p**2 + q**2).sum(-1) / 2)
    y = odeint(field, torch.tensor([1.0, 0.3], dtype=F64), t, method="implicit_midpoint")
    slope = grad(lambda path: action(spring, path, t))(y[:, :1])
    assert slope[1:-1].abs().max() < 1e-14


def test_poissons_bracket_is_the_rate_of_change_and_jacobis_identity_holds():
    H, star = HenonHeiles().hamiltonian, HenonHeiles()
    q, p = random(2, 10, 2)

    def f(q, p):
        return q[..., 0] ** 2 * p[..., 1] + q[..., 1].sin()

    def g(q, p):
        return (q * p).sum(-1)

    rate = poisson_bracket(f, H)(q, p)
    y = torch.cat((q, p), -1)
    fq, fp = grad(lambda q, p: f(q, p).sum(), argnums=(0, 1))(q, p)
    assert torch.allclose(rate, (torch.cat((fq, fp), -1) * star(0.0, y)).sum(-1), atol=1e-12)
    cycle = [(f, g, H), (g, H, f), (H, f, g)]
    jacobi = sum(poisson_bracket(a, poisson_bracket(b, c))(q, p) for a, b, c in cycle)
    assert jacobi.abs().max() < 1e-11
    assert poisson_bracket(lambda q, p: q[..., 0], lambda q, p: p[..., 0])(q, p).sub(1).abs().max() < 1e-14


def test_halves_of_a_separable_hamiltonian_take_leapfrog_along():
    field = hamiltonian_field(Kepler().hamiltonian)
    q0, p0 = Kepler().perihelion(0.3).double().chunk(2)
    t, how = torch.linspace(0, 3, 31, dtype=F64), {"method": "leapfrog"}
    q, p = odeint(field.halves, (q0, p0), t, **how)
    for same in (field, Kepler(), Kepler().halves):
        for mine, its in zip((q, p), odeint(same, (q0, p0), t, **how), strict=True):
            assert torch.allclose(mine, its, atol=1e-13)


def test_halves_of_another_hamiltonian_are_refused():
    velocity, force = hamiltonian_field(NonSeparable().hamiltonian).halves
    with pytest.raises(ValueError, match=r"not separable.*∂H/∂p changes by .* when only q changes.*method='tao'"):
        velocity(0.0, torch.ones(3, 1, dtype=F64))
    with pytest.raises(ValueError, match=r"−∂H/∂q changes by .* when only p changes"):
        force(0.0, torch.ones(3, 1, dtype=F64))


def test_a_path_with_stationary_trapezoid_action_is_leapfrogs():
    pendulum, t = Pendulum(), torch.linspace(0, 2, 21, dtype=F64)
    q0, p0 = torch.tensor([1.0], dtype=F64), torch.tensor([0.4], dtype=F64)
    q, _ = odeint(pendulum, (q0, p0), t, method="leapfrog")
    slope = grad(lambda path: action(pendulum.lagrangian, path, t, rule="trapezoid"))(q)
    assert slope[1:-1].abs().max() < 1e-14
    assert grad(lambda path: action(pendulum.lagrangian, path, t))(q)[1:-1].abs().max() > 1e-5


def test_the_mass_matrix_is_the_hessian():
    q, v = random(2, 8, 2)
    assert torch.allclose(mass_matrix(DoublePendulum().lagrangian)(q, v), DoublePendulum().mass(q), atol=1e-13)


BAD = [
    (lambda: euler_lagrange(Kepler().lagrangian)(0.0, torch.zeros(3)), ValueError, r"\[q, v\].*3 numbers.*2n"),
    (lambda: hamiltonian_field(Kepler().hamiltonian)(0.0, torch.zeros(4, 5)), ValueError, r"\[q, p\].*\(4, 5\).*2n"),
    (lambda: hamiltonian_field(Kepler().hamiltonian)(0.0, torch.tensor(1.0)), ValueError, "single number"),
    (lambda: hamiltonian_field(Kepler().hamiltonian)(0.0, torch.ones(4).int()), TypeError, "floating-point"),
    (lambda: hamiltonian_field(Kepler().hamiltonian)(0.0, [1.0, 2.0]), TypeError, "must be a tensor.*list"),
    (lambda: Kepler()(0.0, torch.zeros(2)), ValueError, r"Kepler must have 2n = 4"),
    (lambda: accelerations(lambda q, v: v**2, *random(2, 3, 1)), ValueError, r"one number a sample.*\(3, 1\)"),
    (lambda: hamiltonian_field(lambda q, p: 1.0)(0.0, torch.zeros(4)), ValueError, "one number a sample.*float"),
    (lambda: accelerations(lambda q, v: (q * v).sum(-1), *random(2, 3, 1)), SingularMassMatrix, "it is zero.*linear"),
    (
        lambda: accelerations(lambda q, v: v[..., 0] ** 2, *random(2, 3, 2)),
        SingularMassMatrix,
        "number is inf",
    ),
    (lambda: accelerations(lambda q, v: (v**1.5).sum(-1), *-random(2, 3, 2).abs()), SingularMassMatrix, "not finite"),
    (lambda: action(Kepler().lagrangian, torch.zeros(5), torch.zeros(5)), ValueError, "path must be"),
    (lambda: action(Kepler().lagrangian, torch.zeros(5, 2), torch.zeros(5)), ValueError, "t must increase"),
    (
        lambda: check_unwrapped(torch.tensor([3.0, -3.1])),
        ValueError,
        r"^angles not unwrapped: q jumps by -6.1.*numpy.unwrap",
    ),
    (lambda: check_unwrapped(torch.tensor([[0.0, 3.0], [0.0, -3.1]]), "theta"), ValueError, "theta jumps"),
    (lambda: NonSeparable().halves, AttributeError, "not separable"),
    (lambda: Pendulum().replace(size=1.0), ValueError, "no parameter size"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_singular_mass_matrix_says_where():
    def L(q, v):  # M = q
        return (q * v**2 / 2).sum(-1)

    q = torch.tensor([[1.0], [0.0], [2.0]], dtype=F64)
    with pytest.raises(SingularMassMatrix, match=r"q = \[0.0\].*sample 1 of 3") as caught:
        accelerations(L, q, torch.ones_like(q))
    assert caught.value.q.tolist() == [0.0]
    with pytest.raises(SingularMassMatrix, match="inside vmap; call it without vmap"):
        vmap(lambda q: accelerations(L, q, torch.ones_like(q)))(q)
    with pytest.raises(ValueError, match="rule must be"):
        action(L, q, torch.arange(3.0), rule="simpson")
    check_unwrapped(torch.linspace(0, 20, 50))
