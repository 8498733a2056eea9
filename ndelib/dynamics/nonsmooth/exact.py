"""Exact orbits of two linear fields: powers of matrix exponentials up to the boundary, a Taylor polynomial to its zero.

In a zone z = (y, 1) obeys ż = Mz. On a grid of times, so fine that ‖M‖h ≤ 1/2, z is a power of exp(Mh); between two
grid points the Taylor polynomial of degree 18 is exact to rounding, (1/2)¹⁹/19! < 1e-22. The boundary is looked for on
the grid, and, where c·y turns back between two points, at its extremum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ndelib.solvers.events.events import find_root

DEGREE = 18
LOOK = 64
"""How many grid points are looked at together."""
EPS = float(np.finfo(np.float64).eps)
BLUR = 64 * EPS


class Zone:
    """One linear field ẏ = Ay + a, with c·y watched."""

    def __init__(self, A: np.ndarray, a: np.ndarray, c: np.ndarray) -> None:
        d = len(c)
        self.A, self.a, self.c = A, a, c
        self.M = np.zeros((d + 1, d + 1))
        self.M[:d, :d], self.M[:d, d] = A, a
        self.row = np.append(c, 0.0)

    def velocity(self, y: np.ndarray) -> np.ndarray:
        """Return Ay + a."""
        return self.A @ y + self.a

    @cached_property
    def h(self) -> float:
        """The spacing of the grid."""
        return 0.5 / max(float(np.linalg.norm(self.A, 2)), 1e-12)

    @cached_property
    def taylor(self) -> np.ndarray:
        """Mʲ/j!, (DEGREE + 1, d + 1, d + 1)."""
        terms = [np.eye(len(self.M))]
        for j in range(1, DEGREE + 1):
            terms.append(terms[-1] @ self.M / j)
        return np.array(terms)

    @cached_property
    def powers(self) -> np.ndarray:
        """exp(Mkh) for k = 0 … LOOK, (LOOK + 1, d + 1, d + 1)."""
        step = self.exponential(self.h)
        found = [np.eye(len(self.M))]
        for _ in range(LOOK):
            found.append(step @ found[-1])
        return np.array(found)

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What gives c·y, its slope on the grid, and its Taylor coefficients, each (n, d + 1)."""
        return self.row @ self.powers, (self.row @ self.M) @ self.powers, self.row @ self.taylor

    def exponential(self, t: float) -> np.ndarray:
        """Return exp(Mt) for 0 ≤ t ≤ h, (d + 1, d + 1)."""
        return np.tensordot(t ** np.arange(DEGREE + 1), self.taylor, axes=1)

    def leave(self, z: np.ndarray, side: int, limit: float, on_boundary: bool) -> tuple[float, np.ndarray, bool]:
        """Return how long z stays on its side, at most ``limit``, with exp(M·time), and whether it leaves then."""
        heights, slopes, _ = self.rows
        whole, waited = np.eye(len(z)), 0.0
        while True:
            g, v = side * (heights @ z), side * (slopes @ z)
            if on_boundary:
                g[0] = 0.0
            outside = g[1:] < 0
            dips = (g[1:] >= 0) & (v[:-1] < 0) & (v[1:] > 0)
            for k in np.flatnonzero(outside | dips).tolist():
                if waited + k * self.h >= limit:
                    break
                start = self.powers[k] @ z
                t = self.zero(start, side, on_boundary and k == 0, bool(dips[k]))
                if t is not None and waited + k * self.h + t <= limit:
                    return waited + k * self.h + t, self.exponential(t) @ self.powers[k] @ whole, True
            if waited + LOOK * self.h >= limit:
                k = min(int((limit - waited) / self.h), LOOK)
                rest = min(max(limit - waited - k * self.h, 0.0), self.h)
                return limit, self.exponential(rest) @ self.powers[k] @ whole, False
            waited += LOOK * self.h
            whole, z, on_boundary = self.powers[-1] @ whole, self.powers[-1] @ z, False
            if not np.isfinite(z).all() or np.abs(z).max() > 1e150:
                return waited, whole, False

    def zero(self, z: np.ndarray, side: int, from_boundary: bool, dips: bool) -> float | None:
        """Return the first zero of c·y after z and within h; from a start on the boundary, the next one."""
        a = side * (self.rows[2] @ z)
        if from_boundary:
            a = a[1:]  # c·y/t: the same zeros but the first
        end = self.h
        if dips:
            b = a[1:] * np.arange(1, len(a))
            if not horner(b, 0.0) < 0 < horner(b, end):
                return None
            end = find_root(lambda t: horner(b, t), 0.0, horner(b, 0.0), end, horner(b, end), EPS * self.h)
        first, last = horner(a, 0.0), horner(a, end)
        if last > 0:
            return None
        if first <= 0:
            return 0.0
        return find_root(lambda t: horner(a, t), 0.0, first, end, last, EPS * self.h)


def horner(a: np.ndarray, t: float) -> float:
    """Return Σ aⱼtʲ."""
    value = 0.0
    for coefficient in a[::-1].tolist():
        value = value * t + coefficient
    return value


