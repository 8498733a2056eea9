"""Global accuracy on the classical non-stiff problems, with every method of order five and more."""

import numpy as np
import pytest
import torch
from detest import END, PROBLEMS

from ndelib import solve_ivp
from tests.conftest import full

METHODS = ["fehlberg45", "dopri5", "tsit5", "dopri8"]
CELLS = full(
    [(name, method) for name in PROBLEMS for method in METHODS],
    # Every problem with one method, and every method with a problem of every class, A to E.
    [(name, METHODS[(int(name[1]) + ord(name[0])) % len(METHODS)]) for name in PROBLEMS],
)


@pytest.fixture(scope="module")
def solutions():
    return {name: problem.solution() for name, problem in PROBLEMS.items()}


@pytest.mark.parametrize(("name", "method"), CELLS)
def test_detest_problems_to_t_20(name, method, solutions):
    problem, exact = PROBLEMS[name], solutions[name]
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    for tol in (1e-6, 1e-9):
        solution = solve_ivp(problem.f, (0, END), y0, method=method, rtol=tol, atol=tol)
        largest = solution.y.abs().amax(dim=0).numpy()  # what the tolerance was relative to, on the way
        error = np.abs((solution.y[-1].numpy() - exact) / (1 + largest)).max() / tol
        # Each step adds at most the tolerance (as a mean square: one of n components may have √n times as much), and
        # the flow hardly changes errors; except on the ellipses of class D, where a relative error δ of the energy
        # changes the period by 3δ/2, which after 20 time units has moved the body by 30 δ times its speed.
        assert error < np.sqrt(len(y0)) * solution.steps * (30 if name.startswith("D") else 1), tol


@pytest.mark.parametrize("method", full(METHODS, ["dopri8"]))
def test_arenstorf_orbit_closes(method):
    """Hairer, Nørsett & Wanner I, eq. (II.0.1): a satellite between earth and moon that returns to its start."""
    mu, period = 0.012277471, 17.0652165601579625588917206249

    def f(t, y):
        (x1, x2), (v1, v2) = y[:2], y[2:]
        earth = ((x1 + mu) ** 2 + x2**2) ** 1.5
        moon = ((x1 - 1 + mu) ** 2 + x2**2) ** 1.5
        a1 = x1 + 2 * v2 - (1 - mu) * (x1 + mu) / earth - mu * (x1 - 1 + mu) / moon
        a2 = x2 - 2 * v1 - (1 - mu) * x2 / earth - mu * x2 / moon
        return torch.stack([v1, v2, a1, a2])

    y0 = torch.tensor([0.994, 0, 0, -2.00158510637908252240537862224], dtype=torch.float64)
    # It passes the moon three times, and each time multiplies errors: 1e-12 a step makes about 1e-7 at the end.
    y = solve_ivp(f, (0, period), y0, method=method, rtol=1e-12, atol=1e-12).y[-1]
    assert (y - y0).abs().max() < 1e-6
