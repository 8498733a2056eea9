"""Fields that cannot tell the times of a solve apart: a warning, once, where that is measured to spoil the result."""

import math
import warnings

import pytest
import torch

from ndelib import CubicSpline, cdeint, natural_cubic_coeffs, odeint, sdeint, solve_ivp
from ndelib.solvers.clock import Clock

LATE = 1e5
MESSAGE = r"f\(t, y\) gets t in float32.* are 0\.0078 apart.*y0\.double\(\)"


def forced(t, y):
    return torch.cos(t - LATE) * y


def swing(t, y):
    return torch.cat([y[..., 1:], -y[..., :1]], dim=-1)


def times(start, dtype=torch.float64):
    return torch.tensor([start, start + 1.0, start + 3.0], dtype=dtype)


class Forced:
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, y):
        return torch.cos(20 * t) * y

    def g(self, t, y):
        return 0.1 * y


class ForcedNoise(Forced):
    def f(self, t, y):
        return -y

    def g(self, t, y):
        return torch.cos(20 * t) * y


def along_a_path():
    knots = torch.linspace(LATE, LATE + 3, 7, dtype=torch.float64)
    X = CubicSpline(natural_cubic_coeffs(torch.sin(3 * (knots - LATE)).float()[:, None], knots.float()), knots.float())
    return cdeint(X, lambda t, z: z.unsqueeze(-1), torch.ones(1), [LATE, LATE + 3.0])


SOLVES = {
    "adaptive": lambda: odeint(forced, torch.ones(1), times(LATE)),
    "backwards": lambda: odeint(forced, torch.ones(1), times(LATE).flip(0)),
    "fixed": lambda: odeint(forced, torch.ones(1), times(LATE), method="rk4", step_size=0.1),
    "a tuple": lambda: odeint(lambda t, y: (forced(t, y[0]),), (torch.ones(2),), times(LATE)),
    "independent": lambda: odeint(
        forced, torch.ones(3, 1), times(LATE), batch="independent", rtol=torch.full((3, 1), 1e-5)
    ),
    "solve_ivp": lambda: solve_ivp(forced, (LATE, LATE + 3.0), torch.ones(1)),
    "implicit": lambda: odeint(forced, torch.ones(1), times(LATE), method="kvaerno3"),
    "adjoint": lambda: odeint(forced, torch.ones(1, requires_grad=True), times(LATE), gradient="adjoint", params=()),
    "drift": lambda: sdeint(Forced(), torch.ones(2, 1), times(LATE), dt=0.1),
    "diffusion": lambda: sdeint(ForcedNoise(), torch.ones(2, 1), times(LATE), dt=0.1),
    "a path": along_a_path,
}


@pytest.mark.parametrize("solve", SOLVES.values(), ids=SOLVES)
def test_late_times_in_single_precision_are_warned_of_once(solve):
    with pytest.warns(UserWarning, match=MESSAGE) as caught:
        solve()
    assert len([w for w in caught if "gets t in" in str(w.message)]) == 1


@pytest.mark.parametrize(
    ("f", "y0", "t", "options"),
    [
        (forced, torch.ones(1, dtype=torch.float64), times(LATE), {}),  # double
        (lambda t, y: -y, torch.ones(2), times(1e7), {}),  # nothing in f depends on t
        (swing, torch.ones(2), times(LATE), {"method": "rk4", "step_size": 0.01}),
        (swing, torch.ones(3, 2), times(LATE), {"batch": "independent"}),
        (lambda t, y: torch.cos(t) * y, torch.ones(1), times(1e3), {}),
        (lambda t, y: torch.cos(t) * y, torch.ones(1), times(1e3), {"method": "rk4", "step_size": 0.1}),
        (lambda t, y: torch.cos(t) * y, torch.ones(1), [950.0, 1e3], {"method": "dopri8"}),
        (lambda t, y: torch.cos(t / 1e5) * y, torch.ones(1), times(LATE), {}),  # as slow as t is late
        (lambda t, y: -t * y, torch.ones(1, dtype=torch.bfloat16), [0.0, 1.0], {"rtol": 3e-2, "atol": 1e-2}),
        (lambda t, y: -t * y, torch.ones(1, dtype=torch.half), [0.0, 2.0], {"rtol": 5e-3, "atol": 1e-2}),
    ],
)
def test_no_alarm_where_nothing_is_spoilt(f, y0, t, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        odeint(f, y0, t, **options)


def test_lower_precisions_are_warned_of_earlier():
    options = {"rtol": 2e-2, "atol": 1e-3, "method": "rk4", "step_size": 0.1}
    with pytest.warns(UserWarning, match=r"gets t in bfloat16"):
        odeint(lambda t, y: 5 * torch.cos(10 * t) * y, torch.ones(1, dtype=torch.bfloat16), [50.0, 51.0], **options)


def test_the_warning_comes_where_the_result_is_spoilt_and_its_remedy_mends_it():
    exact = math.exp(math.sin(3.0))
    with pytest.warns(UserWarning, match=MESSAGE):
        spoilt = odeint(forced, torch.ones(1), times(LATE))[-1].item()
    shifted = odeint(lambda t, y: forced(LATE + t.double(), y).float(), torch.ones(1), times(0.0))[-1].item()
    double = odeint(forced, torch.ones(1).double(), times(LATE))[-1].item()
    assert abs(spoilt / exact - 1) > 1e-4
    assert abs(shifted / exact - 1) < 1e-5
    assert abs(double / exact - 1) < 1e-5


def test_looking_costs_nothing_before_times_are_doubtful_and_little_after():
    calls = []

    def counted(t, y):
        calls.append(t.item())
        return -y

    for start, most in ((0.0, 0), (1e5, 2 * 6)):
        calls.clear()
        solution = solve_ivp(counted, (start, start + 3.0), torch.ones(1), max_step=0.1)
        assert 30 <= solution.steps < 64
        assert len(calls) - solution.nfe <= most
        assert (most > 0) == (len(calls) > solution.nfe)


def test_spacing_is_that_of_the_next_number():
    for t in (1.0, 1.5, 1e3, 1e5, 3e7, 0.1):
        x = torch.tensor(t)
        assert Clock(torch.float32).spacing(t) == (torch.nextafter(x, torch.tensor(math.inf)) - x).item()
