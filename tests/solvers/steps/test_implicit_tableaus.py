"""The tables of implicit methods satisfy their order conditions, at the end of a step and within, and are stable."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ndelib.solvers.steps.implicit_tableaus import TABLEAUS, DiagonallyImplicitTableau
from tests.solvers.steps.trees import Stages, density, trees, vertices

TABLES = list(TABLEAUS.values())
WITH_EXTENSION = [t for t in TABLES if t.dense_order > 3]
ROUNDING = 1e-15  # of sums of coefficients near one


def name_of(tableau: DiagonallyImplicitTableau) -> str:
    return tableau.name


def square(tableau: DiagonallyImplicitTableau) -> tuple[np.ndarray, np.ndarray]:
    """The matrix a, also of the extra stages, and the nodes c."""
    rows, nodes = (*tableau.a, *tableau.extra_a), (*tableau.c, *tableau.extra_c)
    return np.array([[*row, *[0.0] * (len(nodes) - len(row))] for row in rows]), np.array(nodes)


def worst_condition(tableau: DiagonallyImplicitTableau, weights: np.ndarray, order: int, theta: float = 1.0) -> float:
    """How far ``weights`` are from satisfying Σ bᵢ Φᵢ(τ) = θ^ρ/γ(τ) for the trees of exactly ``order`` vertices."""
    a, c = square(tableau)
    stages = Stages([list(map(Fraction, row)) for row in a.tolist()], list(map(Fraction, c.tolist())))
    exact = [Fraction(w) for w in weights.tolist()]
    theta = Fraction(theta)
    return max(abs(float(stages.condition(exact, t) - theta ** vertices(t) / density(t))) for t in trees(order))


def stability(tableau: DiagonallyImplicitTableau, z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R(z) = 1 + z bᵀ (I − zA)⁻¹ 1, for complex ``z`` (n,)."""
    a, c = square(tableau)
    stages = np.linalg.solve(np.eye(len(c)) - z[:, None, None] * a, np.ones((len(z), len(c), 1)))[..., 0]
    return 1 + z * (stages @ weights)


def padded(tableau: DiagonallyImplicitTableau) -> np.ndarray:
    return np.array([*tableau.b, *[0.0] * len(tableau.extra_c)])


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_the_solution_has_the_order_that_the_table_states_and_no_more(tableau: DiagonallyImplicitTableau):
    for order in range(1, tableau.order + 1):
        assert worst_condition(tableau, padded(tableau), order) < ROUNDING
    assert worst_condition(tableau, padded(tableau), tableau.order + 1) > 1e-5


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_the_error_estimate_has_the_order_that_the_table_states_and_no_more(tableau: DiagonallyImplicitTableau):
    embedded = padded(tableau) - np.array(tableau.b_error)
    # Backward Euler and the trapezoidal rule are compared with a solution of higher order than theirs.
    order = tableau.error_order + (tableau.error_order == tableau.order)
    for lower in range(1, order + 1):
        assert worst_condition(tableau, embedded, lower) < ROUNDING
    assert worst_condition(tableau, embedded, order + 1) > 1e-5


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_every_stage_but_those_of_backward_euler_has_order_two(tableau: DiagonallyImplicitTableau):
    a, c = square(tableau)
    defect = np.abs(a @ c - c**2 / 2).max()
    assert defect == 0.5 if tableau.name == "backward_euler" else defect < ROUNDING


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_no_decaying_mode_is_amplified(tableau: DiagonallyImplicitTableau):
    size = np.logspace(-3, 6, 181)
    for angle in np.linspace(90, 180, 19):
        z = size * np.exp(1j * np.deg2rad(angle))
        assert np.abs(stability(tableau, z, padded(tableau))).max() < 1 + 1e-12


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_infinitely_fast_modes_vanish_in_one_step_but_for_the_trapezoidal_rule(tableau: DiagonallyImplicitTableau):
    (r,) = stability(tableau, np.array([-1e8]), padded(tableau))
    assert abs(r) == pytest.approx(1.0 if tableau.name == "trapezoid" else 0.0, abs=1e-6)


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_the_filtered_error_estimate_stays_bounded_however_stiff_the_problem(tableau: DiagonallyImplicitTableau):
    z = -np.logspace(0, 8, 81) + 0j
    unfiltered = stability(tableau, z, np.array(tableau.b_error)) - 1
    filtered = unfiltered / (1 - tableau.gamma * z) ** tableau.filters
    assert np.abs(filtered).max() < 1.0


@pytest.mark.parametrize("tableau", TABLES, ids=name_of)
def test_no_node_lies_outside_the_step(tableau: DiagonallyImplicitTableau):
    assert all(0 <= c <= 1 for c in (*tableau.c, *tableau.extra_c))


@pytest.mark.parametrize("theta", [0.25, 0.5, 0.875])
@pytest.mark.parametrize("tableau", WITH_EXTENSION, ids=name_of)
def test_the_continuous_extension_satisfies_all_conditions_of_its_order(tableau, theta):
    weights = np.array(tableau.dense) @ theta ** np.arange(1, tableau.dense_order + 1)
    for order in range(1, tableau.dense_order + 1):
        assert worst_condition(tableau, weights, order, theta) < 1e-13  # the weights are solutions of a linear system


@pytest.mark.parametrize("tableau", WITH_EXTENSION, ids=name_of)
def test_the_continuous_extension_ends_as_the_step_does_with_the_slopes_of_the_ends(tableau: DiagonallyImplicitTableau):
    dense = np.array(tableau.dense)
    first, last = np.eye(len(tableau.c))[[0, -1]]
    assert dense.sum(1) == pytest.approx(np.array(tableau.b), abs=1e-13)
    assert dense[:, 0] == pytest.approx(first, abs=1e-13)
    assert dense @ np.arange(1, tableau.dense_order + 1) == pytest.approx(last, abs=1e-13)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"a": ((0.0,), (0.5, 0.5), (0.5,))}, "lengths"),
        ({"c": (0.0,)}, "1 nodes"),
        ({"b_error": (0.5, -0.5)}, "needs 3 weights"),
        ({"b_error": (0.5, 0.5, 0.5)}, "sums to 1.5"),
        ({"a": ((0.0,), (0.5, 0.25))}, "row 1 of a sums to 0.75"),
        ({"a": ((0.0,), (1.5, -0.5))}, "diagonal"),
        ({"a": ((0.5,), (0.5, 0.5)), "c": (0.5, 1.0)}, "explicit"),
    ],
)
def test_a_table_that_contradicts_itself_says_how(change: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        replace(TABLEAUS["trapezoid"], **change)
