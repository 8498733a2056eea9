"""Every method converges at the order it states, on problems in which time matters."""

from fractions import Fraction

import pytest
import torch

from ndelib import methods, odeint
from ndelib.solvers.fixed_step import integrate_fixed
from ndelib.solvers.tableaus import TABLEAUS, ButcherTableau

# A wrong node c hides where f does not depend on t, so every problem here does. Each: f, y(t), end time.
PROBLEMS = {
    "scalar": (lambda t, y: torch.cos(t) * y, lambda t: torch.exp(torch.sin(t)), 2.0),
    "complex": (
        lambda t, y: 1j * t * y,
        lambda t: torch.exp(0.5j * t**2),
        2.0,
    ),
    "system": (
        # A rotation at the rate 2t: the angle is t².
        lambda t, y: 2 * t * torch.stack([-y[1], y[0]]),
        lambda t: torch.stack([torch.cos(t**2), torch.sin(t**2)]),
        1.5,
    ),
}


def measured_order(tableau: ButcherTableau, problem: str) -> float:
    f, solution, end = PROBLEMS[problem]
    t = torch.tensor([0.0, end], dtype=torch.float64)
    exact = solution(t[1])

    def error(steps: int) -> float:
        ys = integrate_fixed(tableau, f, solution(t[0]), t.tolist(), end / steps)
        return (ys[-1] - exact).abs().max().item()

    # Between 64 and 128 steps order 4 is past its first terms and far from rounding.
    return torch.log2(torch.tensor(error(64) / error(128))).item()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [method.name for method in methods()])
def test_measured_order_is_the_stated_order(name, problem):
    tableau = TABLEAUS[name]
    assert measured_order(tableau, problem) == pytest.approx(tableau.order, abs=0.15)


@pytest.mark.parametrize("name", [name for name, tableau in TABLEAUS.items() if len(tableau.b) > 1])
def test_a_wrong_node_would_be_caught(name):
    tableau = TABLEAUS[name]
    broken = object.__new__(ButcherTableau)  # past the check of the table, as a slip in the stepping code would be
    broken.__dict__.update(tableau.__dict__ | {"c": (*tableau.c[:-1], tableau.c[-1] + 0.1)})
    assert measured_order(broken, "scalar") < tableau.order - 0.5


@pytest.mark.parametrize("name", TABLEAUS)
def test_order_conditions_hold_exactly(name):
    """The conditions of Hairer, Nørsett & Wanner I, table II.2.1, up to order 4, as fractions."""
    tableau = TABLEAUS[name]

    def exact(row):
        return [Fraction(x).limit_denominator(1000) for x in row]

    b, c, a = exact(tableau.b), exact(tableau.c), [exact(row) for row in tableau.a]

    def product(*rows):
        total = Fraction(0)
        for entries in zip(*rows, strict=True):
            term = Fraction(1)
            for entry in entries:
                term *= entry
            total += term
        return total

    ac = [sum((w * x for w, x in zip(row, c, strict=False)), Fraction(0)) for row in a]
    acc = [sum((w * x * x for w, x in zip(row, c, strict=False)), Fraction(0)) for row in a]
    aac = [sum((w * x for w, x in zip(row, ac, strict=False)), Fraction(0)) for row in a]
    conditions = {
        1: [(product(b), Fraction(1))],
        2: [(product(b, c), Fraction(1, 2))],
        3: [(product(b, c, c), Fraction(1, 3)), (product(b, ac), Fraction(1, 6))],
        4: [
            (product(b, c, c, c), Fraction(1, 4)),
            (product(b, c, ac), Fraction(1, 8)),
            (product(b, acc), Fraction(1, 12)),
            (product(b, aac), Fraction(1, 24)),
        ],
    }
    for order in range(1, tableau.order + 1):
        for value, expected in conditions[order]:
            assert value == expected, f"order {order}"
    if tableau.order < 4:
        assert any(value != expected for value, expected in conditions[tableau.order + 1])


def test_euler_takes_the_numbers_that_a_hand_computes():
    y = odeint(lambda t, y: -y, torch.tensor(1.0, dtype=torch.float64), [0.0, 0.5], method="euler", step_size=0.1)
    assert y[-1].item() == pytest.approx(0.9**5, rel=1e-14)
