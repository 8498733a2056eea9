"""Flows with a surface at which the field jumps or has a kink: crossing, sliding, grazing (chapter 6)."""

from ndelib.dynamics.nonsmooth.boundary_equilibrium import BoundaryEquilibrium, Scenario
from ndelib.dynamics.nonsmooth.exact import ExactOrbit
from ndelib.dynamics.nonsmooth.filippov import Filippov
from ndelib.dynamics.nonsmooth.linear_flow import (
    LinearFlow,
    floquet_multipliers,
    fundamental_matrix,
    nonsmooth_lyapunov_spectrum,
)
from ndelib.dynamics.nonsmooth.piecewise_linear import Cycle, Equilibrium, PiecewiseLinear
from ndelib.dynamics.nonsmooth.relu import Kinks, relu_kinks, relu_normal_form
from ndelib.dynamics.nonsmooth.saltation import saltation_matrix
from ndelib.dynamics.nonsmooth.solution import FilippovSolution, SurfaceEvent

__all__ = [
    "BoundaryEquilibrium",
    "Cycle",
    "Equilibrium",
    "ExactOrbit",
    "Filippov",
    "FilippovSolution",
    "Kinks",
    "LinearFlow",
    "PiecewiseLinear",
    "Scenario",
    "SurfaceEvent",
    "floquet_multipliers",
    "fundamental_matrix",
    "nonsmooth_lyapunov_spectrum",
    "relu_kinks",
    "relu_normal_form",
    "saltation_matrix",
]
