"""What waits for the backward pass, and what lives on the way back: counted in bytes, against the number of steps."""

import gc
import math

import pytest
import torch

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints import GRADIENTS
from ndelib.adjoints.memory import TensorMemory
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import IMPLICIT, IN_PAIRS, K, leaves
from tests.conftest import full

SIZE = 1000
STATE = 8 * SIZE
"""bytes of a state, which nothing else here is near"""


def f(t, y, k):
    return torch.sin(k[0] * y) * torch.cos(t)


def longer(t, y, k):
    return torch.tanh(torch.cos(torch.exp(f(t, y, k))))


def kept(gradient, method, steps, forward=odeint, f=f, **options):
    """Return the bytes that autograd keeps for the way back, each storage once: what hooks on saved tensors see."""
    y0, k = leaves(torch.linspace(0, 1, SIZE, dtype=torch.float64), K)
    seen = {}

    def pack(x):
        seen[x.untyped_storage().data_ptr()] = (x, x.untyped_storage().nbytes())
        return x

    if method in IN_PAIRS:
        field, state = (lambda t, p, k: k[0] * p, lambda t, q, k: -torch.sin(k[1] * q)), tuple(y0.chunk(2))
    else:
        field, state = f, y0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        options = {"method": method, "gradient": gradient, "args": (k,), "step_size": 1 / steps} | options
        result = forward(field, state, [0.0, 1.0], **options)
    del result
    return sum(size for _, size in seen.values())


def states_a_step(gradient, method, **options):
    """Return how many states more are kept for a step more."""
    few = full(20, 10)  # what is kept is counted in bytes, so it grows along a line and two points tell which
    return (kept(gradient, method, 3 * few, **options) - kept(gradient, method, few, **options)) / (2 * few) / STATE


@pytest.mark.parametrize("method", [name for name in METHODS if name not in IMPLICIT])
def test_checkpoint_keeps_a_state_a_step_and_what_the_method_remembers(method):
    # Multistep methods: the slope where each step began (older ones are those of earlier steps). Leapfrogs: half a
    # slope, or a velocity. Two copies of the state, and a slope.
    memory = {
        "adams_bashforth_moulton": 1,
        "leapfrog": 0.5,
        "yoshida4": 0.5,
        "tao": 3,
        "asynchronous_leapfrog": 1,
        "reversible_heun": 2,
        "reversible_rk4": 1,
        "reversible_dopri5": 1,
    }
    assert states_a_step("checkpoint", method) == pytest.approx(1 + memory.get(method, 0), abs=1e-9)


@pytest.mark.parametrize("method", ["kvaerno3", "esdirk54", "trapezoid", "backward_euler"])
def test_checkpoint_keeps_the_stages_that_newtons_method_found(method):
    def small(t, y, k):
        return -k[0] * y

    def bytes_kept(steps):
        y0, k = leaves(torch.linspace(0, 1, SIZE, dtype=torch.float64)[:, None], K)
        seen = set()

        def pack(x):
            seen.add((x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()))
            return x

        options = {"method": method, "gradient": "checkpoint", "args": (k,), "step_size": 1 / steps}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            result = odeint(small, y0, [0.0, 1.0], **options)
        del result
        return sum(size for _, size in seen)

    stages = METHODS[method].start.args[0].a
    # The first stage is the last one of the step before.
    assert (bytes_kept(9) - bytes_kept(5)) / 4 / STATE == pytest.approx(len(stages), abs=1e-9)


@pytest.mark.parametrize("gradient", ["adjoint", "reversible", "checkpoint"])
def test_nothing_is_kept_for_a_step_more(gradient):
    options = {"checkpoints": "log"} if gradient == "checkpoint" else {}
    for method in ("reversible_rk4", "asynchronous_leapfrog", "implicit_midpoint"):
        assert states_a_step(gradient, method, **options) == 0
        assert kept(gradient, method, 20, **options) <= 6 * STATE


def test_interpolated_keeps_the_steps_but_not_the_graph_of_f():
    # y and y₁, of which one is the step's before, and stages; dopri5's first stage is the last of the step before.
    assert states_a_step("interpolated", "dopri5") == pytest.approx(1 + 6, abs=1e-9)
    assert states_a_step("interpolated", "rk4") == pytest.approx(1 + 4, abs=1e-9)
    # A longer f leaves more behind for backpropagation, and nothing more here.
    assert states_a_step("interpolated", "dopri5", f=longer) == pytest.approx(1 + 6, abs=1e-9)
    more = states_a_step("backprop", "dopri5", f=longer) - states_a_step("backprop", "dopri5")
    assert more == pytest.approx(6 * 2, abs=1e-2)  # results of exp and cos; that of tanh is a stage


