"""``periodic_orbit``: from a guess to the orbit, its period and its Floquet multipliers."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ndelib.dynamics.continuation.derivatives import Family
from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.newton import newton
from ndelib.dynamics.continuation.orbits.floquet import is_stable, multipliers
from ndelib.dynamics.continuation.orbits.shooting import ROUGH, TOLERANCE, OrbitSystem
from ndelib.dynamics.continuation.problem import as_double, check_family
from ndelib.solvers.errors import SolverError
from ndelib.solvers.odeint import odeint
from ndelib.solvers.steps.step import VectorField


@dataclass(frozen=True, eq=False)
class PeriodicOrbit:
    """A periodic orbit of ẏ = f(y)."""

    y: Tensor
    """a state on it, (d,)."""
    period: float
    """its period T."""
    multipliers: Tensor
    """the Floquet multipliers (d,), complex, the largest first; one is 1, up to the error of the solve."""
    nodes: Tensor
    """N states at the times 0, T/N, 2T/N, … from ``y`` on, (N, d)."""
    field: VectorField = field(repr=False)

    @property
    def stable(self) -> bool:
        """Whether all multipliers but the trivial one lie inside the unit circle."""
        return is_stable(self.multipliers)

    def trajectory(self, n: int) -> Tensor:
        """Return n states at equal times over one period, (n, d); the last is the first again."""
        if n < 2:
            raise ValueError(f"n must be at least 2 states, got {n}")
        N = len(self.nodes)
        parts = torch.arange(n) * N  # of the period, which has N (n − 1) of them
        node = (parts // (n - 1)).clamp(max=N - 1)
        # All segments are solved together, to all times since their start at which one of them is wanted.
        since, of_time = torch.cat([parts[:1], parts - node * (n - 1)]).unique(return_inverse=True)
        times = since.double() * (self.period / (N * (n - 1)))
        return solve(self.field, self.nodes, times)[of_time[1:], node]


def solve(f: VectorField, y: Tensor, t: Tensor) -> Tensor:
    """Solve from ``y`` (*, d) to the times ``t`` (n,), the first being that of ``y``, as exactly as orbits are."""
    if len(t) == 1:
        return y[None]
    with torch.no_grad():
        return odeint(f, y, t, method="dopri8", rtol=TOLERANCE, atol=TOLERANCE / 10)


def periodic_orbit(f: VectorField, y_guess: Tensor, period_guess: float, *, segments: int = 24) -> PeriodicOrbit:
    """Find a periodic orbit of the autonomous field ``f(t, y)`` near a guess, by multiple shooting.

    It is found whether it attracts or repels. A first guess of an attracting one comes from a long solve: any late
    state, and the time between two of its maxima. Of a repelling one, from a solve backwards in time, or from the
    branch that leads to it (:func:`ndelib.dynamics.orbit_continuation`): the guess is followed for one period, which
    leads away from the orbit by as much as its largest multiplier.

    Args:
        f: the vector field ``f(t, y)``, in float64, called on states (d,) and batches (*, d); it must not depend on t.
        y_guess: a state near the orbit, (d,).
        period_guess: about how long one period takes.
        segments: into how many parts of equal duration the orbit is cut; more of them for one that repels strongly or
            stays long near a saddle.

    Raises:
        ValueError: an argument has a wrong value or shape, or ``f`` depends on t; the message names it.
        ContinuationError: Newton's method ends at an equilibrium, at another multiple of the period, or nowhere.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import periodic_orbit
        >>> def van_der_pol(t, y):
        ...     q, v = y.unbind(-1)
        ...     return torch.stack([v, (1 - q**2) * v - q], dim=-1)
        >>> orbit = periodic_orbit(van_der_pol, torch.tensor([2.0, 0.0]), 6.5)
        >>> round(orbit.period, 8), orbit.stable
        (6.66328686, True)
    """
    if not callable(f):
        raise TypeError(f"f must be a function f(t, y), got {type(f).__name__}")
    y = as_double(y_guess, "y_guess")
    if y.ndim != 1 or len(y) < 2 or not y.isfinite().all():
        raise ValueError(f"y_guess must be a finite state (d,) with d ≥ 2, got {y_guess}")
    if not 0 < period_guess < math.inf:
        raise ValueError(f"period_guess must be positive and finite, got {period_guess}")
    if segments < 1:
        raise ValueError(f"segments must be at least 1, got {segments}")

    def family(y: Tensor, p: Tensor) -> Tensor:
        return f(torch.zeros_like(p), y)

    zero = torch.zeros((), dtype=torch.float64)
    check_family(family, y, zero)
    for t in (0.7 * period_guess, 1.3):
        if not torch.equal(f(zero + t, y), f(zero, y)):
            raise ValueError(
                "f must not depend on t: an orbit of a forced system needs the phase of its force among the states"
            )
    grid = torch.linspace(0.0, period_guess, segments + 1, dtype=torch.float64)
    try:
        nodes = solve(f, y, grid)[:-1]
    except SolverError as failure:
        raise ContinuationError(f"y_guess = {y.tolist()} cannot be followed for period_guess: {failure}") from failure
    return close_up(family, nodes, period_guess, zero)


def close_up(f: Family, nodes: Tensor, period: float, p: Tensor) -> PeriodicOrbit:
    """Find the orbit of f(·, p) near the ``nodes`` (N, d) at equal times over about one ``period``."""
    reject_degenerate(nodes, period)
    system = OrbitSystem(f, nodes, f(nodes, p).detach())

    def at_p(x: Tensor, tolerance: float = TOLERANCE) -> tuple[Tensor, Tensor]:
        G, derivative = system(torch.cat([x, p[None]]), tolerance)
        return G, derivative[:, :-1]

    guess = torch.cat([nodes.flatten(), nodes.new_tensor([period])])
    x, steps, _, _ = newton(at_p, guess, iterations=25, rough=lambda x: at_p(x, ROUGH))
    if x is None:
        gap = at_p(guess, ROUGH)[0].norm().item()
        raise ContinuationError(
            f"no periodic orbit found near y_guess = {nodes[0].tolist()} with period_guess = {period:g}: the segments "
            f"miss each other by {gap:.3g}, and Newton's method did not close them in {steps} steps. Take a state of a "
            f"long solve and the time between two of its maxima, or more segments"
        )
    z = torch.cat([x, p[None]])
    Y, T, _ = system.parts(z)
    reject_degenerate(Y, T.item())
    return orbit_at(system, z, system(z)[1])


def orbit_at(system: OrbitSystem, z: Tensor, derivative: Tensor) -> PeriodicOrbit:
    """Read the orbit off the solution z = (Y, T, p) and the derivative of the equations there."""
    Y, T, p = (part.clone() for part in system.parts(z))

    def field(t: Tensor, y: Tensor) -> Tensor:
        return system.f(y, p)

    return PeriodicOrbit(Y[0], T.item(), multipliers(system.transitions(derivative)), Y, field)


def reject_degenerate(nodes: Tensor, period: float) -> None:
    """Raise if the nodes stand at an equilibrium, or go round several times."""
    N = len(nodes)
    size = (nodes - nodes.mean(dim=0)).norm(dim=1).max().item()
    if N > 1 and size < 1e-6 * (1 + nodes.norm(dim=1).max().item()):
        raise ContinuationError(
            f"{nodes[0].tolist()} is an equilibrium, or next to one, not on an orbit: take y_guess nearer to the orbit "
            f"and check the period, {period:g}"
        )
    for k in range(2, N):
        if N % k == 0 and (nodes[N // k] - nodes[0]).norm().item() < 1e-6 * size:
            raise ContinuationError(
                f"{period:.6g} is {k} times the period of the orbit: take period_guess = {period / k:.6g}"
            )
