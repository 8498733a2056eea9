"""Methods for Hamiltonian systems: steps that preserve the symplectic form, so that energy errors stay bounded.

The state is a pair (q, p), flattened by ``odeint`` into one vector y = [q, p]. Splitting methods move p and q in turn
and need a *separable* system, dq/dt = v(t, p) and dp/dt = F(t, q); Tao's method and the implicit midpoint rule take
any.

Sources: Hairer, Lubich & Wanner, *Geometric Numerical Integration* (2006), sections I.1, II.4, II.5, VI.3 and VIII.6;
Yoshida, Phys. Lett. A 150 (1990) 262; Tao, Phys. Rev. E 94 (2016) 043303.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.steps.butcher import Row
from ndelib.solvers.steps.runge_kutta import combine
from ndelib.solvers.steps.step import Field, Look, Method, Statistics, Step, StepFunction, StepRejected

Halves = tuple[Field, Field]
"""``velocity(t, p) -> dq/dt`` and ``force(t, q) -> dp/dt``: a separable system in two functions, (*, n) -> (*, n)."""

Half = Callable[[float, Tensor, Tensor], Tensor]
"""One half of the field, as steps call it: ``half(t, q, p)``."""


@dataclass(frozen=True)
class Splitting:
    """A splitting method as data: for each i, p += kicks[i] h F(t, q), then q += drifts[i] h v(t, p).

    The table says at which times, too. In (q, s) and (p, r) with ds/dt = dr/dt = 1, where F reads its time from s and v
    from r, a separable system is autonomous and still separable. So F is asked at t plus the drifts so far, v at t plus
    the kicks so far, and every method keeps its order and stays symplectic where time matters.

    A table whose kicks or drifts do not sum to one raises ``ValueError`` when it is made.
    """

    name: str
    order: int
    kicks: Row
    drifts: Row
    source: str

    def __post_init__(self) -> None:
        if len(self.kicks) != len(self.drifts):
            raise ValueError(f"splitting {self.name!r}: {len(self.kicks)} kicks need as many drifts, got {self.drifts}")
        for part, row in (("kicks", self.kicks), ("drifts", self.drifts)):
            if abs(sum(row) - 1) > 1e-14:
                raise ValueError(f"splitting {self.name!r}: the {part} sum to {sum(row)}, not to 1")

    @cached_property
    def stages(self) -> tuple[tuple[float, float, float, float], ...]:
        """The rows (node of F, kick, node of v, drift); times are t + node·h."""
        force_nodes = [0.0, *accumulate(self.drifts)][:-1]
        rows = zip(map(_snap, force_nodes), self.kicks, map(_snap, accumulate(self.kicks)), self.drifts, strict=True)
        return tuple(rows)

    @cached_property
    def ends_with_kick(self) -> bool:
        """Whether the last force is F(t + h, q₁), which is the first one of the next step."""
        return self.drifts[-1] == 0.0


SYMPLECTIC_EULER = Splitting(
    "symplectic_euler", 1, kicks=(1.0,), drifts=(1.0,), source="de Vogelaere (1956); Hairer, Lubich & Wanner, (I.1.9)"
)

LEAPFROG = Splitting(
    "leapfrog",
    2,
    kicks=(1 / 2, 1 / 2),
    drifts=(1.0, 0.0),
    source="Störmer (1907), Verlet (1967); Hairer, Lubich & Wanner, (I.1.17)",
)

# Three leapfrog steps, of w₁h, w₀h and w₁h: 2w₁ + w₀ = 1 keeps the order, 2w₁³ + w₀³ = 0 removes the error of order
# three. w₀ is negative: the middle step goes back, and the times reach from t − 0.35h to t + 1.35h.
W1 = 1 / (2 - 2 ** (1 / 3))
W0 = 1 - 2 * W1
YOSHIDA4 = Splitting(
    "yoshida4",
    4,
    kicks=(W1 / 2, (W1 + W0) / 2, (W0 + W1) / 2, W1 / 2),
    drifts=(W1, W0, W1, 0.0),
    source="Yoshida (1990), Suzuki (1990), Forest & Ruth (1990); Hairer, Lubich & Wanner, example II.4.2",
)


def start_splitting(
    splitting: Splitting, field: Field, statistics: Statistics, *, split: int, halves: Halves | None = None
) -> StepFunction:
    """Return the step of a splitting method.

    Args:
        splitting: the table of the method.
        field: ``field(t, y) -> dy/dt``, (*, 2n) -> (*, 2n).
        statistics: not used.
        split: n, the number of elements of q.
        halves: the functions velocity and force, which halve the cost; without them every use of one half is a call of
            ``field``, and :func:`look_at_separability` makes sure that the system is separable.
    """
    velocity, force = _halves(field, split, halves)

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        q, p = y[..., :split], y[..., split:]
        known = None  # F(t, q)
        if f0 is not None:
            known = f0[..., split:]
        elif before is not None and before.memory:
            (known,) = before.memory
        for force_node, kick, velocity_node, drift in splitting.stages:
            if kick != 0.0:
                f = force(_at(force_node, t, t1), q, p) if known is None or force_node != 0.0 else known
                p = combine(p, h, (kick,), (f,))
            if drift != 0.0:
                q = combine(q, h, (drift,), (velocity(_at(velocity_node, t, t1), q, p),))
        y1 = torch.cat([q, p], dim=-1)
        memory = (f,) if splitting.ends_with_kick else ()  # F(t₁, q₁), where the next step begins
        return Step(t, t1, y, y1, k=[], f1=None, error=None, memory=memory)

    return step


def _halves(field: Field, split: int, halves: Halves | None) -> tuple[Half, Half]:
    """Return velocity and force as functions of (t, q, p), taken out of ``field`` if nobody gave them."""
    if halves is not None:
        velocity, force = halves
        return lambda t, q, p: velocity(t, p), lambda t, q, p: force(t, q)
    return (
        lambda t, q, p: field(t, torch.cat([q, p], dim=-1))[..., :split],
        lambda t, q, p: field(t, torch.cat([q, p], dim=-1))[..., split:],
    )


def look_at_separability(
    name: str, field: Field, statistics: Statistics, *, split: int, halves: Halves | None = None
) -> Look:
    """Return what looks, for three evaluations of f, whether dq/dt changes with q, or dp/dt with p, in a step.

    q and p move, one at a time, as far as the step moves them: that suits their units and their domain. Raises
    ``ValueError`` if they do. In ``halves`` there is nothing to see: they get one of the two.
    """
    largest = [
        0.0,
        0.0,
    ]  # size of dq/dt and of dp/dt so far: where a force passes through zero, so does what it rounds to

    @torch.no_grad()
    def look(step: Step) -> None:
        t, y, y1 = step.t, step.y, step.y1
        f0 = field(t, y)
        moves = (
            ("q", "dq/dt", torch.cat([y1[..., :split], y[..., split:]], dim=-1), slice(None, split)),
            ("p", "dp/dt", torch.cat([y[..., :split], y1[..., split:]], dim=-1), slice(split, None)),
        )
        for i, (variable, rate, moved, half) in enumerate(moves):
            change = values(field(t, moved)[..., half] - f0[..., half]).abs().max().item()
            largest[i] = max(largest[i], values(f0[..., half]).abs().max().item())
            # The same numbers at another place in memory may be summed in another order: that is no dependence.
            if change > 1000 * torch.finfo(y.dtype).eps * largest[i]:
                raise ValueError(
                    f"method {name!r} needs a separable system: dq/dt must not depend on q, nor dp/dt on p. "
                    f"At t = {t:.6g}, {rate} changed by {change:.3g} (its size is {largest[i]:.3g}) when only "
                    f"{variable} changed. Use method='tao' (explicit) or method='implicit_midpoint', which take any "
                    "system."
                )

    return (lambda step: None) if halves is not None else look


def start_implicit_midpoint(field: Field, statistics: Statistics) -> StepFunction:
    """Return the step y₁ = y + h k with k = f(t + h/2, y + h k/2), for any y, a pair or not.

    The equation is solved to rounding, because a remainder would drift like that of an ordinary method, by
    fixed-point iteration, which for long-time integration is cheaper than Newton's method (Hairer, Lubich & Wanner,
    section VIII.6) and needs no matrix of the size of y. It converges where h/2 times the eigenvalues of ∂f/∂y are
    below one in modulus. Gradients flow through the iterations and converge with them.
    """

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        h = t1 - t
        middle = t + 0.5 * h
        k = field(middle, y) if f0 is None else f0
        iterations, converging = 0, True
        while converging:
            if iterations == MAX_ITERATIONS:
                raise StepRejected(
                    f"{MAX_ITERATIONS} fixed-point iterations of the implicit midpoint rule did not converge: they "
                    "need |hλ| < 1.3 or so for every eigenvalue λ of ∂f/∂y; an implicit Runge–Kutta method does not",
                    factor=0.5,
                )
            k, guess = field(middle, combine(y, h, (0.5,), (k,))), k
            iterations += 1
            converging = not _is_half_way(y, h, k, guess)
        for _ in range(iterations + iterations // 4):  # as many again, and some for the constant
            k = field(middle, combine(y, h, (0.5,), (k,)))
        return Step(t, t1, y, combine(y, h, (1.0,), (k,)), k=[], f1=None, error=None)

    return step


MAX_ITERATIONS = 50
"""Enough for a contraction by 0.7 an iteration to come to half of the digits."""


def _is_half_way(y: Tensor, h: float, k: Tensor, before: Tensor) -> bool:
    """Whether an iteration changed the state by less than √ε, half of its digits: as many again give all digits.

    Unlike a test for ε, this one cannot be spoilt by the rounding errors of f.
    """
    y, change, k = values(y).abs(), values(h * (k - before)).abs(), values(h * k).abs()
    root = math.sqrt(torch.finfo(y.dtype).eps)
    size = y + k
    return bool((change <= root * (size + root * size.max())).all())


def start_tao(field: Field, statistics: Statistics, *, split: int, omega: float | None = None) -> StepFunction:
    """Return the step of Tao's method: explicit, of order 2, for Hamiltonians H(q, p) of any form.

    It integrates two copies (q, p) and (x, y) of the system, H̄ = H(q, y) + H(x, p) + ω (|q − x|² + |p − y|²) / 2.
    With u = (q, y) and w = (x, p), H(q, y) moves w by f(u), H(x, p) moves u by f(w), and the coupling turns u − w by
    the angle 2ωh; the three are composed symmetrically. The step is symplectic in the doubled space; its map of (q, p)
    alone is so up to O(h²), the distance of the copies, as long as the coupling holds them together.

    ``omega`` is a frequency, in 1 / units of ``t``. If it is too small the copies part after a while, and the same
    where ωh is near a multiple of π/2, because half a turn only exchanges them. Higher ω has larger errors, of the form
    ωh²: compositions of order 4 lose their order when ωh is not small, this one of order 2 keeps it. ``None`` takes
    ω = π / (4|h|), a quarter of a turn a step, as far from the resonances as one can be.

    The ``memory`` of a step is the doubled state at its end. The second copy starts as one of y, at the first step;
    requested times change nothing.
    """
    if omega is not None and not (isinstance(omega, (int, float)) and math.isfinite(omega) and omega >= 0):
        raise ValueError(f"omega, the coupling of method 'tao', must be a finite number >= 0 or None, got {omega!r}")

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        if before is not None:
            u, w, slope = before.memory
            doubled = (u, w, slope)
        else:
            doubled = (y, y, field(t, y) if f0 is None else f0)
        coupling = math.pi / (4 * abs(t1 - t)) if omega is None else omega
        doubled = tao_step(field, coupling, split, t, t1, doubled)
        y1 = torch.cat([doubled[0][..., :split], doubled[1][..., split:]], dim=-1)
        return Step(t, t1, y, y1, k=[], f1=None, error=None, memory=doubled)

    return step


Doubled = tuple[Tensor, Tensor, Tensor]
"""Tao's doubled state: u = (q, y), w = (x, p) and the slope f(t, u), each (*, 2n)."""


