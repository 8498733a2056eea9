"""How SciPy solves a problem of the table: the batch as one large system."""

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import bsr_array, csc_array

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.problems import Problem, robertson_jacobian


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    if problem.gradient:
        raise Cannot("has no gradients")
    if problem.method == "rk4":
        raise Cannot("has no method with fixed steps")
    y0, t, f = problem.y0, problem.t, problem.numpy_field()
    blocks = np.arange(problem.batch + 1)

    def jacobian(t: float, y: np.ndarray) -> csc_array:
        # The samples do not know of each other: as one system, they have a Jacobian of 3 × 3 blocks.
        return bsr_array((robertson_jacobian(y.reshape(y0.shape)), blocks[:-1], blocks)).tocsc()

    stiff = {"method": "Radau", "jac": jacobian}
    options = stiff if problem.method == "stiff" else {"method": "RK45"}

    def solve() -> Any:
        return solve_ivp(
            lambda t, y: f(t, y.reshape(y0.shape)).ravel(),
            (0.0, problem.end),
            y0.ravel(),
            t_eval=t,
            rtol=problem.rtol,
            atol=problem.atol,
            **options,
        )

    def to_numpy(solution: Any) -> np.ndarray:
        return solution.y.T.reshape(-1, *y0.shape)

    remarks = ["computes in float64"] if problem.dtype == "float32" else []
    remarks += ["Radau, sparse analytic Jacobian"] if problem.method == "stiff" else []
    return Solver(solve, to_numpy, lambda: solve().nfev, remark="; ".join(remarks))
