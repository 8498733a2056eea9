"""Every public function of the rooms of ndelib.dynamics names the argument that is wrong, and what would be right."""

import math

import pytest
import torch
from torch import nn

from ndelib.dynamics import (
    BoundaryEquilibrium,
    Filippov,
    HenonMap,
    LogisticMap,
    Lorenz,
    PiecewiseLinear,
    VanDerPol,
    basins,
    box_dimension,
    continuation,
    first_lyapunov_coefficient,
    floquet_multipliers,
    fundamental_matrix,
    homoclinic_limit,
    lyapunov_spectrum,
    map_lyapunov_spectrum,
    nonsmooth_lyapunov_spectrum,
    omega_limit_sets,
    orbit_continuation,
    periodic_orbit,
    relu_kinks,
    saltation_matrix,
    switch_branch,
    uncertainty_exponent,
)


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def fold(y, p):
    return p + y**2


def branch(f=fold, y0=(-1.0,), p0=-1.0, **options):
    return continuation(f, y0, p0, **{"p_range": (-2, 1), **options})


def drift(t, y):
    return torch.ones_like(y)


PLANAR = {"A1": [[-1, 1], [-1, 0]], "A2": [[2, 1], [-5, 0]], "b": [0, 1], "c": [1, 0]}
LINEAR = PiecewiseLinear(**PLANAR)
WALL = Filippov(drift, drift, lambda y: y[..., 1])
NET = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: branch(y0="a"), "y0 must be a tensor of real numbers"),
        (lambda: branch(y0=torch.tensor([-1 + 0j])), "y0 must be real"),
        (lambda: branch(p0=math.nan), "p0 must lie in p_range"),
        (lambda: branch(p0=vector(-1.0, 0.0)), "p0 must be a number"),
        (lambda: branch(p_range=2.0), "p_range must be two numbers"),
        (lambda: branch(p_range=(math.nan, 1.0)), "low < high"),
        (lambda: branch(f=3), "f must be a function"),
        (lambda: branch(f=lambda y: y), r"f\(y, p\) failed"),
        (lambda: branch(f=lambda y, p: (p + y**2).detach()), "has no derivative"),
        (lambda: branch(f=lambda y, p: torch.from_numpy(p.numpy() + y.numpy() ** 2)), "has no derivative"),
        (lambda: branch(max_steps=2.5), "max_steps must be a whole number"),
        (lambda: branch(kind="map", period=1.5), "period must be"),
        (lambda: branch(f=lambda y, p: y * math.nan), r"f\(y0, p0\) must be finite"),
        (lambda: switch_branch(branch(), 3), "point one of its points"),
        (lambda: first_lyapunov_coefficient(lambda y: y, vector(0.0, 0.0), 1.0), "no Hopf point"),
        (lambda: first_lyapunov_coefficient(lambda y: y, vector(0.0, 0.0), math.nan), "omega must be positive"),
        (lambda: periodic_orbit(3, vector(2.0, 0.0), 6.6), "f must be a function"),
        (lambda: periodic_orbit(VanDerPol(), vector(math.nan, 0.0), 6.6), "y_guess must be a finite state"),
        (lambda: periodic_orbit(VanDerPol(), vector(2.0, 0.0), math.nan), "period_guess must be positive"),
        (lambda: periodic_orbit(lambda t, y: NET(y), vector(2.0, 0.0), 6.6), "failed for y"),
        (lambda: orbit_continuation(fold, 3, p_range=(-2, 1)), "start must be a Hopf point or a PeriodicOrbit"),
        (lambda: orbit_continuation(fold, branch().points[0], p_range=(-2, 1), max_period=-1.0), "max_period must"),
        (lambda: homoclinic_limit(branch()), "orbits must be an OrbitBranch"),
        (lambda: omega_limit_sets(3, 0.3), "map must be a function"),
        (lambda: omega_limit_sets(lambda x: [x], 0.3), "map must return a tensor"),
        (lambda: omega_limit_sets(LogisticMap(), "a"), "x0 must be numbers"),
        (lambda: omega_limit_sets(LogisticMap(), torch.tensor(0.3j)), "x0 must be real"),
        (lambda: omega_limit_sets(LogisticMap(), 0.3, keep=100.5), "whole numbers"),
        (lambda: omega_limit_sets(lambda x: x, 0.3, dimension=0), "dimension must be a whole number"),
        (lambda: omega_limit_sets(HenonMap(), vector(1.0, 2.0, 3.0)), r"x0 must be states \(\*, 2\)"),
        (lambda: basins(LogisticMap(), "a"), "x0 must be numbers"),
        (lambda: map_lyapunov_spectrum(LogisticMap(), 0.3, 100.5), "whole numbers"),
        (lambda: lyapunov_spectrum(Lorenz(), [1.0, 1.0, 1.0], 1.0), "y0 must be a tensor"),
        (lambda: lyapunov_spectrum(Lorenz(), vector(math.nan, 1.0, 1.0), 1.0), "y0 holds an infinity or NaN"),
        (lambda: lyapunov_spectrum(Lorenz(), torch.ones(3), math.nan), "duration and interval must be positive"),
        (lambda: lyapunov_spectrum(Lorenz(), torch.ones(3), 1.0, count=1.5), "count must be between 1 and"),
        (lambda: box_dimension([[1, 2]], [1, 2, 4]), "points must be a tensor, of floats"),
        (lambda: box_dimension(torch.ones(8, 8, dtype=torch.uint8), [1, 2, 4]), "points must be a tensor, of floats"),
        (lambda: box_dimension(torch.rand(9, 2), 1.0), "sizes must be at least three"),
        (lambda: box_dimension(torch.rand(9, 2), [1, 2, math.nan]), "sizes must be at least three"),
        (lambda: uncertainty_exponent(torch.rand(9, 9) * math.nan, [1, 2, 4]), "label must be finite"),
        (lambda: uncertainty_exponent(lambda y: y, [1, 2, 4], starts=torch.zeros(5, 2).long()), "of floats"),
        (lambda: uncertainty_exponent(lambda y: y > 0, [1, 2, 4], starts=torch.rand(5, 2)), "one label each"),
        (lambda: WALL.kind(torch.zeros(3, 2)), "y must be one state"),
        (lambda: WALL.kind(torch.tensor([0, 0])), "y must be a tensor of real numbers"),
        (lambda: WALL.region([0.0, 0.0]), "y must be a tensor of real numbers"),
        (lambda: WALL.solve(torch.tensor([0, -1]), (0, 2)), "y0 must be one real state"),
        (lambda: WALL.solve(vector(0.0, -1.0), (0, math.nan)), "t_span holds an infinity or NaN"),
        (lambda: Filippov(drift, drift, lambda y: 0 * y.sum(-1)).solve(vector(0.0, -1.0), (0, 2)), "gradient zero"),
        (lambda: fundamental_matrix(drift, vector(0.0, -1.0), (0, 2)), "system must be a Filippov system"),
        (lambda: fundamental_matrix(WALL, vector(0.0, -1.0), (0, 2), repelling="left"), "repelling must be"),
        (lambda: floquet_multipliers(WALL, vector(0.0, -1.0), -2.0), "period must be positive"),
        (lambda: nonsmooth_lyapunov_spectrum(WALL, vector(0.0, -1.0), math.nan), "duration and interval must be"),
        (lambda: nonsmooth_lyapunov_spectrum(WALL, vector(0.0, -1.0), 1.0, count=3), "count must be between 1 and"),
        (lambda: PiecewiseLinear(**{**PLANAR, "A1": [[-1, 1], [-1]]}), "A1 must be numbers"),
        (lambda: PiecewiseLinear(**PLANAR, mu=math.nan), "mu must be finite"),
        (lambda: BoundaryEquilibrium(**PLANAR).equilibria(math.nan), "mu must be finite"),
        (lambda: LINEAR.orbit([1, 1], -1.0), "duration must be finite and not negative"),
        (lambda: LINEAR.orbit("ab", 1.0), "y0 must be one finite state"),
        (lambda: LINEAR.lyapunov_spectrum([1, 1], math.nan), "duration and interval must be"),
        (lambda: saltation_matrix([1.0, 0.0], [2.0, 3.0], [1.0, 0.0]), "must be tensors"),
        (
            lambda: saltation_matrix(vector(1, 0), vector(2, 3), vector(1, 0), reset=torch.eye(3)),
            "reset must be the Jacobian",
        ),
        (lambda: relu_kinks(NET, vector(1.0, 1.0), (0.0, 1.0)), "y0 must have the dtype of the network"),
        (lambda: relu_kinks(NET, torch.ones(3), (0.0, 1.0)), "network must take states like y0"),
        (lambda: relu_kinks(NET[:2], torch.ones(2), (0.0, 1.0)), "network must return 2 numbers"),
        (lambda: Lorenz()(0.0, [1.0, 2.0, 3.0]), "a state must be a tensor"),
        (lambda: HenonMap()([1.0, 2.0]), "a state must be a tensor"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_whole_numbers_and_single_precision_are_taken():
    assert branch(y0=torch.tensor([-1])).y.dtype == branch(y0=torch.tensor([-1.0])).y.dtype == torch.float64
    assert periodic_orbit(VanDerPol(), torch.tensor([2, 0]), 6.6).y.dtype == torch.float64
    assert omega_limit_sets(LogisticMap(3.2), torch.tensor([0, 1])).points.dtype == torch.float64
    assert omega_limit_sets(LogisticMap(3.2), torch.tensor(0.3)).period == 2
    assert lyapunov_spectrum(Lorenz(), torch.ones(3), 0.2).exponents.dtype == torch.float32
    assert lyapunov_spectrum(Lorenz(), torch.tensor([1, 1, 1]), 0.2).exponents.dtype == torch.float64


def test_what_escapes_has_a_status_or_an_error_that_says_so():
    assert branch(step=0.2).status == "left p_range"
    assert omega_limit_sets(LogisticMap(4.5), 0.3).escaped
    assert basins(LogisticMap(4.5), vector(0.3)).labels.tolist() == [-1]
    assert map_lyapunov_spectrum(LogisticMap(4.5), 0.3, 100).exponents.isnan()
    assert omega_limit_sets(LogisticMap(3.2), math.nan).escaped
