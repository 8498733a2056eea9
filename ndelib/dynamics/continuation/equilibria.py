"""``continuation``: follow an equilibrium of a flow, or a cycle of a map, as a parameter changes.

Kuznetsov, *Elements of Applied Bifurcation Theory* (2004), chapter 10; Seydel, *Practical Bifurcation and Stability
Analysis* (2010), chapters 4 and 5.
"""

import torch
from torch import Tensor

from ndelib.dynamics.continuation import test_functions
from ndelib.dynamics.continuation.branch import POINTS, BifurcationPoint, Branch
from ndelib.dynamics.continuation.derivatives import Family
from ndelib.dynamics.continuation.errors import ContinuationError
from ndelib.dynamics.continuation.location import locate
from ndelib.dynamics.continuation.newton import newton
from ndelib.dynamics.continuation.problem import KINDS, FixedPointProblem, Reach, read_start
from ndelib.dynamics.continuation.pseudo_arclength import Curve, Place, walk


def continuation(
    f: Family,
    y0: Tensor,
    p0: float,
    *,
    p_range: tuple[float, float],
    step: float = 0.05,
    max_steps: int = 1000,
    kind: str = "flow",
    period: int = 1,
    direction: int = 1,
    stop_at: str | None = None,
) -> Branch:
    """Follow an equilibrium of ẏ = f(y, p), or a cycle of the map y ↦ f(y, p), by pseudo-arclength.

    The branch is followed through folds, to where p leaves ``p_range``. Bifurcation points on the way are found by a
    change of sign, and then solved for to rounding. Two of one kind within one step cancel and are missed: take
    shorter steps.

    Args:
        f: the family ``f(y, p)``; y (d,) in float64, p a 0-dimensional tensor; built of PyTorch's differentiable
            operations. Of a system of this library: ``lambda y, p: Lorenz(rho=p)(0.0, y)``.
        y0: a state near the equilibrium (or near one point of the cycle) at p0, (d,).
        p0: where to begin.
        p_range: the interval of p to follow the branch in; the branch ends on its border.
        step: the longest step along the branch, measured in (y, p). The walk shortens it where the branch bends.
        max_steps: after how many steps to end at the latest.
        kind: ``"flow"`` or ``"map"``.
        period: of a map, the period of the cycle.
        direction: 1 to begin towards larger p, −1 towards smaller.
        stop_at: a kind of point, at the first of which to end.

    Returns:
        A :class:`Branch`: ``.p`` (n,), ``.y`` (n, d), ``.eigenvalues``, ``.stable``, ``.points``, and ``.status``,
        which says why it ends.

    Raises:
        ValueError: an argument has a wrong value or shape, or ``f`` returns a wrong shape; the message names it.
        ContinuationError: Newton's method finds no equilibrium from ``y0``.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import continuation
        >>> def f(y, p):
        ...     return p - y**2
        >>> y0, p0 = torch.tensor([2.0]), 4.0
        >>> branch = continuation(f, y0, p0, p_range=(-1, 5), direction=-1)
        >>> [point.kind for point in branch.points], branch.status
        (['fold'], 'left p_range')
    """
    if kind not in KINDS:
        raise ValueError(f'kind must be "flow" or "map", got {kind!r}')
    if not isinstance(period, int) or period < 1 or (kind == "flow" and period != 1):
        raise ValueError(f"period must be 1 for a flow and a whole number for a map, got {period} for a {kind}")
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 (towards larger p) or -1 (towards smaller), got {direction!r}")
    reach = Reach(p_range, step, max_steps)
    read_stop(stop_at, POINTS[kind])
    y, p = read_start(f, y0, p0, p_range)
    problem = FixedPointProblem(f, kind, period)
    z = torch.cat([_equilibrium(problem, y, p), p[None]])
    curve = curve_of(problem, len(z))
    along = torch.zeros_like(z)
    along[-1] = float(direction)
    start = curve.place(z, along)
    if start is None:
        raise ContinuationError(
            f"at p0 = {p.item():g} the equilibrium {y.tolist()} is singular (∂f/∂y has an eigenvalue "
            f"{'1' if kind == 'map' else '0'}): begin a little beside it"
        )
    return follow(problem, start, reach, singular_start=False, stop_at=stop_at)


