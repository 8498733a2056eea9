"""Every method × every gradient: the derivative is right, or an error names what works instead."""

import re

import pytest
import torch
from torch.autograd import gradcheck

from ndelib import odeint
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import (
    EXACT,
    IMPLICIT,
    REFUSED,
    UNDOABLE,
    WORKING,
    Y0,
    K,
    apart,
    each_kind,
    leaves,
    slope,
    solve,
    total,
    vector,
)
from tests.conftest import full

CONTINUOUS = each_kind([(method, gradient) for method, gradient in WORKING if gradient not in EXACT])
DISCRETE = each_kind([(method, gradient) for method, gradient in WORKING if gradient in EXACT])
TIMES = vector(0.0, 0.1, 0.25)
STEP = {1: 2**-7, 2: 2**-5, 3: 2**-4, 4: 2**-4, 5: 2**-3, 8: 2**-3}
"""a step for the order of a method, small enough for gradients of the solution to be near those of the numbers"""


def is_derivative(function, inputs, bound):
    options = {"eps": 1e-5, "atol": bound, "rtol": 0, "check_undefined_grad": False}
    # In the short form one random product of the Jacobian: an error in any entry changes it.
    return gradcheck(function, leaves(*inputs), fast_mode=full(False, True), **options)


def test_the_methods_that_can_be_undone_are_those_of_theory():
    assert [name for name, method in METHODS.items() if method.reverse is not None] == UNDOABLE
    assert len(WORKING) + len(REFUSED) == len(METHODS) * len(GRADIENTS)


@pytest.mark.parametrize(("method", "gradient"), DISCRETE)
def test_gradients_for_state_and_parameters_are_difference_quotients_at_any_step(method, gradient):
    def loss(y0, k):
        return total(solve(method, gradient, y0, TIMES, k, step_size=0.07))

    assert is_derivative(loss, (Y0, K), 1e-7)


@pytest.mark.parametrize(("method", "gradient"), DISCRETE)
def test_gradients_for_times_are_difference_quotients_where_steps_are_small(method, gradient):
    # They are derivatives of the solution, not of the steps.
    order = METHODS[method].order
    h = STEP[order]
    assert is_derivative(lambda t: total(solve(method, gradient, Y0, t, K, step_size=h)), [TIMES], 10 * h**order + 1e-7)


@pytest.mark.parametrize(("method", "gradient"), CONTINUOUS)
def test_gradients_of_the_solution_are_difference_quotients_where_steps_are_small(method, gradient):
    order = METHODS[method].order
    h = STEP[order]

    def loss(y0, t, k):
        return total(solve(method, gradient, y0, t, k, step_size=h))

    assert is_derivative(loss, (Y0, TIMES, K), 10 * h**order + 1e-7)


@pytest.mark.parametrize(("method", "gradient"), CONTINUOUS)
def test_a_gradient_of_the_solution_meets_that_of_the_numbers_at_the_order_of_the_method(method, gradient):
    order = METHODS[method].order
    first = {1: 32, 2: 16, 3: 8, 4: 6, 5: 4, 8: 1}[order]

    def errors(steps):
        y0, k = leaves(Y0, K)
        ends = [
            torch.autograd.grad(total(solve(method, how, y0, [0.0, 0.6], k, step_size=0.6 / steps)), (y0, k))
            for how in (gradient, "backprop")
        ]
        return apart(*ends)

    measured = slope([errors(first), errors(2 * first)])
    assert order - 0.4 < measured < order + 1.6  # a part of the error may cancel


