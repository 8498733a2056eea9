"""Gradients through a solve: backpropagation, checkpointing, adjoints, and steps that can be undone.

A solve is one node of autograd's graph with a backward pass of its own (``backward/``): steps made again
(``replay.py``, ``checkpoint.py``), steps undone (``reversible.py``), or an equation solved backwards
(``continuous.py``). All of them give what :func:`odeint` with ``gradient="backprop"`` gives; they differ in time,
memory and error.
"""

from ndelib.adjoints.cdeint import cdeint
from ndelib.adjoints.errors import AdjointError, AdjointWarning
from ndelib.adjoints.odeint import GRADIENTS, odeint, odeint_adjoint, odeint_with_cost
from ndelib.adjoints.sdeint import SDE_GRADIENTS, sdeint, sdeint_adjoint

__all__ = [
    "GRADIENTS",
    "SDE_GRADIENTS",
    "AdjointError",
    "AdjointWarning",
    "cdeint",
    "odeint",
    "odeint_adjoint",
    "odeint_with_cost",
    "sdeint",
    "sdeint_adjoint",
]