def read_stop(stop_at: str | None, kinds: tuple[str, ...]) -> None:
    """Check ``stop_at``."""
    if stop_at is not None and stop_at not in kinds:
        raise ValueError(f"stop_at must be None or one of {', '.join(kinds)}; got {stop_at!r}")


def curve_of(problem: FixedPointProblem, n: int) -> Curve:
    """Return the problem's curve in the space of (y, p), with the ordinary length."""
    return Curve(problem, torch.ones(n, dtype=torch.float64))


def _equilibrium(problem: FixedPointProblem, y: Tensor, p: Tensor) -> Tensor:
    """Solve for the equilibrium at the fixed parameter ``p``."""

    def at_p(y: Tensor) -> tuple[Tensor, Tensor]:
        values, J = problem(torch.cat([y, p[None]]))
        return values, J[:, :-1]

    solution, steps, _, _ = newton(at_p, y, iterations=30)
    if solution is None:
        residual = problem.residual(y, p).norm().item()
        if residual <= 1e-14 * (1 + y.norm().item()):
            return y  # it is one, but a singular one
        what = "f(y, p) − y" if problem.kind == "map" else "f(y, p)"
        search = (
            "iterate the map to its attractor, and check period"
            if problem.kind == "map"
            else "take one from fixed_points(lambda t, y: f(y, p0), low, high)"
        )
        raise ContinuationError(
            f"y0 = {y.tolist()} is not near a zero of {what} at p0 = {p.item():g}: |{what}| = {residual:.3g} there, "
            f"and Newton's method found none in {steps} steps. Begin nearer: {search}"
        )
    return solution


def follow(
    problem: FixedPointProblem,
    start: Place,
    reach: Reach,
    *,
    singular_start: bool,
    stop_at: str | None = None,
) -> Branch:
    """Walk from ``start``, looking for points; from a bifurcation point only after the first, short step."""
    curve = curve_of(problem, len(start.z))
    places, points = [start], []
    known = {} if singular_start else test_functions.values(problem, start)

    def visit(here: Place, there: Place) -> str | None:
        nonlocal known
        places.append(there)
        seen = test_functions.values(problem, there)
        changed = [kind for kind in known if (known[kind] < 0) != (seen[kind] < 0)]
        known = seen
        found = _found_between(problem, curve, here, there, changed)
        points.extend(found)
        return f"stopped at {stop_at}" if stop_at in [point.kind for point in found] else None

    status = walk(
        curve,
        start,
        reach=reach,
        first_step=reach.step * (1e-3 if singular_start else 0.1),
        visit=visit,
    )
    z = torch.stack([place.z for place in places])
    eigenvalues = torch.stack([problem.eigenvalues(place.derivative) for place in places])
    stable = problem.is_stable(eigenvalues)
    return Branch(z[:, -1].clone(), z[:, :-1].clone(), eigenvalues, stable, points, status, problem, reach)


def _found_between(
    problem: FixedPointProblem, curve: Curve, a: Place, b: Place, kinds: list[str]
) -> list[BifurcationPoint]:
    """Locate what changed sign between two places, in the order along the branch."""
    found = [point for kind in kinds if (point := locate(problem, curve, a, b, kind)) is not None]
    crossings = [point for point in found if point.kind == "branch"]
    length = curve.dot(b.z - a.z, b.z - a.z) ** 0.5

    def position(point: BifurcationPoint) -> float:
        return curve.dot(torch.cat([point.y, torch.tensor([point.p], dtype=torch.float64)]) - a.z, a.tangent)

    def is_crossing(point: BifurcationPoint) -> bool:
        """Say whether what looks like a fold is where another branch crosses: a pitchfork seen from its parabola."""
        near = any(abs(position(point) - position(other)) < 1e-3 * length for other in crossings)
        return point.kind == "fold" and (near or (bool(crossings) and point.accuracy >= length))

    found = [point for point in found if not is_crossing(point)]
    return sorted(found, key=position)
