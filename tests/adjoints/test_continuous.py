"""The adjoint equation, solved with the state walked back or read off the way there: errors follow its tolerances."""

import math
from functools import cache
from itertools import cycle, pairwise, product

import pytest
import torch

from ndelib import odeint, odeint_adjoint
from ndelib.adjoints.backward.continuous import Adjoint, Backward, Interpolated
from ndelib.adjoints.backward.quadrature import gauss_legendre, gauss_points, nodes_for
from ndelib.adjoints.backward.readout import Readout
from ndelib.solvers.options import read_options
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import IN_PAIRS, Y0, K, apart, leaves, solve, swing, total, vector
from tests.conftest import full

WAYS = ("adjoint", "interpolated")


class Recorder:
    """A field that notes when it was asked."""

    def __init__(self, f):
        self.f, self.times = f, []

    def __call__(self, t, y, *args):
        self.times.append(t.item())
        return self.f(t, y, *args)


# Accuracy


def lotka_volterra(t, y, k):
    prey, predators = y.unbind(-1)
    a, b, c, d = k
    return torch.stack([a * prey - b * prey * predators, c * prey * predators - d * predators], -1)


def lotka_volterra_gradients(gradient, method, tolerance, times=(0.0, 10.0), scale=1.0, **options):
    y0, t, k = leaves(vector(1.0, 0.8), vector(*times), vector(1.3, 0.9, 0.8, 1.7))
    options = {"rtol": tolerance, "atol": tolerance} | options
    ys = odeint(lotka_volterra, y0, t, method=method, gradient=gradient, args=(k,), **options)
    return torch.autograd.grad(scale * ys[-1].square().sum(), (y0, t, k))


@cache
def exact_lotka_volterra():
    found = lotka_volterra_gradients("backprop", "dopri8", 1e-13)
    assert apart(found, lotka_volterra_gradients("backprop", "tsit5", 1e-11)) < 1e-9
    return found


@pytest.mark.parametrize(
    ("gradient", "method"),
    [(gradient, method) for gradient in WAYS for method in ("dopri5", "dopri8")] + [("interpolated", "esdirk54")],
)
def test_ten_units_of_lotka_volterra_at_1e_8_are_right_to_1e_5(gradient, method):
    assert apart(lotka_volterra_gradients(gradient, method, 1e-8), exact_lotka_volterra()) < 1e-5


@pytest.mark.parametrize("gradient", WAYS)
def test_the_error_follows_the_tolerance(gradient):
    errors = [apart(lotka_volterra_gradients(gradient, "dopri5", 10.0**-n), exact_lotka_volterra()) for n in (5, 7, 9)]
    assert errors[-1] < 1e-7
    for looser, tighter in pairwise(errors):
        assert 10 < looser / tighter < 1000


@pytest.mark.parametrize("option", ["adjoint_rtol", "adjoint_atol"])
def test_tolerances_of_the_way_back_are_a_choice_of_their_own(option):
    exact = exact_lotka_volterra()
    tight = lotka_volterra_gradients("interpolated", "dopri5", 1e-8)
    loose = lotka_volterra_gradients("interpolated", "dopri5", 1e-8, **{option: 1e-4})
    assert apart(tight, exact) < 1e-6 < 1e-5 < apart(loose, exact) < 1e-2


@pytest.mark.parametrize("gradient", WAYS)
def test_tighter_tolerances_of_the_way_back_take_more_evaluations(gradient):
    def calls(**options):
        f = Recorder(swing)
        loss = total(solve("dopri5", gradient, Y0, [0.0, 3.0], *leaves(K), f, rtol=1e-4, atol=1e-4, **options))
        before = len(f.times)
        loss.backward()
        return len(f.times) - before

    assert calls(adjoint_rtol=1e-9, adjoint_atol=1e-9) > 2 * calls()


@pytest.mark.parametrize(
    ("gradient", "scale"), full(list(product(WAYS, [1e-9, 1e9])), [("adjoint", 1e9), ("interpolated", 1e-9)])
)
def test_the_scale_of_a_loss_does_not_matter(gradient, scale):
    found = lotka_volterra_gradients(gradient, "dopri5", 1e-6, scale=scale)
    unscaled = lotka_volterra_gradients(gradient, "dopri5", 1e-6)
    assert apart([g / scale for g in found], unscaled) < 1e-9


