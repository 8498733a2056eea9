"""Steps of symplectic methods: what they ask of f, remember, refuse, and let gradients through."""

import itertools
import math
import re

import pytest
import torch

from ndelib import odeint
from ndelib.solvers.steps.step import Statistics, StepRejected
from ndelib.solvers.steps.symplectic import METHODS, W0, W1, Splitting, tao_step
from tests.solvers.steps.hamiltonians import oscillator, path, pendulum, solve, start, tao_example, vector

SPLITTINGS = ["symplectic_euler", "leapfrog", "yoshida4"]
Y = vector(0.5, -1.0)


class Recorder:
    """A function that remembers the times at which it was asked."""

    def __init__(self, f):
        self.f, self.times = f, []

    def __call__(self, t, y):
        self.times.append(t)
        return self.f(t, y)


def pair():
    return Recorder(lambda t, p: p), Recorder(lambda t, q: -torch.sin(q))


@pytest.mark.parametrize(("name", "forces", "velocities"), [("leapfrog", 1, 1), ("yoshida4", 3, 3)])
def test_a_last_force_is_the_first_one_of_the_next_step(name, forces, velocities):
    velocity, force = pair()
    y = solve(name, pendulum, Y, 0.0, 1.0, 10, halves=(velocity, force))
    assert len(force.times) == 10 * forces + 1
    assert len(velocity.times) == 10 * velocities
    assert torch.equal(y, solve(name, pendulum, Y, 0.0, 1.0, 10))


@pytest.mark.parametrize(("name", "calls"), [("symplectic_euler", 20), ("leapfrog", 21), ("yoshida4", 61), ("tao", 31)])
def test_without_the_pair_every_half_is_a_call(name, calls):
    f = Recorder(pendulum)
    solve(name, f, Y, 0.0, 1.0, 10)
    assert len(f.times) == calls


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("ends", [(0.3, 0.7), (0.7, 0.3)])
def test_f_is_asked_only_inside_the_step(name, ends):
    f = Recorder(pendulum)
    start(name, f, 1)(ends[0], Y, ends[1], None)
    # Yoshida's step goes forth, back and forth again: so does its time.
    beyond = 0.4 * (W1 - 1) if name == "yoshida4" else 0.0
    assert min(f.times) == pytest.approx(0.3 - beyond, abs=1e-15) or min(f.times) > 0.3
    assert max(f.times) == pytest.approx(0.7 + beyond, abs=1e-15) or max(f.times) < 0.7


@pytest.mark.parametrize("name", METHODS)
def test_a_step_depends_on_nothing_but_its_arguments(name):
    """So a backward pass can make any step again: what a method remembers is in the step before."""
    step = start(name, lambda t, y: pendulum(t, y) * (1 + t), 1)
    first = step(0.0, Y, 0.1, None)
    second = step(0.1, first.y1, 0.2, None, first)
    step(5.0, Y + 1, 5.1, None)
    assert torch.equal(step(0.1, first.y1, 0.2, None, first).y1, second.y1)
    assert torch.equal(step(0.0, Y, 0.1, None).y1, first.y1)


@pytest.mark.parametrize("name", METHODS)
def test_a_slope_that_is_known_already_changes_nothing(name):
    y = start(name, pendulum, 1)(0.0, Y, 0.1, None).y1
    assert (start(name, pendulum, 1)(0.0, Y, 0.1, pendulum(0.0, Y)).y1 - y).abs().max() < 1e-15


def test_tao_keeps_its_second_copy_from_step_to_step():
    step = start("tao", tao_example, 1)
    first, second = path(step, Y, 0.0, 0.2, 2)
    doubled = (Y, Y, tao_example(0.0, Y))
    for t in (0.0, 0.1):
        doubled = tao_step(tao_example, math.pi / 0.4, 1, t, t + 0.1, doubled)
    u, w, _ = doubled
    assert (second - torch.cat([u[:1], w[1:]])).abs().max() < 1e-15
    assert (second - start("tao", tao_example, 1)(0.1, first, 0.2, None).y1).abs().max() > 1e-6


