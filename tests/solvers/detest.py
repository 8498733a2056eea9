"""The DETEST problems, classes A to E, with their solutions at t = 20.

Source: Hull, Enright, Fellen & Sedgwick, *SIAM J. Numer. Anal.* 9 (1972). Collections of them in circulation have
typing errors, so wherever a formula or a matrix exponential gives the solution, that is what the tests compare with;
the others are solved by SciPy's DOP853 at rtol = 1e-13.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

END = 20.0


class Problem(NamedTuple):
    f: Callable
    y0: tuple[float, ...]
    exact: np.ndarray | None = None

    def solution(self) -> np.ndarray:
        """Return y(20)."""
        if self.exact is not None:
            return np.asarray(self.exact, dtype=float)

        def f(t, y):
            return self.f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()

        return solve_ivp(f, (0, END), self.y0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


def system(*components: Callable) -> Callable:
    return lambda t, y: torch.stack([f(t, *y) for f in components])


def linear(A: np.ndarray, y0: np.ndarray) -> Problem:
    matrix = torch.from_numpy(A)
    return Problem(lambda t, y: matrix @ y, tuple(y0), expm(END * A) @ y0)


def kepler(e: float) -> Problem:
    """One body on an ellipse of eccentricity e, from its pericentre, by Kepler's equation E − e sin E = t."""
    E = brentq(lambda E: E - e * np.sin(E) - END, 0, 40, xtol=1e-14)
    b, speed = np.sqrt(1 - e * e), 1 / (1 - e * np.cos(E))
    exact = np.array([np.cos(E) - e, b * np.sin(E), -np.sin(E) * speed, b * np.cos(E) * speed])

    def f(t, y):
        return torch.cat([y[2:], -y[:2] / torch.linalg.vector_norm(y[:2]) ** 3])

    return Problem(f, (1 - e, 0.0, 0.0, np.sqrt((1 + e) / (1 - e))), exact)


def spiral() -> Problem:
    """A5, y' = (y − t) / (y + t): in polar coordinates the curve is r = 4 exp(π/2 − φ)."""
    phi = brentq(lambda phi: 4 * np.exp(np.pi / 2 - phi) * np.cos(phi) - END, -np.pi / 4, 0.0)
    return Problem(lambda t, y: (y - t) / (y + t), (4.0,), [4 * np.exp(np.pi / 2 - phi) * np.sin(phi)])


def chain(rates: np.ndarray, leave: bool) -> np.ndarray:
    """The matrix of a decay chain; ``leave`` says whether the last member decays, too."""
    A = -np.diag(rates) + np.diag(rates[:-1], -1)
    if not leave:
        A[-1, -1] = 0.0
    return A


def second_difference(n: int) -> np.ndarray:
    return -2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)


def first(n: int) -> np.ndarray:
    return np.eye(n)[0]


def five_bodies() -> Problem:
    """C5: the outer planets; masses in units of the sun's (with the inner planets), times in units of 100 days."""
    k2, sun = 2.95912208286, 1.00000597682
    m = torch.tensor(
        [0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778],
        dtype=torch.float64,
    )
    places = [3.42947415189, 3.35386959711, 1.35494901715, 6.64145542550, 5.97156957878, 2.18231499728]
    places += [11.2630437207, 14.6952576794, 6.27960525067, -30.1552268759, 1.65699966404, 1.43785752721]
    places += [-21.1238353380, 28.4465098142, 15.3882659679]
    speeds = [-0.557160570446, 0.505696783289, 0.230578543901, -0.415570776342, 0.365682722812, 0.169143213293]
    speeds += [-0.325325669158, 0.189706021964, 0.0877265322780, -0.0240476254170, -0.287659532608, -0.117219543175]
    speeds += [-0.176860753121, -0.216393453025, -0.0148647893090]

    def f(t, y):
        q = y[:15].reshape(5, 3)
        to_sun = q / torch.linalg.vector_norm(q, dim=1, keepdim=True) ** 3
        difference = q[None] - q[:, None]
        distance = torch.linalg.vector_norm(difference, dim=2) + torch.eye(5, dtype=y.dtype)
        pull = (m[None, :, None] * (difference / distance[..., None] ** 3 - to_sun[None])).sum(1)
        own = m[:, None] * to_sun  # the sum leaves out the planet itself
        return torch.cat([y[15:], (k2 * (-(sun + m[:, None]) * to_sun + pull + own)).reshape(-1)])

    return Problem(f, (*places, *speeds))


