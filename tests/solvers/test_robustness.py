"""What users do to a solver that nobody asked them to do: the answer is right, or an error says what is wrong."""

import math

import pytest
import torch

from ndelib import odeint, solve_ivp
from ndelib.solvers import Controller, NonFiniteState, SolverError, StepSizeTooSmall, TooManySteps
from ndelib.solvers.field import CheckedField
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.step import Statistics

EXPLICIT = [m.name for m in METHODS.values() if m.tableau is not None]
ONE_STATE = [m.name for m in METHODS.values() if "split" not in m.options]


def tensor(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def decay(t, y):
    return -y


def undefined(t, y):
    return -y if t < 0.5 else y * math.nan


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


@pytest.mark.parametrize("batch", ["shared", "independent"])
def test_an_absolute_tolerance_that_no_float_can_divide_by_still_gives_a_first_step(batch):
    # One component begins at zero, so that atol alone is its scale: the slope in that scale is infinite.
    y0 = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    y = odeint(lambda t, y: 1 - y, y0, [0.0, 1.0], rtol=1e-6, atol=1e-200, batch=batch)
    assert torch.allclose(y[-1], torch.tensor([[1 - math.exp(-1), 1.0]], dtype=torch.float64), atol=1e-5)


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
        (lambda t, y: torch.exp(y), 0.0, {}, StepSizeTooSmall, r"blows up in finite time, at about t = 1:"),
        (lambda t, y: -1 / (2 * y), 1.0, {"rtol": 1e-4}, StepSizeTooSmall, r"at t = 1\.0.* singularity of f"),
        (
            lambda t, y: -torch.sqrt(y),
            1.0,
            {},
            StepSizeTooSmall,
            r"infinite or NaN just beyond it: f may not be defined",
        ),
        (lambda t, y: 1000 * y, 1.0, {}, StepSizeTooSmall, r"near the largest number of torch.float64"),
        (lambda t, y: -torch.sign(y), 1.0, {"max_steps": 5000}, TooManySteps, r"f changes by its own size"),
        (decay, 1.0, {"max_step": 1e-3, "max_steps": 50}, TooManySteps, r"as long as max_step = 0.001 allows"),
        (lambda t, y: -y * torch.rand_like(y), 1.0, {"max_steps": 50}, SolverError, r"different results .* \.eval\(\)"),
        (decay, 1.0, {"max_step": 1e-17}, StepSizeTooSmall, r"from the start: raise max_step, which allows no more"),
        (
            undefined,
            1.0,
            {},
            StepSizeTooSmall,
            r"at t = 0\.5 .* component 0 of f is infinite or NaN just beyond it",
        ),
        (undefined, 1.0, {"method": "kvaerno3"}, StepSizeTooSmall, r"component 0 of f is infinite or NaN just beyond"),
        (
            undefined,
            1.0,
            {"method": "rk4", "step_size": 0.1},
            NonFiniteState,
            r"component 0 of f.* from t = 0\.4 with",
        ),
        (undefined, 1.0, {"method": "euler", "step_size": 0.1}, NonFiniteState, r"component 0 of f.* from t = 0\.5"),
        (
            lambda t, y: y**2,
            1.0,
            {"method": "rk4", "step_size": 0.1},
            NonFiniteState,
            r"the state became infinite or NaN",
        ),
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
        ({"method": "kvaerno5"}, ValueError, r"'kvaerno5' is unknown: .* 'esdirk54'"),
        ({"y0": tensor(math.nan)[None], "batch": "independent"}, ValueError, r"y0 holds an infinity or NaN"),
        ({"y0": torch.eye(2).to_sparse()}, TypeError, r"y0 must be a dense tensor, got the layout torch.sparse_coo"),
        ({"y0": torch.ones(2, device="meta")}, ValueError, r"y0 is on the device 'meta'"),
        ({"f": lambda t, y: y.to("meta")}, ValueError, r"f\(t, y\) must return .* device of y, cpu; it returned meta"),
        ({"t": torch.ones(2, device="meta")}, ValueError, r"t is on the device 'meta'"),
        ({"atol": torch.ones(1, device="meta")}, ValueError, r"atol is on the device 'meta'"),
        ({"t": ["0", "1"]}, TypeError, r"t must be a tensor or a sequence of times, got \['0', '1'\]"),
        ({"t": None, "y0": tensor(1.0)[None], "batch": "independent"}, TypeError, r"t must be a .* got NoneType"),
        ({"t": torch.tensor([0.0, 1j])}, TypeError, r"t must hold real numbers, got the dtype torch.complex64"),
        (
            {"rtol": torch.tensor(1j)},
            TypeError,
            r"rtol must be a number or .* of the shape \(\) and dtype torch.complex",
        ),
        (
            {"step_size": torch.ones(2)},
            TypeError,
            r"step_size must be a number or None, got a tensor of the shape \(2,\)",
        ),
        ({"min_step": "0"}, TypeError, r"min_step must be a number, got str"),
        ({"max_step": None}, TypeError, r"max_step must be a number, got NoneType"),
        ({"max_steps": math.nan}, ValueError, r"max_steps must be at least 1, got nan"),
        ({"step_at": None}, TypeError, r"step_at must be a sequence of times, got NoneType"),
        ({"step_at": ["now"]}, TypeError, r"step_at\[0\] must be a number, got str"),
        ({"adaptive": "no"}, TypeError, r"adaptive must be True, False or None, got 'no'"),
        ({"controller": ["pi"]}, ValueError, r"controller \['pi'\] is unknown: did you mean 'pi'"),
        ({"method": "esdirk54", "jacobian": 3}, TypeError, r"jacobian must be a function .* got int"),
        (
            {"method": "esdirk54", "jacobian": lambda t, y: -torch.ones(1, 1)},
            ValueError,
            r"jacobian\(t, y\) must return torch.float64 on cpu .* got torch.float32",
        ),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    call = {"f": decay, "y0": tensor(1.0), "t": [0.0, 1.0]} | arguments
    with pytest.raises(error, match=message):
        odeint(call.pop("f"), call.pop("y0"), call.pop("t"), **call)


def test_a_controller_holds_numbers():
    for wrong in ({"safety": "a"}, {"derivative": math.nan}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} of a controller must be a number"):
            Controller(**wrong)


def test_times_of_a_solve_are_called_by_their_names():
    with pytest.raises(TypeError, match=r"t_span must be a tensor or a sequence of times, got float"):
        solve_ivp(decay, 1.0, tensor(1.0))
    with pytest.raises(ValueError, match=r"t_eval\[0\] = 0.2 is followed by t_eval\[1\] = 0.2"):
        solve_ivp(decay, (0.0, 1.0), tensor(1.0), t_eval=[0.2, 0.2])