# What is refused


def pair_of(*entries, dtype=torch.float64):
    return tuple(torch.tensor([x], dtype=dtype) for x in entries)


def friction_from(start):
    return lambda t, y: (y[1], -torch.sin(y[0]) - torch.where(t > start, 0.01, 0.0) * y[1])


@pytest.mark.parametrize("name", SPLITTINGS)
@pytest.mark.parametrize(
    ("f", "rate"),
    [
        (friction_from(-1.0), "dp/dt"),
        (lambda t, y: (y[1] * (1 + 0.01 * y[0] ** 2), -y[0]), "dq/dt"),
    ],
)
def test_a_system_that_is_not_separable_is_refused_at_once(name, f, rate):
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(ValueError, match=f"At t = 0, {rate} changed .*'tao'.*'implicit_midpoint'"):
            odeint(f, pair_of(0.5, -1.0, dtype=dtype), [0.0, 1.0], method=name, step_size=0.1)


def test_a_damped_system_at_rest_is_refused_too():
    with pytest.raises(ValueError, match="separable"):
        odeint(lambda t, y: (y[1], -y[0] - y[1]), pair_of(1.0, 0.0), [0.0, 1.0], method="leapfrog", step_size=0.1)


@pytest.mark.parametrize("name", SPLITTINGS)
@pytest.mark.parametrize(
    ("f", "y0", "first"),
    [
        (friction_from(1.0), (1.0, 0.0), 1.0),
        (lambda t, y: (y[1], -y[0] - y[0] * y[1]), (0.0, 1.0), 0.0),  # friction q p, none at q = 0
        (lambda t, y: (y[1] * (1 + y[0] ** 2), torch.cos(t) + 0 * y[0]), (0.0, 0.0), 0.0),  # from rest
        (friction_from(4.9), (1.0, 0.0), 4.9),  # in the last step only
    ],
)
def test_separability_that_ends_later_is_noticed_and_its_time_named(name, f, y0, first):
    with pytest.raises(ValueError, match="needs a separable system") as caught:
        odeint(f, pair_of(*y0), [0.0, 5.0], method=name, step_size=0.05)
    time = float(re.search(r"At t = ([\d.]+)", str(caught.value))[1])
    assert first <= time <= 4.95


def test_the_times_of_looks_cost_three_evaluations_each():
    f = Recorder(lambda t, y: (y[1], -torch.sin(y[0])))
    odeint(f, pair_of(1.0, 0.0), torch.linspace(0, 1, 11).double(), method="leapfrog", step_size=0.01)
    assert len(f.times) == 2 * 100 + 1 + 3 * 8  # in the steps 1, 2, 4, …, 64 and 100


@pytest.mark.parametrize("name", SPLITTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_separable_systems_that_depend_on_time_are_no_false_alarm(name, dtype):
    """Turning points, where a force passes through zero, and sums of many terms that cancel there, among them."""
    A = torch.randn(40, 400, generator=torch.Generator().manual_seed(0)).to(dtype)

    def f(t, y):
        return (1 + t) * y[1] @ A @ A.T / 400 + torch.cos(t), -torch.sin(y[0] @ A + t) @ A.T / 400

    q, p = 0.1 * torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(1)).to(dtype)
    odeint(f, (q, p), [0.0, 2.0], method=name, step_size=0.01)
    odeint(lambda t, y: (y[1], -y[0]), (q, 0 * p), [0.0, 10.0], method=name, step_size=math.pi / 64)


