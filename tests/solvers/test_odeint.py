"""What ``odeint`` promises besides accuracy: where it steps, what it accepts, how it fails."""

import math
import pickle

import pytest
import torch

from ndelib import methods, odeint, solve_ivp
from ndelib.solvers import ButcherTableau, NonFiniteState
from ndelib.solvers.loops.fixed_step import count_steps
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.tableaus import TABLEAUS
from tests.conftest import full

# Methods that take any state; those that need (q, p) are in test_symplectic.py.
NAMES = [name for name, method in METHODS.items() if "split" not in method.options]
EXPLICIT = [name for name in NAMES if METHODS[name].kind == "explicit Runge–Kutta"]
TIGHT = {"rtol": 1e-12, "atol": 1e-12}  # of Newton's method, where steps are fixed


def decay(t, y):
    return -y


def start(*shape, dtype=torch.float64):
    return torch.linspace(0.5, 2.0, math.prod(shape), dtype=dtype).reshape(shape)


class Recorder:
    """A field that remembers the times at which it was asked."""

    def __init__(self):
        self.times = []

    def __call__(self, t, y):
        assert t.ndim == 0
        assert t.dtype == y.dtype
        self.times.append(t.item())
        return -y


@pytest.mark.parametrize("name", EXPLICIT)
def test_field_is_asked_only_inside_the_interval_and_once_a_stage(name):
    f = Recorder()
    odeint(f, start(2), torch.tensor([0.0, 0.3, 1.0]), method=name, step_size=0.1)
    assert min(f.times) >= 0
    assert max(f.times) <= 1
    table = TABLEAUS[name]
    first_same_as_last = {"bosh3", "dopri5", "tsit5"}
    assert len(f.times) == (len(table.b) * 10 if name not in first_same_as_last else (len(table.b) - 1) * 10 + 1)


def test_without_a_step_size_there_is_one_step_an_interval():
    f = Recorder()
    odeint(f, start(1), [0.0, 0.2, 0.9], method="euler")
    assert f.times == [0.0, pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("interval", "step", "count"),
    [(0.5, 0.1, 5), (0.3, 0.1, 3), (0.30000001192092896, 0.1, 3), (1.0, 0.3, 4), (0.1, 5.0, 1)],
)
def test_rounding_adds_no_step(interval, step, count):
    assert count_steps(interval, step) == count


@pytest.mark.parametrize("name", NAMES)
def test_first_state_is_the_initial_state_and_shape_and_dtype_are_kept(name):
    for dtype in (torch.float32, torch.float64, torch.complex128):
        if dtype.is_complex and METHODS[name].kind == "implicit Runge–Kutta":
            continue
        y0 = start(2, 1, 3, dtype=torch.float64).to(dtype)
        y = odeint(decay, y0, torch.tensor([0.0, 1.0, 2.0]), method=name, step_size=0.05)
        assert y.shape == (3, 2, 1, 3)
        assert y.dtype == dtype
        assert torch.equal(y[0], y0)


@pytest.mark.parametrize("name", NAMES)
def test_time_can_run_backwards(name):
    y = odeint(lambda t, y: torch.cos(t) * y, start(3), [1.0, 0.0], method=name, step_size=0.01, **TIGHT)
    exact = start(3) * math.exp(-math.sin(1.0))
    assert torch.allclose(y[-1], exact, rtol=2e-2 if METHODS[name].order == 1 else 2e-4)


def test_batch_mates_do_not_influence_each_other():
    def f(t, y):
        return torch.sin(y) * torch.cos(3 * t)

    together = odeint(f, start(5), [0.0, 2.0], step_size=0.1)
    alone = torch.stack([odeint(f, y, [0.0, 2.0], step_size=0.1) for y in start(5)], dim=1)
    assert torch.equal(together, alone)


def test_a_tuple_of_states_is_solved_as_one_system():
    def oscillator(t, state):
        q, v = state
        return v, -q

    q, v = odeint(oscillator, (start(2, 2), torch.zeros(2, 2, dtype=torch.float64)), [0.0, 0.5, 1.0], step_size=0.01)
    assert q.shape == v.shape == (3, 2, 2)
    assert torch.allclose(q[-1], math.cos(1.0) * start(2, 2), atol=1e-9)
    assert torch.allclose(v[-1], -math.sin(1.0) * start(2, 2), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name):
    def solve(y0, rate):
        return odeint(lambda t, y: torch.sin(rate * y) + t, y0, [0.0, 0.7], method=name, step_size=0.2, **TIGHT)[-1]

    y0 = start(3).requires_grad_()
    rate = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    fast = {"fast_mode": full(False, True)}  # one random product of each Jacobian instead of all its entries
    assert torch.autograd.gradcheck(solve, (y0, rate), **fast)
    assert torch.autograd.gradgradcheck(solve, (y0, rate), **fast)