def test_a_running_cost_keeps_nothing_more():
    def with_cost(field, y0, t, **options):
        return odeint_with_cost(field, lambda t, y, k: y.square().sum(), y0, t, **options)

    assert states_a_step("checkpoint", "rk4", forward=with_cost) == pytest.approx(1, abs=1e-9)
    assert states_a_step("adjoint", "rk4", forward=with_cost) == 0
    assert states_a_step("reversible", "reversible_rk4", forward=with_cost) == pytest.approx(0, abs=1e-9)


def test_a_solve_that_nobody_differentiates_keeps_nothing():
    (y0,) = leaves(torch.linspace(0, 1, SIZE, dtype=torch.float64))

    def peak(gradient, steps):
        method = "reversible_rk4" if gradient == "reversible" else "rk4"
        with TensorMemory() as memory, torch.no_grad():
            ys = odeint(f, y0, [0.0, 1.0], method=method, gradient=gradient, args=(K,), step_size=1 / steps)
            assert memory.live < 3 * STATE
        del ys
        return memory.peak

    for gradient in GRADIENTS:
        assert peak(gradient, 20) == peak(gradient, 40)


# On the way back


def peak(gradient, method, steps, **options):
    """Return the most bytes that lived at a time from the beginning of the solve to the end of its backward pass."""
    y0, k = leaves(torch.linspace(0, 1, SIZE, dtype=torch.float64), K)
    gc.collect()
    with TensorMemory() as memory:
        ys = odeint(f, y0, [0.0, 1.0], method=method, gradient=gradient, args=(k,), step_size=1 / steps, **options)
        loss = ys[-1].sum()
        loss.backward()
        del ys
        y0.grad = k.grad = None
        gc.collect()
        assert memory.live < 1.1 * STATE  # of what the node of the solve kept: its first state, not the two of ys
        del loss
        gc.collect()
        assert memory.live < STATE
    return memory.peak / STATE


@pytest.mark.parametrize(("gradient", "method"), [("adjoint", "rk4"), ("reversible", "reversible_rk4")])
def test_the_peak_of_adjoint_and_reversible_does_not_know_the_number_of_steps(gradient, method):
    assert peak(gradient, method, 10) == pytest.approx(peak(gradient, method, full(60, 30)), abs=0.1)


def test_the_peak_of_recursive_checkpoints_grows_like_the_logarithm():
    peaks = [peak("checkpoint", "euler", steps, checkpoints="log") for steps in (8, 32, 128)]
    assert 0.5 < peaks[1] - peaks[0] < 2.1  # log₂ 32 − log₂ 8 states at most
    assert 0.5 < peaks[2] - peaks[1] < 2.1


@pytest.mark.parametrize("checkpoints", [4, 9])
def test_no_more_states_are_kept_than_were_allowed(checkpoints):
    more = peak("checkpoint", "euler", 30, checkpoints=checkpoints) - peak("checkpoint", "euler", 30, checkpoints=1)
    assert 0.5 < more < checkpoints - 0.9


def test_a_state_a_step_and_the_graph_of_one():
    few, many = peak("checkpoint", "rk4", 20), peak("checkpoint", "rk4", 60)
    assert many - few == pytest.approx(40, abs=0.5)
    assert few < 20 + 30
    assert peak("backprop", "rk4", 60) > 3 * many


def test_the_gradients_of_many_parameters_are_added_up_and_not_collected():
    weight = torch.linspace(-1, 1, 100 * 100, dtype=torch.float64).reshape(100, 100).div(100).requires_grad_()
    (y0,) = leaves(torch.ones(100, dtype=torch.float64))

    def peak(gradient, steps):
        options = {"gradient": gradient, "params": weight, "method": "rk4", "step_size": 1 / steps}
        with TensorMemory() as memory:
            y = odeint(lambda t, y: y @ weight, y0, [0.0, 1.0], **options)
            y[-1].sum().backward()
        weight.grad = None
        return memory.peak / weight.nbytes

    for gradient in ("checkpoint", "adjoint", "interpolated"):
        assert peak(gradient, 30) < peak(gradient, 10) + 20 * 6 / 100 + 0.1  # what is kept of steps, and no weights


def test_a_number_is_kept_for_each_step_and_no_tensor():
    assert math.isclose(kept("reversible", "reversible_rk4", 300), kept("reversible", "reversible_rk4", 20))
