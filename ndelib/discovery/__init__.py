"""Equations from data: sparse identification of dynamics (SINDy) with libraries, derivatives, optimisers, weak form.

Names are those of PySINDy, so that code moves between the two by its imports.
"""

from ndelib.discovery.derivatives import FiniteDifference, SmoothedFiniteDifference, SplineDerivative
from ndelib.discovery.sindy.ensemble import EnsembleOptimizer
from ndelib.discovery.sindy.implicit import ImplicitSINDy
from ndelib.discovery.sindy.libraries import (
    ConcatLibrary,
    CustomLibrary,
    FeatureLibrary,
    FourierLibrary,
    PolynomialLibrary,
)
from ndelib.discovery.sindy.optimizers import SR3, STLSQ, Lasso, Optimizer
from ndelib.discovery.sindy.model import SINDy
from ndelib.discovery.sindy.weak import WeakSINDy

__all__ = [
    "SR3",
    "STLSQ",
    "ConcatLibrary",
    "CustomLibrary",
    "EnsembleOptimizer",
    "FeatureLibrary",
    "FiniteDifference",
    "FourierLibrary",
    "ImplicitSINDy",
    "Lasso",
    "Optimizer",
    "PolynomialLibrary",
    "SINDy",
    "SmoothedFiniteDifference",
    "SplineDerivative",
    "WeakSINDy",
]
