"""Steps that can be undone: they return to where they began, have their order, and are as stable as theory says."""

import cmath
import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib.solvers.steps import reversible
from ndelib.solvers.steps.butcher import ButcherTableau
from ndelib.solvers.steps.dense import interpolate
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.reversible import COUPLED, COUPLING
from ndelib.solvers.steps.runge_kutta import METHODS as RUNGE_KUTTA
from ndelib.solvers.steps.runge_kutta import combine
from ndelib.solvers.steps.step import Statistics, Step
from ndelib.solvers.steps.tableaus import TABLEAUS
from tests.solvers.steps.hamiltonians import forced_pendulum, path, pendulum, vector

UNDOABLE = {name: method for name, method in METHODS.items() if method.reverse is not None}
REVERSIBLE = list(reversible.METHODS)
SYMMETRIC = ["asynchronous_leapfrog", "reversible_heun"]
Y = vector(0.5, -1.0)


def start(name, f, function="start"):
    options = {"split": 1} if "split" in METHODS[name].options else {}
    return getattr(METHODS[name], function)(f, Statistics(), **options)


def there(name, f, y, times):
    """Return the last of the steps between ``times``."""
    step, before = start(name, f), None
    for t, t1 in pairwise(times):
        before = step(t, y, t1, before.f1 if before else None, before)
        y = before.y1
    return before


def back(name, f, y, memory, times):
    """Return the step that ends at ``times[0]``, all steps undone from the state and memory at ``times[-1]``."""
    undo = start(name, f, "reverse")
    for t, t1 in reversed(list(pairwise(times))):
        step = undo(t1, y, t, None, Step(t, t1, y, y, [], None, None, memory))
        y, memory = step.y1, step.memory
    return step


# The way back


@pytest.mark.parametrize("name", UNDOABLE)
def test_a_hundred_steps_of_different_lengths_return_to_their_start(name):
    lengths = torch.linspace(0.5, 1.5, 100, dtype=torch.float64).roll(37)
    times = [0.0, *(2 * lengths.cumsum(0) / lengths.sum()).tolist()]
    if name == "tao":
        times = [0.02 * n for n in range(101)]  # its coupling is chosen for one length
    end = there(name, forced_pendulum, Y, times)
    assert (end.y1 - Y).abs().max() > 0.5
    start_again = back(name, forced_pendulum, end.y1, end.memory, times)
    assert (start_again.y1 - Y).abs().max() < 1e-12


@pytest.mark.parametrize("name", REVERSIBLE)
def test_what_a_method_remembers_returns_too(name):
    times = [0.02 * n for n in range(101)]
    end = there(name, forced_pendulum, Y, times)
    memory = back(name, forced_pendulum, end.y1, end.memory, times).memory
    slope = forced_pendulum(0.0, Y)
    expected = {"asynchronous_leapfrog": (slope,), "reversible_heun": (Y, slope)}.get(name, (Y,))
    for part, other in zip(memory, expected, strict=True):
        assert (part - other).abs().max() < 1e-11


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(REVERSIBLE),
    t=st.floats(-3, 3),
    h=st.floats(0.01, 0.5),
    y=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    apart=st.floats(-0.3, 0.3),
    forwards=st.booleans(),
)
def test_any_step_from_any_state_and_memory_is_undone(name, t, h, y, apart, forwards):
    y, t1 = vector(*y), t + (h if forwards else -h)
    memory = {"asynchronous_leapfrog": (y + apart,), "reversible_heun": (y + apart, pendulum(t, y + apart))}
    memory = memory.get(name, (y - apart,))
    before = Step(t - h, t, y, y, [], None, None, memory)
    step = start(name, pendulum)(t, y, t1, None, before)
    after = Step(t, t1, step.y1, step.y1, [], None, None, step.memory)
    undone = start(name, pendulum, "reverse")(t1, step.y1, t, None, after)
    for found, expected in zip((undone.y1, *undone.memory), (y, *memory), strict=True):
        assert (found - expected).abs().max() < 1e-13


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_way_back_of_a_symmetric_method_is_a_step_of_it(name):
    assert METHODS[name].reverse is METHODS[name].start


def test_the_way_back_of_other_methods_is_not_a_step_of_theirs():
    for name in ("reversible_rk4", "reversible_dopri5", "symplectic_euler"):
        end = there(name, forced_pendulum, Y, [0.0, 0.3])
        undo = start(name, forced_pendulum)
        again = undo(0.3, end.y1, 0.0, None, Step(0.0, 0.3, end.y1, end.y1, [], None, None, end.memory))
        assert (again.y1 - Y).abs().max() > 1e-8


