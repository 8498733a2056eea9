"""A solve as a node of autograd's graph: asked twice, differentiated again, transformed, followed forwards."""

import gc
import weakref

import pytest
import torch
from torch.autograd import forward_ad, gradgradcheck

from ndelib import odeint, odeint_with_cost
from ndelib.adjoints import GRADIENTS
from ndelib.solvers.steps.methods import METHODS
from tests.adjoints.problems import (
    IMPLICIT,
    IN_PAIRS,
    Y0,
    K,
    apart,
    force,
    leaves,
    solve,
    swing,
    total,
    vector,
    velocity,
)

OTHERS = [gradient for gradient in GRADIENTS if gradient != "backprop"]
METHOD = {gradient: "reversible_dopri5" if gradient == "reversible" else "dopri5" for gradient in GRADIENTS}
WAYS = [(gradient, {}) for gradient in OTHERS] + [("checkpoint", {"checkpoints": 2})]
TIMES = vector(0.0, 0.4, 1.0)


def solved(gradient, y0, t, k, **options):
    return solve(METHOD[gradient], gradient, y0, t, k, **{"rtol": 1e-5, "atol": 1e-5} | options)


# Asked twice


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_a_graph_that_is_retained_gives_the_same_gradient_again(gradient, options):
    inputs = leaves(Y0, TIMES, K)
    ys = solved(gradient, *inputs, **options)
    first = torch.autograd.grad(total(ys), inputs, retain_graph=True)
    other = torch.autograd.grad(ys[1].sum(), inputs, retain_graph=True)
    again = torch.autograd.grad(total(ys), inputs)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert apart(other, first) > 0.1
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total(ys.detach() * ys), inputs)


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_gradients_add_up_over_two_backward_passes(gradient, options):
    y0, k = leaves(Y0, K)
    ys = solved(gradient, y0, TIMES, k, **options)
    ys[-1].sum().backward(retain_graph=True)
    once = k.grad.clone()
    ys[-1].sum().backward()
    assert torch.allclose(k.grad, 2 * once, rtol=1e-14)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_solve_after_a_solve(gradient):
    def chained(gradient):
        y0, k = leaves(Y0, K)
        middle = solved(gradient, y0, [0.0, 0.5], k, rtol=1e-9, atol=1e-9)[-1]
        end = solved(gradient, middle * k, [0.5, 1.0], k, rtol=1e-9, atol=1e-9)[-1]
        return torch.autograd.grad(end.sum() + middle.prod(), (y0, k))

    assert apart(chained(gradient), chained("backprop")) < 1e-6


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_parameters_that_were_changed_before_the_way_back_are_an_error(gradient, options):
    y0, k = leaves(Y0, K)
    ys = solved(gradient, y0, TIMES, k, **options)
    with torch.no_grad():
        k.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total(ys).backward()


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_states_that_are_changed_afterwards_do_no_harm_or_are_an_error(gradient, options):
    def gradients(change):
        y0, k = leaves(Y0, K)
        ys = solved(gradient, y0, TIMES, k, **options)
        if change:
            ys.mul_(3.0)
        return torch.autograd.grad((ys if change else 3.0 * ys).sum(), (y0, k))

    expected = gradients(False)
    if gradient == "adjoint":  # it keeps the states that it returned
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients(True)
    else:
        assert apart(gradients(True), expected) < 1e-14


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_nothing_of_a_solve_outlives_its_backward_pass(gradient, options):
    y0, k = leaves(Y0, K)
    seen = []

    def f(t, y, k):
        dy = swing(t, y, k)
        seen.append(weakref.ref(y))
        seen.append(weakref.ref(dy))
        return dy

    ys = odeint(f, y0, TIMES, method=METHOD[gradient], gradient=gradient, args=(k,), **options)
    seen.append(weakref.ref(ys))
    loss = total(ys)
    loss.backward()
    del ys
    gc.collect()
    assert len(seen) > 50
    assert loss.grad_fn is not None  # the node of the solve still lives, and nothing that it kept
    alive = {id(reference()): reference() for reference in seen if reference() is not None}
    assert all(torch.equal(x, y0) for x in alive.values())  # but the first state
    assert len(alive) <= 1


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_nothing_of_a_pair_of_functions_outlives_it_either(gradient):
    q, p, k = leaves(Y0[:1], Y0[1:], K)
    seen = []

    def noted(half):
        def f(t, x, k):
            dx = half(t, x, k)
            seen.append(weakref.ref(dx))
            return dx

        return f

    pair = noted(velocity), noted(force)
    loss = total(odeint(pair, (q, p), TIMES, method="leapfrog", gradient=gradient, args=(k,), step_size=0.1)[0])
    loss.backward()
    gc.collect()
    assert len(seen) > 20
    assert not any(reference() is not None for reference in seen)
    assert loss.grad_fn is not None


