"""Numerical integration of ordinary differential equations ``dy/dt = f(t, y)``.

A method is data where it can be (:class:`ButcherTableau`), a step is the formula of chapters 1 and 3
(``runge_kutta.py``), the loops make steps (``fixed_step.py``, ``adaptive.py``), and :func:`odeint` and
:func:`solve_ivp` keep of them what was asked for.
"""

from ndelib.solvers.butcher import ButcherTableau
from ndelib.solvers.control import Controller
from ndelib.solvers.errors import NewtonDidNotConverge, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.events import Event
from ndelib.solvers.methods import MethodInfo, methods
from ndelib.solvers.odeint import odeint
from ndelib.solvers.solution import Solution
from ndelib.solvers.solve_ivp import solve_ivp

__all__ = [
    "ButcherTableau",
    "Controller",
    "Event",
    "MethodInfo",
    "NewtonDidNotConverge",
    "NonFiniteState",
    "Solution",
    "SolverError",
    "StepSizeTooSmall",
    "TooManySteps",
    "methods",
    "odeint",
    "solve_ivp",
]
