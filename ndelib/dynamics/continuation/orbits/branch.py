"""``orbit_continuation``: follow a periodic orbit as a parameter changes, from its Hopf point or from a known one.

Doedel, Keller & Kernévez (1991), with shooting in the place of their collocation; Kuznetsov (2004), section 10.3.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.continuation import test_functions
from ndelib.dynamics.continuation.branch import BifurcationPoint
from ndelib.dynamics.continuation.derivatives import Family
from ndelib.dynamics.continuation.equilibria import read_stop
from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.orbits.floquet import multipliers, nontrivial
from ndelib.dynamics.continuation.orbits.periodic import PeriodicOrbit, close_up, orbit_at
from ndelib.dynamics.continuation.orbits.shooting import OrbitSystem
from ndelib.dynamics.continuation.problem import Reach, read_start
from ndelib.dynamics.continuation.pseudo_arclength import Curve, Place, root_between, walk

ORBIT_POINTS = ("cyclic-fold", "period-doubling", "torus")


@dataclass(frozen=True, eq=False)
class OrbitPoint:
    """A point of a branch of orbits: ``kind`` is ``"cyclic-fold"``, ``"period-doubling"`` or ``"torus"``."""

    kind: str
    p: float
    orbit: PeriodicOrbit


@dataclass(frozen=True, eq=False)
class OrbitBranch:
    """A curve of periodic orbits, n of them in order."""

    p: Tensor
    """the parameter, (n,)."""
    period: Tensor
    """the period, (n,)."""
    multipliers: Tensor
    """the Floquet multipliers, (n, d), complex, the trivial one among them."""
    stable: Tensor
    """(n,), of bool."""
    orbits: list[PeriodicOrbit]
    """the orbits themselves; from a Hopf point on the first is the equilibrium, an orbit of no size."""
    points: list[OrbitPoint]
    """where the branch turns in p (a pair of orbits meets: ``"cyclic-fold"``), or a multiplier passes −1
    (``"period-doubling"``), or a complex pair the unit circle (``"torus"``).
    """
    status: str
    """why it ends: ``"left p_range"``, ``"max_steps"``, ``"reached max_period"``, ``"closed"``, ``"stopped at …"`` or
    ``"step collapsed: …"``.
    """
    f: Family

    def __len__(self) -> int:
        return len(self.p)


def orbit_continuation(
    f: Family,
    start: BifurcationPoint | PeriodicOrbit,
    p0: float | None = None,
    *,
    p_range: tuple[float, float],
    step: float = 0.1,
    max_steps: int = 200,
    max_period: float = math.inf,
    segments: int = 40,
    direction: int = 1,
    stop_at: str | None = None,
) -> OrbitBranch:
    """Follow a periodic orbit of ẏ = f(y, p), through cyclic folds and as near to a homoclinic orbit as you like.

    Args:
        f: the family ``f(y, p)``, as for :func:`ndelib.dynamics.continuation`.
        start: a Hopf point, for the orbits that are born there; or an orbit at the parameter p0.
        p0: the parameter of the orbit; not for a Hopf point, which has its own.
        p_range: the interval of p to follow the branch in.
        step: the longest step, measured in (root mean square of the orbit, period, p).
        max_steps: after how many steps to end at the latest.
        max_period: end where the period is longer: it grows to infinity at a homoclinic orbit.
        segments: into how many parts of equal duration orbits are cut (one that is given keeps its own number).
        direction: where an orbit is given, 1 to begin towards larger p, −1 towards smaller.
        stop_at: a kind of point, at the first of which to end.

    Raises:
        ValueError: an argument has a wrong value or shape; the message names it.
        ContinuationError: there is no orbit near ``start`` at p0.
    """
    reach = Reach(p_range, step, max_steps)
    read_stop(stop_at, ORBIT_POINTS)
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 (towards larger p) or -1 (towards smaller), got {direction!r}")
    if not max_period > 0:
        raise ValueError(f"max_period must be positive, got {max_period}")
    if not isinstance(start, BifurcationPoint | PeriodicOrbit):
        raise TypeError(f"start must be a Hopf point or a PeriodicOrbit, got {type(start).__name__}")
    if isinstance(start, BifurcationPoint):
        if start.kind != "hopf":
            raise ValueError(f"start must be a Hopf point or a PeriodicOrbit, got a {start.kind} point")
        if p0 is not None:
            raise ValueError(f"p0 belongs to an orbit; the Hopf point has its own, {start.p:g}")
        if segments < 3:
            raise ValueError(f"segments must be at least 3 to begin at a Hopf point, got {segments}")
        read_start(f, start.y, start.p, p_range)
        curve, system, place = _newborn(f, start, segments)
    else:
        if p0 is None:
            raise ValueError("p0, the parameter at which start is an orbit, is missing")
        read_start(f, start.y, p0, p_range)
        curve, system, place = _given(f, start, p0, direction)
    born = isinstance(start, BifurcationPoint)
    places, points = [place], []
    known = {} if born else _tests(system, place)

    def visit(here: Place, there: Place) -> str | None:
        nonlocal known
        places.append(there)
        seen = _tests(system, there)
        found = []
        for kind in [kind for kind in known if (known[kind] < 0) != (seen[kind] < 0)]:

            def test(place: Place, kind: str = kind) -> float:
                return _tests(system, place)[kind]

            middle = root_between(curve, here, there, test, iterations=10)
            if middle is not None and (kind != "torus" or _is_torus(system, middle)):
                found.append(OrbitPoint(kind, middle.z[-1].item(), orbit_at(system, middle.z, middle.derivative)))
        known = seen
        points.extend(found)
        system.refer_to(there.z)
        if stop_at in [point.kind for point in found]:
            return f"stopped at {stop_at}"
        return "reached max_period" if there.z[-2].item() > max_period else None

    status = walk(
        curve,
        place,
        reach=reach,
        first_step=0.1 * step,
        visit=visit,
    )
    z = torch.stack([place.z for place in places])
    orbits = [orbit_at(system, place.z, place.derivative) for place in places]
    found = torch.stack([orbit.multipliers for orbit in orbits])
    stable = torch.tensor([orbit.stable for orbit in orbits])
    return OrbitBranch(z[:, -1].clone(), z[:, -2].clone(), found, stable, orbits, points, status, f)


def _curve(system: OrbitSystem) -> Curve:
    """Measure length as the root mean square over the orbit, the period and the parameter."""
    N, d = system.reference.shape
    weights = torch.ones(N * d + 2, dtype=torch.float64)
    weights[:-2] = 1.0 / N
    return Curve(system, weights, system.rough)


def _newborn(f: Family, point: BifurcationPoint, segments: int) -> tuple[Curve, OrbitSystem, Place]:
    """Begin at a Hopf point: y + ε Re(q e^{iωt}) to first order, with the period 2π/ω."""
    phases = torch.arange(segments, dtype=torch.float64) * (2 * math.pi / segments)
    turning = torch.exp(1j * phases)[:, None] * point.vector
    nodes = point.y.expand(segments, -1).clone()
    system = OrbitSystem(f, nodes, -turning.imag)
    z = torch.cat([nodes.flatten(), torch.tensor([2 * math.pi / point.frequency, point.p], dtype=torch.float64)])
    curve = _curve(system)
    tangent = curve.unit(torch.cat([turning.real.flatten(), torch.zeros(2, dtype=torch.float64)]))
    return curve, system, Place(z, tangent, system(z)[1])


def _given(f: Family, orbit: PeriodicOrbit, p0: float, direction: int) -> tuple[Curve, OrbitSystem, Place]:
    """Begin at an orbit, corrected at p0."""
    p = torch.tensor(float(p0), dtype=torch.float64)
    orbit = close_up(f, orbit.nodes, orbit.period, p)
    system = OrbitSystem(f, orbit.nodes, f(orbit.nodes, p).detach())
    z = torch.cat([orbit.nodes.flatten(), torch.tensor([orbit.period, p0], dtype=torch.float64)])
    curve = _curve(system)
    along = torch.zeros_like(z)
    along[-1] = float(direction)
    place = curve.place(z, along)
    if place is None:
        raise ContinuationError(f"the orbit at p0 = {p0:g} is singular (a multiplier at 1): begin a little beside it")
    return curve, system, place


def _tests(system: OrbitSystem, place: Place) -> dict[str, float]:
    """Return the test functions at a place of the branch, by the kind of point that they find."""
    others = nontrivial(multipliers(system.transitions(place.derivative)))
    found = {"cyclic-fold": test_functions.fold(place), "period-doubling": test_functions.period_doubling(others)}
    if len(others) > 1:
        found["torus"] = test_functions.neimark_sacker(others)
    return found


def _is_torus(system: OrbitSystem, place: Place) -> bool:
    """Say whether a complex pair, not a real one μ, 1/μ, is on the unit circle."""
    others = nontrivial(multipliers(system.transitions(place.derivative)))
    a, b = test_functions.pairs(others)
    return abs(a[(a * b - 1).abs().argmin()].imag.item()) > 1e-6
