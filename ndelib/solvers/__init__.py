"""Numerical integration of differential equations: ``dy = f dt``, ``dy = f dt + g dW``, and ``dz = g dX`` along a path.

A method is data where it can be (:class:`ButcherTableau`), a step is the formula of chapters 1 and 3 (``steps/``), the
loops make steps (``loops/``), and :func:`odeint` and :func:`solve_ivp` keep of them what was asked for. ``events/``,
``stochastic/`` and ``controlled/`` hold what chapters 6, 16 and 15 add.
"""

from ndelib.solvers.control import Controller
from ndelib.solvers.controlled.cde import cde_to_ode
from ndelib.solvers.controlled.interpolation import (
    hermite_cubic_coefficients_with_backward_differences,
    linear_interpolation_coeffs,
    natural_cubic_coeffs,
)
from ndelib.solvers.controlled.log_ode import log_ode_field
from ndelib.solvers.controlled.logsignature import logsig_channels, logsig_windows, logsignature
from ndelib.solvers.controlled.paths import CubicSpline, LinearInterpolation
from ndelib.solvers.errors import NewtonDidNotConverge, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.events.events import Event
from ndelib.solvers.odeint import odeint
from ndelib.solvers.solution import Solution
from ndelib.solvers.solve_ivp import solve_ivp
from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.methods import MethodInfo, methods
from ndelib.solvers.steps.step import Method, Statistics, Step, StepRejected
from ndelib.solvers.steps.tableaus import TABLEAUS
from ndelib.solvers.stochastic.brownian import BrownianMotion
from ndelib.solvers.stochastic.calculus import to_ito, to_stratonovich
from ndelib.solvers.stochastic.methods import StochasticMethodInfo, sde_methods
from ndelib.solvers.stochastic.step import StochasticMethod

__all__ = [
    "TABLEAUS",
    "BrownianMotion",
    "ButcherTableau",
    "Controller",
    "CubicSpline",
    "Event",
    "LinearInterpolation",
    "Method",
    "MethodInfo",
    "NewtonDidNotConverge",
    "NonFiniteState",
    "Solution",
    "SolverError",
    "Statistics",
    "Step",
    "StepRejected",
    "StepSizeTooSmall",
    "StochasticMethod",
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
