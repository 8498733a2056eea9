"""Every method of the register converges at the order it states, on problems in which time matters."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from ndelib import odeint
from ndelib.solvers.steps import implicit, runge_kutta
from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.tableaus import TABLEAUS
from tests.conftest import full

# A wrong node c hides where f does not depend on t, so every problem here does. Each: f, y(t), end time.
PROBLEMS = {
    "forced scalar": (
        lambda t, y: torch.cos(3 * t) - 2 * y,
        lambda t: (2 * torch.cos(3 * t) + 3 * torch.sin(3 * t)) / 13,
        10.0,
    ),
    "growing scalar": (lambda t, y: t * y, lambda t: torch.exp(t**2 / 2), 3.0),
    "complex": (
        lambda t, y: 1j * (2 + torch.cos(t)) * y,
        lambda t: torch.exp(1j * (2 * t + torch.sin(t))),
        10.0,
    ),
    "system": (
        # A rotation at the rate 2 + cos t
        lambda t, y: (2 + torch.cos(t)) * torch.stack([-y[1], y[0]]),
        lambda t: torch.stack([torch.cos(2 * t + torch.sin(t)), torch.sin(2 * t + torch.sin(t))]),
        10.0,
    ),
}
# The relative error from which the slope is measured: past the first terms of the expansion, far from rounding (1e-15
# times some thousands of steps). The higher the order, the narrower that window is.
SMALL = {1: 5e-2, 2: 3e-4, 3: 1e-6, 4: 1e-8, 5: 3e-12, 8: 3e-11}
GENERAL = [m.name for m in METHODS.values() if "split" not in m.options]  # the others need (q, p): test_symplectic.py


def measured_order(name: str, problem: str, steps: int = 0, **options) -> float:
    """Return the slope of the error between ``steps`` and 1.5 ``steps``; 0: from where the error is SMALL."""
    f, solution, end = PROBLEMS[problem]
    order = METHODS[name].order
    if order < 5 or METHODS[name].kind == "reversible":
        end *= 0.4  # less time to wait; high orders need the length, or their error drowns in rounding
    t = torch.tensor([0.0, end], dtype=torch.float64)
    start, exact = solution(t[0]), solution(t[1])

    def error(steps: int) -> float:
        y = odeint(f, start, t, method=name, step_size=end / steps, **options)[-1]
        return ((y - exact).abs().max() / exact.abs().max()).item()

    small = SMALL[order] if not steps else math.inf
    if METHODS[name].kind == "implicit Runge–Kutta":
        small = max(small, 1e-8)  # Newton's method leaves about 1e-13 in each stage
    steps = steps or 20
    first = error(steps)
    while first > small and steps < 5000:
        steps = math.ceil(steps * min(3.0, max(1.2, (first / small) ** (1 / order))))
        first = error(steps)
    finer = round(1.5 * steps)
    return math.log(first / error(finer)) / math.log(finer / steps)


def problems_for(name: str) -> tuple[str, ...]:
    """Return the problems of the short form: the growing one, where order costs the fewest steps, and another.

    A wrong node or weight shows in each of them. Explicit methods of high order need too long for the complex problem,
    and implicit ones solve nonlinear problems in test_implicit.py.
    """
    kind, order = METHODS[name].kind, METHODS[name].order
    return "growing scalar", "forced scalar" if order == 5 and kind.startswith("explicit") else "complex"


CELLS = full(
    [(name, problem) for name in GENERAL for problem in PROBLEMS],
    [(name, problem) for name in GENERAL for problem in problems_for(name)],
)


@pytest.mark.parametrize(("name", "problem"), CELLS)
def test_measured_order_is_the_stated_order(name, problem):
    implicit = METHODS[name].kind == "implicit Runge–Kutta"
    if implicit and problem == "complex":
        with pytest.raises(TypeError, match="view_as_real"):
            measured_order(name, problem, steps=20)
        return
    order, kind = METHODS[name].order, METHODS[name].kind
    if kind == "reversible" and problem == "forced scalar":
        return  # a contraction, where the copies part and hide the order: test_reversible_steps.py
    tight = {"rtol": 1e-12, "atol": 1e-12} if implicit else {}  # of Newton's method: no error but the method's
    measured = measured_order(name, problem, **tight)
    # Where p is odd the copies of a coupled method err by ±C h^(p+1) a step: their mean is of order p + 1.
    between = kind == "reversible" and order % 2 == 1
    assert order - 0.15 < measured < order + 0.15 + between


SLIPS = [(name, i) for name, tableau in TABLEAUS.items() for i in range(1, len(tableau.c))]


@pytest.mark.parametrize(("name", "i"), SLIPS, ids=[f"{name}-c{i}" for name, i in SLIPS])
def test_a_wrong_node_would_be_caught(name, i, monkeypatch):
    # Past the check of the table: this is what a slip in the stepping code would do.
    broken = object.__new__(ButcherTableau)
    c = TABLEAUS[name].c
    broken.__dict__.update(TABLEAUS[name].__dict__ | {"c": (*c[:i], c[i] - 0.05, *c[i + 1 :])})
    start = partial(lambda tableau, field, statistics: partial(runge_kutta.runge_kutta_step, tableau, field), broken)
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], start=start))
    steps = full(200, 50)  # a wrong node leaves errors of order one, which are seen with any step
    order = METHODS[name].order
    assert any(measured_order(name, problem, steps) < order - 0.5 for problem in ("forced scalar", "system"))


IMPLICIT_SLIPS = [(name, i) for name, table in implicit.TABLEAUS.items() for i in range(1, len(table.c))]


@pytest.mark.parametrize(("name", "i"), IMPLICIT_SLIPS, ids=[f"{name}-c{i}" for name, i in IMPLICIT_SLIPS])
def test_a_wrong_node_of_an_implicit_method_would_be_caught(name, i, monkeypatch):
    table = implicit.TABLEAUS[name]
    c = (*table.c[:i], table.c[i] - 0.05, *table.c[i + 1 :])
    with pytest.raises(ValueError, match=f"row {i} of a sums to"):
        replace(table, c=c)
    if table.order == 1:
        return  # order one allows any node
    broken = object.__new__(type(table))
    broken.__dict__.update(table.__dict__ | {"c": c})
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], start=partial(implicit._start, broken)))
    tight, steps = {"rtol": 1e-12, "atol": 1e-12}, full(100, 40)
    assert any(
        measured_order(name, problem, steps, **tight) < table.order - 0.5 for problem in ("forced scalar", "system")
    )


def test_euler_takes_the_numbers_that_a_hand_computes():
    y = odeint(lambda t, y: -y, torch.tensor(1.0, dtype=torch.float64), [0.0, 0.5], method="euler", step_size=0.1)
    assert y[-1].item() == pytest.approx(0.9**5, rel=1e-14)
