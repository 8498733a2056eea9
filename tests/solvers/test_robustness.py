"""What users do to a solver that nobody asked them to do: the answer is right, or an error says what is wrong."""

import math

import pytest
import torch

from ndelib import odeint, solve_ivp
from ndelib.solvers import SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.field import CheckedField
from ndelib.solvers.methods import METHODS
from ndelib.solvers.step import Statistics

EXPLICIT = [m.name for m in METHODS.values() if m.tableau is not None]
ONE_STATE = [m.name for m in METHODS.values() if "split" not in m.options]


def tensor(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def decay(t, y):
    return -y


class Kept:
    """A field that fills one tensor again and again."""

    def __call__(self, t, y):
        if not hasattr(self, "slope"):
            self.slope = torch.empty_like(y)
        return self.slope.copy_(-y)


@pytest.mark.parametrize("name", ONE_STATE)
def test_a_field_that_writes_into_the_state_is_refused_and_y0_is_unharmed(name):
    def negate(t, y):
        return y.neg_()

    def clear(t, y):
        slope = -y
        y.zero_()
        return slope

    y0 = tensor(1.0, 2.0)
    for f in (negate, clear):
        for grad in (True, False):
            with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=r"written into y, .* y\.clone\(\)"):
                odeint(f, y0, [0.0, 1.0], method=name)
    assert torch.equal(y0, tensor(1.0, 2.0))


def test_parts_of_a_tuple_are_guarded_too():
    def f(t, state):
        q, p = state
        return p, q.neg_()

    with pytest.raises(ValueError, match="written into y"):
        odeint(f, (tensor(1.0), tensor(0.0)), [0.0, 1.0])


@pytest.mark.parametrize("name", [name for name in EXPLICIT if len(METHODS[name].tableau.b) > 1])
def test_a_field_that_fills_its_last_result_again_is_refused(name):
    with pytest.raises(ValueError, match="written into the tensor that it returned before"):
        odeint(Kept(), tensor(1.0, 2.0), [0.0, 1.0], method=name)


def test_a_field_may_return_the_state_itself_or_a_constant():
    assert odeint(lambda t, y: y, tensor(1.0), [0.0, 1.0])[-1].item() == pytest.approx(math.e, rel=1e-6)
    one = tensor(1.0)
    assert odeint(lambda t, y: one.expand(3), torch.zeros(3).double(), [0.0, 2.0])[-1].tolist() == pytest.approx(
        [2] * 3
    )


def test_a_slope_found_without_a_graph_is_not_used_where_gradients_are_wanted():
    rate = tensor(2.0).requires_grad_()
    y = tensor(1.0)
    field = CheckedField(lambda t, y: rate * y, y, Statistics())
    with torch.no_grad():
        assert not field(0.0, y).requires_grad
    assert field(0.0, y).requires_grad


def test_dense_output_does_not_hear_of_what_becomes_of_y0():
    y0 = tensor(1.0)
    solution = solve_ivp(decay, (0.0, 1.0), y0, dense=True)
    before = solution.sol(torch.tensor([0.0, 0.01]))
    y0.fill_(7.0)
    assert torch.equal(solution.sol(torch.tensor([0.0, 0.01])), before)


@pytest.mark.parametrize("times", [[1e8, 1e8 + 1.5e-8, 1e8 + 100], [0.0, 5e-324, 1.0], [1.0, 1.0 - 2e-16, -20.0]])
def test_requested_times_may_be_as_near_as_floats_can_be(times):
    f = math.copysign(1.0, times[-1] - times[0])
    y = odeint(lambda t, y: -f * y, tensor(1.0), times, rtol=1e-9, atol=1e-9)
    assert y[1].item() == pytest.approx(1.0, abs=1e-7)
    assert y[-1].item() == pytest.approx(math.exp(-abs(times[-1] - times[0])), abs=1e-7)


