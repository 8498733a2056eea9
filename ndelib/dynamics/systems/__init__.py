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
from ndelib.dynamics.systems.system import Flow, Map

__all__ = [
    "FLOWS",
    "MAPS",
    "BogdanovTakens",
    "Brusselator",
    "CircleMap",
    "DelayedLogisticMap",
    "Duffing",
    "FitzHughNagumo",
    "Flow",
    "HenonMap",
    "Homoclinic",
    "HopfNormalForm",
    "LogisticMap",
    "Lorenz",
    "LotkaVolterra",
    "Map",
    "Rossler",
    "SigmoidMap",
    "StandardMap",
    "StepMap",
    "TentMap",
    "VanDerPol",
]
