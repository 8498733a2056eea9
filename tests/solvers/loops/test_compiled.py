"""``compile=``: compiled solves are the solves in Python, made faster; what cannot be compiled is refused by name."""

import gc
import weakref
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from ndelib.solvers import NonFiniteState, StepSizeTooSmall, TooManySteps, odeint, solve_ivp
from ndelib.solvers.control import rms
from ndelib.solvers.loops.compiled import _compiled, not_compiled
from ndelib.solvers.steps.runge_kutta import runge_kutta_step
from ndelib.solvers.steps.tableaus import TABLEAUS
from tests.conftest import full


def has_cpp_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except InvalidCxxCompiler:
        return False


needs_cpp_compiler = pytest.mark.skipif(
    not has_cpp_compiler(), reason="torch.compile needs a C++ compiler: install g++"
)

Y0 = torch.tensor([[1.0, 1.0], [1.5, 0.5], [2.0, 1.0]], dtype=torch.float64)


def lotka_volterra(t: Tensor, y: Tensor) -> Tensor:
    prey, predators = y[..., 0], y[..., 1]
    return torch.stack((1.5 * prey - prey * predators, prey * predators - 3 * predators), dim=-1)


def forced(t: Tensor, y: Tensor) -> Tensor:
    return -y + torch.sin(3 * t)


