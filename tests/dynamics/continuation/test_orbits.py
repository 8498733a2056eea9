"""Periodic orbits: periods and multipliers in closed form, cyclic folds, and the way to a homoclinic orbit.

The homoclinic parameters are held against SciPy: the unstable manifold of the saddle is followed forwards, the stable
one backwards, to a line that both cross, and the parameter is solved for at which they meet there.
"""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from ndelib import odeint
from ndelib.dynamics import (
    ContinuationError,
    continuation,
    homoclinic_limit,
    orbit_continuation,
    periodic_orbit,
)
from ndelib.dynamics.continuation.orbits.floquet import is_stable, monodromy, nontrivial
from ndelib.dynamics.continuation.orbits.shooting import OrbitSystem


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def van_der_pol(mu):
    def f(t, y):
        q, v = y.unbind(-1)
        return torch.stack([v, mu * (1 - q**2) * v - q], dim=-1)

    return f


def turned(y):
    return torch.stack([-y[..., 1], y[..., 0]], dim=-1)


def normal_form(y, p, sigma=-1.0, omega=1.3):
    return (p + sigma * (y**2).sum(-1, keepdim=True)) * y + omega * turned(y)


def with_quintic(y, p, omega=1.3):
    square = (y**2).sum(-1, keepdim=True)
    return (p + square - square**2) * y + omega * turned(y)


def bogdanov_takens(beta_2):
    def f(y, beta_1):  # Kuznetsov (2004), section 8.4.2, with s = −1
        u, v = y.unbind(-1)
        return torch.stack([v, beta_1 + beta_2 * u + u**2 - u * v], dim=-1)

    return f


def loop(y, mu):  # Strogatz (2015), section 8.4: homoclinic at μ ≈ −0.8645
    u, v = y.unbind(-1)
    return torch.stack([v, mu * v + u - u**2 + u * v], dim=-1)


def where_manifolds_meet(force, saddle, sides, bracket):
    """Solve for the parameter of u″ = force(u, u′) at which the saddle's manifolds on ``sides`` of it meet.

    ``saddle(p)`` returns where it is, and the derivatives of the force there by u and by u′.
    """

    def gap(p):
        u, by_u, by_v = saddle(p)
        crossings = []
        for growing, span in ((1, 200.0), (-1, -200.0)):
            slope = (by_v + growing * math.sqrt(by_v**2 + 4 * by_u)) / 2  # the eigenvector is (1, slope)
            shift = 1e-6 * sides / math.hypot(1, slope)

            def on_the_axis(t, y):
                return y[1]

            on_the_axis.terminal = True
            path = solve_ivp(
                lambda t, y: (y[1], force(y[0], y[1], p)),
                (0, span),
                (u + shift, shift * slope),
                method="DOP853",
                rtol=1e-12,
                atol=1e-14,
                events=on_the_axis,
            )
            crossings.append(path.y_events[0][0][0])
        return crossings[0] - crossings[1]

    return brentq(gap, *bracket, xtol=1e-12)


@pytest.fixture(scope="module")
def loop_branch():
    """Orbits of Strogatz's example from their Hopf point to a period of 23."""
    branch = continuation(loop, vector(1.0, 0.0), -1.5, p_range=(-1.5, 0), step=0.3, stop_at="hopf")
    return orbit_continuation(loop, branch.points[0], p_range=(-2, 0), step=1.5, max_period=23)


def test_multipliers_are_those_of_the_product_in_the_order_of_time_without_the_trivial_one():
    Phi = torch.stack([torch.diag(vector(2.0, 0.5)), torch.tensor([[0.0, -1.0], [1.0, 1.0]]).double()])
    assert torch.equal(monodromy(Phi), Phi[1] @ Phi[0])
    assert nontrivial(torch.tensor([3.0, 1 + 1e-9, 0.2])).tolist() == pytest.approx([3.0, 0.2])
    assert not is_stable(torch.tensor([3.0, 1.0, 0.2]))
    assert is_stable(torch.tensor([1.0 + 1e-9, 0.2]))