def tao_step(field: Field, omega: float, split: int, t: float, t1: float, doubled: Doubled) -> Doubled:
    """Make one step in the doubled space, with three new evaluations of f: Tao (2016), equations (2) to (4).

    Times as in :class:`Splitting`: u and w have clocks of their own, each moved with its part.
    """
    u, w, slope = doubled
    h = t1 - t
    middle = t + 0.5 * h
    w = combine(w, h, (0.5,), (slope,))
    u = combine(u, h, (0.5,), (field(middle, w),))
    u, w = _turn(u, w, 2 * omega * h, split)
    u = combine(u, h, (0.5,), (field(middle, w),))
    slope = field(t1, u)
    w = combine(w, h, (0.5,), (slope,))
    return u, w, slope


def _turn(u: Tensor, w: Tensor, angle: float, split: int) -> tuple[Tensor, Tensor]:
    """Turn q − x and p − y by ``angle`` (clockwise, as an oscillator moves) and leave the means where they are."""
    mean, distance = 0.5 * (u + w), 0.5 * (u - w)
    dq, dp = distance[..., :split], -distance[..., split:]
    cos, sin = math.cos(angle), math.sin(angle)
    distance = torch.cat([cos * dq + sin * dp, sin * dq - cos * dp], dim=-1)
    return mean + distance, mean - distance