def test_another_method_can_walk_back():
    exact = exact_lotka_volterra()
    for gradient in WAYS:
        found = lotka_volterra_gradients(gradient, "dopri5", 1e-8, adjoint_method="dopri8")
        assert apart(found, exact) < 1e-6
        assert apart(found, lotka_volterra_gradients(gradient, "dopri5", 1e-8)) > 0


def test_odeint_adjoint_is_the_spelling_of_others():
    y0, (a,) = Y0.clone().requires_grad_(), leaves(K)
    found = [
        torch.autograd.grad(ys[-1].sum(), (y0, a))
        for ys in (
            odeint_adjoint(lambda t, y: swing(t, y, a), y0, [0.0, 1.0], adjoint_params=(a,), rtol=1e-7),
            odeint(lambda t, y: swing(t, y, a), y0, [0.0, 1.0], gradient="adjoint", params=[a], rtol=1e-7),
        )
    ]
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))
    assert apart(found[0], torch.autograd.grad(solve("dopri5", "backprop", y0, [0.0, 1.0], a)[-1].sum(), (y0, a))) > 0


# States and tolerances of any shape


@pytest.mark.parametrize("gradient", WAYS)
@pytest.mark.parametrize("method", ["dopri5", "kvaerno3"])
@pytest.mark.parametrize("shape", full([(), (1,), (3,), (2, 3), (2, 1, 3)], [(), (3,), (2, 1, 3)]))
def test_states_of_any_shape(shape, method, gradient):
    def gradients(gradient):
        y0 = torch.linspace(0.3, 1, math.prod(shape), dtype=torch.float64).reshape(shape).requires_grad_()
        (k,) = leaves(K)
        ys = odeint(
            lambda t, y, k: torch.sin(k[0] * y) - k[1] * t,
            y0,
            [0.0, 0.2, 1.0],
            method=method,
            gradient=gradient,
            args=(k,),
            rtol=1e-5,
            atol=1e-5,
        )
        return torch.autograd.grad(total(ys), (y0, k))

    assert apart(gradients(gradient), gradients("backprop")) < 1e-3


SHAPES = [(2,), (1,), (), (3, 1), (3, 2), (1, 2)]
TOLERANCES = ["rtol", "atol", "adjoint_rtol", "adjoint_atol"]


@pytest.mark.parametrize("gradient", WAYS)
@pytest.mark.parametrize(
    ("shape", "name"), full(list(product(SHAPES, TOLERANCES)), list(zip(SHAPES, cycle(TOLERANCES))))
)
def test_tolerances_may_be_tensors_that_broadcast(gradient, shape, name):
    def gradients(gradient, **options):
        y0, k = leaves(torch.stack([Y0, 2 * Y0, -Y0]) if len(shape) == 2 else Y0, K)
        ys = odeint(lambda t, y, k: swing(t, y, k), y0, [0.0, 1.0], gradient=gradient, args=(k,), **options)
        return torch.autograd.grad(total(ys), (y0, k))

    found = gradients(gradient, **{name: torch.full(shape, 1e-7, dtype=torch.float64)})
    assert apart(found, gradients("backprop", rtol=1e-9, atol=1e-9)) < 1e-5


def test_a_tolerance_for_each_component_decides_about_its_part_of_the_gradient():
    # Two equations that do not know of each other; the fast one may be solved loosely.
    def calls(**tolerances):
        f = Recorder(lambda t, y: torch.stack([-y[0], -20 * torch.sin(20 * t) * y[1]]))
        (y0,) = leaves(vector(1.0, 1.0))
        y = odeint(f, y0, [0.0, 2.0], gradient="interpolated", rtol=1e-8, atol=1e-8, **tolerances)[-1]
        before = len(f.times)
        (found,) = torch.autograd.grad(y.sum(), y0)
        assert found[0].item() == pytest.approx(math.exp(-2), rel=1e-6)
        return len(f.times) - before

    loose = calls(adjoint_rtol=vector(1e-8, 1e3), adjoint_atol=vector(1e-8, 1e3))
    assert loose < calls() / 3


# The way back


@pytest.mark.parametrize("gradient", WAYS)
def test_parameters_take_no_part_in_the_steps(gradient):
    # Norms are of y and a alone, so the gradient for y0 is the same, digit by digit, with parameters and without.
    def for_y0(k, times):
        (y0,) = leaves(Y0)
        f = Recorder(swing)
        ys = odeint(f, y0, times, gradient=gradient, args=(k,))
        before = len(f.times)
        (found,) = torch.autograd.grad(total(ys), y0)
        return found, len(f.times) - before

    with_parameters, without = for_y0(*leaves(K), [0.0, 1.0, 3.0]), for_y0(K, [0.0, 1.0, 3.0])
    assert torch.equal(with_parameters[0], without[0])
    assert with_parameters[1] < 2 * without[1]


