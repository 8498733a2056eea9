"""Adams methods: weights from their definition, order, and when they begin anew."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from ndelib.solvers.steps.multistep import ADAMS_BASHFORTH, ADAMS_MOULTON, METHODS
from ndelib.solvers.steps.runge_kutta import METHODS as RUNGE_KUTTA
from ndelib.solvers.steps.step import Statistics
from tests.solvers.steps.hamiltonians import PROBLEMS, path, vector

METHOD = METHODS["adams_bashforth_moulton"]


def start(f):
    return METHOD.start(f, Statistics())


def solve(f, y, t, end, steps):
    *_, y = path(start(f), y, t, end, steps)
    return y


def integral_weights(nodes):
    """Return ∫₀¹ of each Lagrange polynomial through ``nodes``, exactly."""
    weights = []
    for i, node in enumerate(nodes):
        polynomial = [Fraction(1)]  # coefficients, lowest power first
        for other in (n for j, n in enumerate(nodes) if j != i):
            shifted = [Fraction(0), *polynomial]
            scaled = [-other * c for c in polynomial] + [Fraction(0)]
            polynomial = [(a + b) / (node - other) for a, b in zip(shifted, scaled, strict=True)]
        weights.append(sum(c / (power + 1) for power, c in enumerate(polynomial)))
    return weights


@pytest.mark.parametrize(("weights", "nodes"), [(ADAMS_BASHFORTH, (0, -1, -2, -3)), (ADAMS_MOULTON, (1, 0, -1, -2))])
def test_weights_integrate_the_polynomial_through_the_slopes(weights, nodes):
    assert [Fraction(w).limit_denominator(100) for w in weights] == integral_weights(nodes)


ORDER_PROBLEMS = {
    **PROBLEMS,
    "scalar": (
        lambda t, y: math.cos(t) * y,
        lambda t: torch.tensor(math.exp(math.sin(t)), dtype=torch.float64),
        2.0,
        64,
    ),
    "complex": (
        lambda t, y: 1j * t * y,
        lambda t: torch.exp(torch.tensor(0.5j * t**2, dtype=torch.complex128)),
        2.0,
        64,
    ),
}


@pytest.mark.parametrize("problem", ORDER_PROBLEMS)
def test_measured_order_is_four(problem):
    f, solution, end, steps = ORDER_PROBLEMS[problem]

    def error(steps):
        return (solve(f, solution(0.0), 0.0, end, steps) - solution(end)).abs().max().item()

    assert math.log2(error(2 * steps) / error(4 * steps)) == pytest.approx(4, abs=0.15)


def test_an_ordinary_step_costs_two_evaluations():
    calls = []
    f, solution, *_ = PROBLEMS["forced pendulum"]

    def counted(t, y):
        calls.append(t)
        return f(t, y)

    solve(counted, solution(0.0), 0.0, 1.0, 20)
    assert len(calls) == 3 * 4 + 1 + 17 * 2  # three Runge–Kutta steps, the slope after them, then PECE
    assert min(calls) == 0.0
    assert max(calls) == 1.0


def evaluations_of_a_step(step, calls, *arguments):
    before = len(calls)
    made = step(*arguments)
    return len(calls) - before, made


def last_step(step, y, t, end, steps):
    """Return the last of ``steps`` equal steps."""
    made, h = None, (end - t) / steps
    for n in range(steps):
        made = step(t + n * h, y, t + (n + 1) * h, made.f1 if made else None, made)
        y = made.y1
    return made


def test_it_begins_anew_where_the_length_of_the_step_changes():
    f, solution, *_ = PROBLEMS["forced pendulum"]
    calls = []

    def counted(t, y):
        calls.append(t)
        return f(t, y)

    step = start(counted)
    before = last_step(step, solution(0.0), 0.0, 0.8, 8)
    count, made = evaluations_of_a_step(step, calls, before.t1, before.y1, before.t1 + 0.05, before.f1, before)
    assert count == 3  # Runge–Kutta, whose first slope is known
    expected = RUNGE_KUTTA["rk4"].start(f, Statistics())(before.t1, before.y1, before.t1 + 0.05, None).y1
    assert torch.equal(made.y1, expected)


def test_rounded_times_are_no_reason_to_begin_anew():
    calls = []

    def f(t, y):
        calls.append(t)
        return -y

    for dtype, steps in ((torch.float64, 1000), (torch.float32, 100)):
        calls.clear()
        times = torch.linspace(0, 10, steps + 1, dtype=dtype).tolist()
        step, y, made = start(f), torch.ones(2, dtype=dtype), None
        for t, t1 in pairwise(times):
            made = step(t, y, t1, made.f1 if made else None, made)
            y = made.y1
        assert len(calls) == 3 * 4 + 1 + (steps - 3) * 2
        assert y.dtype == dtype
        assert torch.allclose(y, torch.full_like(y, math.exp(-10)), rtol=1e-3)


def test_time_can_run_backwards_and_shapes_are_kept():
    y = torch.linspace(0.5, 2, 6, dtype=torch.float64).reshape(2, 1, 3)
    end = solve(lambda t, y: math.cos(t) * y, y, 1.0, 0.0, 200)
    assert end.shape == y.shape
    assert torch.allclose(end, y * math.exp(-math.sin(1.0)), rtol=1e-9)


def test_gradients_agree_with_finite_differences():
    def end(y, rate):
        return solve(lambda t, y: torch.sin(rate * y) + t, y, 0.0, 0.7, 7)

    y, rate = vector(0.5, 1.0, 2.0).requires_grad_(), vector(1.3).requires_grad_()
    assert torch.autograd.gradcheck(end, (y, rate))
    assert torch.autograd.gradgradcheck(end, (y, rate))


def test_vmap_gives_what_single_solves_give():
    rates = vector(0.5, 1.0, 2.0)

    def end(rate):
        return solve(lambda t, y: -rate * y * y, vector(1.0, 2.0), 0.0, 1.0, 10)

    assert torch.allclose(torch.func.vmap(end)(rates), torch.stack([end(rate) for rate in rates]), rtol=1e-14)
