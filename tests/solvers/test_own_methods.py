"""A method that a reader made, as a table or as a function, runs through every loop, and says what is wrong with it."""

import math
import re
from dataclasses import replace

import pytest
import torch

from ndelib import odeint, solve_ivp
from ndelib.solvers import TABLEAUS, BrownianMotion, ButcherTableau, Method, Step, StochasticMethod
from ndelib.solvers.steps.methods import METHODS, find_method

# as chapter 3 writes it
OWN_BOSH3 = ButcherTableau(
    "mine",
    3,
    c=(0, 1 / 2, 3 / 4, 1),
    a=((), (1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0),
    b_error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
    error_order=2,
)
OWN_EULER = ButcherTableau("mine", 1, c=(0,), a=((),), b=(1,))
Y0 = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)
TIMES = [0.0, 0.31, 1.0, 2.0]


def swing(t, y):
    return torch.cat([y[..., 1:], -torch.sin(y[..., :1]) + torch.cos(t)], dim=-1)


def position(t, y):
    return y[0]


def start_by_hand(field, statistics):
    """Heun's method as a function: y₁ = y + h (k₁ + k₂) / 2, with Euler's step for an error estimate."""

    def step(t, y, t1, f0, before=None):
        h = t1 - t
        k1 = field(t, y) if f0 is None else f0
        k2 = field(t1, y.add(k1, alpha=h))
        y1 = y.add(k1, alpha=0.5 * h).add(k2, alpha=0.5 * h)
        return Step(t, t1, y, y1, k=[k1, k2], f1=None, error=0.5 * h * (k2 - k1))

    return step


BY_HAND = Method("by hand", 2, "one step", "me", start_by_hand, error_order=1)


@pytest.mark.parametrize(
    "options",
    [{}, {"step_size": 0.1}, {"batch": "independent"}, {"controller": "i", "rtol": 1e-9}, {"compile": "step"}],
    ids=str,
)
def test_bosh3_written_by_hand_gives_the_numbers_of_bosh3(options, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, **options: f)  # what is compiled, not how: seconds less
    mine, theirs = (odeint(swing, Y0, TIMES, method=method, **options) for method in (OWN_BOSH3, "bosh3"))
    assert torch.equal(mine, theirs)


def test_bosh3_written_by_hand_takes_the_steps_and_finds_the_events_of_bosh3():
    mine, theirs = (
        solve_ivp(swing, (0.0, 5.0), Y0, method=method, events=lambda t, y: y[:, 0], dense=True)
        for method in (OWN_BOSH3, "bosh3")
    )
    assert torch.equal(mine.t, theirs.t)
    assert torch.equal(mine.y, theirs.y)
    assert (mine.steps, mine.rejected, mine.nfe) == (theirs.steps, theirs.rejected, theirs.nfe)
    assert all(map(torch.equal, mine.t_events[0], theirs.t_events[0]))
    assert torch.equal(mine.sol(2.345), theirs.sol(2.345))


def test_a_method_by_hand_has_the_numbers_of_the_table():
    for options in ({"step_size": 0.1}, {"rtol": 1e-3}):
        mine, theirs = (odeint(swing, Y0, TIMES, method=method, **options) for method in (BY_HAND, "heun2"))
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-13)
    event = solve_ivp(swing, (0.0, 5.0), Y0[0], method=BY_HAND, events=position, rtol=1e-3)
    found = solve_ivp(swing, (0.0, 5.0), Y0[0], method="heun2", events=position, rtol=1e-3)
    assert torch.allclose(event.t_events[0], found.t_events[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [OWN_EULER, ButcherTableau("euler", 1, c=(0.0,), a=((),), b=(1.0,))])
def test_a_method_of_one_stage_multiplies_by_one_plus_h(method):
    y0 = torch.tensor([1.0], dtype=torch.float64)
    y = odeint(lambda t, y: y, y0, [0.0, 1.0], method=method, step_size=0.25)
    assert y[-1].item() == pytest.approx(1.25**4, rel=1e-15)


def test_a_table_with_the_name_of_another_is_not_taken_for_it_by_the_compiler(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, **options: f)
    y0 = torch.ones(3, dtype=torch.float64)
    other = replace(OWN_BOSH3, name="rk4")
    mine, theirs, hand = (
        odeint(swing_vector, y0, [0.0, 1.0], method=method, step_size=0.5, compile="step")
        for method in (other, "rk4", OWN_BOSH3)
    )
    assert torch.equal(mine, hand)
    assert not torch.equal(mine, theirs)


def swing_vector(t, y):
    return torch.cos(t) * y - y**3


def test_the_objects_of_the_register_are_methods_too():
    for name in ("bosh3", "dopri8"):
        by_name = odeint(swing, Y0, TIMES, method=name)
        assert torch.equal(odeint(swing, Y0, TIMES, method=TABLEAUS[name]), by_name)
        assert torch.equal(odeint(swing, Y0, TIMES, method=METHODS[name]), by_name)


def test_dop853_is_a_name_of_dopri8_and_torchdiffeqs_users_are_told():
    assert find_method("dop853") is METHODS["dopri8"]
    assert torch.equal(odeint(swing, Y0, TIMES, method="dop853"), odeint(swing, Y0, TIMES, method="dopri8"))
    assert "torchdiffeq's dopri8 is another" in METHODS["dopri8"].source
    for scipy, here in (("DOP853", "dopri8"), ("RK45", "dopri5")):
        with pytest.raises(ValueError, match=f"method '{scipy}' is unknown: here that is, .*'{here}'"):
            odeint(swing, Y0, TIMES, method=scipy)


# mistakes


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_the_tables_of_the_library_have_the_order_they_claim_and_one_more_would_be_noticed(tableau):
    assert find_method(tableau).order == tableau.order
    if tableau.order < 4:
        with pytest.raises(
            ValueError, match=f"claims order {tableau.order + 1}, but its order is {tableau.order}: Σ b"
        ):
            find_method(replace(tableau, order=tableau.order + 1))
    if tableau.b_error and tableau.error_order < 4:
        with pytest.raises(ValueError, match=rf"behaves like h\^{tableau.error_order + 1}: Σ b"):
            find_method(replace(tableau, order=tableau.order, error_order=tableau.error_order + 1))


def test_the_condition_that_fails_is_named():
    # Heun's third-order method with the weights of the second stage moved to the third
    wrong = ButcherTableau("wrong", 3, c=(0, 1 / 3, 2 / 3), a=((), (1 / 3,), (2 / 3, 0)), b=(1 / 4, 0, 3 / 4))
    message = "tableau 'wrong' claims order 3, but its order is 2: Σ bᵢ aᵢⱼ cⱼ should be 0.1666666667, and is 0"
    with pytest.raises(ValueError, match=re.escape(message)):
        odeint(swing, Y0, TIMES, method=wrong, step_size=0.1)


def returns(result):
    return replace(BY_HAND, start=lambda field, statistics: lambda t, y, t1, f0, before=None: result(t, y, t1))


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (3, TypeError, "method must be a name, a ButcherTableau or a Method, got int"),
        (ButcherTableau, TypeError, "got the class ButcherTableau"),
        (lambda t, y: y, TypeError, "got function"),
        (
            replace(BY_HAND, start=lambda field, statistics: None),
            TypeError,
            "start of method 'by hand' must return the f",
        ),
        (returns(lambda t, y, t1: y), TypeError, "a step of method 'by hand' must be a Step, got Tensor"),
        (
            returns(lambda t, y, t1: Step(t, t1, y, y[0], [], None, y)),
            ValueError,
            r"y1 of a step of method 'by hand' must be like y, .*\(2, 2\).*; it is .*\(2,\)",
        ),
        (
            returns(lambda t, y, t1: Step(t, t1, y, y, [], None, None)),
            ValueError,
            "error of a step of method 'by hand'",
        ),
        (
            returns(lambda t, y, t1: Step(t, t1, y, y.float(), [], None, y)),
            ValueError,
            r"y1 of a step .* it is torch.float32",
        ),
    ],
)
def test_what_is_no_method_is_named(method, error, message):
    with pytest.raises(error, match=message):
        odeint(swing, Y0, TIMES, method=method)


