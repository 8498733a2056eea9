"""What ``odeint`` promises besides accuracy: where it steps, what it accepts, how it fails."""

import math
import pickle

import pytest
import torch

from ndelib import methods, odeint
from ndelib.solvers import ButcherTableau, NonFiniteState
from ndelib.solvers.fixed_step import count_steps

NAMES = [method.name for method in methods()]


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


@pytest.mark.parametrize("name", NAMES)
def test_field_is_asked_only_inside_the_interval_and_once_a_stage(name):
    f = Recorder()
    odeint(f, start(2), torch.tensor([0.0, 0.3, 1.0]), method=name, step_size=0.1)
    assert min(f.times) >= 0
    assert max(f.times) <= 1 + 1e-12
    stages = {"euler": 1, "midpoint": 2, "heun2": 2, "ralston": 2, "rk4": 4, "rk4_38": 4}[name]
    assert len(f.times) == stages * 10


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
        y0 = start(2, 1, 3, dtype=torch.float64).to(dtype)
        y = odeint(decay, y0, torch.tensor([0.0, 1.0, 2.0]), method=name, step_size=0.05)
        assert y.shape == (3, 2, 1, 3)
        assert y.dtype == dtype
        assert torch.equal(y[0], y0)


@pytest.mark.parametrize("name", NAMES)
def test_time_can_run_backwards(name):
    y = odeint(lambda t, y: torch.cos(t) * y, start(3), [1.0, 0.0], method=name, step_size=0.001)
    exact = start(3) * math.exp(-math.sin(1.0))
    assert torch.allclose(y[-1], exact, rtol=2e-3 if name == "euler" else 1e-6)


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
        return odeint(lambda t, y: torch.sin(rate * y) + t, y0, [0.0, 0.7], method=name, step_size=0.1)[-1]

    y0 = start(3).requires_grad_()
    rate = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(solve, (y0, rate))
    assert torch.autograd.gradgradcheck(solve, (y0, rate))


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


def test_blow_up_is_reported_with_time_and_step():
    with pytest.raises(NonFiniteState, match=r"from t = 1\.\d+ with h = 0\.01 .* smaller step_size") as caught:
        odeint(lambda t, y: y**2, start(1) * 2, [0.0, 2.0], step_size=0.01)  # blows up at t = 1
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
        ({"t": torch.tensor([0.0, 1.0], requires_grad=True)}, TypeError, r"pass t.detach\(\)"),
        ({"step_size": 0.0}, ValueError, r"step_size must be a positive number or None, got 0.0"),
        ({"step_size": -0.1}, ValueError, r"its sign comes from t"),
        ({"step_size": math.nan}, ValueError, r"step_size must be a positive number"),
        ({"method": "eulr"}, ValueError, r"method 'eulr' is unknown: did you mean 'euler'"),
        ({"method": "zzz"}, ValueError, r"choose from euler, midpoint"),
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
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change, message):
    table = {"name": "test", "order": 2, "c": (0.0, 1.0), "a": ((), (1.0,)), "b": (0.5, 0.5)} | change
    with pytest.raises(ValueError, match=message):
        ButcherTableau(**table)
