"""The tables of explicit methods satisfy the order conditions that they state, at the end of a step and within."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

from ndelib.solvers.steps.butcher import ButcherTableau, Row
from ndelib.solvers.steps.tableaus import TABLEAUS
from tests.solvers.steps.trees import ROUNDED, Exact, all_stages, density, symmetry, trees

DENSE_ORDER = {"fehlberg45": 4, "dopri5": 4, "tsit5": 4, "dopri8": 7}
EMBEDDED_ORDER = {name: table.error_order for name, table in TABLEAUS.items() if table.b_error} | {"dopri8": 5}
THETAS = [Fraction(1, 7), Fraction(1, 2), Fraction(5, 6)]


@cache
def exact(name: str) -> Exact:
    return Exact(TABLEAUS[name])


def test_the_trees_are_those_of_the_theory():
    assert [len(trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    for n in range(1, 10):  # n!/(σγ) trees grow to the same shape, vertex by vertex: (n − 1)! in all
        assert sum(Fraction(math.factorial(n), symmetry(t) * density(t)) for t in trees(n)) == math.factorial(n - 1)


def test_the_methods_are_listed_by_order():
    low = ["euler", "midpoint", "heun2", "ralston", "bosh3", "rk4", "rk4_38"]
    assert list(TABLEAUS) == [*low, "fehlberg45", "dopri5", "tsit5", "dopri8"]
    assert all(name == tableau.name and tableau.source for name, tableau in TABLEAUS.items())


@pytest.mark.parametrize("name", TABLEAUS)
def test_all_conditions_of_the_stated_order_hold_and_not_all_of_the_next(name):
    assert exact(name).order() == TABLEAUS[name].order


@pytest.mark.parametrize("name", EMBEDDED_ORDER)
def test_the_embedded_method_has_its_order(name):
    assert exact(name).embedded_order() == EMBEDDED_ORDER[name] < TABLEAUS[name].order


def test_dopri8_combines_estimates_of_orders_5_and_3_into_one_of_order_7():
    assert exact("dopri8").low_order() == 3
    # e₅²/e₃ behaves like h^(2·6 − 4) = h^(7 + 1)
    assert TABLEAUS["dopri8"].error_order == 7


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("name", DENSE_ORDER)
def test_dense_output_has_its_order_inside_the_step(name, theta):
    assert exact(name).dense_order(theta) == DENSE_ORDER[name]


@pytest.mark.parametrize("name", DENSE_ORDER)
def test_dense_output_joins_the_steps_and_their_slopes(name):
    """u(0) = y by its form; u(1) = y₁, h u'(0) = f₀ and h u'(1) = f₁ up to the rounding of its coefficients."""
    tableau = TABLEAUS[name]
    f1 = len(tableau.b) - 1 if tableau.fsal else len(tableau.b)
    assert len(tableau.dense) == f1 + 1 + len(tableau.extra_c)
    for i, row in enumerate(tableau.dense):
        ulps = 2 * math.ulp(sum(j * abs(x) for j, x in enumerate(row, start=1)))
        assert row[0] == (i == 0)
        assert sum(row) == pytest.approx(tableau.b[i] if i < len(tableau.b) else 0, abs=ulps)
        assert sum(j * x for j, x in enumerate(row, start=1)) == pytest.approx(float(i == f1), abs=ulps)


def test_the_methods_that_reuse_their_last_stage_are_recognised():
    assert [name for name, tableau in TABLEAUS.items() if tableau.fsal] == ["bosh3", "dopri5", "tsit5"]


@pytest.mark.parametrize("name", ["heun2", "ralston"])
def test_the_estimate_of_a_second_order_method_is_its_distance_from_eulers(name):
    assert exact(name).b_hat == [1, 0]


# A slip in one number is refused; two slips that hide each other from the sums of rows break the order conditions.


def changed(row: Row, i: int, by: float, j: int | None = None) -> Row:
    return tuple(x + by * (k == i) - by * (k == j) for k, x in enumerate(row))


def change_row(rows: tuple[Row, ...], i: int, row: Row) -> tuple[Row, ...]:
    return (*rows[:i], row, *rows[i + 1 :])


@pytest.mark.parametrize("name", TABLEAUS)
def test_a_table_with_one_number_wrong_by_1e_12_is_refused(name):
    t = TABLEAUS[name]
    for i in range(len(t.c)):
        with pytest.raises(ValueError, match=f"'{name}': row {i} of a sums to"):
            replace(t, c=changed(t.c, i, 1e-12))
        with pytest.raises(ValueError, match="weights b sum to"):
            replace(t, b=changed(t.b, i, 1e-12))
        for j in range(i):
            with pytest.raises(ValueError, match=f"row {i} of a sums to"):
                replace(t, a=change_row(t.a, i, changed(t.a[i], j, 1e-12)))


def slipped(t: ButcherTableau, **changes) -> ButcherTableau:
    """Return ``t`` with ``changes`` that its own checks need not like, as a slip past them would be."""
    table = object.__new__(ButcherTableau)
    table.__dict__.update({field.name: getattr(t, field.name) for field in fields(t)} | changes)
    return table


def slips(t: ButcherTableau) -> Iterator[tuple[str, ButcherTableau]]:
    """Yield every way to make one number wrong and, for balance, the first one of its row too."""
    by = 1e-9 if t.name in ROUNDED else 1 / 8  # an eighth keeps the fractions simple
    for i in range(1, len(t.c)):
        yield f"c[{i}]", slipped(t, c=changed(t.c, i, by), a=change_row(t.a, i, changed(t.a[i], 0, by)))
        yield f"b[{i}]", slipped(t, b=changed(t.b, i, by, 0))
        for j in range(1, i):
            yield f"a[{i}][{j}]", slipped(t, a=change_row(t.a, i, changed(t.a[i], j, by, 0)))
        # Any weights (1 − ε, ε) of the estimate of a second-order method belong to a method of order 1.
        if t.b_error and t.error_order > 1:
            yield f"b_error[{i}]", slipped(t, b_error=changed(t.b_error, i, by, 0))
        if t.b_error_low:
            yield f"b_error_low[{i}]", slipped(t, b_error_low=changed(t.b_error_low, i, by, 0))
    for i, row in enumerate(t.extra_a):
        c = changed(t.extra_c, i, by)
        yield f"extra_c[{i}]", slipped(t, extra_c=c, extra_a=change_row(t.extra_a, i, changed(row, 0, by)))
        for j in range(1, len(row)):
            yield f"extra_a[{i}][{j}]", slipped(t, extra_a=change_row(t.extra_a, i, changed(row, j, by, 0)))
    for i, row in enumerate(t.dense or ()):
        for j in (1, len(row) - 1):
            yield f"dense[{i}][{j}]", slipped(t, dense=change_row(t.dense, i, changed(row, j, by, 0)))


def satisfies_what_it_states(tableau: ButcherTableau) -> bool:
    table = Exact(tableau)
    # What breaks soonest comes first: all the trees of dopri8 take a while.
    return (
        tableau.fsal == TABLEAUS[tableau.name].fsal
        and (not table.dense or table.dense_order(Fraction(1, 2)) == DENSE_ORDER[tableau.name])
        and (not table.b_hat_low or table.low_order() == 3)
        and (not table.b_hat or table.embedded_order() == EMBEDDED_ORDER[tableau.name])
        and table.order() == tableau.order
    )


@pytest.mark.parametrize("name", TABLEAUS)
def test_slips_that_balance_in_their_row_break_the_order_conditions(name):
    assert satisfies_what_it_states(TABLEAUS[name])
    assert [slip for slip, tableau in slips(TABLEAUS[name]) if satisfies_what_it_states(tableau)] == []


# SciPy has three of the tables, typed by others.


@pytest.mark.parametrize(("name", "theirs"), [("bosh3", RK23), ("dopri5", RK45), ("dopri8", DOP853)])
def test_nodes_and_weights_are_those_of_scipy(name, theirs):
    ours = TABLEAUS[name]
    stages = len(theirs.B)  # SciPy leaves out the last stage of a method that reuses it
    np.testing.assert_allclose(ours.c[:stages], theirs.C, rtol=1e-15)
    np.testing.assert_allclose(ours.b[:stages], theirs.B, rtol=1e-15)
    for row, their_row in zip(ours.a[:stages], theirs.A, strict=True):
        np.testing.assert_allclose(row, their_row[: len(row)], rtol=1e-15)


def test_error_estimates_are_those_of_scipy():
    np.testing.assert_allclose(TABLEAUS["bosh3"].b_error, -RK23.E, atol=1e-15)  # they estimate ŷ₁ − y₁
    np.testing.assert_allclose(TABLEAUS["dopri5"].b_error, -RK45.E, atol=1e-15)
    np.testing.assert_allclose(TABLEAUS["dopri8"].b_error, DOP853.E5[:-1], atol=1e-15)
    np.testing.assert_allclose(TABLEAUS["dopri8"].b_error_low, DOP853.E3[:-1], atol=1e-15)


def test_dense_output_is_that_of_scipy():
    np.testing.assert_allclose(TABLEAUS["dopri5"].dense, RK45.P, rtol=1e-14, atol=1e-14)
    solver = DOP853(lambda t, y: np.cos(t) * y, 0.3, [solution(0.3)], 10.0, first_step=0.5, rtol=1.0, atol=1.0)
    solver.step()
    k = slopes(TABLEAUS["dopri8"], 0.3, 0.5)
    for theta in (0.2, 0.5, 0.9):
        ours = solution(0.3) + 0.5 * inner(dense_weights("dopri8", theta), k)
        assert ours == pytest.approx(solver.dense_output()(0.3 + 0.5 * theta)[0], rel=1e-14)


# Single steps of y' = cos(t) y, in plain floats, from points of the exact solution all over a period: at some of them
# the leading term of an error vanishes, so orders are those of the root mean square.


def solution(t: float) -> float:
    return math.exp(math.sin(t))


def slopes(tableau: ButcherTableau, t: float, h: float) -> list[float]:
    k: list[float] = []
    for row, c in zip(*all_stages(tableau), strict=True):
        k.append(math.cos(t + c * h) * (solution(t) + h * inner(row, k)))
    return k


def inner(weights: Sequence[float], k: list[float]) -> float:
    return math.fsum(w * slope for w, slope in zip(weights, k, strict=False))


def dense_weights(name: str, theta: float) -> list[float]:
    return [sum(x * theta**j for j, x in enumerate(row, start=1)) for row in TABLEAUS[name].dense]


def local_order(tableau: ButcherTableau, error: Callable[[list[float], float, float], float]) -> float:
    """The power of h that ``error(k, t, h)`` follows, k the slopes of a step from t to t + h."""

    def mean(h: float) -> float:
        starts = [0.3 * i for i in range(21)]
        return math.hypot(*(error(slopes(tableau, t, h), t, h) for t in starts))

    h = 1 / 4 if tableau.order == 8 else 1 / 16  # not smaller, or errors like h⁹ drown in rounding
    return math.log2(mean(h) / mean(h / 2))


@pytest.mark.parametrize("name", TABLEAUS)
def test_a_step_misses_by_the_power_of_h_that_its_order_says(name):
    tableau = TABLEAUS[name]
    measured = local_order(tableau, lambda k, t, h: solution(t) + h * inner(tableau.b, k) - solution(t + h))
    assert measured == pytest.approx(tableau.order + 1, abs=0.2)


@pytest.mark.parametrize("theta", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", DENSE_ORDER)
def test_dense_output_misses_by_the_power_of_h_that_its_order_says(name, theta):
    weights = dense_weights(name, theta)
    measured = local_order(
        TABLEAUS[name], lambda k, t, h: solution(t) + h * inner(weights, k) - solution(t + theta * h)
    )
    assert measured == pytest.approx(DENSE_ORDER[name] + 1, abs=0.2)


@pytest.mark.parametrize("name", EMBEDDED_ORDER)
def test_error_estimates_behave_as_the_order_of_their_method_says(name):
    tableau = TABLEAUS[name]
    measured = local_order(tableau, lambda k, t, h: h * inner(tableau.b_error, k))
    assert measured == pytest.approx(EMBEDDED_ORDER[name] + 1, abs=0.2)
    if tableau.b_error_low:
        measured = local_order(tableau, lambda k, t, h: h * inner(tableau.b_error_low, k))
        assert measured == pytest.approx(3 + 1, abs=0.2)