@dataclass(frozen=True, eq=False)
class ExactOrbit:
    """An orbit of a piecewise-linear system, exact to rounding between its meetings with the boundary."""

    t: Tensor
    """the first time, those of the meetings, and the last, (n,)"""
    y: Tensor
    """the states there, (n, d)"""
    sides: tuple[int, ...]
    """on which side each stretch between two of them lies, n − 1 numbers -1 or 1"""
    fundamental: Tensor
    """∂y(last)/∂y(first), (d, d), saltation matrices included"""
    escaped: bool
    """whether it stopped because it grew without bound"""
    returned: bool
    """whether it stopped at its return to the boundary"""
    zones: Mapping[int, Zone]

    def sol(self, t: float | Tensor) -> Tensor:
        """Return the states at the times ``t``, a number or (T,): (d,) or (T, d)."""
        times = torch.as_tensor(t, dtype=torch.float64)
        stops = self.t.tolist()
        found = []
        for time in times.reshape(-1).tolist():
            if not stops[0] <= time <= stops[-1]:
                raise ValueError(f"t = {time:.10g} is outside the orbit, from {stops[0]:.10g} to {stops[-1]:.10g}")
            i = min(max(int(np.searchsorted(stops, time, side="right")) - 1, 0), len(self.sides) - 1)
            zone, z = self.zones[self.sides[i]], np.append(self.y[i].numpy(), 1.0)
            steps, rest = divmod(time - stops[i], zone.h)
            while steps >= LOOK:
                z, steps = zone.powers[LOOK] @ z, steps - LOOK
            found.append((zone.exponential(rest) @ zone.powers[int(steps)] @ z)[:-1])
        return torch.as_tensor(np.array(found)).reshape(*times.shape, -1)


def follow(
    zones: Mapping[int, Zone],
    y0: np.ndarray,
    duration: float,
    *,
    side: int | None = None,
    until_rising: bool = False,
    max_events: int = 1_000_000,
    largest: float = 1e9,
) -> ExactOrbit:
    """Follow a solution for ``duration``, or until c·y rises through zero; see :class:`ExactOrbit`."""
    c = zones[1].c
    on_boundary = abs(c @ y0) <= BLUR * (np.abs(c) @ np.abs(y0))
    z = np.append(y0, 1.0)
    if on_boundary:
        side = first_side(zones, z, side)
    elif side is None or side * (c @ y0) < 0:
        side = 1 if c @ y0 > 0 else -1
    assert side is not None
    t, times, states, sides = 0.0, [0.0], [y0], []
    linear = np.eye(len(y0))
    returned = escaped = False
    while t < duration and not returned and not escaped:
        if len(times) > max_events:
            raise ValueError(
                f"the orbit meets the boundary more than max_events = {max_events} times up to t = {t:.10g}"
            )
        zone = zones[side]
        stay, flow, left = zone.leave(z, side, duration - t, on_boundary)
        z, linear, t = flow @ z, flow[:-1, :-1] @ linear, t + stay
        sides.append(side)
        escaped = not np.isfinite(z).all() or np.abs(z).max() > largest
        if left and not escaped:
            before, after = zone.velocity(z[:-1]), zones[-side].velocity(z[:-1])
            rate = c @ before
            if (c @ after) * rate < 0 and not agree(zones, z[:-1]):
                raise ValueError(
                    f"the orbit begins to slide at t = {t:.10g}, y = {z[:-1].tolist()}: the exact path knows crossings "
                    "only. Use solve, which slides"
                )
            if rate != 0:
                linear = linear + np.outer(after - before, (c @ linear) / rate)
            z[:-1] -= c * (c @ z[:-1]) / (c @ c)
            rising, on_boundary = side < 0, True
            side = first_side(zones, z, -side)
            returned = until_rising and rising
        elif not left and not escaped:
            t = duration
        times.append(t)
        states.append(z[:-1].copy())
    return ExactOrbit(
        torch.tensor(times, dtype=torch.float64),
        torch.as_tensor(np.array(states)),
        tuple(sides),
        torch.as_tensor(linear),
        bool(escaped),
        returned,
        zones,
    )


def agree(zones: Mapping[int, Zone], y: np.ndarray) -> bool:
    """Return whether both fields push y to the same speed c·ẏ, but for rounding."""
    c = zones[1].c
    rates = [c @ zone.velocity(y) for zone in zones.values()]
    size = max(np.abs(c) @ (np.abs(zone.A) @ np.abs(y) + np.abs(zone.a)) for zone in zones.values())
    return abs(rates[0] - rates[1]) <= 1e-12 * size


def first_side(zones: Mapping[int, Zone], z: np.ndarray, default: int | None) -> int:
    """Return to which side a solution goes from a state on the boundary: by the first derivative that is not zero."""
    for side in (default, 1, -1):
        if side is None:
            continue
        zone = zones[side]
        term, size = zone.row, np.abs(zone.row)
        for _ in range(len(z)):
            term, size = term @ zone.M, size @ np.abs(zone.M)
            value, blur = term @ z, BLUR * (size @ np.abs(z))
            if abs(value) > blur:
                if side * value > 0:
                    return side
                break
    if default is None:
        raise ValueError(
            f"from y = {z[:-1].tolist()}, on the boundary, no field leads to its own side: it "
            "slides, or rests. Use solve"
        )
    return default