def test_a_method_without_a_table_says_what_it_cannot_do():
    for options, message in (
        ({"batch": "independent"}, "method 'by hand' cannot run"),
        ({"compile": "step"}, "is not one"),
    ):
        with pytest.raises(ValueError, match=message):
            odeint(swing, Y0, TIMES, method=BY_HAND, **options)
    with pytest.raises(ValueError, match="has no error estimate"):
        odeint(swing, Y0, TIMES, method=replace(BY_HAND, error_order=None), adaptive=True)


# stochastic equations


def start_own_euler(field, statistics, *, diffusion, noise, calculus):
    def step(t, y, t1, f0, before=None):
        y1 = diffusion.plus(y.add(field(t, y), alpha=t1 - t), diffusion(t, y), noise.increment(t, t1).W)
        return Step(t, t1, y, y1, [], None, None)

    return step


OWN_SDE = StochasticMethod("own", 0.5, "stochastic", "me", start_own_euler, strong={"diagonal": 0.5}, calculus=("ito",))


class Geometric:
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, y):
        return 0.5 * y

    def g(self, t, y):
        return 0.3 * y


def test_an_own_stochastic_method_has_the_numbers_of_the_same_one_here():
    from ndelib import sdeint

    y0 = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    bm = BrownianMotion(0.0, 1.0, (4, 2), torch.float64, entropy=7)
    results = [
        sdeint(Geometric(), y0, [0.0, 0.5, 1.0], bm, method, 0.1, gradient=gradient)
        for method in (OWN_SDE, "euler")
        for gradient in ("backprop", "checkpoint")
    ]
    gradients = [torch.autograd.grad(ys.square().sum(), y0)[0] for ys in results]
    assert all(torch.equal(ys, results[0]) for ys in results)
    assert all(torch.allclose(g, gradients[0], rtol=1e-13) for g in gradients)


def test_a_stochastic_method_that_does_not_fit_is_named():
    from ndelib import sdeint

    y0 = torch.ones(4, 2, dtype=torch.float64)
    for method, error, message in (
        (OWN_BOSH3, TypeError, "method must be a name, a StochasticMethod or None, got ButcherTableau"),
        (replace(OWN_SDE, strong=None), ValueError, "method 'own' must say its strong order"),
        (replace(OWN_SDE, strong={"additive": 1.0}), ValueError, "method 'own' needs noise_type 'additive'"),
    ):
        with pytest.raises(error, match=message):
            sdeint(Geometric(), y0, [0.0, 1.0], method=method, dt=0.1)
    with pytest.raises(ValueError, match="method 'own' is for stochastic equations: call sdeint"):
        odeint(swing, Y0, TIMES, method=OWN_SDE)


def test_the_order_of_a_method_by_hand_is_two():
    y0 = torch.ones(1, dtype=torch.float64)
    errors = []
    for h in (0.02, 0.01):
        y = odeint(lambda t, y: torch.cos(t) * y, y0, [0.0, 2.0], method=BY_HAND, step_size=h)[-1].item()
        errors.append(abs(y - math.exp(math.sin(2.0))))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)
