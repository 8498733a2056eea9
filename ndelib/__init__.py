"""The library of the open textbook *Neural Differential Equations*.

Everything in the book is ``dy = f(t, y) dX``: the folders of this package are the parts of the book.
``import ndelib`` is light: submodules that need matplotlib or a notebook are imported when first used.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from ndelib.adjoints import cdeint, odeint, odeint_adjoint, odeint_with_cost, sdeint, sdeint_adjoint
from ndelib.colab import setup
from ndelib.solvers import (
    BrownianMotion,
    CubicSpline,
    LinearInterpolation,
    hermite_cubic_coefficients_with_backward_differences,
    linear_interpolation_coeffs,
    log_ode_field,
    logsig_windows,
    methods,
    natural_cubic_coeffs,
    sde_methods,
    solve_ivp,
    to_ito,
    to_stratonovich,
)

if TYPE_CHECKING:
    from ndelib import (
        adjoints,
        claims,
        datasets,
        discovery,
        dynamics,
        exercises,
        models,
        physics,
        plotting,
        solvers,
        training,
    )

__version__ = "0.1.0"

__all__ = [
    "BrownianMotion",
    "CubicSpline",
    "LinearInterpolation",
    "adjoints",
    "cdeint",
    "claims",
    "datasets",
    "discovery",
    "dynamics",
    "exercises",
    "hermite_cubic_coefficients_with_backward_differences",
    "linear_interpolation_coeffs",
    "log_ode_field",
    "logsig_windows",
    "methods",
    "models",
    "natural_cubic_coeffs",
    "odeint",
    "odeint_adjoint",
    "odeint_with_cost",
    "physics",
    "plotting",
    "sde_methods",
    "sdeint",
    "sdeint_adjoint",
    "setup",
    "solve_ivp",
    "solvers",
    "to_ito",
    "to_stratonovich",
    "training",
]

_SUBMODULES = {
    "adjoints",
    "claims",
    "datasets",
    "discovery",
    "dynamics",
    "exercises",
    "models",
    "physics",
    "plotting",
    "solvers",
    "training",
}


def __getattr__(name: str) -> ModuleType:
    """Import a submodule at its first use (PEP 562), so that ``import ndelib`` needs only torch."""
    if name in _SUBMODULES:
        return importlib.import_module(f"ndelib.{name}")
    raise AttributeError(f"module 'ndelib' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what ``ndelib`` offers, submodules that are not imported yet included."""
    return sorted({*globals(), *_SUBMODULES})
