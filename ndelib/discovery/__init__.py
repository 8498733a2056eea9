"""Equations and forecasts from data: sparse identification (SINDy), symbolic regression, linear flows, reservoirs.

Names are those of PySINDy and PySR, so that code moves between these by its imports.
"""

from ndelib.discovery.derivatives import FiniteDifference, SmoothedFiniteDifference, SplineDerivative
from ndelib.discovery.forecasting.echo_state import EchoStateNetwork, reservoir_states
from ndelib.discovery.forecasting.embedding import choose_lag, delay_embedding, false_neighbours
from ndelib.discovery.forecasting.linear_flow import fit_linear_flow
from ndelib.discovery.forecasting.valid_time import valid_prediction_time
from ndelib.discovery.sindy.ensemble import EnsembleOptimizer
from ndelib.discovery.sindy.implicit import ImplicitSINDy
from ndelib.discovery.sindy.libraries import (
    ConcatLibrary,
    CustomLibrary,
    FeatureLibrary,
    FourierLibrary,
    PolynomialLibrary,
)
from ndelib.discovery.sindy.model import SINDy
from ndelib.discovery.sindy.optimizers import SR3, STLSQ, Lasso, Optimizer
from ndelib.discovery.sindy.refine import RefinedSINDy, refine
from ndelib.discovery.sindy.weak import WeakSINDy
from ndelib.discovery.symbolic.regressor import Equation, SymbolicRegressor

__all__ = [
    "SR3",
    "STLSQ",
    "ConcatLibrary",
    "CustomLibrary",
    "EchoStateNetwork",
    "EnsembleOptimizer",
    "Equation",
    "FeatureLibrary",
    "FiniteDifference",
    "FourierLibrary",
    "ImplicitSINDy",
    "Lasso",
    "Optimizer",
    "PolynomialLibrary",
    "RefinedSINDy",
    "SINDy",
    "SmoothedFiniteDifference",
    "SplineDerivative",
    "SymbolicRegressor",
    "WeakSINDy",
    "choose_lag",
    "delay_embedding",
    "false_neighbours",
    "fit_linear_flow",
    "refine",
    "reservoir_states",
    "valid_prediction_time",
]
