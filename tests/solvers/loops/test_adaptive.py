"""The adaptive loop: where it steps, what it promises about errors, and what it says when it must give up."""

import math

import pytest
import torch

from ndelib import odeint, solve_ivp
from ndelib.solvers import Controller, NonFiniteState, StepSizeTooSmall, TooManySteps
from ndelib.solvers.loops.adaptive import landing
from ndelib.solvers.options import read_options
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.dense import interpolate
from ndelib.solvers.steps.methods import METHODS
from tests.conftest import full

ADAPTIVE = [m.name for m in METHODS.values() if m.adaptive]
EXPLICIT = [name for name in ADAPTIVE if METHODS[name].kind == "explicit Runge–Kutta"]
REVERSIBLE = [name for name in ADAPTIVE if METHODS[name].kind == "reversible"]


def exponents(name):
    """Return the tolerances to try, as powers of ten: both ends and the middle of what a method is used for."""
    return full(range(4, 11), (4, 7, 10) if METHODS[name].order > 3 else (4, 7))


def tensor(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def rotation(t, y):
    return (1 + torch.cos(t) / 2) * torch.stack([-y[1], y[0]])


def rotated(t, start=0.0):
    angle = torch.as_tensor(t + math.sin(t) / 2 - start - math.sin(start) / 2, dtype=torch.float64)
    return torch.stack([torch.cos(angle), torch.sin(angle)])


def van_der_pol(mu):
    return lambda t, y: torch.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


class Recorder:
    """A field that remembers the times at which it was asked."""

    def __init__(self, f=rotation):
        self.f = f
        self.times = []

    def __call__(self, t, y):
        assert t.ndim == 0
        self.times.append(t.item())
        return self.f(t, y)


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("times", [[0.0, 0.3, 0.35, 2.0], [2.0, 1.9, 0.5]])
def test_field_is_asked_only_inside_the_interval_also_for_dense_output(name, times):
    f = Recorder()
    solve_ivp(f, (times[0], times[-1]), tensor(1.0, 0.0), t_eval=times, method=name, rtol=1e-3, atol=1e-3, dense=True)
    assert min(f.times) >= min(times)
    assert max(f.times) <= max(times)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_of_a_step_is_within_the_tolerance_everywhere_in_it(name):
    """Dense output: within each step, the curve stays near the exact solution through the beginning of the step."""
    order = METHODS[name].order
    for exponent in exponents(name):
        tol = 10.0**-exponent
        options = read_options({"rtol": tol, "atol": tol})
        end = min(6.0, 30 * tol ** (1 / (order + 1)))  # dozens of steps tell enough
        problem = Problem(rotation, tensor(1.0, 0.0), name, options)
        worst = 0.0
        for step in problem.steps([0.0, end]):
            curve = interpolate(problem.method, problem.field, step)
            x, y = step.y
            for theta in (0.15, 0.35, 0.5, 0.65, 0.85, 1.0):
                c, s = rotated(step.t + theta * step.h, step.t)
                exact = torch.stack([c * x - s * y, s * x + c * y])
                worst = max(worst, (curve(theta) - exact).abs().max().item())
        assert worst < 100 * tol, tol


@pytest.mark.parametrize("name", [name for name in ADAPTIVE if METHODS[name].order >= 3])
def test_dense_output_of_a_whole_solve_is_within_100_tolerances(name):
    for exponent in exponents(name):
        tol = 10.0**-exponent
        sol = solve_ivp(rotation, (0, 6), tensor(1.0, 0.0), method=name, rtol=tol, atol=tol, dense=True)
        t = torch.linspace(0, 6, 301, dtype=torch.float64)
        exact = torch.stack([rotated(time) for time in t.tolist()])
        assert (sol.sol(t) - exact).abs().max() < 100 * tol, tol


def test_every_requested_time_is_the_end_of_a_step_or_inside_one_that_ends_on_another():
    times = [0.0, 0.01, 0.02, 0.5, 2.5, 2.500001, 4.0]
    ends = [step.t1 for step in Problem(rotation, tensor(1.0, 0.0), "dopri5", read_options({})).steps(times)]
    assert ends[-1] == 4.0
    assert {0.5, 4.0} <= set(ends)
    y = odeint(rotation, tensor(1.0, 0.0), times, rtol=1e-9, atol=1e-9)
    assert torch.allclose(y, torch.stack([rotated(t) for t in times]), atol=1e-8)


@pytest.mark.parametrize(
    ("t", "h", "times", "expected"),
    [
        (0.0, 1.0, [0.0, 10.0], 1.0),  # free
        (0.0, 1.0, [0.0, 0.4, 0.8, 10.0], 0.8),  # the last in reach
        (0.0, 1.0, [0.0, 1.05], 1.05),  # a tenth further is in reach
        (0.0, 1.0, [0.0, 1.5], 0.75),  # no sliver
        (0.0, 1.0, [0.0, -0.4, -10.0], -0.4),
        (0.0, 1.0, [0.0, -10.0], -1.0),
    ],
)
def test_where_a_step_lands(t, h, times, expected):
    direction = math.copysign(1.0, times[-1] - times[0])
    assert landing(t, h, direction, times, stretch=1.1) == expected


def test_a_rejected_step_is_not_stretched_back_to_where_it_was():
    assert landing(0.0, 1.0, 1.0, [0.0, 1.05], stretch=1.0) == 0.525


def test_one_requested_time_per_step_costs_no_dense_output_and_a_fine_grid_costs_no_steps():
    def nfe(n):
        t = torch.linspace(0, 6, n, dtype=torch.float64)
        return solve_ivp(rotation, (0, 6), tensor(1.0, 0.0), t_eval=t).nfe

    assert nfe(2000) <= 1.5 * nfe(2)


@pytest.mark.parametrize("controller", ["i", "pi", "pid", Controller(integral=0.7, safety=0.8)])
def test_controllers_keep_the_error_proportional_to_the_tolerance(controller):
    errors = []
    for tol in (1e-5, 1e-7, 1e-9):
        y = odeint(rotation, tensor(1.0, 0.0), [0, 6.0], rtol=tol, atol=tol, controller=controller)[-1]
        errors.append((y - rotated(6.0)).abs().max().item() / tol)
    assert max(errors) < 20
    assert max(errors) / min(errors) < 10


def test_steps_follow_the_time_scale_of_the_solution():
    sol = solve_ivp(van_der_pol(20.0), (0, 60), tensor(2.0, 0.0), rtol=1e-4, atol=1e-6)
    h = sol.t.diff()
    assert h[1:].max() / h[1:].min() > 10


def test_min_and_max_step_first_step_and_max_steps():
    y0 = tensor(1.0, 0.0)
    assert solve_ivp(rotation, (0, 1), y0, max_step=0.01).t.diff().max() <= 0.011  # a tenth of stretching at most
    assert solve_ivp(rotation, (0, 1), y0, first_step=1e-3).t[1] == 1e-3
    with pytest.raises(StepSizeTooSmall, match=r"below min_step = 0.5 .* lower min_step"):
        odeint(rotation, y0, [0, 6.0], min_step=0.5, rtol=1e-9)
    with pytest.raises(TooManySteps, match=r"max_steps = 10 steps .* accuracy, not stability"):
        odeint(rotation, y0, [0, 60.0], max_steps=10)


@pytest.mark.parametrize("name", [*EXPLICIT, *REVERSIBLE])
def test_a_jump_named_in_step_at_costs_no_order_and_is_asked_on_the_right_side(name):
    def f(t, y):
        assert t != 1.0, "asked at the jump itself"
        return torch.cos(t) * y if t < 1 else -2 * y

    tol = 1e-4 if METHODS[name].order < 3 else 1e-8
    sol = solve_ivp(f, (0, 2), tensor(1.0), method=name, step_at=[1.0], rtol=tol, atol=tol)
    assert abs(sol.y[-1].item() - math.exp(math.sin(1.0) - 2)) < 20 * tol
    assert 1.0 in sol.t
    back = odeint(f, sol.y[-1], [2.0, 0.0], method=name, step_at=[1.0], rtol=tol, atol=tol)
    assert abs(back[-1].item() - 1.0) < 100 * tol
    if METHODS[name].order > 3 and name in EXPLICIT:  # an unnamed jump throws the copies of a reversible one apart
        assert sol.nfe < 0.7 * solve_ivp(f_without_assert, (0, 2), tensor(1.0), method=name, rtol=tol, atol=tol).nfe


def f_without_assert(t, y):
    return torch.cos(t) * y if t < 1 else -2 * y


def test_tolerances_per_component():
    def f(t, y):
        return torch.stack([-y[0], 1e3 * torch.cos(30 * t)])

    loose = solve_ivp(f, (0, 3), tensor(1.0, 0.0), rtol=0.0, atol=tensor(1e-8, 1e3))
    tight = solve_ivp(f, (0, 3), tensor(1.0, 0.0), rtol=0.0, atol=tensor(1e-8, 1e-8))
    assert loose.nfe < tight.nfe / 3
    assert abs(loose.y[-1][0].item() - math.exp(-3)) < 1e-6


def test_blow_up_says_when():
    with pytest.raises(StepSizeTooSmall, match=r"blows up in finite time, at about t = 1") as caught:
        odeint(lambda t, y: y * y, tensor(1.0), [0.0, 2.0])
    assert caught.value.t == pytest.approx(1.0, abs=1e-5)


def test_nan_in_the_field_is_named():
    with pytest.raises(NonFiniteState, match=r"component 1 of f\(t, y\) is infinite or NaN at t = 0"):
        odeint(lambda t, y: y / tensor(1.0, 0.0), tensor(1.0, 1.0), [0.0, 1.0])
    with pytest.raises(StepSizeTooSmall, match=r"at t = 0\.5 .* f may not be defined there"):
        odeint(lambda t, y: torch.log(0.5 - t) * y, tensor(1.0), [0.0, 1.0])


def test_stiffness_is_named_with_the_remedy():
    with pytest.raises(TooManySteps, match=r"\|λ\|h is about 3\.\d.*stiff.*esdirk54"):
        odeint(van_der_pol(1e5), tensor(2.0, 0.0), [0.0, 2.0], max_steps=1000)


def test_tolerances_that_the_dtype_cannot_hold_are_refused():
    with pytest.raises(ValueError, match=r"more digits than torch.float32 has"):
        odeint(rotation, tensor(1.0, 0.0, dtype=torch.float32), [0.0, 1.0], rtol=1e-9, atol=1e-12)


def test_inside_vmap_a_whole_batch_shares_its_steps():
    def solve(rate):
        return odeint(lambda t, y: -rate * torch.cos(t) * y, tensor(1.0, 2.0), [0.0, 1.0])[-1]

    rates = tensor(0.5, 1.0, 3.0)
    exact = torch.exp(-rates * math.sin(1.0))[:, None] * tensor(1.0, 2.0)
    assert torch.allclose(torch.func.vmap(solve)(rates), exact, atol=1e-6)
    gradient = torch.func.vmap(torch.func.grad(lambda rate: solve(rate).sum()))(rates)
    assert torch.allclose(gradient, -math.sin(1.0) * exact.sum(1), atol=1e-5)


@pytest.mark.parametrize("name", [*EXPLICIT, *REVERSIBLE])
def test_gradients_do_not_flow_through_the_choice_of_steps(name):
    def solve(y0, rate):
        return odeint(lambda t, y: torch.sin(rate * y) + t, y0, [0.0, 0.3, 0.7], method=name, rtol=1e-4, atol=1e-4)[1:]

    y0 = tensor(0.5, 1.2).requires_grad_()
    rate = tensor(1.3).requires_grad_()
    gradients = torch.autograd.grad(solve(y0, rate).sum(), (y0, rate))
    h = 1e-6
    with torch.no_grad():
        # The exact solution is smooth in rate; the computed one jumps where steps change, by less than the tolerance.
        difference = (solve(y0, rate + h).sum() - solve(y0, rate - h).sum()) / (2 * h)
    assert gradients[1].item() == pytest.approx(difference.item(), rel=1e-2)
    torch.autograd.grad(torch.autograd.grad(solve(y0, rate).sum(), rate, create_graph=True)[0].sum(), rate)


def test_a_zero_field_has_finite_gradients():
    weight = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    y = odeint(lambda t, y: y @ weight, torch.zeros(3, 2, dtype=torch.float64), [0.0, 1.0])
    y.sum().backward()
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
def test_dtypes(dtype):
    y = odeint(lambda t, y: -torch.cos(t) * y, torch.ones(2, 1, dtype=dtype), [0.0, 0.5, 1.0], rtol=1e-5, atol=1e-6)
    assert y.dtype == dtype
    assert torch.allclose(y[-1].real.double(), torch.tensor(math.exp(-math.sin(1.0)), dtype=torch.float64), atol=1e-5)