@pytest.mark.parametrize("gradient", WAYS)
@pytest.mark.parametrize("method", [name for name in METHODS if name not in IN_PAIRS])
def test_f_is_asked_only_inside_the_interval_on_the_way_back(method, gradient):
    f = Recorder(swing)
    times = [0.0, 0.3, 1.0] if gradient == "adjoint" else [1.0, 0.6, 0.0]
    (k,) = leaves(K)
    fixed = {} if METHODS[method].adaptive and METHODS[method].order > 2 else {"step_size": 0.1}
    total(solve(method, gradient, Y0, times, k, f, **{"rtol": 1e-3, "atol": 1e-3} | fixed)).backward()
    assert min(f.times) >= 0.0
    assert max(f.times) <= 1.0


@pytest.mark.parametrize("gradient", WAYS)
@pytest.mark.parametrize("times", [[0.0, 0.4, 0.7, 2.0], [2.0, 0.7, 0.0]])
def test_the_way_back_stops_where_f_jumps_and_asks_beside(times, gradient):
    jumps = [0.0, 0.7, 1.1, 2.0]  # one of them a requested time, and both ends

    def f(t, y, k):
        assert t.item() not in jumps, "asked at a jump"
        return swing(t, y, k) * (1 + 3.0 * (t > 0.7) - 2.5 * (t > 1.1))

    def solved(gradient, tolerance):
        y0, t, k = leaves(Y0, vector(*times), K)
        f_recorded = Recorder(f)
        options = {"rtol": tolerance, "atol": tolerance, "step_at": jumps}
        loss = total(solve("dopri5", gradient, y0, t, k, f_recorded, **options))
        before = len(f_recorded.times)
        return torch.autograd.grad(loss, (y0, t, k)), len(f_recorded.times) - before

    exact, _ = solved("backprop", 1e-11)
    found, calls = solved(gradient, 1e-8)
    assert apart(found, exact) < 1e-6
    assert calls < 2000  # without stops the jumps would be found by rejected steps


@pytest.mark.parametrize("gradient", WAYS)
def test_each_interval_begins_with_the_step_of_the_one_before(gradient):
    # One step of dopri5 an interval: six evaluations and the first slope. Only at first is a step to be looked for; and
    # f is asked once whether it is still what it was at the first time.
    f = Recorder(swing)
    (y0,) = leaves(Y0)
    times = torch.linspace(0, 0.5, 11, dtype=torch.float64)
    ys = odeint(f, y0, times, gradient=gradient, args=(K,), rtol=1e-3, atol=1e-3)
    f.times.clear()
    ys.sum().backward()
    assert len(f.times) == 10 * (1 + 6) + 1 + 1


@pytest.mark.parametrize("gradient", WAYS)
def test_f_is_not_asked_where_nothing_depends_on_it(gradient):
    f = Recorder(swing)
    y0, k = leaves(Y0, K)
    ys = odeint(f, y0, [0.0, 1.0, 2.0, 3.0], gradient=gradient, args=(k,))
    f.times.clear()
    torch.autograd.grad(ys[1].sum(), (y0, k))
    assert 0 < max(f.times) <= 1.0


@pytest.mark.parametrize("gradient", WAYS)
def test_a_loss_that_is_nan_has_a_gradient_that_is_nan(gradient):
    for wrong in (math.nan, math.inf):
        y0, k = leaves(Y0, K)
        y = solve("dopri5", gradient, y0, [0.0, 0.5, 1.0], k)[-1]
        found = torch.autograd.grad((wrong * y).sum(), (y0, k))
        assert all(g.isnan().all() for g in found)


def test_stiff_equations_are_solved_backwards_by_an_implicit_method_with_the_users_jacobian():
    # y' = −λ (y − k cos t) − k sin t: y = k cos t + (y₀ − k) e^(−λt)
    rate = 1000.0

    def f(t, y, k):
        return -rate * (y - k * torch.cos(t)) - k * torch.sin(t)

    jacobian = Recorder(lambda t, y, k: torch.full((1, 1), -rate, dtype=torch.float64))
    y0, k = leaves(vector(1.0), vector(1.0))
    y = odeint(
        f,
        y0,
        [0.0, 1.0],
        method="kvaerno3",
        gradient="interpolated",
        args=(k,),
        jacobian=jacobian,
        rtol=1e-7,
        atol=1e-7,
    )
    jacobian.times.clear()
    for_y0, for_k = torch.autograd.grad(y[-1], (y0, k))
    assert jacobian.times
    assert for_y0.abs() < 1e-6
    assert for_k.item() == pytest.approx(math.cos(1), rel=1e-6)