@pytest.mark.parametrize("name", SPLITTINGS)
def test_a_separable_system_from_a_learned_hamiltonian_is_accepted(name):
    torch.manual_seed(0)
    A = torch.randn(6, 6, dtype=torch.float32)

    def f(t, y):
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            H = torch.tanh(A @ y[:6]).sum() + torch.log(1 + (A @ y[6:]) ** 2).sum() + torch.sin(t + y[:6]).sum()
            (dH,) = torch.autograd.grad(H, y)
        return torch.cat([dH[6:], -dH[:6]])

    for seed in range(20):
        torch.manual_seed(seed)
        look = METHODS[name].look(f, Statistics(), split=6)
        look(start(name, f, 6)(0.0, torch.randn(12), 0.1, None))


@pytest.mark.parametrize(("kicks", "drifts"), [((0.5, 0.4), (1.0, 0.0)), ((1.0,), (0.9,)), ((0.5, 0.5), (1.0,))])
def test_a_table_that_contradicts_itself_is_refused(kicks, drifts):
    with pytest.raises(ValueError, match="splitting 'wrong'"):
        Splitting("wrong", 1, kicks, drifts, "")


def test_the_weights_of_yoshida_cancel_the_third_order():
    assert abs(2 * W1 + W0 - 1) < 1e-15
    assert abs(2 * W1**3 + W0**3) < 1e-14


@pytest.mark.parametrize("omega", [-1.0, math.nan, math.inf, "strong"])
def test_a_coupling_that_is_none_is_refused(omega):
    with pytest.raises(ValueError, match="omega"):
        METHODS["tao"].start(tao_example, Statistics(), split=1, omega=omega)


# The implicit midpoint rule


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_the_equation_of_the_midpoint_rule_is_solved_to_rounding(dtype):
    y = torch.linspace(0.1, 2, 12).reshape(3, 2, 2).to(dtype)

    def f(t, y):
        return torch.cos(t * y) * y.flip(-1)

    for h in (0.1, 0.6, -0.5):
        y1 = METHODS["implicit_midpoint"].start(f, Statistics())(0.2, y, 0.2 + h, None).y1
        residual = y1 - y - h * f(0.2 + h / 2, (y + y1) / 2)
        assert residual.abs().max() < 16 * torch.finfo(dtype).eps


def test_samples_of_very_different_size_are_solved_equally_well():
    scale = torch.tensor([[1e-8], [1.0], [1e8]], dtype=torch.float64)
    y1 = METHODS["implicit_midpoint"].start(lambda t, y: y.flip(-1), Statistics())(0.0, scale * Y, 1.0, None).y1
    assert (y1 / scale - y1[1]).abs().max() < 1e-14


def test_an_equilibrium_is_left_in_peace():
    for y in (vector(0.0, 0.0), vector(math.pi, 0.0)):
        assert torch.allclose(solve("implicit_midpoint", pendulum, y, 0.0, 1.0, 5), y, atol=1e-15, rtol=0)


def test_rounding_errors_of_f_do_not_keep_the_iteration_going():
    noise = itertools.cycle([1e-18, -1e-18])
    y = solve(
        "implicit_midpoint", lambda t, y: torch.stack([0 * y[0], 0 * y[1] + next(noise)]), vector(1.0, 0.0), 0, 1, 5
    )
    assert torch.allclose(y, vector(1.0, 0.0), atol=1e-17, rtol=0)


@pytest.mark.parametrize("f", [lambda t, y: -1000 * y, lambda t, y: y * math.nan])
def test_a_step_that_the_iteration_cannot_make_asks_for_a_smaller_one(f):
    with pytest.raises(StepRejected, match="implicit midpoint"):
        start("implicit_midpoint", f, 1)(0.0, Y, 0.1, None)


# Tao's coupling


def test_without_a_field_the_step_is_the_flow_of_the_coupling():
    omega, h, (q, x, p, y) = 3.0, 0.2, (0.7, -0.4, 0.5, 0.8)
    # Hamilton's equations of ω (|q − x|² + |p − y|²) / 2 in the order (q, x, p, y)
    apart = omega * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    flow = torch.linalg.matrix_exp(h * torch.kron(vector(0, 1, -1, 0).reshape(2, 2), apart))
    u, w, _ = tao_step(lambda t, y: 0 * y, omega, 1, 0.0, h, (vector(q, y), vector(x, p), vector(0, 0)))
    assert torch.allclose(torch.stack([u[0], w[0], w[1], u[1]]), flow @ vector(q, x, p, y), atol=1e-15, rtol=0)


