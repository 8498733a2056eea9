"""Dynamical systems: where a vector field stands still, what its flow does there, and how fast solutions can part."""

from ndelib.dynamics.classification import classify
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
    "DecreaseProof",
    "FixedPoint",
    "LyapunovCheck",
    "check_lyapunov",
    "classify",
    "curvature_bound",
    "fixed_points",
    "jacobian",
    "lipschitz_bound",
    "logarithmic_norm",
    "lyapunov_equation",
    "one_sided_bound",
    "prove_decrease",
]
