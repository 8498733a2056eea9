"""Hamiltonian systems with known solutions, and the small loop that the tests of symplectic steps share."""

import math

import torch

from ndelib.solvers.steps.runge_kutta import METHODS as RUNGE_KUTTA
from ndelib.solvers.steps.step import Statistics
from ndelib.solvers.steps.symplectic import METHODS


def vector(*entries):
    return torch.tensor(entries, dtype=torch.float64)


def start(name, f, n, **options):
    method = {**METHODS, **RUNGE_KUTTA}[name]
    if "split" in method.options:
        options["split"] = n
    return method.start(f, Statistics(), **options)


def steps(step, y, t, end, count, before=None):
    """Yield ``count`` equal steps, of which the first goes on from the step ``before``."""
    h, first = (end - t) / count, t
    for n in range(1, count + 1):
        t1 = end if n == count else first + n * h
        before = step(t, y, t1, before.f1 if before else None, before)
        t, y = t1, before.y1
        yield before


def path(step, y, t, end, count):
    """Yield the states after each of ``count`` equal steps."""
    for made in steps(step, y, t, end, count):
        yield made.y1


def solve(name, f, y, t, end, count, **options):
    *_, y = path(start(name, f, y.shape[-1] // 2, **options), y, t, end, count)
    return y


def oscillator(t, y):
    return torch.stack([y[1], -y[0]])


def pendulum(t, y):
    return torch.stack([y[1], -torch.sin(y[0])])


def kepler(t, y):
    return torch.cat([y[2:], -y[:2] / y[:2].norm() ** 3])


def kepler_solution(t, e=0.5):
    anomaly = t
    for _ in range(50):  # Kepler's equation E − e sin E = t by Newton's method
        anomaly -= (anomaly - e * math.sin(anomaly) - t) / (1 - e * math.cos(anomaly))
    c, s, b = math.cos(anomaly), math.sin(anomaly), math.sqrt(1 - e * e)
    return vector(c - e, b * s, -s / (1 - e * c), b * c / (1 - e * c))


def forced_pendulum(t, y):
    """The velocity and the force depend on time, such that q = sin t², p = 2t cos t² − cos t."""
    s, c = math.sin(t * t), math.cos(t * t)
    force = 2 * c - 4 * t * t * s + math.sin(t) + math.sin(s)
    return torch.stack([y[1] + math.cos(t), force - torch.sin(y[0])])


def tao_example(t, y):
    """H = (q² + 1)(p² + 1) / 2, which is not separable: Tao (2016), section III A."""
    q, p = y
    return torch.stack([(q * q + 1) * p, -(p * p + 1) * q])


def springs(t):
    """Return q = (e^(−t²/2), cos t²) with its first and second derivative."""
    e, s, c = math.exp(-t * t / 2), math.sin(t * t), math.cos(t * t)
    return vector(e, c), vector(-t * e, -2 * t * s), vector((t * t - 1) * e, -2 * s - 4 * t * t * c)


def stiffening_springs(t, y):
    """dq/dt = (1 + t) p, and the force −(1 + t) q and what it takes to follow ``springs``."""
    q, velocity, acceleration = springs(t)
    force = acceleration / (1 + t) - velocity / (1 + t) ** 2
    return torch.cat([(1 + t) * y[2:], force - (1 + t) * (y[:2] - q)])


PROBLEMS = {  # f, y(t), end, steps
    "oscillator": (oscillator, lambda t: vector(math.cos(t), -math.sin(t)), 2.0, 64),
    "kepler": (kepler, kepler_solution, 4.0, 800),
    "rotation at the rate 2t": (
        lambda t, y: 2 * t * oscillator(t, y),
        lambda t: vector(math.cos(t * t), -math.sin(t * t)),
        1.5,
        64,
    ),
    "forced pendulum": (
        forced_pendulum,
        lambda t: vector(math.sin(t * t), 2 * t * math.cos(t * t) - math.cos(t)),
        2.0,
        64,
    ),
    "springs that stiffen": (
        stiffening_springs,
        lambda t: torch.cat([springs(t)[0], springs(t)[1] / (1 + t)]),
        1.5,
        64,
    ),
}
