"""Branches of equilibria, cycles and periodic orbits over a parameter, and the points where they change."""

from ndelib.dynamics.continuation.branch import BifurcationPoint, Branch
from ndelib.dynamics.continuation.equilibria import continuation
from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.normal_forms import first_lyapunov_coefficient
from ndelib.dynamics.continuation.orbits import (
    HomoclinicLimit,
    OrbitBranch,
    OrbitPoint,
    PeriodicOrbit,
    homoclinic_limit,
    orbit_continuation,
    periodic_orbit,
)
from ndelib.dynamics.continuation.switching import switch_branch

__all__ = [
    "BifurcationPoint",
    "Branch",
    "ContinuationError",
    "HomoclinicLimit",
    "OrbitBranch",
    "OrbitPoint",
    "PeriodicOrbit",
    "continuation",
    "first_lyapunov_coefficient",
    "homoclinic_limit",
    "orbit_continuation",
    "periodic_orbit",
    "switch_branch",
]