def test_the_coupling_lets_rounding_errors_grow_by_its_inverse_a_step():
    # With f = 0 the way back is z + (y₁ − z) / λ: what y and z differ by grows like λ⁻ⁿ.
    times = [float(n) for n in range(1001)]
    start_again = back("reversible_rk4", lambda t, y: 0 * y, vector(1.0 + 1e-6), (vector(1.0),), times)
    assert (start_again.y1.item() - 1.0) == pytest.approx(1e-6 * COUPLING**-1000, rel=1e-6)


# What a step is


@pytest.mark.parametrize("name", COUPLED)
def test_the_first_state_of_a_coupled_method_is_that_of_its_method(name):
    plain = RUNGE_KUTTA[name].start(forced_pendulum, Statistics())(0.3, Y, 0.5, None)
    coupled = start(f"reversible_{name}", forced_pendulum)(0.3, Y, 0.5, None)
    assert torch.equal(coupled.y1, plain.y1)
    if plain.error is not None:  # and a part of what the copies differ by
        beside = (coupled.y1 - coupled.memory[0]).abs() / reversible.MOST_APART
        assert torch.allclose(coupled.error, plain.error.abs() + beside, rtol=1e-13)
    assert torch.equal(coupled.f1, forced_pendulum(0.5, coupled.y1))


@pytest.mark.parametrize(
    ("name", "first", "more"),
    # Two increments; dopri5 makes its last stage on the way there only, for the error estimate.
    [
        ("asynchronous_leapfrog", 2, 1),
        ("reversible_heun", 2, 1),
        ("reversible_rk4", 8, 8),
        ("reversible_dopri5", 13, 13),
    ],
)
def test_what_a_step_costs(name, first, more):
    times = []

    def f(t, y):
        times.append(t)
        return pendulum(t, y)

    step = start(name, f)
    one = step(0.0, Y, 0.1, None)
    assert len(times) == first
    step(0.1, one.y1, 0.2, one.f1, one)
    assert len(times) == first + more
    assert 0.0 <= min(times) <= max(times) <= 0.2


def test_a_step_of_the_asynchronous_leapfrog_is_that_of_mutze():
    # Half a step with v, a look at the slope, v₁ = 2k − v, the other half.
    v, (t, h) = vector(0.3, 0.7), (0.2, 0.1)
    k = forced_pendulum(t + h / 2, Y + h / 2 * v)
    step = start("asynchronous_leapfrog", forced_pendulum)(t, Y, t + h, None, Step(0, t, Y, Y, [], None, None, (v,)))
    assert torch.allclose(step.memory[0], 2 * k - v, rtol=1e-15)
    assert torch.allclose(step.y1, Y + h * k, rtol=1e-15)


def test_a_step_of_reversible_heun_is_that_of_kidger():
    other, slope, (t, h) = vector(0.4, -0.9), vector(0.3, 0.7), (0.2, 0.1)
    before = Step(0, t, Y, Y, [], None, None, (other, slope))
    step = start("reversible_heun", forced_pendulum)(t, Y, t + h, None, before)
    other1 = 2 * Y - other + h * slope
    slope1 = forced_pendulum(t + h, other1)
    for found, expected in zip((step.y1, *step.memory), (Y + h / 2 * (slope + slope1), other1, slope1), strict=True):
        assert torch.allclose(found, expected, rtol=1e-15)


# Order, dense output, planted errors


def rotation(t, y):
    return (2 + math.cos(t)) * torch.stack([-y[1], y[0]])


def on_circle(t):
    return vector(math.cos(2 * t + math.sin(t)), math.sin(2 * t + math.sin(t)))


def order(name, f=rotation, solution=on_circle, end=1.0, steps=20):
    errors = []
    for n in (steps, 2 * steps):
        *_, y = path(start(name, f), solution(0.0), 0.0, end, n)
        errors.append((y - solution(end)).norm().item())
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("name", REVERSIBLE)
def test_the_order_is_the_stated_one_forwards_and_backwards(name):
    for end in (1.0, -1.0):
        assert METHODS[name].order - 0.15 < order(name, end=end) < METHODS[name].order + 0.5


