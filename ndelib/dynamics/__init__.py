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
from ndelib.dynamics.nonsmooth.boundary_equilibrium import BoundaryEquilibrium, Scenario
from ndelib.dynamics.nonsmooth.exact import ExactOrbit
from ndelib.dynamics.nonsmooth.filippov import Filippov
from ndelib.dynamics.nonsmooth.linear_flow import (
    LinearFlow,
    NonsmoothSpectrum,
    floquet_multipliers,
    fundamental_matrix,
    nonsmooth_lyapunov_spectrum,
)
from ndelib.dynamics.nonsmooth.march import FilippovSolution, SurfaceEvent
from ndelib.dynamics.nonsmooth.piecewise_linear import Cycle, Equilibrium, PiecewiseLinear
from ndelib.dynamics.nonsmooth.relu import Kinks, relu_kinks, relu_normal_form
from ndelib.dynamics.nonsmooth.saltation import saltation_matrix

__all__ = [
    "BoundaryEquilibrium",
    "Cycle",
    "DecreaseProof",
    "Equilibrium",
    "ExactOrbit",
    "Filippov",
    "FilippovSolution",
    "FixedPoint",
    "Kinks",
    "LinearFlow",
    "LyapunovCheck",
    "NonsmoothSpectrum",
    "PiecewiseLinear",
    "Scenario",
    "SurfaceEvent",
    "check_lyapunov",
    "classify",
    "curvature_bound",
    "fixed_points",
    "floquet_multipliers",
    "fundamental_matrix",
    "jacobian",
    "lipschitz_bound",
    "logarithmic_norm",
    "lyapunov_equation",
    "nonsmooth_lyapunov_spectrum",
    "one_sided_bound",
    "prove_decrease",
    "relu_kinks",
    "relu_normal_form",
    "saltation_matrix",
]
