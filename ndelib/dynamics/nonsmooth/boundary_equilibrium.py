"""An equilibrium that meets the boundary of two linear fields as a parameter passes through zero: what becomes of it.

ẏ = A₁y + μb where c·y < 0, ẏ = A₂y + μb where c·y ≥ 0. If y(t) solves the system for μ = 1, then μy(t) solves it for
every μ > 0 (a positive factor does not change the side). So all sizes are proportional to |μ|, periods and exponents
depend on its sign only, and μ = ±1 stand for all μ.

**Equilibria.** −μA₁⁻¹b and −μA₂⁻¹b exist on their own sides if −μ cᵀA₁⁻¹b < 0 and −μ cᵀA₂⁻¹b > 0. So if cᵀA₁⁻¹b and
cᵀA₂⁻¹b have one sign, one of them exists for each sign of μ (*persistence*), and if not, both for one sign and none for
the other (a *non-smooth fold*). For a continuous field, A₂ = A₁ + qcᵀ, the matrix determinant lemma gives det A₂ =
det A₁ (1 + cᵀA₁⁻¹q) and the Sherman–Morrison formula cᵀA₂⁻¹b = cᵀA₁⁻¹b / (1 + cᵀA₁⁻¹q): the sign of det A₁ det A₂
decides, whatever b. This is Feigin's criterion in the form of di Bernardo et al. (2008), chapter 5.

**Cycles in the plane**, for continuous fields with persistence. Where both traces have one sign there is none
(Bendixson). Where they differ, there is at most one (Freire, Ponce, Rodrigo & Torres 1998). Half a turn of a focus
λ ± iω multiplies the distance by exp(πλ/ω), so far from the equilibrium a turn multiplies it by exp(πΛ) with
Λ = λ₁/ω₁ + λ₂/ω₂. If the unstable equilibrium is a focus, and Λ < 0 or the stable one is a node, an attracting cycle
surrounds it. If the stable equilibrium is a focus, and Λ > 0 or the unstable one is a node, a repelling cycle surrounds
the stable one: the same with time reversed. Two nodes turn nothing around.
See also Simpson & Meiss, *Phys. Lett. A* 371 (2007).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from ndelib.dynamics.nonsmooth.piecewise_linear import (
    Equilibrium,
    Matrix,
    PiecewiseLinear,
    Vector,
    check_linear,
    equilibria,
    is_continuous,
)


@dataclass(frozen=True)
class Scenario:
    """What becomes of an equilibrium on the boundary. Made by :meth:`BoundaryEquilibrium.scenario`."""

    kind: Literal["persistence", "non-smooth fold", "limit cycle"]
    """one equilibrium on each side of μ = 0; two on one side and none on the other; persistence with a limit cycle"""
    equilibria: tuple[tuple[int, ...], tuple[int, ...]]
    """the sides of the equilibria that exist for μ < 0, and for μ > 0"""
    stable: tuple[bool, bool]
    """whether the equilibrium of A₁, and that of A₂, is stable where it exists"""
    cycle: Literal["attracting", "repelling", "none", "undecided"]
    """the limit cycle; ``"undecided"`` where no criterion is known here (d > 2, a jump, a fold, a degenerate case)"""
    cycle_at: int
    """the sign of μ for which the cycle exists, 0 without one"""
    reason: str
    """the numbers that decided"""


class BoundaryEquilibrium:
    """The family ẏ = A₁y + μb where c·y < 0, ẏ = A₂y + μb where c·y ≥ 0, around μ = 0.

    Args:
        A1: (d, d), invertible.
        A2: (d, d), invertible.
        b: (d,).
        c: (d,), not zero.

    Example:
        >>> from ndelib.dynamics import BoundaryEquilibrium
        >>> A1, A2 = [[-1, 1], [-1, 0]], [[2, 1], [-5, 0]]
        >>> family = BoundaryEquilibrium(A1, A2, b=[0, 1], c=[1, 0])
        >>> scenario = family.scenario()
        >>> scenario.kind, scenario.cycle, scenario.cycle_at
        ('limit cycle', 'attracting', 1)
        >>> points = family.equilibria(-1.0)
        >>> [(p.side, p.stable) for p in points if p.admissible]
        [(-1, True)]
    """

    def __init__(self, A1: Matrix, A2: Matrix, b: Vector, c: Vector) -> None:
        self.A1, self.A2, self.b, self.c = check_linear(A1, A2, b, c)

    def at(self, mu: float) -> PiecewiseLinear:
        """Return the system with the parameter ``mu``."""
        return PiecewiseLinear(self.A1, self.A2, self.b, self.c, mu)

    @property
    def continuous(self) -> bool:
        """Whether the field is continuous, A₂ − A₁ = q cᵀ."""
        return is_continuous(self.A1, self.A2, self.c)

    def equilibria(self, mu: float) -> list[Equilibrium]:
        """Return the zeros of both fields at ``mu``, that of A₁ first, admissible or virtual."""
        return equilibria(self.A1, self.A2, self.b, self.c, mu)

    def scenario(self) -> Scenario:
        """Say which equilibria exist for each sign of μ, and in the plane whether a limit cycle is born.

        For a field that jumps (:attr:`continuous` is false) only the equilibria of the two fields are counted, not
        those of the sliding field.

        Raises:
            ValueError: a criterion degenerates: a matrix is singular, or c·A⁻¹b = 0.
        """
        points = {mu: self.equilibria(mu) for mu in (-1, 1)}
        for point, name in zip(points[1], ("A1", "A2"), strict=True):
            if abs(self.c @ point.y) <= 1e-12 * (self.c.abs() @ point.y.abs()):
                raise ValueError(f"c·{name}⁻¹b = 0: the equilibrium of {name} stays on the boundary for every μ")
        sides = tuple(tuple(p.side for p in points[mu] if p.admissible) for mu in (-1, 1))
        stable = (points[1][0].stable, points[1][1].stable)
        dets = [torch.linalg.det(A).item() for A in (self.A1, self.A2)]
        reason = f"det A1 = {dets[0]:.4g}, det A2 = {dets[1]:.4g}"
        if len(sides[0]) != 1:
            return Scenario("non-smooth fold", sides, stable, "undecided", 0, reason)  # type: ignore[arg-type]
        cycle, around, why = self._planar_cycle()
        at = 0 if around == 0 else (-1 if sides[0] == (around,) else 1)
        kind = "limit cycle" if at else "persistence"
        return Scenario(kind, sides, stable, cycle, at, "; ".join(filter(None, (reason, why))))  # type: ignore[arg-type]

    def _planar_cycle(self) -> tuple[str, int, str]:
        """Return the kind of cycle, the side of the equilibrium that it surrounds (0: none), and why."""
        if len(self.c) != 2 or not self.continuous:
            return "undecided", 0, ""
        traces = [A.trace().item() for A in (self.A1, self.A2)]
        why = f"tr A1 = {traces[0]:.4g}, tr A2 = {traces[1]:.4g}"
        if min(torch.linalg.det(A).item() for A in (self.A1, self.A2)) < 0:
            return "none", 0, why  # a saddle on each side: no index 1, no cycle
        if traces[0] * traces[1] >= 0:
            return ("none" if traces[0] * traces[1] > 0 else "undecided"), 0, why
        values = [torch.linalg.eigvals(A) for A in (self.A1, self.A2)]
        focus = [bool((v.imag != 0).all()) for v in values]
        stable, unstable = (0, 1) if traces[0] < 0 else (1, 0)
        ratio = [(v.real / v.imag.abs())[0].item() if turns else 0.0 for v, turns in zip(values, focus, strict=True)]
        if all(focus):
            total = sum(ratio)
            why += f"; two foci, Λ = λ1/ω1 + λ2/ω2 = {total:.4g}"
            if abs(total) <= 1e-12:
                return "undecided", 0, why
            attracting = total < 0
        elif not any(focus):
            return "none", 0, why + "; two nodes"
        else:
            attracting = focus[unstable]
            why += "; a focus and a node"
        around = unstable if attracting else stable
        return ("attracting" if attracting else "repelling"), (-1, 1)[around], why