def falling_body() -> Problem:
    """E4, y'' = 0.032 − 0.4 y'²: y' = v tanh(w t) with v² = 0.08 and w = 0.4 v."""
    v = np.sqrt(0.08)
    exact = [30 + np.log(np.cosh(0.4 * v * END)) / 0.4, v * np.tanh(0.4 * v * END)]
    return Problem(system(lambda t, y, v: v, lambda t, y, v: 0.032 - 0.4 * v**2), (30.0, 0.0), exact)


def pursuit() -> Problem:
    """E5, y'' = √(1 + y'²) / (25 − t): arsinh y' = log(25 / (25 − t)), and y from it by integration."""
    s = 1 - END / 25
    exact = [25 * ((s * s - 1) / 4 - np.log(s) / 2), (1 / s - s) / 2]
    return Problem(system(lambda t, y, v: v, lambda t, y, v: torch.sqrt(1 + v**2) / (25 - t)), (0.0, 0.0), exact)


def bessel() -> Problem:
    """E1: y(t) = J½(t + 1) = √(2 / (π s)) sin s with s = t + 1."""

    def state(t: float) -> list[float]:
        s = t + 1
        a = np.sqrt(2 / (np.pi * s))
        return [a * np.sin(s), a * (np.cos(s) - np.sin(s) / (2 * s))]

    f = system(lambda t, y, v: v, lambda t, y, v: -(v / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * y))
    return Problem(f, tuple(state(0.0)), state(END))


def radius(x, y):
    return torch.sqrt(x**2 + y**2)


PROBLEMS = {
    "A1": Problem(lambda t, y: -y, (1.0,), [np.exp(-END)]),
    "A2": Problem(lambda t, y: -(y**3) / 2, (1.0,), [1 / np.sqrt(1 + END)]),
    "A3": Problem(lambda t, y: y * torch.cos(t), (1.0,), [np.exp(np.sin(END))]),
    "A4": Problem(lambda t, y: y / 4 * (1 - y / 20), (1.0,), [20 / (1 + 19 * np.exp(-END / 4))]),
    "A5": spiral(),
    "B1": Problem(system(lambda t, x, y: 2 * (x - x * y), lambda t, x, y: -(y - x * y)), (1.0, 3.0)),
    "B2": linear(np.array([[-1.0, 1, 0], [1, -2, 1], [0, 1, -1]]), np.array([2.0, 0, 1])),
    "B3": Problem(system(lambda t, x, y, z: -x, lambda t, x, y, z: x - y**2, lambda t, x, y, z: y**2), (1.0, 0.0, 0.0)),
    "B4": Problem(
        system(
            lambda t, x, y, z: -y - x * z / radius(x, y),
            lambda t, x, y, z: x - y * z / radius(x, y),
            lambda t, x, y, z: x / radius(x, y),
        ),
        (3.0, 0.0, 0.0),
    ),
    "B5": Problem(
        system(lambda t, x, y, z: y * z, lambda t, x, y, z: -x * z, lambda t, x, y, z: -0.51 * x * y), (0.0, 1.0, 1.0)
    ),
    "C1": linear(chain(np.ones(10), leave=False), first(10)),
    "C2": linear(chain(np.arange(1.0, 11), leave=False), first(10)),
    "C3": linear(second_difference(10), first(10)),
    "C4": linear(second_difference(51), first(51)),
    "C5": five_bodies(),
    "D1": kepler(0.1),
    "D2": kepler(0.3),
    "D3": kepler(0.5),
    "D4": kepler(0.7),
    "D5": kepler(0.9),
    "E1": bessel(),
    "E2": Problem(system(lambda t, y, v: v, lambda t, y, v: (1 - y**2) * v - y), (2.0, 0.0)),
    "E3": Problem(system(lambda t, y, v: v, lambda t, y, v: y**3 / 6 - y + 2 * torch.sin(2.78535 * t)), (0.0, 0.0)),
    "E4": falling_body(),
    "E5": pursuit(),
}
