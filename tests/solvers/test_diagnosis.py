"""What is said of a solve that failed is true: equations whose trouble is known, in the three adaptive loops."""

import math
import re

import pytest
import torch

from ndelib import odeint
from ndelib.solvers import SolverError
from ndelib.solvers.diagnosis import step_size_too_small
from ndelib.solvers.options import Options
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.step import Statistics


def vector(*entries):
    return torch.tensor(entries, dtype=torch.float64)


def stack(*parts):
    return torch.stack(parts, dim=-1)


BLOWS_UP = r"blows up in finite time, at about t = {}\b"
COARSE = "let time begin at 0"
SINGULAR = "runs into a singularity of f"
UNDEFINED = "may not be defined"
STIFF = r'stiff for an explicit method: try method="esdirk54"'

# name: f, y0, t, options, what is true
TABLE = {
    # The solution becomes infinite: y' = C yᵖ with p > 1 does at y₀^(1 − p) / (C (p − 1)).
    "y' = y²": (lambda t, y: y * y, vector(1.0), [0, 2], {}, BLOWS_UP.format("1")),
    "y' = y², back in time": (lambda t, y: y * y, vector(-1.0), [0, -2], {}, BLOWS_UP.format("-1")),
    "y' = y², from t = 10": (lambda t, y: y * y, vector(0.5), [10, 20], {}, BLOWS_UP.format("12")),
    "y' = y², implicit": (lambda t, y: y * y, vector(1.0), [0, 2], {"method": "esdirk54"}, BLOWS_UP.format("1")),
    "y' = y², float32": (lambda t, y: y * y, torch.ones(1), [0, 2], {}, BLOWS_UP.format("1")),
    "y' = y², few steps": (lambda t, y: y * y, vector(1.0), [0, 2], {"max_steps": 60}, BLOWS_UP.format("1")),
    "y' = y³": (lambda t, y: y**3, vector(1.0), [0, 2], {}, BLOWS_UP.format("0.5")),
    "y' = y^1.5": (lambda t, y: y**1.5, vector(1.0), [0, 3], {}, BLOWS_UP.format("2")),
    "tan": (lambda t, y: 1 + y * y, vector(0.0), [0, 3], {}, BLOWS_UP.format("1.5708")),
    "y' = exp y": (lambda t, y: torch.exp(y), vector(0.0), [0, 3], {}, BLOWS_UP.format("1")),
    "one of two": (lambda t, y: stack(y[..., 0] ** 2, -y[..., 1]), vector(1.0, 5.0), [0, 2], {}, BLOWS_UP.format("1")),
    # f has a pole, or ends.
    "1/(1 − t)²": (lambda t, y: 1 / (1 - t) ** 2 + 0 * y, vector(1.0), [0, 2], {}, SINGULAR),
    "log": (lambda t, y: torch.log(0.5 - t) * y, vector(1.0), [0, 1], {}, UNDEFINED),
    "root": (lambda t, y: -torch.sqrt(y), vector(1.0), [0, 3], {}, UNDEFINED),
    "NaN from a time on": (lambda t, y: torch.where(t > 0.5, math.nan, y), vector(1.0), [0, 1], {}, UNDEFINED),
    "NaN from a state on": (lambda t, y: torch.where(y > 2, math.nan, y), vector(1.0), [0, 1], {}, UNDEFINED),
    # Time is too coarse; nothing blows up.
    "y' = C/y": (lambda t, y: 1e50 / y, vector(1e6), [1, 2], {}, COARSE),
    "y' = C/y, first step given": (lambda t, y: 1e50 / y, vector(1e6), [1, 2], {"first_step": 1e-10}, COARSE),
    "y' = C/y, implicit": (lambda t, y: 1e50 / y, vector(1e6), [1, 2], {"method": "kvaerno3"}, COARSE),
    "saturation": (lambda t, y: 1e45 * (1 - y / 1e30), vector(1e6), [1, 2], {"first_step": 1e-10}, COARSE),
    "fast growth": (lambda t, y: 1e20 * y, vector(1.0), [1, 2], {}, COARSE),
    "fast turning, late": (
        lambda t, y: 1e12 * stack(y[..., 1], -y[..., 0]), vector(1.0, 0.0), [1e9, 1e9 + 1], {}, COARSE,
    ),
    # Stiffness, and what looks like it.
    "stiff": (lambda t, y: -1e6 * (y - torch.cos(t)), vector(1.0), [0, 2], {"max_steps": 2000}, STIFF),
    "stiff beyond t": (lambda t, y: -1e18 * (y - torch.cos(t)), torch.cos(vector(1.0)), [1, 2], {}, STIFF),
    "accuracy": (
        lambda t, y: stack(y[..., 1], -y[..., 0]), vector(1.0, 0.0), [0, 100], {"max_steps": 20}, "accuracy, not",
    ),
    # The options allow no more.
    "max_step": (
        lambda t, y: -y, vector(1.0), [0, 100], {"max_step": 1e-3, "max_steps": 100}, "as max_step = 0.001 allows",
    ),
    "tiny max_step": (lambda t, y: -y, vector(1.0), [1e6, 1e6 + 1], {"max_step": 1e-12}, "raise max_step, which"),
    "tiny first_step": (
        lambda t, y: -y, vector(1.0), [1e6, 1e6 + 1], {"first_step": 1e-12}, "raise first_step, which",
    ),
    "min_step": (lambda t, y: 50 * torch.cos(50 * t) * y, vector(1.0), [0, 2], {"min_step": 0.5}, "lower min_step"),
    # f itself.
    "random": (lambda t, y: -y + torch.randn_like(y), vector(1.0), [0, 2], {"max_steps": 200}, "asked twice"),
    "jump": (
        lambda t, y: torch.where(t < 0.3, 1.0, 1e17) + 0 * y, vector(1.0), [0, 1], {}, r"step_at=\[…\]",
    ),
    "chatter": (lambda t, y: -torch.sign(y), vector(1.0), [0, 2], {"max_steps": 500}, r"step_at=\[…\]"),
}  # fmt: skip
NEVER = ("blows up", SINGULAR, "stiff for", COARSE, "Jacobian", "first_step", "max_step,", "min_step")
"""Words that must not stand where they are not the truth."""


