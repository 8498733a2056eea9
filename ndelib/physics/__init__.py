"""Mechanics by Lagrange and Hamilton, and the networks that learn it.

Everything here is a field ``field(t, y)`` or a map that the book's solvers take. A state is y = [q, p], (*, 2n), for
Hamilton's equations, and y = [q, q̇] for Lagrange's. All of it works under ``torch.func``.
"""

from ndelib.physics.features import Features
from ndelib.physics.hamiltonian.energies import EnergyNetwork, SeparableEnergy, gradient
from ndelib.physics.hamiltonian.measures import divergence, symplectic_defect, symplectic_form
from ndelib.physics.hamiltonian.networks import HNN, Baseline, DissipativeHNN, SeparableField
from ndelib.physics.hamiltonian.sparse import SSINN
from ndelib.physics.hamiltonian.steppers import NSSNN, SRNN, RollOutDiverged, fit_initial_states
from ndelib.physics.hamiltonian.sympnets import GSympNet, LASympNet
from ndelib.physics.hamiltonian.taylor import TaylorGradient, TaylorNet
from ndelib.physics.hamiltonian.terms import CustomTerms, PolynomialTerms, SparseEnergy, TrigonometricTerms
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
    "HNN",
    "LNN",
    "NSSNN",
    "SRNN",
    "SSINN",
    "Baseline",
    "ChargedParticle",
    "CustomTerms",
    "DeLaN",
    "DissipativeHNN",
    "DoublePendulum",
    "EnergyNetwork",
    "Features",
    "GSympNet",
    "HamiltonianField",
    "HenonHeiles",
    "Kepler",
    "LASympNet",
    "MassSpring",
    "MechanicalSystem",
    "NBody",
    "NonSeparable",
    "Pendulum",
    "Perceptron",
    "PolynomialTerms",
    "RelativisticParticle",
    "RollOutDiverged",
    "SeparableEnergy",
    "SeparableField",
    "ShootingFailed",
    "SingularMassMatrix",
    "SparseEnergy",
    "SpringChain",
    "TaylorGradient",
    "TaylorNet",
    "TrigonometricTerms",
    "TwoLinkArm",
    "accelerations",
    "action",
    "check_unwrapped",
    "conjugate",
    "costates",
    "divergence",
    "energy_function",
    "euler_lagrange",
    "fit_initial_states",
    "gradient",
    "hamiltonian_field",
    "legendre",
    "mass_matrix",
    "momentum",
    "noether",
    "poisson_bracket",
    "rollout",
    "shooting",
    "symplectic_defect",
    "symplectic_form",
    "total_cost",
    "variation",
]
