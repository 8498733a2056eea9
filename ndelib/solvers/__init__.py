"""Numerical integration of ordinary differential equations ``dy/dt = f(t, y)``.

A method is data (:class:`ButcherTableau`), a step is the formula of chapter 1 and 3 (`runge_kutta_step`), and
:func:`odeint` drives it from one requested time to the next.
"""

from ndelib.solvers.errors import NonFiniteState, SolverError
from ndelib.solvers.methods import MethodInfo, methods
from ndelib.solvers.odeint import odeint
from ndelib.solvers.runge_kutta import runge_kutta_step
from ndelib.solvers.tableaus import ButcherTableau

__all__ = [
    "ButcherTableau",
    "MethodInfo",
    "NonFiniteState",
    "SolverError",
    "methods",
    "odeint",
    "runge_kutta_step",
]