def test_what_cannot_be_had_is_refused_before_f_is_asked_and_what_the_error_names_works():
    for method, gradient in REFUSED:
        with pytest.raises(ValueError, match=f"gradient='{gradient}'") as refusal:
            solve(method, gradient, *leaves(Y0), TIMES, K, f=None)
        said = str(refusal.value)
        if gradient == "reversible":
            named = re.search(r"choose (.*); or", said)[1].split(", ")
            assert named == UNDOABLE
            assert "gradient='checkpoint'" in said
        else:
            named = re.findall(r"'(\w+)'", said.split("adjoint_method, such as")[1])
            assert named == ["dopri5", "backprop", "checkpoint", "reversible"]
            y0, k = leaves(Y0, K)
            found = [
                torch.autograd.grad(total(solve(method, how, y0, TIMES, k, step_size=0.01, **options)), (y0, k))
                for how, options in [
                    (gradient, {"adjoint_method": "dopri5"}),
                    *((other, {}) for other in named[1:]),
                ]
            ]
            for other in found[1:]:
                assert apart(other, found[1]) < 1e-10
            assert apart(found[0], found[1]) < 1e-2


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("checkpoints", [1, "log"])
def test_stages_that_newtons_method_finds_are_kept_or_the_combination_refused(method, checkpoints):
    with pytest.raises(ValueError, match="does not find the same digits twice: leave checkpoints out"):
        solve(method, "checkpoint", *leaves(Y0), TIMES, K, checkpoints=checkpoints)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("option", "value", "users"),
    [
        ("checkpoints", 3, ("checkpoint",)),
        ("adjoint_method", "dopri5", ("adjoint", "interpolated")),
        ("adjoint_rtol", 1e-6, ("adjoint", "interpolated")),
        ("adjoint_atol", 1e-6, ("adjoint", "interpolated")),
    ],
)
def test_options_that_belong_to_another_gradient_are_refused(gradient, option, value, users):
    if gradient in users:
        solve("dopri5", gradient, Y0, TIMES, *leaves(K), **{option: value})
    else:
        with pytest.raises(ValueError, match=f"gradient='{gradient}' has no use for {option}; it is for '{users[0]}'"):
            solve("reversible_rk4", gradient, Y0, TIMES, *leaves(K), **{option: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gradient": "adjoin"}, ValueError, r"gradient 'adjoin' is unknown: did you mean 'adjoint'"),
        (
            {"gradient": "checkpoint", "checkpoints": 0},
            ValueError,
            r"checkpoints must be a number of states, at least 1",
        ),
        ({"gradient": "checkpoint", "checkpoints": "lin"}, ValueError, r"or 'log', got 'lin'"),
        ({"gradient": "checkpoint", "checkpoints": 2.5}, ValueError, r"got 2\.5"),
        ({"gradient": "adjoint", "deviation": "shout"}, ValueError, r"'warn', 'raise' or 'ignore', got 'shout'"),
        ({"gradient": "adjoint", "adjoint_method": "dopri6"}, ValueError, r"method 'dopri6' is unknown"),
        (
            {"gradient": "adjoint", "batch": "independent"},
            ValueError,
            r"batch='independent' works with .*'backprop' only",
        ),
        (
            {"gradient": "checkpoint", "compile": "step"},
            ValueError,
            r"compile='step' works with gradient='backprop' only",
        ),
        ({"gradient": "adjoint", "params": [1.0]}, TypeError, r"params must be tensors, .* got float"),
        ({"checkpoint": 3}, TypeError, r"'checkpoint' is not an option: did you mean 'checkpoints'"),
        ({"adjoint_params": ()}, TypeError, r"write odeint\(…, params=…\)"),
        ({"gradient": "adjoint", "adjoint_method": "leapfrog"}, ValueError, r"splitting method 'leapfrog'"),
    ],
)
def test_bad_input_names_the_argument(options, error, message):
    with pytest.raises(error, match=message):
        odeint(lambda t, y: -y, *leaves(Y0), [0.0, 1.0], **options)


@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_a_backward_solve_is_not_one_long_step_where_the_forward_one_chooses_its_own(gradient):
    y0, k = leaves(Y0, K)
    with pytest.raises(ValueError, match=r"adjoint_method='rk4' makes fixed steps.* dopri5.*give step_size"):
        solve("dopri5", gradient, y0, [0.0, 3.0], k, adjoint_method="rk4")
    fixed = total(solve("dopri5", gradient, y0, [0.0, 3.0], k, adjoint_method="rk4", step_size=0.02))
    exact = total(solve("dopri5", "backprop", y0, [0.0, 3.0], k, step_size=0.02))
    assert apart(torch.autograd.grad(fixed, (y0, k)), torch.autograd.grad(exact, (y0, k))) < 1e-6
