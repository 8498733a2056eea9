"""Numerical integration of differential equations: ``dy = f dt``, ``dy = f dt + g dW``, and ``dz = g dX`` along a path.

A method is data where it can be (:class:`ButcherTableau`), a step is the formula of chapters 1 and 3
(``runge_kutta.py``), the loops make steps (``fixed_step.py``, ``adaptive.py``), and :func:`odeint` and
:func:`solve_ivp` keep of them what was asked for.
"""

from ndelib.solvers.brownian import BrownianMotion
from ndelib.solvers.butcher import ButcherTableau
from ndelib.solvers.calculus import to_ito, to_stratonovich
from ndelib.solvers.cde import cde_to_ode
from ndelib.solvers.control import Controller
from ndelib.solvers.errors import NewtonDidNotConverge, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.events import Event
from ndelib.solvers.interpolation import (
    hermite_cubic_coefficients_with_backward_differences,
    linear_interpolation_coeffs,
    natural_cubic_coeffs,
)
from ndelib.solvers.log_ode import log_ode_field
from ndelib.solvers.logsignature import logsig_channels, logsig_windows, logsignature
from ndelib.solvers.methods import MethodInfo, methods
from ndelib.solvers.odeint import odeint
from ndelib.solvers.paths import CubicSpline, LinearInterpolation
from ndelib.solvers.solution import Solution
from ndelib.solvers.solve_ivp import solve_ivp
from ndelib.solvers.stochastic_methods import StochasticMethodInfo, sde_methods

__all__ = [
    "BrownianMotion",
    "ButcherTableau",
    "Controller",
    "CubicSpline",
    "Event",
    "LinearInterpolation",
    "MethodInfo",
    "NewtonDidNotConverge",
    "NonFiniteState",
    "Solution",
    "SolverError",
    "StepSizeTooSmall",
    "StochasticMethodInfo",
    "TooManySteps",
    "cde_to_ode",
    "hermite_cubic_coefficients_with_backward_differences",
    "linear_interpolation_coeffs",
    "log_ode_field",
    "logsig_channels",
    "logsig_windows",
    "logsignature",
    "methods",
    "natural_cubic_coeffs",
    "odeint",
    "sde_methods",
    "solve_ivp",
    "to_ito",
    "to_stratonovich",
]
