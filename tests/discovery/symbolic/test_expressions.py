"""Expressions: how many there are, how they are drawn, evaluated, differentiated, simplified, written."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib.discovery.symbolic.evolution import Archive, Breeder, is_nested, luby
from ndelib.discovery.symbolic.expressions import (
    constants,
    end_of,
    is_expression,
    parts,
    random_shape,
    with_constants,
    write,
)
from ndelib.discovery.symbolic.forest import Forest
from ndelib.discovery.symbolic.operators import OPERATORS
from ndelib.discovery.symbolic.simplify import simplify, with_scale, without_scale
from ndelib.discovery.symbolic.tuning import losses, scales, tune

NAMES = ["x", "y"]
X = torch.tensor(np.random.default_rng(0).uniform(0.3, 2.0, size=(2, 40)))
TOKENS = [name for name in OPERATORS if name != "^"]


def drawn(seed, largest=15, operators=TOKENS):
    """A random expression."""
    return Breeder(operators, [1.0, 1.0], 30, random.Random(seed)).new(largest)


def values(expression, x=X):
    forest = Forest([expression], x)
    return forest.values(forest.evaluate(forest.constants))[0]


@pytest.mark.parametrize("n", range(6))
def test_there_are_catalan_many_binary_trees(n):
    """Of all arrangements of n operators and n + 1 variables, (2n)!/((n + 1)! n!) are expressions."""
    trees = [word for word in arrangements(n) if is_expression(word)]
    assert len(trees) == math.factorial(2 * n) // (math.factorial(n + 1) * math.factorial(n))


def arrangements(n):
    for where in itertools.combinations(range(2 * n + 1), n):
        yield tuple("+" if i in where else 0 for i in range(2 * n + 1))


def test_each_shape_is_drawn_with_the_same_chance():
    rng = random.Random(0)
    draws = 7000
    counts = Counter(tuple(random_shape(1, 2, rng)) for _ in range(draws))
    expected = math.factorial(6) // (math.factorial(3) * math.factorial(2) * math.factorial(1)) / 6  # rotations: 1 of 6
    assert len(counts) == expected == 10
    chi_squared = sum((count - draws / 10) ** 2 for count in counts.values()) / (draws / 10)
    assert chi_squared < 27.9  # nine degrees of freedom: exceeded once in a thousand


@given(seed=st.integers(0, 10**6))
def test_a_part_is_a_slice(seed):
    expression = drawn(seed)
    assert is_expression(expression)
    assert sum(len(part) for part in parts(expression)) == len(expression) - 1
    for start in range(len(expression)):
        assert is_expression(expression[start : end_of(expression, start)])
    assert with_constants(expression, constants(expression)) == expression


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_simplifying_keeps_the_value_and_the_length(seed):
    expression = drawn(seed)
    simple = simplify(expression)
    assert is_expression(simple)
    assert len(simple) <= len(expression)
    assert simplify(simple) == simple
    before, after = values(expression), values(simple)
    known = before.isfinite() & (before.abs() < 1e6)
    assert torch.allclose(before[known], after[known], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (("+", 0, 0.0), (0,)),
        (("-", 0, 1.0), ("+", -1.0, 0)),
        (("-", 1, 1.0), ("+", -1.0, 1)),
        (("/", 1.0, 1), ("/", 1.0, 1)),
        (("*", 1.0, 0), (0,)),
        (("-", 0, 0), (0.0,)),
        (("/", 1, 1), (1.0,)),
        (("*", 2.0, "*", 3.0, 0), ("*", 6.0, 0)),
        (("*", "*", 2.0, 0, "*", 3.0, 1), ("*", 6.0, "*", 0, 1)),
        (("-", 0, "-", 1.0, 1), ("+", -1.0, "+", 0, 1)),
        (("exp", "+", 0.0, "log", 2.0), (2.0,)),
        (("log", "exp", 0), (0,)),
        (("+", 1, 0), ("+", 0, 1)),
        (("neg", "neg", 0), (0,)),
    ],
)
def test_rules(long, short):
    assert simplify(long) == short


@given(seed=st.integers(0, 10**6))
def test_an_expression_without_its_scale_spans_the_same(seed):
    expression = simplify(drawn(seed, 9))
    f = without_scale(expression)
    F = torch.stack([values(f), values(expression)])
    if F.isfinite().all() and F.abs().max() < 1e4 and F[0].std() > 1e-3:
        assert losses(scales(F[:1], F[1])[2]).item() <= 1e-12 * (1 + F[1].square().mean())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_text_is_the_expression_also_for_sympy(seed):
    expression = drawn(seed, 11)
    ours = values(expression)
    text = write(expression, NAMES, 17)
    f = sympy.lambdify(NAMES, sympy.sympify(text, evaluate=False), "numpy")
    with np.errstate(all="ignore"):
        theirs = np.broadcast_to(f(*X.numpy()), ours.shape)
    known = np.isfinite(ours.numpy()) & (np.abs(ours.numpy()) < 1e6)
    assert np.allclose(ours.numpy()[known], theirs[known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (("*", "+", 0, 1, 2.5), "(x + y)*2.5"),
        (("-", 0, "-", 1, 0), "x - (y - x)"),
        (("/", 0, "*", 1, 1), "x/(y*y)"),
        (("cube", "neg", 0), "(-x)**3"),
        (("^", "^", 0, 1, 2.0), "(x**y)**2"),
        (("+", 0, -2.0), "x + (-2)"),
        (("*", -2.0, "sin", 0), "(-2)*sin(x)"),
    ],
)
def test_brackets_stand_where_they_are_needed(expression, text):
    assert write(expression, NAMES) == text
    assert np.allclose(values(expression), eval(text, {"x": X[0], "y": X[1], "sin": torch.sin}))


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_has_its_derivatives(name):
    operator = OPERATORS[name]
    arguments = [x.clone().requires_grad_() for x in X[: operator.arity]]
    value = operator.value(*arguments)
    exact = torch.autograd.grad(value.sum(), arguments)
    for ours, theirs in zip(operator.slopes(value, *arguments), exact, strict=True):
        assert torch.allclose(ours.expand_as(theirs), theirs, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_values_and_slopes_of_many_are_those_of_each_by_differences(seeds):
    expressions = [drawn(seed, 11, ["+", "*", "-", "exp", "sin", "tanh"]) for seed in seeds]
    forest = Forest(expressions, X)
    V = forest.evaluate(forest.constants)
    slopes = forest.slopes(V)
    for i, expression in enumerate(expressions):
        f = values(expression)
        assert torch.equal(forest.values(V)[i], f)
        c = constants(expression)
        assert not slopes[i, len(c) :].any()
        for k in range(len(c)):
            h = 1e-6 * max(1.0, abs(c[k]))
            shifted = [values(with_constants(expression, [*c[:k], c[k] + s * h, *c[k + 1 :]])) for s in (1, -1)]
            difference = (shifted[0] - shifted[1]) / (2 * h)
            known = f.isfinite() & (f.abs() < 1e3) & (difference.abs() < 1e3)
            assert torch.allclose(slopes[i, k][known], difference[known], rtol=1e-4, atol=1e-3)


def test_scales_are_those_of_least_squares():
    F, y = torch.stack([X[0].exp(), X[1].sin(), torch.ones(40)]), X[0] * X[1]
    a, b, residuals = scales(F, y)
    for i in range(2):
        A = torch.stack([torch.ones(40), F[i]], dim=1).double()
        assert torch.allclose(torch.stack([a[i], b[i]]), torch.linalg.lstsq(A, y[:, None]).solution[:, 0])
    assert (a[2] + b[2]).item() == pytest.approx(y.mean().item())
    assert torch.allclose(residuals, y - a[:, None] - b[:, None] * F)


def test_constants_are_found_from_near_and_others_keep_theirs():
    x = torch.linspace(0.1, 5, 60, dtype=torch.float64)[None]
    y = 3 * torch.exp(-x[0] / 2) * torch.sin(2.5 * x[0]) + 1
    near = ("*", "exp", "*", -0.3, 0, "sin", "*", 2.2, 0)
    (found, plain), loss = tune([near, ("exp", 0)], x, y, 8)  # steps: Newton's order is two
    assert constants(found) == pytest.approx([-0.5, 2.5], rel=1e-8)
    assert loss[0] < 1e-20
    assert plain == ("exp", 0)
    assert loss[1] == pytest.approx(losses(scales(x.exp(), y)[2]).item())


def test_tuning_never_makes_worse_and_survives_what_has_no_value():
    expressions = [drawn(seed, 11) for seed in range(200)]
    y = X[0] * X[1]
    _, before = tune(expressions, X, y, 0)
    tuned, after = tune(expressions, X, y, 8)
    assert (after <= before).all()
    assert after.isinf().any()
    assert torch.allclose(tune(tuned, X, y, 0)[1], after, rtol=1e-9)


def test_starts_are_as_long_as_lubys():
    assert [luby(i) for i in range(1, 16)] == [1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8]


def test_the_archive_keeps_the_best_of_each_length_and_no_twins():
    archive = Archive(2)
    assert archive.add(("sin", 0), 3.0)
    assert archive.add(("exp", 0), 1.0)
    assert not archive.add(("cos", 0), 1.0 + 1e-9)  # two ways to write one, it seems
    assert archive.add(("log", 0), 2.0)
    assert not archive.add(("sqrt", 0), 3.0)
    assert archive.add((0,), 5.0)
    assert archive.add(("+", 0, 1), 1.5)
    assert archive.best() == [(5.0, (0,)), (1.0, ("exp", 0)), (1.5, ("+", 0, 1))]
    assert archive.front() == [(0,), ("exp", 0)]


def test_a_function_within_its_family_is_nested():
    assert is_nested(("sin", "+", 1.0, "cos", 0))
    assert not is_nested(("+", "sin", 0, "cos", 0))
    assert not is_nested(("sin", "exp", 0))


@given(seed=st.integers(0, 10**6), scale=st.floats(-3, 3), offset=st.floats(-3, 3))
def test_with_a_scale(seed, scale, offset):
    expression = drawn(seed, 7)
    before, after = values(expression), values(with_scale(expression, offset, scale))
    known = before.isfinite() & (before.abs() < 1e6)
    assert torch.allclose(offset + scale * before[known], after[known], rtol=1e-6, atol=1e-6)