def compilations() -> int:
    return int(counters["stats"]["unique_graphs"])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch trace functions and run the traces without making machine code: the same logic, in less time."""
    compile_really = torch.compile

    def trace(function: Callable[..., Any], **_: Any) -> Any:
        return compile_really(function, fullgraph=True, dynamic=False, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", trace)


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """Forget compiled code after each test: a trace without machine code must not be found by the next one."""
    yield
    _compiled.clear()


@needs_cpp_compiler
@pytest.mark.parametrize("mode", ["step", "solve"])
def test_machine_code_makes_the_steps_of_the_loop_in_python(mode: str) -> None:
    t = torch.linspace(0, 4, 3, dtype=torch.float64)
    eager = solve_ivp(lotka_volterra, (0, 4), Y0, t_eval=t)
    compiled = solve_ivp(lotka_volterra, (0, 4), Y0, t_eval=t, compile=mode)
    counts = (eager.steps, eager.rejected, eager.nfe)
    assert (compiled.steps, compiled.rejected, compiled.nfe) == counts
    # Sums are taken in another order, so h differs in its last digits and the solution by their effect on its error.
    torch.testing.assert_close(compiled.y, eager.y, rtol=1e-10, atol=1e-10)

    before = compilations()
    other = {"rtol": 1e-4, "atol": 1e-5, "first_step": 0.01, "max_step": 0.5}
    again = odeint(lotka_volterra, Y0 + 0.1, t[:2], compile=mode, **other)
    assert compilations() == before, "other states, times and tolerances must not compile again"
    torch.testing.assert_close(again, odeint(lotka_volterra, Y0 + 0.1, t[:2], **other), rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("mode", "method"),
    # With the slope of the step before and without it: for each mode in the long form
    full(list(product(["step", "solve"], ["dopri5", "fehlberg45"])), [("step", "dopri5"), ("solve", "fehlberg45")]),
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"controller": "pid", "rtol": torch.tensor([1e-5, 1e-8])},
        {"step_at": [1.3], "max_step": 0.2, "min_step": 0.01},
        {"step_at": [2.2, 1.3]},  # each piece begins with the step length of the one before
    ],
)
def test_steps_agree_backwards_and_with_every_option(mode: str, method: str, options: dict[str, Any]) -> None:
    y0, t = torch.tensor([1.0, 2.0], dtype=torch.float64), [3.0, 1.0, 0.0]
    eager = solve_ivp(forced, (3.0, 0.0), y0, t_eval=t, method=method, **options)
    compiled = solve_ivp(forced, (3.0, 0.0), y0, t_eval=t, method=method, compile=mode, **options)
    assert (compiled.steps, compiled.rejected) == (eager.steps, eager.rejected)
    torch.testing.assert_close(compiled.y, eager.y, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("traced")
def test_many_rejected_steps_are_followed_by_the_same_ones() -> None:
    def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
        x, v = y.unbind()
        return torch.stack((v, 20 * (1 - x * x) * v - x))

    y0, t = torch.tensor([2.0, 0.0], dtype=torch.float64), [0.0, *torch.linspace(0.5, 40, 80).tolist()]
    eager = solve_ivp(van_der_pol, (0, 40), y0, t_eval=t, rtol=1e-3, atol=1e-6)
    compiled = solve_ivp(van_der_pol, (0, 40), y0, t_eval=t, rtol=1e-3, atol=1e-6, compile="solve")
    assert eager.rejected > 50
    assert (compiled.steps, compiled.rejected, compiled.nfe) == (eager.steps, eager.rejected, eager.nfe)


@pytest.mark.usefixtures("traced")
def test_a_step_that_just_failed_is_not_stretched_to_where_it_failed() -> None:
    step = runge_kutta_step(TABLEAUS["dopri5"], lambda t, y: forced(torch.as_tensor(t), y), 0.0, Y0, 0.5)
    assert step.error is not None
    tolerance = rms(step.error) / 1.03  # one step to the end fails by 3 %: the next one is 7 % shorter
    options: dict[str, Any] = {"rtol": 0.0, "atol": tolerance, "first_step": 0.5, "max_steps": 10}
    eager = solve_ivp(forced, (0, 0.5), Y0, t_eval=[0.5], **options)
    compiled = solve_ivp(forced, (0, 0.5), Y0, t_eval=[0.5], compile="solve", **options)
    assert (eager.steps, eager.rejected) == (compiled.steps, compiled.rejected) == (2, 1)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("mode", ["step", "solve"])
def test_states_may_be_tuples_and_arguments_may_be_tensors(mode: str) -> None:
    def oscillator(t: Tensor, state: tuple[Tensor, Tensor], stiffness: Tensor) -> tuple[Tensor, Tensor]:
        q, p = state
        return p.sum(dim=0), -stiffness * torch.stack((q, q))

    y0 = torch.ones(3), torch.zeros(2, 3)
    options: dict[str, Any] = {"args": (torch.tensor([1.0, 2.0, 3.0]),), "rtol": 1e-4, "atol": 1e-4}
    for part, eager in zip(
        odeint(oscillator, y0, [0, 1, 2], compile=mode, **options),
        odeint(oscillator, y0, [0, 1, 2], **options),
        strict=True,
    ):
        torch.testing.assert_close(part, eager)  # to the rounding of float32


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("mode", "dtype"),
    full(
        list(product(["step", "solve"], [torch.float32, torch.complex128])),
        [("step", torch.complex128), ("solve", torch.float32)],
    ),
)
def test_a_state_without_dimensions_keeps_its_dtype(mode: str, dtype: torch.dtype) -> None:
    factor = 1j if dtype.is_complex else -1.0
    y = odeint(lambda t, y: factor * y, torch.tensor(1.0, dtype=dtype), [0, 1], rtol=1e-5, atol=1e-5, compile=mode)
    assert y.dtype == dtype
    assert abs(y[-1] - torch.exp(torch.tensor(factor))) < 1e-4  # a few steps with 1e-5 each


@pytest.mark.usefixtures("traced")
def test_gradients_flow_through_compiled_steps() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()

    def field(t: Tensor, y: Tensor) -> Tensor:
        return net(y)

    def gradients(**options: Any) -> list[Tensor]:
        loss = odeint(field, Y0, [0, 1], **options)[-1].square().sum()
        return list(torch.autograd.grad(loss, list(net.parameters())))

    before = compilations()
    compiled = gradients(compile="step")
    assert compilations() == before + 1, "the first step must not be compiled apart from the others"
    torch.testing.assert_close(compiled, gradients(), rtol=1e-10, atol=1e-12)

    with pytest.raises(ValueError, match=r'compile="solve" gives no gradients.*compile="step"'):
        odeint(field, Y0, [0, 1], compile="solve")
    with torch.no_grad():
        net[0].weight.mul_(2)  # a new value of a parameter is used, not the compiled one
        expected = odeint(field, Y0, [0, 1])
        torch.testing.assert_close(odeint(field, Y0, [0, 1], compile="solve"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("traced")
def test_fixed_steps_compile_too() -> None:
    options: dict[str, Any] = {"method": "rk4", "step_size": 0.1}
    expected = odeint(forced, Y0, [0, 1], **options)
    torch.testing.assert_close(odeint(forced, Y0, [0, 1], compile="step", **options), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.usefixtures("traced")
def test_compiled_code_dies_with_its_function_and_has_no_limit() -> None:
    def solve_by_its_own_function(rate: float) -> weakref.ref[Any]:
        def decay(t: Tensor, y: Tensor) -> Tensor:
            return -rate * y

        y = odeint(decay, torch.ones(2, dtype=torch.float64), [0, 1], method="bosh3", rtol=1e-4, compile="step")
        assert abs(y[-1, 0].log() + rate) < 1e-2
        return weakref.ref(decay)

    # torch gives up after the eighth compilation of one function; these are ten functions
    functions = [solve_by_its_own_function(0.1 * (i + 1)) for i in range(10)]
    gc.collect()
    assert all(function() is None for function in functions)
    assert len(_compiled) == 0


@pytest.mark.usefixtures("traced")
def test_a_compiled_solve_that_fails_says_where_and_why() -> None:
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(StepSizeTooSmall, match=r"t = 1\.0000.*blows up"):
        odeint(lambda t, y: y * y, one, [0, 2], compile="solve")
    with pytest.raises(TooManySteps, match=r"max_steps = 50 .*stiff"):
        odeint(lambda t, y: -1e6 * y, one, [0, 2], compile="solve", max_steps=50)
    with pytest.raises(NonFiniteState, match="t = 0"):
        odeint(lambda t, y: torch.sqrt(-y), one, [0, 2], compile="solve")


def test_what_cannot_be_traced_is_refused_with_the_reason() -> None:
    def branching(t: Tensor, y: Tensor) -> Tensor:
        return y if t > 1 else -y

    with pytest.raises(ValueError, match=r"(?s)compile='step'.*branching on values.*Data-dependent branching"):
        odeint(branching, Y0, [0, 2], compile="step")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": "step", "method": "esdirk54"}, "compile='step' is for explicit Runge–Kutta methods"),
        ({"compile": "solve", "method": "leapfrog"}, "compile='solve' is for explicit Runge–Kutta methods"),
        ({"compile": "solve", "method": "rk4"}, 'this solve has fixed steps: use compile="step"'),
        ({"compile": "solve", "step_size": 0.1}, 'this solve has fixed steps: use compile="step"'),
        ({"compile": "all"}, "compile must be None, 'step' or 'solve', got 'all'"),
    ],
)
def test_what_has_no_compiled_form_is_refused(options: dict[str, Any], message: str) -> None:
    y0: Any = (Y0, Y0) if options.get("method") == "leapfrog" else Y0
    with pytest.raises(ValueError, match=message):
        odeint(forced, y0, [0, 1], **options)


@pytest.mark.parametrize("mode", ["step", "solve"])
def test_transforms_of_functions_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=r"does not work inside vmap.*compile=None"):
        torch.func.vmap(lambda y: odeint(forced, y, [0, 1], compile=mode))(Y0)


def test_a_missing_compiler_is_named() -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    failure = RuntimeError("backend='inductor' raised:")
    failure.__cause__ = InvalidCxxCompiler()
    message = str(not_compiled("solve", failure))
    assert "compile='solve' needs a C++ compiler" in message
    assert "apt install g++" in message