# Differentiated again


@pytest.mark.parametrize("method", METHODS)
def test_second_derivatives_of_backpropagation_are_difference_quotients(method):
    def loss(y0, k):
        return total(solve(method, "backprop", y0, [0.0, 0.25], k, step_size=0.13))

    assert gradgradcheck(loss, leaves(Y0, K), eps=1e-5, atol=1e-6, rtol=1e-6, check_undefined_grad=False)


@pytest.mark.parametrize(("gradient", "options"), WAYS)
@pytest.mark.parametrize("wanted", ["y0", "t", "k"])
def test_second_derivatives_of_the_others_are_an_error_that_says_what_works(gradient, options, wanted):
    inputs = dict(zip(("y0", "t", "k"), leaves(Y0, TIMES, K), strict=True))
    loss = total(solved(gradient, *inputs.values(), **options))
    firsts = torch.autograd.grad(loss, tuple(inputs.values()), create_graph=True)
    expected = torch.autograd.grad(total(solved(gradient, *inputs.values(), **options)), tuple(inputs.values()))
    assert apart(firsts, expected) == 0
    for first in firsts:
        with pytest.raises(RuntimeError, match="second derivative through a solve needs gradient='backprop'"):
            torch.autograd.grad(first.sum(), inputs[wanted], retain_graph=True)


@pytest.mark.parametrize(("gradient", "options"), WAYS)
def test_second_derivatives_of_a_cost_are_an_error_too(gradient, options):
    inputs = leaves(Y0, TIMES, K)
    _, costs = odeint_with_cost(
        swing,
        lambda t, y, k: k[0] * t * y.square().sum(),
        *inputs[:2],
        method=METHOD[gradient],
        gradient=gradient,
        args=inputs[2:],
        **options,
    )
    for first in torch.autograd.grad(costs[-1], inputs, create_graph=True):
        for x in inputs:
            with pytest.raises(RuntimeError, match="needs gradient='backprop'"):
                torch.autograd.grad(first.sum(), x, retain_graph=True)


# Transforms


def test_vmap_over_parameters_is_a_loop():
    ks = torch.stack([K, 0.5 * K, K + 1])

    def end(k):
        return solve("rk4", "backprop", Y0, [0.0, 0.3, 1.0], k, step_size=0.1)

    assert torch.allclose(torch.func.vmap(end)(ks), torch.stack([end(k) for k in ks]), rtol=1e-14)
    gradient = torch.func.grad(lambda k: total(end(k)))
    loop = []
    for row in ks:
        (k,) = leaves(row)
        loop.append(torch.autograd.grad(total(end(k)), k)[0])
    assert torch.allclose(torch.func.vmap(gradient)(ks), torch.stack(loop), rtol=1e-13)


def test_vmap_over_parameters_with_a_running_cost():
    def cost(k):
        options = {"args": (k,), "method": "rk4", "step_size": 0.1}
        return odeint_with_cost(swing, lambda t, y, k: k[1] * y.square().sum(), Y0, [0.0, 0.3, 1.0], **options)[1]

    ks = torch.stack([K, 0.5 * K, K + 1])
    assert torch.allclose(torch.func.vmap(cost)(ks), torch.stack([cost(k) for k in ks]), rtol=1e-14)