def test_vmap_over_parameters_equals_a_loop():
    def solve(rate):
        return odeint(lambda t, y: -rate * y, start(3), [0.0, 1.0], step_size=0.1)[-1]

    rates = start(4)
    assert torch.allclose(torch.func.vmap(solve)(rates), torch.stack([solve(rate) for rate in rates]), rtol=1e-14)


def test_transforms_may_be_nested_in_any_order():
    def solve(y0):
        return odeint(lambda t, y: -(y**2), y0, [0.0, 1.0], step_size=0.1)[-1]

    y0 = start(4, 2)
    together = torch.func.vmap(torch.func.jacrev(solve))(y0)
    assert torch.allclose(together, torch.stack([torch.func.jacrev(solve)(row) for row in y0]), rtol=1e-13)


def test_parts_of_a_tuple_keep_their_shapes():
    with pytest.raises(ValueError, match=r"with the shapes of y0, \[\(2,\), \(3,\)\]"):
        odeint(lambda t, s: (s[1], s[0]), (start(2), start(3)), [0.0, 1.0])
    with pytest.raises(ValueError, match="must return a tuple of tensors"):
        odeint(lambda t, s: s[0], (start(2),), [0.0, 1.0])


def test_a_failure_can_leave_a_worker_process():
    error = pickle.loads(pickle.dumps(NonFiniteState("boom", t=1.0, h=0.1)))
    assert (str(error), error.t, error.h) == ("boom", 1.0, 0.1)


def test_default_method_is_dopri5_and_the_register_is_complete():
    assert torch.equal(odeint(decay, start(2), [0.0, 1.0]), odeint(decay, start(2), [0.0, 1.0], method="dopri5"))
    rows = {row.name: row for row in methods()}
    wanted = "euler midpoint heun2 ralston bosh3 rk4 rk4_38 fehlberg45 dopri5 tsit5 dopri8 backward_euler trapezoid"
    wanted += " adams_bashforth_moulton symplectic_euler leapfrog yoshida4 implicit_midpoint tao"
    assert set(wanted.split()) <= set(rows)
    assert all(row.source and row.order >= 1 for row in rows.values())
    assert rows["dopri5"].adaptive
    assert not rows["rk4"].adaptive


def test_an_adaptive_method_can_make_fixed_steps():
    exact = math.exp(-1.0) * start(2)
    for options in ({"adaptive": False, "step_size": 0.1}, {"step_size": 0.1}):
        sol = solve_ivp(decay, (0.0, 1.0), start(2), **options)
        assert sol.steps == 10
        assert torch.allclose(sol.y[-1], exact, rtol=1e-7)
    assert solve_ivp(decay, (0.0, 1.0), start(2), adaptive=False).steps == 1


def test_one_requested_time_returns_the_initial_state():
    assert torch.equal(odeint(decay, start(2), [3.0]), start(2)[None])


def test_times_are_kept_in_double_precision():
    seen = []
    odeint(lambda t, y: seen.append(t.item()) or y, start(1), [1e8, 1e8 + 1], method="rk4")
    assert seen == [1e8, 1e8 + 0.5, 1e8 + 0.5, 1e8 + 1]


def test_extra_arguments_reach_the_field():
    y = odeint(lambda t, y, rate: -rate * y, start(2), [0.0, 1.0], args=(2.0,))
    assert torch.allclose(y[-1], math.exp(-2.0) * start(2), atol=1e-6)


def test_one_sample_that_explodes_is_noticed():
    y0 = torch.tensor([0.1, 10.0], dtype=torch.float64)
    with pytest.raises(NonFiniteState):
        odeint(lambda t, y: y**3, y0, [0.0, 1.0], method="rk4", step_size=0.01)