def error_of_tao(end, steps, **options):
    """Return the error in q and p for the example of Tao, against Runge–Kutta 4 with small steps."""
    exact = solve("rk4", tao_example, vector(0.0, -3.0), 0.0, end, 2000)
    return (solve("tao", tao_example, vector(0.0, -3.0), 0.0, end, steps, **options) - exact).abs().max().item()


def test_without_coupling_the_copies_part():
    h = 4 / 400
    coupled = error_of_tao(4.0, 400)
    assert coupled < 1e-3
    assert error_of_tao(4.0, 400, omega=0.0) > 1000 * coupled
    assert error_of_tao(4.0, 400, omega=math.pi / (2 * h)) > 1000 * coupled  # half a turn: the copies change places


def test_a_strong_coupling_destroys_the_order_of_compositions_but_not_of_the_method():
    exact = solve("rk4", tao_example, vector(0.0, -3.0), 0.0, 1.0, 4000)

    def error(steps, weights, omega):
        h, doubled = 1 / steps, (vector(0.0, -3.0), vector(0.0, -3.0), tao_example(0.0, vector(0.0, -3.0)))
        for _ in range(steps):
            for w in weights:
                doubled = tao_step(tao_example, omega, 1, 0.0, w * h, doubled)
        u, w, _ = doubled
        return (torch.cat([u[:1], w[1:]]) - exact).abs().max().item()

    def order(weights, omega):
        return math.log2(error(100, weights, omega(1 / 100)) / error(200, weights, omega(1 / 200)))

    def quarter_turn(h):
        return math.pi / (4 * h)

    assert order((W1, W0, W1), lambda h: 2.0) == pytest.approx(4, abs=0.15)
    assert order((W1, W0, W1), quarter_turn) < 3
    assert order((1.0,), quarter_turn) == pytest.approx(2, abs=0.15)


# Gradients and batches


@pytest.mark.parametrize("name", METHODS)
def test_gradients_agree_with_finite_differences(name):
    def end(y, rate):
        f = (lambda t, y: rate * tao_example(t, y)) if name in ("tao", "implicit_midpoint") else None
        f = f or (lambda t, y: torch.stack([y[1] + t, -rate * torch.sin(y[0] + t)]))
        return solve(name, f, y, 0.0, 0.6, 3)

    y, rate = Y.clone().requires_grad_(), vector(1.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda y, rate: end(y, rate[0]), (y, rate))
    assert torch.autograd.gradgradcheck(lambda y, rate: end(y, rate[0]), (y, rate))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("f", [oscillator, pendulum])
def test_vmap_gives_what_single_solves_give(name, f):
    ys = torch.linspace(-2, 2, 10, dtype=torch.float64).reshape(5, 2)
    together = torch.func.vmap(lambda y: solve(name, f, y, 0.0, 1.0, 5))(ys)
    assert torch.allclose(together, torch.stack([solve(name, f, y, 0.0, 1.0, 5) for y in ys]), atol=1e-15, rtol=0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_dimensions_are_a_batch_and_the_dtype_is_kept(name, dtype):
    ys = torch.linspace(-2, 2, 24, dtype=dtype).reshape(2, 3, 4)
    together = solve(name, lambda t, y: torch.cat([y[..., 2:], -torch.sin(y[..., :2])], dim=-1), ys, 0.0, 1.0, 5)
    assert together.dtype == dtype
    alone = solve(name, lambda t, y: torch.cat([y[2:], -torch.sin(y[:2])]), ys[1, 2], 0.0, 1.0, 5)
    assert torch.allclose(together[1, 2], alone, atol=4 * torch.finfo(dtype).eps, rtol=0)