def test_min_step_bounds_what_the_error_asks_for_and_nothing_else():
    # Neither a requested time nearer than min_step, nor the cautious first step, is a reason to fail.
    y = odeint(decay, tensor(1.0), [0.0, 0.01, 1.0], min_step=0.05)
    assert y[-1].item() == pytest.approx(math.exp(-1), abs=1e-6)
    assert solve_ivp(lambda t, y: torch.cos(t) + 0 * y, (0, 1), tensor(0.0), min_step=1e-3, rtol=1e-4).t[1] == 1e-3
    assert odeint(decay, tensor(1.0), [0.0, 1e-3], min_step=5.0)[-1].item() == pytest.approx(math.exp(-1e-3))
    with pytest.raises(StepSizeTooSmall, match=r"lower min_step"):
        odeint(decay, tensor(1.0), [0.0, 1.0], min_step=5.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("times", [[1.0, 2.0], [1.0, 0.0]])
def test_a_jump_at_the_first_or_last_time_is_seen_from_inside(times, dtype):
    def f(t, y):
        assert t != 1.0, "asked at the jump itself"
        return -y

    tolerance = {"rtol": 1e-2, "atol": 1e-2}
    for span in (times, times[::-1]):
        odeint(f, tensor(1.0, dtype=dtype), span, step_at=[1.0], **tolerance)
        odeint(f, tensor(1.0, dtype=dtype), span, step_at=[1.0], method="rk4", step_size=0.25)


@pytest.mark.parametrize("name", ["dopri5", "dopri8", "kvaerno3"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_many_requested_times_in_one_step_are_those_asked_for_one_by_one(name, shape):
    y0 = torch.linspace(0.5, 1.0, max(1, math.prod(shape)), dtype=torch.float64).reshape(shape)
    times = [0.0, 0.013, 0.02, 0.3, 0.31, 0.32, 0.9, 1.0]
    solution = solve_ivp(decay, (0.0, 1.0), y0, method=name, t_eval=times)
    assert torch.equal(odeint(decay, y0, times, method=name), solution.y)


@pytest.mark.parametrize(
    ("f", "y0", "options", "error", "message"),
    [
        (lambda t, y: torch.exp(y), 0.0, {}, StepSizeTooSmall, r"runs into a singularity of f or blows up"),
        (lambda t, y: -1 / (2 * y), 1.0, {"rtol": 1e-4}, StepSizeTooSmall, r"at t = 1\.0.* singularity of f"),
        (lambda t, y: -torch.sqrt(y), 1.0, {}, StepSizeTooSmall, r"infinite or NaN: f may not be defined"),
        (lambda t, y: 1000 * y, 1.0, {}, StepSizeTooSmall, r"near the largest number of torch.float64"),
        (lambda t, y: -torch.sign(y), 1.0, {"max_steps": 5000}, TooManySteps, r"f changes by its own size"),
        (decay, 1.0, {"max_step": 1e-3, "max_steps": 50}, TooManySteps, r"as long as max_step = 0.001 allows"),
        (lambda t, y: -y * torch.rand_like(y), 1.0, {"max_steps": 50}, SolverError, r"different results .* \.eval\(\)"),
        (decay, 1.0, {"max_step": 1e-17}, StepSizeTooSmall, r"from the start: raise first_step or max_step"),
    ],
)
def test_the_diagnosis_names_the_cause(f, y0, options, error, message):
    torch.manual_seed(0)
    with pytest.raises(error, match=message):
        odeint(f, tensor(y0), [1.0, 4.0] if "max_step" in options else [0.0, 4.0], **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y0": tensor(1.0, math.nan)}, ValueError, r"y0 holds an infinity or NaN"),
        ({"y0": tensor(math.inf), "method": "rk4"}, ValueError, r"y0 holds an infinity or NaN"),
        ({"y0": (tensor(1.0), (tensor(1.0),))}, TypeError, r"y0\[1\] must be a tensor, got tuple.* flat tuple"),
        ({"y0": [tensor(1.0)]}, TypeError, r"y0 must be a tensor, got list.* flat tuple"),
        ({"f": 3}, TypeError, r"f must be a function f\(t, y\) -> dy/dt, got int"),
        ({"t": 1.0}, TypeError, r"t must be a tensor or a sequence of times, got float"),
        ({"rtol": [1e-3]}, TypeError, r"rtol must be a number or a tensor that broadcasts to y0, got list"),
        ({"step_size": "0.1"}, TypeError, r"step_size must be a number or None, got str"),
        ({"step_at": 0.5}, TypeError, r"step_at must be a sequence of times: write \[0\.5\]"),
        ({"method": "RK45"}, ValueError, r"'RK45' is unknown: .* 'dopri5'"),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    call = {"f": decay, "y0": tensor(1.0), "t": [0.0, 1.0]} | arguments
    with pytest.raises(error, match=message):
        odeint(call.pop("f"), call.pop("y0"), call.pop("t"), **call)
