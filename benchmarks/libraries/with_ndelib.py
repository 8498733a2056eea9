"""How ndelib solves a problem of the table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

import ndelib
from benchmarks import identification
from benchmarks.libraries.classifier_in_torch import classifier_solver
from benchmarks.libraries.common import Cannot, Solver
from benchmarks.libraries.controlled_in_torch import controlled_solver
from benchmarks.libraries.fields_in_torch import stochastic_solver, torch_solver
from benchmarks.problems import Problem
from ndelib import cdeint, methods, odeint, sdeint
from ndelib.discovery import STLSQ, PolynomialLibrary, SINDy
from ndelib.models import NeuralODE

METHODS = {"dopri5": "dopri5", "rk4": "rk4", "stiff": "esdirk54"}

OPTIONS: dict[str, dict[str, Any]] = {
    "ndelib": {},
    "ndelib, a step per sample": {"batch": "independent"},
    "ndelib, step compiled": {"compile": "step"},
    "ndelib, solve compiled": {"compile": "solve"},
    "ndelib, checkpoint": {"gradient": "checkpoint"},
    "ndelib, interpolated": {"gradient": "interpolated"},
    "ndelib, adjoint": {"gradient": "adjoint"},
}


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    if problem.regression:
        return regression(problem)
    if problem.stochastic:
        assert problem.steps is not None
        return stochastic_solver(problem, partial(sdeint, method=problem.method, dt=problem.end / problem.steps))
    if problem.controlled:
        fixed = {} if problem.steps is None else {"step_size": problem.end / problem.steps}
        tolerances = {} if fixed else {"rtol": problem.rtol, "atol": problem.atol}
        return controlled_solver(problem, ndelib, partial(cdeint, method=problem.method, **fixed, **tolerances))
    options = OPTIONS[variant]
    per_sample, compiled = "batch" in options, "compile" in options
    # Fixed steps are the same for all samples, and these options are for explicit methods.
    if (per_sample and problem.method != "dopri5") or (compiled and problem.method == "stiff"):
        raise Cannot("")
    # The other gradients are compared where there is one to compare, and with shared steps, uncompiled.
    if options and problem.gradient != ("gradient" in options):
        raise Cannot("")
    method = METHODS[problem.method]
    if method not in {row.name for row in methods()}:
        raise Cannot(f"has no method {method}")
    if problem.steps is None:
        options = options | {"rtol": problem.rtol, "atol": problem.atol}
    else:
        options = options | {"step_size": problem.end / problem.steps}

    if problem.field == "classifier":

        def model(encoder: nn.Module, field: nn.Module, decoder: nn.Module) -> nn.Module:
            t = (0.0, problem.end)
            return NeuralODE(field, t, encoder=encoder, decoder=decoder, method=method, **options)

        return classifier_solver(problem, model)

    def solve(f: Callable[[Any, Tensor], Tensor], y0: Tensor, t: Tensor, parameters: list[Tensor]) -> Tensor:
        return odeint(f, y0, t, method=method, params=parameters, **options)

    remark = "esdirk54" if problem.method == "stiff" else ""
    return torch_solver(problem, solve, compiled=compiled, remark=remark)


def regression(problem: Problem) -> Solver:
    """Return the search for equations, ready to be made."""
    t, x = identification.samples(problem.batch)

    def solve() -> np.ndarray:
        library = PolynomialLibrary(identification.DEGREE)
        return SINDy(library, STLSQ(identification.THRESHOLD)).fit(x, t).coefficients()

    return Solver(solve, lambda found: found, lambda: None)
