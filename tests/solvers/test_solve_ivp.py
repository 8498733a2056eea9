"""What ``solve_ivp`` returns: times and states, statistics that were counted, and the solution as a function."""

import math

import pytest
import torch

from ndelib import methods, odeint, solve_ivp
from ndelib.solvers import Solution

ADAPTIVE = [method.name for method in methods() if method.adaptive]


def vector(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def oscillator(t, y):
    return torch.stack([y[1], -y[0]])


def exact(t):
    return torch.stack([torch.cos(t), -torch.sin(t)], dim=-1)


def solve(span=(0.0, 5.0), **options):
    return solve_ivp(oscillator, span, vector(1.0, 0.0), **options)


class Counted:
    """A field that counts its calls and remembers the times."""

    def __init__(self, f):
        self.f, self.times = f, []

    def __call__(self, t, y):
        self.times.append(t.item())
        return self.f(t, y)


# times and states


def test_without_t_eval_every_accepted_step_is_returned():
    solution = solve()
    assert isinstance(solution, Solution)
    assert solution.t.dtype == torch.float64
    assert (solution.t[0], solution.t[-1]) == (0.0, 5.0)
    assert bool((solution.t.diff() > 0).all())
    assert solution.t.shape == (solution.steps + 1,)
    assert solution.y.shape == (solution.steps + 1, 2)
    assert torch.allclose(solution.y, exact(solution.t), atol=1e-5)
    assert (solution.status, solution.message) == ("finished", "the solve reached the end of t_span, t = 5")


@pytest.mark.parametrize("wanted", [[0.0, 1.0, 5.0], [0.5, 1.0, 2.0], [5.0], [0.0], [1.0, 1.0001, 1.0002, 4.9]])
def test_t_eval_gives_those_times_and_no_others(wanted):
    solution = solve(t_eval=wanted)
    assert solution.t.tolist() == wanted
    assert torch.allclose(solution.y, exact(vector(*wanted)), atol=1e-5)
    assert solution.message.endswith("t = 5")


def test_t_eval_is_what_odeint_returns():
    t = torch.linspace(0, 5, 17, dtype=torch.float64)
    assert torch.equal(solve(t_eval=t).y, odeint(oscillator, vector(1.0, 0.0), t))


@pytest.mark.parametrize("method", ADAPTIVE)
def test_time_can_run_backwards(method):
    options = {"method": method, "rtol": 1e-4, "atol": 1e-4}
    solution = solve_ivp(oscillator, (2.0, -1.0), vector(1.0, 0.0), t_eval=[2.0, 1.0, -0.5], dense=True, **options)
    bound = 3e-4 * solution.steps  # √2 (rtol + atol) is the largest error of a component in a step
    assert solution.t.tolist() == [2.0, 1.0, -0.5]
    assert (solution.y - exact(vector(0.0, -1.0, -2.5))).abs().max() < bound
    assert (solution.sol(vector(-1.0, 0.3, 2.0)) - exact(vector(-3.0, -1.7, 0.0))).abs().max() < bound
    every = solve((2.0, -1.0), **options)
    assert bool((every.t.diff() < 0).all())


def test_a_tuple_comes_back_as_a_tuple():
    y0 = (torch.ones(2, 3).double(), torch.zeros(2, 3).double())
    solution = solve_ivp(lambda t, s: (s[1], -s[0]), (0.0, 1.0), y0, dense=True, t_eval=[0.0, 0.5, 1.0])
    q, p = solution.y
    assert q.shape == p.shape == (3, 2, 3)
    assert torch.allclose(q[1], torch.full((2, 3), math.cos(0.5)).double(), atol=1e-6)
    q, p = solution.sol(0.5)
    assert q.shape == (2, 3)
    assert torch.allclose(p, torch.full((2, 3), -math.sin(0.5)).double(), atol=1e-6)
    assert solution.sol(vector(0.1, 0.2))[1].shape == (2, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_dtype_and_shape_are_kept(dtype):
    solution = solve_ivp(lambda t, y: -y, (0.0, 1.0), torch.ones(2, 1, dtype=dtype), dense=True, rtol=1e-4, atol=1e-5)
    assert solution.y.dtype == solution.sol(0.3).dtype == dtype
    assert solution.y.shape[1:] == solution.sol(0.3).shape == (2, 1)
    assert torch.allclose(solution.sol(0.3).real.double(), torch.full((2, 1), math.exp(-0.3)).double(), atol=1e-3)


# the solution as a function


@pytest.mark.parametrize("method", ADAPTIVE)
def test_dense_output_is_exact_at_the_ends_of_steps(method):
    solution = solve(method=method, dense=True, rtol=1e-4, atol=1e-4)
    assert torch.equal(solution.sol(solution.t), solution.y)
    assert torch.equal(solution.sol(solution.t[3]), solution.y[3])


@pytest.mark.parametrize("method", ["bosh3", "fehlberg45", "dopri5", "tsit5", "dopri8", "kvaerno3"])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
def test_dense_output_is_nearly_as_accurate_as_the_steps(method, tolerance):
    solution = solve((0.0, 3.0), method=method, dense=True, rtol=tolerance, atol=tolerance)
    t = torch.linspace(0, 3, 301, dtype=torch.float64)
    assert (solution.sol(t) - exact(t)).abs().max() < 100 * tolerance


def test_dense_output_is_continuous_between_neighbouring_steps():
    solution = solve(dense=True)
    ends = solution.t[1:-1]
    gap = solution.sol(ends + 1e-12) - solution.sol(ends - 1e-12)
    assert gap.abs().max() < 1e-11


def test_dense_output_keeps_the_shape_of_its_times():
    solution = solve(dense=True)
    assert solution.sol(1.5).shape == (2,)
    assert solution.sol(torch.tensor(1.5)).shape == (2,)
    assert solution.sol(vector(1.5)).shape == (1, 2)
    assert solution.sol(vector()).shape == (0, 2)
    assert solution.sol(torch.ones(3, 4)).shape == (3, 4, 2)


@pytest.mark.parametrize(
    ("span", "t"), [((0.0, 5.0), 5.01), ((0.0, 5.0), -0.1), ((5.0, 0.0), 5.01), ((0, 5), math.nan)]
)
def test_outside_the_solve_there_is_no_solution(span, t):
    with pytest.raises(ValueError, match=r"is outside the solve, which went from \d to \d"):
        solve(span, dense=True).sol(t)


def test_a_solution_that_was_not_kept_says_how_to_keep_it():
    with pytest.raises(ValueError, match=r"call solve_ivp\(\.\.\., dense=True\)"):
        solve().sol(1.0)


def test_gradients_flow_through_dense_output():
    def between(y0):
        return solve_ivp(lambda t, y: -(y**2), (0.0, 1.0), y0, dense=True).sol(0.3)

    y0 = vector(0.5, 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(between(y0).sum(), y0)
    assert torch.allclose(gradient, 1 / (1 + 0.3 * y0) ** 2, atol=1e-5)


# statistics


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("dense", [False, True])
def test_evaluations_are_those_that_were_made(method, dense):
    f = Counted(lambda t, y: torch.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]]))
    jacobian = Counted(lambda t, y: torch.stack([vector(0, 1), torch.stack([-2 * y[0] * y[1] - 1, 1 - y[0] ** 2])]))
    implicit = "implicit" in next(m.kind for m in methods() if m.name == method)
    solution = solve_ivp(
        f,
        (0.0, 2.0 if method == "reversible_dopri5" else 6.0),  # which a limit cycle throws off: it attracts
        vector(2.0, 0.0),
        method=method,
        dense=dense,
        rtol=1e-3,
        atol=1e-3,
        **({"jacobian": jacobian} if implicit else {}),
    )
    assert solution.nfe == len(f.times)
    assert solution.jacobians == len(jacobian.times)
    assert (solution.factorizations > 0) == implicit
    assert solution.steps == len(solution.t) - 1
    assert min(f.times) >= 0.0
    assert max(f.times) <= 6.0