def broken(name, monkeypatch):
    """Yield the names of slips, one of which is in force at a time."""
    if name in SYMMETRIC:

        def slipped(y, h, weights, k):
            return combine(y, h, [0.45 if w == 0.5 else w for w in weights], k)

        with monkeypatch.context() as patch:
            patch.setattr(reversible, "combine", slipped)
            yield "half a step"
        return
    tableau = TABLEAUS[name.removeprefix("reversible_")]
    for i in range(1, len(tableau.c) - tableau.fsal):
        table = object.__new__(ButcherTableau)
        table.__dict__.update(tableau.__dict__ | {"c": (*tableau.c[:i], tableau.c[i] - 0.05, *tableau.c[i + 1 :])})
        with monkeypatch.context() as patch:
            patch.setitem(METHODS, name, replace(METHODS[name], start=partial(reversible.start_coupled, table)))
            yield f"c[{i}]"


@pytest.mark.parametrize("name", REVERSIBLE)
def test_a_wrong_coefficient_would_be_caught(name, monkeypatch):
    for slip in broken(name, monkeypatch):
        assert order(name) < METHODS[name].order - 0.5, slip


@pytest.mark.parametrize("name", REVERSIBLE)
def test_dense_output_meets_the_ends_of_a_step_and_has_its_order_within(name):
    method = METHODS[name]
    local = {"reversible_dopri5": 5}.get(name, min(method.order + 1, 4))  # of the curve's error in one step
    errors = []
    for h in (0.1, 0.05):
        first = start(name, rotation)(1.0 - h, on_circle(1.0 - h), 1.0, None)
        step = start(name, rotation)(1.0, first.y1, 1.0 + h, first.f1, first)
        curve = interpolate(method, rotation, step)
        assert (curve(0.0) - step.y).abs().max() < 1e-15
        assert (curve(1.0) - step.y1).abs().max() < 1e-15
        turned = on_circle(1.0 + 0.4 * h)
        errors.append((curve(0.4) - turned).norm().item())
    assert math.log2(errors[0] / errors[1]) > local - 0.6


# Stability


def growth(name, mu, steps=1):
    """Return the moduli of the eigenvalues of a step of length 1 for y' = μy, as a map of (y, what is remembered)."""

    def f(t, y):
        return mu * y

    def apply(y, other):
        y, other = (torch.tensor([x], dtype=torch.complex128) for x in (y, other))
        memory = (other, f(0, other)) if name == "reversible_heun" else (other,)
        made = start(name, f)(0.0, y, 1.0, None, Step(-1.0, 0.0, y, y, [], None, None, memory))
        return [made.y1.item(), made.memory[0].item()]

    (a, c), (b, d) = apply(1, 0), apply(0, 1)
    trace, det = a + d, a * d - b * c
    root = cmath.sqrt(trace * trace / 4 - det)
    return sorted([abs(trace / 2 - root), abs(trace / 2 + root)]), det


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_leapfrogs_are_stable_on_the_imaginary_axis_up_to_one_and_nowhere_else(name):
    for omega in (0.1, 0.5, 0.99):
        assert growth(name, 1j * omega)[0] == pytest.approx([1, 1], abs=1e-12)
    assert growth(name, 1.05j)[0][1] > 1.1
    for mu in (-0.3, -0.01, -0.2 + 0.5j):
        (small, large), _ = growth(name, mu)
        assert large > 1.001  # what decays has a partner that grows
        assert small * large == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", COUPLED)
def test_a_coupled_pair_multiplies_by_that_of_the_flow_and_by_the_coupling_over_it(name):
    # With Ψ(±h) = e^(±μ) − 1 the state y = z is multiplied by e^μ. The map of (y, z) has the determinant λ, whatever Ψ,
    # so its other eigenvalue is λ e^(−μ): below one on the imaginary axis, above it where μ < log λ.
    for mu in (-0.1, 0.1j, 0.07 + 0.07j, -1e-4):
        moduli, det = growth(f"reversible_{name}", mu)
        assert det == pytest.approx(COUPLING, abs=1e-12)
        flow = math.exp(complex(mu).real)
        assert moduli == pytest.approx(sorted([flow, COUPLING / flow]), abs=1e-6)
    bound = math.log(COUPLING)
    assert growth(f"reversible_{name}", 0.9 * bound)[0][1] < 1 < growth(f"reversible_{name}", 1.1 * bound)[0][1]


@pytest.mark.parametrize("name", REVERSIBLE)
def test_along_a_contraction_the_two_copies_part_at_its_rate(name):
    # y' = −2y: beside e^(−2t) there is a solution e^(+2t) of the method, begun by the error of the first step.
    def apart(t):
        *_, y = path(start(name, lambda t, y: -2 * y), vector(1.0), 0.0, t, round(t / 0.05))
        return abs(y.item() - math.exp(-2 * t))

    assert math.log(apart(8.0) / apart(6.0)) / 2 == pytest.approx(2.0, abs=0.1)
