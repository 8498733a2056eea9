"""Mechanics by Lagrange and Hamilton, and the networks that learn it.

Everything here is a field ``field(t, y)`` or a map that the book's solvers take. A state is y = [q, p], (*, 2n), for
Hamilton's equations, and y = [q, q̇] for Lagrange's. All of it works under ``torch.func``.
"""

from ndelib.physics.features import Features
from ndelib.physics.lagrangian.delan import DeLaN
from ndelib.physics.lagrangian.lnn import LNN
from ndelib.physics.mechanics.action import action
from ndelib.physics.mechanics.errors import ShootingFailed, SingularMassMatrix
from ndelib.physics.mechanics.euler_lagrange import (
    accelerations,
    energy_function,
    euler_lagrange,
    mass_matrix,
    momentum,
)
from ndelib.physics.mechanics.hamiltonian import HamiltonianField, hamiltonian_field, poisson_bracket
from ndelib.physics.mechanics.legendre import conjugate, legendre
from ndelib.physics.mechanics.noether import noether, variation
from ndelib.physics.mechanics.pontryagin import costates, rollout, shooting, total_cost
from ndelib.physics.networks import Perceptron
from ndelib.physics.states import check_unwrapped
from ndelib.physics.systems.nonlinear import HenonHeiles, NonSeparable, RelativisticParticle
from ndelib.physics.systems.pendulums import DoublePendulum, Pendulum, TwoLinkArm
from ndelib.physics.systems.planets import Kepler, NBody
from ndelib.physics.systems.springs import ChargedParticle, MassSpring, SpringChain
from ndelib.physics.systems.system import MechanicalSystem

__all__ = [
    "LNN",
    "ChargedParticle",
    "DeLaN",
    "DoublePendulum",
    "Features",
    "HamiltonianField",
    "HenonHeiles",
    "Kepler",
    "MassSpring",
    "MechanicalSystem",
    "NBody",
    "NonSeparable",
    "Pendulum",
    "Perceptron",
    "RelativisticParticle",
    "ShootingFailed",
    "SingularMassMatrix",
    "SpringChain",
    "TwoLinkArm",
    "accelerations",
    "action",
    "check_unwrapped",
    "conjugate",
    "costates",
    "energy_function",
    "euler_lagrange",
    "hamiltonian_field",
    "legendre",
    "mass_matrix",
    "momentum",
    "noether",
    "poisson_bracket",
    "rollout",
    "shooting",
    "total_cost",
    "variation",
]
