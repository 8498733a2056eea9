"""Arguments that are sequences: an iterator is read once and then kept, or refused; it is never found empty later."""

import warnings

import pytest
import torch

from ndelib import cdeint, odeint, odeint_adjoint, odeint_with_cost, sdeint, solve_ivp
from ndelib.adjoints import sdeint_adjoint
from ndelib.adjoints.compare import compare_gradients
from ndelib.solvers import CubicSpline, natural_cubic_coeffs
from tests.adjoints.problems import Y0, vector

A = vector(0.7).requires_grad_()
EVERY_GRADIENT = ("backprop", "checkpoint", "adjoint", "interpolated")


def jumping(t, y):
    """Its solution depends on whether steps end at the jump."""
    return -A * y + (t > 0.437)


def shifted(t, y, a=0.0, b=0.0):
    return -A * y + a - b


class Equation(torch.nn.Module):
    noise_type, sde_type = "diagonal", "stratonovich"

    def f(self, t, y):
        return -A * y

    def g(self, t, y):
        return 0.1 * y


def differentiated(ys, y0):
    last = ys[-1] if isinstance(ys, torch.Tensor) else ys
    return [last.detach(), *torch.autograd.grad(last.sum(), (y0, A), allow_unused=True, materialize_grads=True)]


def path():
    return CubicSpline(natural_cubic_coeffs(torch.sin(torch.arange(12.0, dtype=torch.float64)).reshape(6, 2)))


def controlled(t, z):
    return torch.stack([A * z, -A * z], dim=-1)


FIXED = {"method": "rk4", "step_size": 0.3, "deviation": "ignore"}


def seeded(**options):
    torch.manual_seed(0)
    return {"dt": 0.1, "method": "midpoint", **options}


CASES = {
    **{
        f"odeint {name} {gradient}": (
            lambda y0, x, name=name, gradient=gradient: differentiated(
                odeint(
                    shifted if name == "args" else jumping,
                    y0,
                    **{"t": [0.0, 1.0], "gradient": gradient, "params": (A,), **FIXED, name: x},
                ),
                y0,
            ),
            values,
        )
        for name, values in {"step_at": (0.2, 0.437), "t": (0.0, 0.4, 1.0), "args": (0.3, 0.1), "params": (A,)}.items()
        for gradient in EVERY_GRADIENT
    },
    "odeint adjoint_params": (
        lambda y0, x: differentiated(odeint_adjoint(jumping, y0, [0.0, 1.0], adjoint_params=x, **FIXED), y0),
        (A,),
    ),
    "cost step_at": (
        lambda y0, x: differentiated(
            odeint_with_cost(jumping, lambda t, y: y.sum(), y0, [0.0, 1.0], step_at=x, **FIXED)[1], y0
        ),
        (0.2, 0.437),
    ),
    "independent step_at": (
        lambda y0, x: differentiated(
            odeint(lambda t, y: -A * y + (t > 0.437), y0[:, None], [0.0, 1.0], batch="independent", step_at=x), y0
        ),
        (0.2, 0.437),
    ),
    "independent args_dims": (
        lambda y0, x: differentiated(
            odeint(shifted, y0[:, None], [0.0, 1.0], batch="independent", args=(0.3, 0.1), args_dims=x), y0
        ),
        (None, None),
    ),
    "ivp t_span": (lambda y0, x: differentiated(solve_ivp(jumping, x, y0).y, y0), (0.0, 1.0)),
    "ivp t_eval": (lambda y0, x: differentiated(solve_ivp(jumping, (0, 1), y0, t_eval=x).y, y0), (0.2, 0.9)),
    "ivp step_at": (lambda y0, x: differentiated(solve_ivp(jumping, (0, 1), y0, step_at=x).y, y0), (0.2, 0.437)),
    "ivp events": (
        lambda y0, x: solve_ivp(shifted, (0, 1), y0, events=x).t_events,
        (lambda t, y: y[0] - 0.6, lambda t, y: y[0] - 0.5),
    ),
    "ivp t_eval beside step_at": (
        lambda y0, x: [
            solve_ivp(shifted, (0, 1), y0, events=lambda t, y: y[0] - 0.6, t_eval=x, step_at=(0.1, 0.4)).y.detach()
        ],
        (0.2, 0.9),
    ),
    "sdeint ts": (lambda y0, x: differentiated(sdeint(Equation(), y0, x, **seeded(params=[A])), y0), (0.0, 0.3, 1.0)),
    "sdeint params": (
        lambda y0, x: differentiated(sdeint(Equation(), y0, [0.0, 1.0], **seeded(params=x, gradient="checkpoint")), y0),
        (A,),
    ),
    "sdeint adjoint_params": (
        lambda y0, x: differentiated(sdeint_adjoint(Equation(), y0, [0.0, 1.0], **seeded(adjoint_params=x)), y0),
        (A,),
    ),
    **{
        f"cdeint {name} {gradient}": (
            lambda y0, x, name=name, gradient=gradient: differentiated(
                cdeint(
                    path(),
                    controlled,
                    y0,
                    **{"t": [0.0, 4.0], "gradient": gradient, "params": (A,), **FIXED, name: x},
                ).movedim(-2, 0),
                y0,
            ),
            values,
        )
        for name, values in {"step_at": (1.3, 2.1), "t": (0.0, 1.0, 4.0), "params": (A,)}.items()
        for gradient in ("backprop", "adjoint")
    },
    **{
        f"compare {name}": (
            lambda y0, x, name=name: [
                torch.tensor([r.calls_forward, r.calls_backward])
                for r in compare_gradients(
                    shifted if name == "args" else jumping,
                    y0.detach(),
                    [0.0, 1.0],
                    **{"params": (A,), "repetitions": 1, "gradients": ("backprop", "checkpoint"), name: x},
                )
            ],
            values,
        )
        for name, values in {
            "step_at": (0.2, 0.437),
            "args": (0.3, 0.1),
            "gradients": ("checkpoint", "backprop"),
            "params": (A,),
        }.items()
    },
}


@pytest.mark.parametrize("case", CASES)
def test_an_iterator_is_read_once_or_refused(case):
    solve, values = CASES[case]
    expected = solve(Y0.clone().requires_grad_(), values)
    for form in (list(values), iter(values), (x for x in values), dict.fromkeys(values).keys()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = solve(Y0.clone().requires_grad_(), form)
        except (TypeError, ValueError) as refusal:
            assert not isinstance(form, list)
            assert case.split()[1] in str(refusal)  # noqa: PT017  # it names the argument
        else:
            assert len(found) == len(expected)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_step_at_may_be_a_tensor():
    expected = odeint(jumping, Y0, [0.0, 1.0], step_at=[0.2, 0.437])
    assert torch.equal(odeint(jumping, Y0, [0.0, 1.0], step_at=vector(0.2, 0.437)), expected)
    with pytest.raises(TypeError, match="step_at must be a sequence of times"):
        odeint(jumping, Y0, [0.0, 1.0], step_at=torch.tensor(0.2))


def test_what_draws_and_what_searches_reads_iterators_too():
    from ndelib.dynamics import fixed_points
    from ndelib.plotting import phase_portrait

    def f(t, y):
        return torch.stack([y[..., 1], -y[..., 0] - y[..., 1]], dim=-1)

    found = fixed_points(f, iter((-1.0, -1.0)), iter((1.0, 1.0)))
    assert [point.location.tolist() for point in found] == [[0.0, 0.0]]
    drawn = [phase_portrait(f, (-2, 2), (-2, 2), starts=form).__len__() for form in ([(1.0, 0.0)], iter([(1.0, 0.0)]))]
    assert drawn == [1, 1]
