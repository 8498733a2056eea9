"""Known systems, flows and maps: their equations, Jacobians, parameters and references."""

from ndelib.dynamics.systems.flows import (
    FLOWS,
    BogdanovTakens,
    Brusselator,
    Duffing,
    FitzHughNagumo,
    Homoclinic,
    HopfNormalForm,
    Lorenz,
    LotkaVolterra,
    Rossler,
    VanDerPol,
)
from ndelib.dynamics.systems.maps import (
    MAPS,
    CircleMap,
    DelayedLogisticMap,
    HenonMap,
    LogisticMap,
    SigmoidMap,
    StandardMap,
    StepMap,
    TentMap,
)

__all__ = [
    "FLOWS",
    "MAPS",
    "BogdanovTakens",
    "Brusselator",
    "CircleMap",
    "DelayedLogisticMap",
    "Duffing",
    "FitzHughNagumo",
    "HenonMap",
    "Homoclinic",
    "HopfNormalForm",
    "LogisticMap",
    "Lorenz",
    "LotkaVolterra",
    "Rossler",
    "SigmoidMap",
    "StandardMap",
    "StepMap",
    "TentMap",
    "VanDerPol",
]