def message(f, y0, t, options):
    with pytest.raises(SolverError) as caught:
        odeint(f, y0, [float(time) for time in t], **options)
    return str(caught.value)


def check(said, truth):
    expected = truth.replace("\\", "")
    assert re.search(truth, said), said
    for word in NEVER:
        if word not in expected and word.split()[0] not in expected:
            assert word not in said, said


@pytest.mark.parametrize("name", TABLE)
def test_the_cause_that_is_named_is_the_true_one(name):
    f, y0, t, options, truth = TABLE[name]
    check(message(f, y0, t, options), truth)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if "method" not in row[3]])
def test_the_same_is_said_of_a_sample_with_steps_of_its_own(name):
    f, y0, t, options, truth = TABLE[name]
    said = message(f, y0[None], t, {**options, "batch": "independent"})
    assert said.startswith("sample 0 of the batch: ")
    check(said, truth)
    assert ("batch=" in said) == ("esdirk54" in said)  # which the loop of samples does not have


def power(t, y, c, p):
    return c * y**p


@pytest.mark.parametrize(
    ("c", "p", "y0", "t", "truth"), [(1.0, 2.0, 1.0, [0, 2], BLOWS_UP.format("1")), (1e50, -1.0, 1e6, [1, 2], COARSE)]
)
def test_the_same_is_said_by_the_compiled_loop(c, p, y0, t, truth):
    check(message(power, vector(y0), t, {"compile": "solve", "args": (vector(c), vector(p))}), truth)


def test_a_pole_of_f_that_the_state_falls_into_is_no_matter_of_newtons_method():
    # y' = −1/y: y = √(1 − 2t). The solve itself takes 10⁴ steps there, back and forth over the pole.
    y, h = 1e-7, 1e-15
    t = (1 - y * y) / 2
    for name in ("dopri5", "esdirk54"):
        error = step_size_too_small(
            METHODS[name], lambda t, y: -1 / y, t, vector(y), h, 2.0, None, Options(), Statistics()
        )
        check(str(error), SINGULAR)


def test_a_remedy_is_one_that_can_be_had():
    said = message(lambda t, y: -1e6 * (y - torch.cos(t)), vector(1.0) + 0j, [0, 2], {"max_steps": 2000})
    assert "esdirk54" in said
    assert "view_as_real" in said  # implicit methods are for real systems
    float64 = message(*TABLE["jump"][:4])
    assert "compute in float64" not in float64