def test_rejected_steps_are_counted():
    """The first step is far too long: it is tried, rejected, and costs its stages."""
    solution = solve((0.0, 5.0), first_step=5.0, method="dopri5")
    assert solution.rejected >= 1
    assert solution.nfe == 1 + 6 * (solution.steps + solution.rejected)  # first same as last


def test_fixed_steps_are_counted_too():
    solution = solve((0.0, 1.0), method="rk4", step_size=0.1)
    assert (solution.steps, solution.rejected, solution.nfe) == (10, 0, 40)
    assert solution.t.tolist() == pytest.approx([n / 10 for n in range(11)])


# errors


@pytest.mark.parametrize(
    ("span", "options", "error", "message"),
    [
        ((0.0,), {}, ValueError, r"t_span must be \(first time, last time\), got 1 numbers"),
        ((0.0, 1.0, 2.0), {}, ValueError, r"got 3 numbers; times to return are t_eval"),
        ((1.0, 1.0), {}, ValueError, r"strictly increasing or strictly decreasing"),
        ((0.0, math.inf), {}, ValueError, r"every time must be finite"),
        ((0.0, 1.0), {"t_eval": [0.5, 1.5]}, ValueError, r"t_eval must lie inside t_span, between 0 and 1"),
        ((0.0, 1.0), {"t_eval": [0.5, 0.2]}, ValueError, r"t_eval must run in the direction of t_span, from 0 to 1"),
        ((1.0, 0.0), {"t_eval": [0.2, 0.5]}, ValueError, r"t_eval must run in the direction of t_span, from 1 to 0"),
        ((0.0, 1.0), {"t_eval": []}, ValueError, r"non-empty"),
        ((0.0, 1.0), {"rtoll": 1e-3}, TypeError, r"'rtoll' is not an option: did you mean 'rtol'"),
        ((0.0, 1.0), {"method": "dopri6"}, ValueError, r"method 'dopri6' is unknown"),
        ((0.0, 1.0), {"batch": "independent", "dense": True}, ValueError, r"batch='independent' keeps no common list"),
        ((0.0, 1.0), {"compile": "solve", "dense": True}, ValueError, r"compile='solve' keeps no common list"),
    ],
)
def test_bad_input_names_the_argument(span, options, error, message):
    with pytest.raises(error, match=message):
        solve(span, **options)


def test_independent_samples_have_statistics_of_their_own():
    def van_der_pol(t, y, mu):
        x, v = y[:, :1], y[:, 1:]
        return torch.cat([v, mu * (1 - x**2) * v - x], dim=1)

    mu = torch.tensor([[1.0], [50.0]], dtype=torch.float64)
    y0 = torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    both = solve_ivp(van_der_pol, (0.0, 10.0), y0, batch="independent", args=(mu,), args_dims=(0,), t_eval=[2.0, 10.0])
    assert both.t.tolist() == [2.0, 10.0]
    assert both.y.shape == (2, 2, 2)
    for i in range(2):
        alone = solve_ivp(van_der_pol, (0.0, 10.0), y0[i : i + 1], args=(mu[i],), t_eval=[2.0, 10.0])
        assert both.nfe[i] == pytest.approx(alone.nfe, rel=0.05)
        assert torch.allclose(both.y[:, i], alone.y[:, 0], rtol=1e-6)
    assert both.nfe[1] > 2 * both.nfe[0]
