"""Periodic orbits of flows: by shooting, with their Floquet multipliers, over a parameter, to the homoclinic one."""

from ndelib.dynamics.continuation.orbits.branch import OrbitBranch, OrbitPoint, orbit_continuation
from ndelib.dynamics.continuation.orbits.homoclinic import HomoclinicLimit, homoclinic_limit
from ndelib.dynamics.continuation.orbits.periodic import PeriodicOrbit, periodic_orbit

__all__ = [
    "HomoclinicLimit",
    "OrbitBranch",
    "OrbitPoint",
    "PeriodicOrbit",
    "homoclinic_limit",
    "orbit_continuation",
    "periodic_orbit",
]