@pytest.mark.parametrize("kind", [Adjoint, Interpolated])
@pytest.mark.parametrize("given", [False, True])
def test_newtons_method_gets_the_jacobian_of_the_equation(kind, given):
    def f(t, y):  # neither symmetric nor linear
        return torch.stack([torch.sin(t * y[1]), y[0] * y[1] - y[0]])

    options = read_options({"jacobian": lambda t, y: torch.func.jacrev(f, argnums=1)(t, y)} if given else {})
    problem = Problem(f, Y0, "kvaerno3", options)
    how = Backward(METHODS["kvaerno3"], 1e-6, 1e-8, "warn")
    equation = kind(Readout(problem, [0.0, 0.7], None), (), how)
    _, saved = equation.forward(Y0)
    equation.keep(saved)
    a = vector(0.3, -2.0)
    z = equation.first(0.7, a)
    t = torch.tensor(0.7, dtype=torch.float64)
    found = equation.jacobian(t, z)
    eps = 1e-6
    columns = [
        (equation.field(None)(0.7, z + eps * e) - equation.field(None)(0.7, z - eps * e)) / (2 * eps)
        for e in torch.eye(len(z), dtype=torch.float64)
    ]
    expected = torch.stack(columns, -1)
    if kind is Adjoint:  # how a changes with y is left out: Newton's method does not need it
        expected[2:, :2] = 0
    assert (found - expected).abs().max() < 1e-8


# Quadrature


@pytest.mark.parametrize("n", range(1, 8))
def test_gauss_rules_integrate_polynomials_up_to_degree_2n_minus_1_and_no_further(n):
    def error(degree):
        return sum(weight * node**degree for node, weight in gauss_legendre(n)) - 1 / (degree + 1)

    assert max(abs(error(degree)) for degree in range(2 * n)) < 1e-15
    # The error at degree 2n is that of the square of the monic Legendre polynomial on [0, 1]: (n!)⁴ / ((2n)!² (2n + 1))
    expected = math.factorial(n) ** 4 / (math.factorial(2 * n) ** 2 * (2 * n + 1))
    assert error(2 * n) == pytest.approx(-expected, rel=1e-2, abs=1e-15)


def test_a_rule_is_as_exact_as_the_method_and_its_sign_follows_the_direction():
    for order in range(1, 9):
        assert 2 * nodes_for(order) >= order
    assert sum(w * t**3 for t, w in gauss_points(3.0, 1.0, 4)) == pytest.approx(-(3.0**4 - 1) / 4, rel=1e-14)


@pytest.mark.parametrize("gradient", ["backprop", "adjoint", "interpolated"])
def test_the_users_jacobian_gets_the_args_of_the_solve(gradient):
    calls = []

    def jacobian(t, y, rate):
        calls.append(rate)
        return -rate * torch.eye(2, dtype=y.dtype)

    y0, rate = torch.ones(2, dtype=torch.float64, requires_grad=True), torch.tensor(2.0, dtype=torch.float64)
    options = {"method": "kvaerno3", "gradient": gradient, "args": (rate,), "jacobian": jacobian, "rtol": 1e-8}
    y1 = odeint(lambda t, y, rate: -rate * y, y0, [0.0, 1.0], **options)[-1]
    assert torch.allclose(y1, math.exp(-2) * torch.ones_like(y1), rtol=1e-6)
    forwards = len(calls)
    (slope,) = torch.autograd.grad(y1.sum(), y0)
    assert torch.allclose(slope, math.exp(-2) * torch.ones_like(slope), rtol=1e-5)
    assert all(call is rate for call in calls)
    assert (len(calls) > forwards) == (gradient != "backprop")  # the backward solve asks for it, too
    with pytest.raises(TypeError, match=r"jacobian is called as a function \(t, y, \*args\), with the 1 args"):
        odeint(lambda t, y, k: -k * y, y0, [0.0, 1.0], **{**options, "jacobian": lambda t, y: -torch.eye(2)})