@pytest.mark.parametrize("N", [1, 3])
def test_the_derivative_of_the_shooting_equations_is_that_of_differences(N):
    nodes, shift = (torch.randn(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    system = OrbitSystem(loop, nodes, loop(nodes, vector(0.3)[0]))
    z = torch.cat([(nodes + 0.1 * shift).flatten(), vector(1.5, 0.3)])
    G, derivative = system(z)
    assert G[-1].item() == pytest.approx(0.1 * (shift * system.velocity).sum().item() / N)  # the phase
    steps = 1e-5 * torch.eye(len(z), dtype=torch.float64)
    differences = torch.stack([(system(z + e)[0] - system(z - e)[0]) / 2e-5 for e in steps], dim=-1)
    assert torch.allclose(derivative, differences, atol=1e-7)
    rough = system.rough(z)
    assert torch.allclose(rough[0], G, atol=1e-4)
    assert torch.allclose(rough[1], derivative, atol=1e-3)


def test_van_der_pol_s_period_and_multiplier():
    orbit = periodic_orbit(van_der_pol(1.0), vector(2.0, 0.0), 6.4)
    assert orbit.period == pytest.approx(6.6632868593, abs=2e-10)
    path = orbit.trajectory(241)
    assert path.shape == (241, 2)
    assert torch.allclose(path[:-1:10], orbit.nodes, atol=1e-10)
    assert (path[-1] - path[0]).norm() < 1e-9
    divergence = (1 - path[:-1, 0] ** 2).mean().item()  # the trapezoidal rule on a period
    assert orbit.multipliers[1].real.item() == pytest.approx(math.exp(divergence * orbit.period), rel=1e-7)  # Liouville
    assert abs(orbit.multipliers[0] - 1) < 1e-8
    assert orbit.stable


def test_a_repelling_orbit_is_found_and_its_multiplier_is_the_inverse():
    stable = periodic_orbit(van_der_pol(1.0), vector(2.0, 0.0), 6.4)
    backwards = periodic_orbit(lambda t, y: -van_der_pol(1.0)(t, y), stable.y + 1e-4, 6.66)
    assert backwards.period == pytest.approx(stable.period, abs=1e-9)
    assert not backwards.stable
    assert backwards.multipliers[0].real.item() == pytest.approx(1 / stable.multipliers[1].real.item(), rel=1e-6)


def test_the_orbits_of_the_hopf_normal_form_are_circles():
    omega = 1.3
    branch = continuation(normal_form, vector(0.0, 0.0), -0.5, p_range=(-1, 1), step=0.3)
    orbits = orbit_continuation(normal_form, branch.points[0], p_range=(-1, 0.5), step=0.3)
    assert orbits.status == "left p_range"
    assert orbits.p[-1] == 0.5
    radii = torch.stack([orbit.nodes.norm(dim=1) for orbit in orbits.orbits])
    assert torch.allclose(radii**2, orbits.p[:, None].expand_as(radii), atol=1e-9)
    assert torch.allclose(orbits.period, torch.full_like(orbits.period, 2 * math.pi / omega), atol=1e-9)
    other = torch.exp(-2 * orbits.p * orbits.period)  # ∂/∂r of r(p − r²) is −2p on the circle
    assert torch.allclose(orbits.multipliers[1:, 1].real, other[1:], atol=1e-8)
    assert orbits.stable[1:].all()


def test_the_cyclic_fold_of_the_subcritical_normal_form():
    branch = continuation(with_quintic, vector(0.0, 0.0), -0.5, p_range=(-1, 1), step=0.3)
    assert not branch.points[0].supercritical
    orbits = orbit_continuation(with_quintic, branch.points[0], p_range=(-1, 0.1), step=0.3)
    assert [point.kind for point in orbits.points] == ["cyclic-fold"]
    fold = orbits.points[0]  # p + r² − r⁴ has a double root at r² = 1/2
    assert fold.p == pytest.approx(-0.25, abs=1e-9)
    assert fold.orbit.nodes.norm(dim=1)[0].item() ** 2 == pytest.approx(0.5, abs=1e-6)
    assert not orbits.stable[1]
    assert orbits.stable[-1]


@pytest.mark.parametrize(("kind", "twist"), [("period-doubling", 0.5), ("torus", None)])
def test_multipliers_at_minus_one_and_on_the_circle(kind, twist):
    """Around the unit circle, two more directions: growing at the rate p, along half a turn or rotating."""

    def f(y, p):
        x, z = y[..., :2], y[..., 2:]
        plane = (1 - (x**2).sum(-1, keepdim=True)) * x + turned(x)
        if kind == "torus":
            return torch.cat([plane, p * z + 0.37 * turned(z)], dim=-1)
        c, s = x.unbind(-1)  # R(φ/2) diag(p, −1) R(−φ/2), and the frame turns at half the speed
        mirrored = torch.stack([c * z[..., 0] + s * z[..., 1], s * z[..., 0] - c * z[..., 1]], dim=-1)
        return torch.cat([plane, (p - 1) / 2 * z + (p + 1) / 2 * mirrored + twist * turned(z)], dim=-1)

    start = periodic_orbit(lambda t, y: f(y, -0.23), vector(1.0, 0.0, 0.0, 0.0), 2 * math.pi)
    pair = torch.exp(torch.tensor(2 * math.pi * (-0.23 + 0.37j)))
    expected = [-math.exp(-0.23 * 2 * math.pi)] if kind == "period-doubling" else [pair, pair.conj()]
    for value in expected:
        assert (start.multipliers - value).abs().min() < 1e-7
    orbits = orbit_continuation(f, start, -0.23, p_range=(-0.5, 0.2), step=0.3)
    assert [point.kind for point in orbits.points] == [kind]
    assert orbits.points[0].p == pytest.approx(0, abs=1e-8)
    assert torch.equal(orbits.stable, orbits.p < 0)


def test_the_period_grows_like_a_logarithm_to_the_homoclinic_orbit(loop_branch):
    assert loop_branch.status == "reached max_period"
    limit = homoclinic_limit(loop_branch)
    assert limit.p == pytest.approx(-0.8645, abs=5e-5)  # as printed
    independent = where_manifolds_meet(
        lambda u, v, p: p * v + u - u**2 + u * v, lambda p: (0.0, 1.0, p), 1.0, (-0.87, -0.86)
    )
    assert limit.p == pytest.approx(independent, abs=1e-9)
    assert limit.saddle.abs().max() < 1e-10
    mu = limit.p
    growing, decaying = (mu + math.sqrt(mu**2 + 4)) / 2, (math.sqrt(mu**2 + 4) - mu) / 2
    assert limit.leading == pytest.approx(min(growing, decaying), rel=1e-6)
    assert limit.slope == pytest.approx(limit.leading, rel=0.01)
    assert loop_branch.stable[1:].all()
    # The phase is fixed from one orbit to the next: nodes do not slide along their orbit.
    for before, after, p in zip(loop_branch.orbits[1:], loop_branch.orbits[2:], loop_branch.p[1:], strict=False):
        velocity, change = loop(before.nodes, p), after.nodes - before.nodes
        assert abs((velocity * change).sum()) < 1e-7 * velocity.norm() * change.norm()
    last, p = loop_branch.orbits[-1], loop_branch.p[-1]
    span = (0.0, last.period / len(last.nodes))
    ends = odeint(lambda t, y: loop(y, p), last.nodes, span, method="dopri8", rtol=1e-13, atol=1e-14)[-1]
    assert (ends - last.nodes.roll(-1, 0)).abs().max() < 1e-10  # ten times the tolerance of the flow


def test_bogdanov_takens_homoclinic_orbits_follow_their_law():
    errors = []
    for beta_2 in (-0.5, -0.25):
        f = bogdanov_takens(beta_2)
        branch = continuation(f, vector(0.0, 0.0), -0.05, p_range=(-0.1, 0.1), step=0.1, stop_at="hopf")
        assert abs(branch.points[0].p) < 1e-10
        orbits = orbit_continuation(
            f, branch.points[0], p_range=(-0.5, 0.1), step=2.0, max_period=17 / abs(beta_2) ** 0.5, segments=80
        )
        limit = homoclinic_limit(orbits)

        def saddle(p, beta_2=beta_2):
            u = (-beta_2 + math.sqrt(beta_2**2 - 4 * p)) / 2
            return u, beta_2 + 2 * u, -u

        def force(u, v, p, beta_2=beta_2):
            return p + beta_2 * u + u**2 - u * v

        independent = where_manifolds_meet(force, saddle, -1.0, (-0.25 * beta_2**2, -0.2 * beta_2**2))
        assert limit.p == pytest.approx(independent, abs=1e-7)
        errors.append(abs(limit.p / beta_2**2 + 6 / 25))
    # β₁ = −(6/25) β₂² (1 + O(β₂)): in the scaled system u″ = β₁/β₂² − u + u² − √−β₂ u u′, even in √−β₂ by u′ → −u′.
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


def test_bad_input_is_named(loop_branch):
    f = van_der_pol(1.0)
    with pytest.raises(ContinuationError, match="maxima"):
        periodic_orbit(lambda t, y: -y + turned(y) * torch.exp(-(y**2)) + 1.0, vector(3.0, 0.0), 2.0)
    with pytest.raises(ContinuationError, match="equilibrium"):
        periodic_orbit(f, vector(1e-9, 0.0), 3.0)
    with pytest.raises(ContinuationError, match="2 times the period"):
        periodic_orbit(f, vector(2.0, 0.0), 13.3)
    with pytest.raises(ValueError, match="depend on t"):
        periodic_orbit(lambda t, y: f(t, y) + torch.cos(t), vector(2.0, 0.0), 6.5)
    with pytest.raises(ValueError, match="y_guess"):
        periodic_orbit(f, vector(2.0), 6.5)
    with pytest.raises(ValueError, match="period_guess"):
        periodic_orbit(f, vector(2.0, 0.0), -1.0)
    with pytest.raises(ValueError, match="segments"):
        periodic_orbit(f, vector(2.0, 0.0), 6.5, segments=0)
    with pytest.raises(ValueError, match="shape of y"):
        periodic_orbit(lambda t, y: y.sum(-1), vector(2.0, 0.0), 6.5)
    orbit = loop_branch.orbits[3]
    with pytest.raises(ValueError, match="n must be"):
        orbit.trajectory(1)
    with pytest.raises(ValueError, match="p0, the parameter"):
        orbit_continuation(loop, orbit, p_range=(-2, 0))
    with pytest.raises(ValueError, match="p0 must lie in p_range"):
        orbit_continuation(loop, orbit, 1.0, p_range=(-2, 0))
    fold = continuation(lambda y, p: p + y**2, vector(-1.0), -1.0, p_range=(-2, 1)).points[0]
    with pytest.raises(ValueError, match="Hopf point or a PeriodicOrbit"):
        orbit_continuation(loop, fold, p_range=(-2, 0))
    short = orbit_continuation(loop, orbit, loop_branch.p[3].item(), p_range=(-2, 0), step=0.05, max_steps=5)
    with pytest.raises(ContinuationError, match="max_period"):
        homoclinic_limit(short)