def test_blow_up_is_reported_with_time_and_step():
    with pytest.raises(NonFiniteState, match=r"from t = 1\.\d+ with h = 0\.01 .* smaller ones \(step_size\)") as caught:
        odeint(lambda t, y: y**2, start(1) * 2, [0.0, 2.0], method="rk4", step_size=0.01)  # blows up at t = 1
    assert 0.95 < caught.value.t < 1.1
    assert caught.value.h == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y0": torch.tensor([1, 2])}, TypeError, r"y0 must have a floating-point dtype, got torch.int64"),
        ({"y0": [1.0]}, TypeError, r"y0 must be a tensor, got list"),
        ({"y0": (start(2), torch.tensor(1))}, TypeError, r"y0\[1\] must have a floating-point"),
        ({"y0": (start(2), start(2, dtype=torch.float32))}, TypeError, r"parts of y0 must share one dtype"),
        ({"t": []}, ValueError, r"t must be a non-empty vector"),
        ({"t": torch.zeros(2, 2)}, ValueError, r"got the shape \(2, 2\)"),
        ({"t": [0.0, 1.0, 1.0]}, ValueError, r"t\[1\] = 1 is followed by t\[2\] = 1"),
        ({"t": [0.0, 1.0, 0.5]}, ValueError, r"t\[1\] = 1 is followed by t\[2\] = 0.5"),
        ({"t": [0.0, 0.0, 0.5]}, ValueError, r"t\[0\] = 0 is followed by t\[1\] = 0"),
        ({"t": [0.0, math.nan]}, ValueError, r"t holds an infinity or NaN"),
        ({"step_size": 0.0}, ValueError, r"step_size must be a positive number or None, got 0.0"),
        ({"step_size": -0.1}, ValueError, r"its sign comes from t"),
        ({"step_size": math.nan}, ValueError, r"step_size must be a positive number"),
        ({"method": "eulr"}, ValueError, r"method 'eulr' is unknown: did you mean 'euler'"),
        ({"method": "zzz"}, ValueError, r"choose from euler, midpoint"),
        ({"method": ["rk4"]}, TypeError, r"method must be a name, a ButcherTableau or a Method, got list"),
        ({"stepsize": 0.1}, TypeError, r"'stepsize' is not an option: did you mean 'step_size'"),
        ({"step_size": 5e-324}, ValueError, r"step_size = .* would cut an interval"),
        ({"method": "rk4", "adaptive": True}, ValueError, r"'rk4' has no error estimate.* try .*dopri5"),
        ({"step_size": 0.1, "adaptive": True}, ValueError, r"step_size is for fixed steps"),
        ({"rtol": -1.0}, ValueError, r"rtol must be finite and not negative, got -1.0"),
        ({"atol": math.nan}, ValueError, r"atol must be finite"),
        ({"atol": torch.ones(2)}, ValueError, r"atol of the shape \(2,\) does not broadcast to y0, \(3,\)"),
        ({"controller": "p"}, ValueError, r"controller 'p' is unknown"),
        ({"batch": "each"}, ValueError, r"batch must be 'shared' or 'independent'"),
        ({"compile": True}, ValueError, r"compile must be None, 'step' or 'solve', got True"),
        ({"jacobian": lambda t, y: y}, ValueError, r"'dopri5' has no use for jacobian; these have: .*kvaerno3"),
        ({"method": "leapfrog"}, ValueError, r"'leapfrog' needs positions and momenta apart: y0 = \(q, p\)"),
        ({"f": (decay, decay)}, ValueError, r"f = \(velocity, force\) needs y0 = \(q, p\)"),
        ({"y0": ()}, ValueError, r"y0 is an empty tuple"),
        ({"y0": start(0, 2), "method": "esdirk54"}, ValueError, r"y0 is empty, \(0, 2\): 'esdirk54' has no equation"),
        ({"args": 3.0}, TypeError, r"args must be a tuple"),
        ({"f": lambda t, y: y.sum()}, ValueError, r"must return the shape of y, \(3,\); it returned \(\)"),
        ({"f": lambda t, y: y.float()}, TypeError, r"must return the dtype of y, torch.float64"),
        ({"f": lambda t, y: 0.0}, TypeError, r"must return a tensor, got float"),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    call = {"f": decay, "y0": start(3), "t": [0.0, 1.0]} | arguments
    with pytest.raises(error, match=message):
        odeint(call.pop("f"), call.pop("y0"), call.pop("t"), **call)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": (0.0,)}, "need 2 nodes"),
        ({"a": ((), (0.5,))}, "row 1 of a sums to 0.5, its node is 1.0"),
        ({"b": (0.5, 0.6)}, "sum to 1.1, not to 1"),
        ({"c": (0.0, 1.0 + 1e-12)}, "row 1 of a sums to 1.0"),
        ({"b_error": (0.5, 0.5), "error_order": 1}, "b_error needs 2 weights that sum to 0"),
        ({"b_error": (0.5, -0.5)}, "b_error and error_order come together"),
        ({"dense": ((1.0,), (0.5,))}, "dense must have a row for every stage"),
        ({"extra_c": (0.5,), "extra_a": ((0.5,),)}, "rows of extra_a must have the lengths 3"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change, message):
    table = {"name": "test", "order": 2, "c": (0.0, 1.0), "a": ((), (1.0,)), "b": (0.5, 0.5)} | change
    with pytest.raises(ValueError, match=message):
        ButcherTableau(**table)
