"""A field that is the derivative of an energy, by autograd inside it, works wherever its closed form does.

The pendulum H(q, p) = p²/2 − k cos q has the field (p, −k sin q): so solutions and gradients are known to rounding.
"""

import pytest
import torch

from ndelib import odeint, odeint_with_cost, sdeint, solve_ivp
from ndelib.adjoints import SDE_GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import EXACT, IN_PAIRS, WORKING, Y0, apart, leaves, total, vector

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]


def energy(q, p, k):
    return (p**2 / 2 - k * torch.cos(q)).sum()


def closed_form(t, y, k):
    q, p = y if isinstance(y, tuple) else y.chunk(2, -1)
    slopes = p, -k * torch.sin(q)
    return slopes if isinstance(y, tuple) else torch.cat(slopes, -1)


def rotated(dq, dp, y):
    return (dp, -dq) if isinstance(y, tuple) else torch.cat([dp, -dq], -1)


def bare(t, y, k):
    """As users of torchdiffeq write it: y is taken to be in the graph."""
    q, p = y if isinstance(y, tuple) else y.chunk(2, -1)
    return rotated(*torch.autograd.grad(energy(q, p, k), (q, p), create_graph=True), y)


def whole(t, y, k):
    (dH,) = torch.autograd.grad(energy(*y.chunk(2, -1), k), y, create_graph=True)
    return rotated(*dH.chunk(2, -1), y)


def cut(t, y, k):
    q, p = y if isinstance(y, tuple) else y.chunk(2, -1)
    return rotated(*torch.autograd.grad(energy(q, p, k), (q, p)), y)


def flagging(t, y, k):
    """It asks for a gradient of the tensors that it is given."""
    with torch.enable_grad():
        for part in y if isinstance(y, tuple) else (y,):
            part.requires_grad_()
        return bare(t, y, k)


def functional(t, y, k):
    q, p = y if isinstance(y, tuple) else y.chunk(2, -1)
    return rotated(*torch.func.grad(energy, argnums=(0, 1))(q, p, k), y)


FORMS = {"bare": bare, "whole": whole, "flagging": flagging, "functional": functional}
"""those that autograd can differentiate again"""


def state(method, y0):
    return tuple(y0.chunk(2, -1)) if method in IN_PAIRS else y0


def states(ys):
    return torch.cat(ys, -1) if isinstance(ys, tuple) else ys


