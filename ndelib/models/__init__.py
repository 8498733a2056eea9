"""Neural ODEs and their kin: fields made of networks, and models that solve, or step, along them.

A field is called ``field(t, y)`` and goes into :func:`ndelib.odeint` as it is; a model is called ``model(x)``, and a
model of sequences ``model(t, x, mask)``.
"""

from ndelib.models.augmented import Augmented
from ndelib.models.depth import AdaptiveDepth
from ndelib.models.fields import (
    MLP,
    Autonomous,
    Concat,
    ConvField,
    DataControlled,
    DepthConcat,
    SecondOrder,
    perceptron,
)
from ndelib.models.galerkin import Galerkin
from ndelib.models.hypersolvers import HyperEuler, HyperHeun, HyperMidpoint, Hypersolver
from ndelib.models.neural_ode import NeuralODE
from ndelib.models.regularisation import jacobian_norm, kinetic_energy
from ndelib.models.residual import ResNet, RKNet
from ndelib.models.sequences.cde import NeuralCDE, NeuralRDE
from ndelib.models.sequences.recurrent import GRU, GRUD, ODERNN, resample

__all__ = [
    "GRU",
    "GRUD",
    "MLP",
    "ODERNN",
    "AdaptiveDepth",
    "Augmented",
    "Autonomous",
    "Concat",
    "ConvField",
    "DataControlled",
    "DepthConcat",
    "Galerkin",
    "HyperEuler",
    "HyperHeun",
    "HyperMidpoint",
    "Hypersolver",
    "NeuralCDE",
    "NeuralODE",
    "NeuralRDE",
    "RKNet",
    "ResNet",
    "SecondOrder",
    "jacobian_norm",
    "kinetic_energy",
    "perceptron",
    "resample",
]
