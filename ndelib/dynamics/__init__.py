"""Dynamical systems: where a vector field stands still, what its flow does there, and how fast solutions can part."""

from ndelib.dynamics.classification import classify
from ndelib.dynamics.continuation import (
    BifurcationPoint,
    Branch,
    ContinuationError,
    HomoclinicLimit,
    OrbitBranch,
    OrbitPoint,
    PeriodicOrbit,
    continuation,
    first_lyapunov_coefficient,
    homoclinic_limit,
    orbit_continuation,
    periodic_orbit,
    switch_branch,
)
from ndelib.dynamics.fixed_points import FixedPoint, fixed_points
from ndelib.dynamics.linearisation import jacobian
from ndelib.dynamics.lipschitz import curvature_bound, lipschitz_bound, logarithmic_norm, one_sided_bound
from ndelib.dynamics.lyapunov import (
    DecreaseProof,
    LyapunovCheck,
    check_lyapunov,
    lyapunov_equation,
    prove_decrease,
)

__all__ = [
    "BifurcationPoint",
    "Branch",
    "ContinuationError",
    "DecreaseProof",
    "FixedPoint",
    "HomoclinicLimit",
    "LyapunovCheck",
    "OrbitBranch",
    "OrbitPoint",
    "PeriodicOrbit",
    "check_lyapunov",
    "classify",
    "continuation",
    "curvature_bound",
    "first_lyapunov_coefficient",
    "fixed_points",
    "homoclinic_limit",
    "jacobian",
    "lipschitz_bound",
    "logarithmic_norm",
    "lyapunov_equation",
    "one_sided_bound",
    "orbit_continuation",
    "periodic_orbit",
    "prove_decrease",
    "switch_branch",
]