def _snap(node: float) -> float:
    """Return exactly 1 for a node that rounding errors keep from it: the step asks at t1 itself."""
    return 1.0 if abs(node - 1) < 1e-14 else node


def _at(node: float, t: float, t1: float) -> float:
    return t1 if node == 1.0 else t + node * (t1 - t)


def undo_symplectic_euler(
    field: Field, statistics: Statistics, *, split: int, halves: Halves | None = None
) -> StepFunction:
    """Return the step that undoes one of symplectic Euler: first the drift, then the kick."""
    undo = start_splitting(_DRIFT_FIRST, field, statistics, split=split, halves=halves)

    def step(t1: float, y1: Tensor, t: float, f1: Tensor | None, before: Step | None = None) -> Step:
        return undo(t1, y1, t, f1, None)._replace(memory=())  # symplectic Euler remembers nothing

    return step


_DRIFT_FIRST = replace(SYMPLECTIC_EULER, kicks=(0.0, 1.0), drifts=(1.0, 0.0))

METHODS = {
    splitting.name: Method(
        splitting.name,
        splitting.order,
        "symplectic",
        splitting.source,
        partial(start_splitting, splitting),
        options=frozenset({"split", "halves"}),
        # Leapfrog and Yoshida's method are symmetric: a step with −h undoes one with h.
        reverse=undo_symplectic_euler if splitting is SYMPLECTIC_EULER else partial(start_splitting, splitting),
        look=partial(look_at_separability, splitting.name),
    )
    for splitting in (SYMPLECTIC_EULER, LEAPFROG, YOSHIDA4)
}
METHODS["implicit_midpoint"] = Method(
    "implicit_midpoint",
    2,
    "symplectic",
    "Hairer, Lubich & Wanner, (I.1.7)",
    start_implicit_midpoint,
    reverse=start_implicit_midpoint,
)
METHODS["tao"] = Method(
    "tao",
    2,
    "symplectic",
    "Tao (2016), Phys. Rev. E 94, 043303",
    start_tao,
    options=frozenset({"split", "omega"}),
    reverse=start_tao,
)