@pytest.mark.parametrize("gradient", OTHERS)
def test_inside_a_transform_the_others_are_refused(gradient):
    def end(k):
        return solved(gradient, Y0, TIMES, k)[-1].sum()

    for transformed in (
        lambda: torch.func.vmap(end)(torch.stack([K, K])),
        lambda: torch.func.grad(end)(K),
        lambda: torch.func.jvp(end, (K,), (K,)),
        lambda: torch.func.jacrev(end)(K),
    ):
        with pytest.raises(ValueError, match=rf"only gradient='backprop' works: gradient='{gradient}'"):
            transformed()


# Forwards


@pytest.mark.parametrize("method", METHODS)
def test_forward_mode_is_the_transpose_of_backpropagation(method):
    """w · (J v) = (Jᵀ w) · v, for y₀ and k together, by torch.func and by dual numbers."""

    def states(y0, k):
        return solve(method, "backprop", y0, [0.0, 0.2, 0.35], k, step_size=0.1)

    v = vector(0.3, -1.0), vector(0.7, 0.4)
    values, tangents = torch.func.jvp(states, (Y0, K), v)
    inputs = leaves(Y0, K)
    ys = states(*inputs)
    w = torch.linspace(-1, 2, ys.numel(), dtype=torch.float64).reshape(ys.shape)
    pulled = torch.autograd.grad(ys, inputs, w)
    assert torch.allclose(values, ys, rtol=1e-13)
    expected = sum((p * x).sum() for p, x in zip(pulled, v, strict=True)).item()
    assert (w * tangents).sum().item() == pytest.approx(expected, rel=1e-11)
    if method in IMPLICIT:  # their Jacobians are tangents already, which torch nests inside torch.func only
        return
    with forward_ad.dual_level():
        dual = states(*(forward_ad.make_dual(x, direction) for x, direction in zip((Y0, K), v, strict=True)))
        assert torch.allclose(forward_ad.unpack_dual(dual).tangent, tangents, rtol=1e-11)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].adaptive])
def test_forward_mode_of_adaptive_solves_does_not_follow_the_choice_of_steps(method):
    def loss(k):
        return total(solve(method, "backprop", Y0, [0.0, 0.5], k, rtol=1e-3, atol=1e-3))

    (k,) = leaves(K)
    (gradient,) = torch.autograd.grad(loss(k), k)
    _, derivative = torch.func.jvp(loss, (K,), (vector(0.7, 0.4),))
    assert derivative.item() == pytest.approx((gradient * vector(0.7, 0.4)).sum().item(), rel=1e-10)


@pytest.mark.parametrize("gradient", OTHERS)
def test_dual_numbers_do_not_get_lost_in_the_others(gradient):
    with forward_ad.dual_level():
        k = forward_ad.make_dual(K.clone().requires_grad_(), vector(1.0, 0.0))
        with pytest.raises((NotImplementedError, RuntimeError), match=r"forward|jvp"):
            solved(gradient, Y0, [0.0, 1.0], k)


def test_pairs_of_functions_follow_forwards_too():
    def end(k):
        f = (lambda t, p: k[0] * p, lambda t, q: -torch.sin(k[1] * q))
        return torch.cat(
            [odeint(f, tuple(Y0.split(1)), [0.0, 0.5], method=name, step_size=0.1)[0] for name in IN_PAIRS]
        )

    (k,) = leaves(K)
    (gradient,) = torch.autograd.grad(end(k).sum(), k)
    _, tangent = torch.func.jvp(end, (K,), (vector(1.0, -2.0),))
    assert tangent.sum().item() == pytest.approx((gradient * vector(1.0, -2.0)).sum().item(), rel=1e-11)