@pytest.mark.parametrize("method", METHODS)
def test_every_method_solves_it_in_every_mode(method):
    k = vector(1.3)
    expected = states(odeint(closed_form, state(method, Y0), [0.0, 0.4], method=method, args=(k,), step_size=0.2))
    for f in (bare, cut, flagging, functional):
        for mode, (y0, k0) in {torch.no_grad: (Y0, k), torch.enable_grad: leaves(Y0, k)}.items():
            with mode():
                ys = states(odeint(f, state(method, y0), [0.0, 0.4], method=method, args=(k0,), step_size=0.2))
            assert torch.allclose(ys, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_every_adaptive_method_chooses_the_same_steps(method):
    options = {"method": method, "rtol": 1e-3, "atol": 1e-3, "args": (vector(1.3),)}
    expected = solve_ivp(closed_form, (0, 1), Y0, **options)
    for f in (bare, cut):
        found = solve_ivp(f, (0, 1), Y0.clone().requires_grad_(f is bare), **options)
        assert (found.steps, found.rejected) == (expected.steps, expected.rejected)
        assert torch.allclose(found.y, expected.y, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("method", "gradient"), WORKING)
def test_every_gradient_is_that_of_the_closed_form(method, gradient):
    def solved(f):
        y0, k = leaves(Y0, vector(1.3))
        options = {"method": method, "gradient": gradient, "args": (k,), "step_size": 0.2, "rtol": 1e-11, "atol": 1e-11}
        if gradient == "adjoint":
            options["deviation"] = "ignore"
        return torch.autograd.grad(total(states(odeint(f, state(method, y0), [0.0, 0.4], **options))), (y0, k))

    expected = solved(closed_form)
    for f in (bare, flagging, functional) if method in ("rk4", "trapezoid", "reversible_rk4") else (bare,):
        assert apart(solved(f), expected) < 1e-9


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint", "interpolated"])
@pytest.mark.parametrize("method", ["dopri5", "kvaerno3"])
@pytest.mark.parametrize("form", ["bare", "whole"])
def test_adaptive_steps_running_costs_and_moving_times(gradient, method, form):
    def solved(f):
        y0, t, k = leaves(Y0, vector(0.0, 0.5, 1.0), vector(1.3))
        options = {"method": method, "gradient": gradient, "args": (k,), "rtol": 1e-5, "atol": 1e-5}
        ys, costs = odeint_with_cost(f, lambda t, y, k: y.square().sum(), y0, t, **options)
        return torch.autograd.grad(total(ys) + total(costs), (y0, t, k))

    assert apart(solved(FORMS[form]), solved(closed_form)) < (1e-8 if gradient in EXACT else 1e-4)


@pytest.mark.parametrize("form", [*FORMS, "cut"])
def test_events_and_dense_output(form):
    f, k = {**FORMS, "cut": cut}[form], vector(1.3)

    def solved(f):
        return solve_ivp(f, (0, 5), Y0, events=lambda t, y, *args: y[0], dense=True, args=(k,), rtol=1e-9, atol=1e-9)

    found, expected = solved(f), solved(closed_form)
    assert len(found.t_events[0]) > 0
    assert torch.allclose(found.t_events[0], expected.t_events[0], rtol=0, atol=1e-7)
    assert torch.allclose(found.sol(2.5), expected.sol(2.5), rtol=0, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_independent_samples(form):
    def solved(f):
        y0, k = leaves(Y0 * torch.arange(1, 4)[:, None], vector(1.3))
        ys = odeint(f, y0, [0.0, 1.0], batch="independent", args=(k,))
        return ys[-1].detach(), *torch.autograd.grad(total(ys), (y0, k))

    assert apart(solved(FORMS[form]), solved(closed_form)) < 1e-5


@pytest.mark.parametrize("method", ["kvaerno3", "trapezoid"])
@pytest.mark.parametrize("form", [*FORMS, "cut"])
def test_a_batch_for_implicit_methods(method, form):
    f, k = {**FORMS, "cut": cut}[form], vector(1.3)
    y0 = Y0 * torch.arange(1, 4)[:, None]
    found, expected = (odeint(g, y0, [0.0, 1.0], method=method, step_size=0.1, args=(k,)) for g in (f, closed_form))
    assert torch.allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("gradient", SDE_GRADIENTS)
@pytest.mark.parametrize("form", FORMS)
def test_stochastic_equations_whose_drift_and_diffusion_do_so(gradient, form):
    class Noisy(torch.nn.Module):
        noise_type, sde_type = "diagonal", "stratonovich"

        def __init__(self, f):
            super().__init__()
            self.field, self.k = f, torch.nn.Parameter(vector(1.3))

        def f(self, t, y):
            return self.field(t, y, self.k)

        def g(self, t, y):
            return 0.1 * self.field(t, y.clone(), self.k)

    def solved(f):
        torch.manual_seed(3)
        sde, (y0,) = Noisy(f), leaves(Y0[None].repeat(5, 1))
        method = "reversible_heun" if gradient == "reversible" else "midpoint"
        ys = sdeint(sde, y0, [0.0, 0.3], dt=0.05, method=method, gradient=gradient, deviation="ignore")
        return torch.autograd.grad(total(ys), (y0, sde.k))

    assert apart(solved(FORMS[form]), solved(closed_form)) < 1e-9


# What it leaves alone


def test_tensors_of_the_solver_are_not_made_to_require_a_gradient():
    k = vector(1.3)
    for y0 in (Y0.clone(), Y0.clone()[None]):
        ys = odeint(flagging, y0, [0.0, 0.3, 0.7], args=(k,))
        assert not ys.requires_grad
        assert not y0.requires_grad
    solution = solve_ivp(flagging, (0, 1), Y0, args=(k,))
    assert not solution.y.requires_grad


def test_an_ordinary_mistake_is_still_the_users_own_error():
    def wrong(t, y):
        torch.autograd.grad(vector(1.0).sum(), vector(2.0))

    with pytest.raises(RuntimeError, match="does not require grad") as failure:
        odeint(wrong, Y0, [0.0, 1.0])
    assert "differentiates by torch.autograd something that does not depend on y" in failure.value.__notes__[0]


def test_inside_functorch_the_error_says_what_to_use():
    with pytest.raises(RuntimeError) as failure:
        torch.func.vmap(lambda y: odeint(bare, y, [0.0, 1.0], args=(vector(1.3),)))(Y0.repeat(3, 1))
    assert "torch.func.grad" in failure.value.__notes__[0]
    by_vmap = torch.func.vmap(lambda y: odeint(functional, y, [0.0, 1.0], args=(vector(1.3),)))(Y0.repeat(3, 1))
    assert torch.allclose(by_vmap[1], odeint(closed_form, Y0, [0.0, 1.0], args=(vector(1.3),)), atol=1e-6)


@pytest.mark.parametrize("compile", ["step", "solve"])
def test_compiled_solves_do_it_or_say_that_they_cannot(compile):
    def f(t, y):
        return bare(t, y, 1.3)

    expected = odeint(closed_form, Y0, [0.0, 0.5], args=(1.3,))
    with torch.no_grad():
        try:
            found = odeint(f, Y0, [0.0, 0.5], compile=compile)
        except ValueError as refusal:
            assert "could not compile f" in str(refusal)  # noqa: PT017
        else:
            assert torch.allclose(found, expected, atol=1e-6)
