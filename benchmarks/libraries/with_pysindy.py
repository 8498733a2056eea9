"""How PySINDy finds the equations of the table."""

import warnings

import numpy as np
import pysindy
import torch

from benchmarks import identification
from benchmarks.libraries.common import Solver
from benchmarks.problems import Problem

torch.set_num_threads(1)
warnings.simplefilter("ignore")  # ill-conditioned: so they are for both


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    t, x = identification.samples(problem.batch)

    def solve() -> np.ndarray:
        library = pysindy.PolynomialLibrary(identification.DEGREE)
        return pysindy.SINDy(pysindy.STLSQ(identification.THRESHOLD), library).fit(x, t).coefficients()

    return Solver(solve, lambda found: found, lambda: None)
