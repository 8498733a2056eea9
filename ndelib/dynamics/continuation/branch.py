"""What continuation finds: a branch of equilibria or cycles, and the points where something happens on it."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ndelib.dynamics.continuation.problem import FixedPointProblem, Reach

POINTS = {
    "flow": ("fold", "branch", "hopf"),
    "map": ("fold", "branch", "period-doubling", "neimark-sacker"),
}
"""What can be found on a branch of each kind."""


@dataclass(frozen=True, eq=False)
class BifurcationPoint:
    """A point at which the branch, or what happens next to it, changes."""

    kind: str
    """``"fold"`` (the branch turns in p), ``"branch"`` (another one crosses: transcritical, pitchfork), ``"hopf"``; of
    a map also ``"period-doubling"`` and ``"neimark-sacker"``.
    """
    p: float
    """the parameter."""
    y: Tensor
    """the state, (d,)."""
    eigenvalues: Tensor
    """of ∂f/∂y there (of a map's iterate), (d,), complex."""
    tangent: Tensor
    """the unit tangent (d + 1,) of the branch that it was found on; the last entry belongs to p."""
    vector: Tensor
    """the null vector (d,): of ∂f/∂y at a fold or branch point, the eigenvector of −1 at a doubling, the complex
    eigenvector at a Hopf or Neimark–Sacker point.
    """
    frequency: float = math.nan
    """ω of a Hopf point (eigenvalues ±iω), the angle θ of a Neimark–Sacker point (e^{±iθ}), else NaN."""
    coefficient: float = math.nan
    """the first Lyapunov coefficient of a Hopf point, and its like for ``"period-doubling"`` and ``"neimark-sacker"``
    (see ``normal_forms.py``); NaN for other kinds.
    """
    accuracy: float = math.nan
    """the last step of Newton's method on the equations that define the point: where that is tiny, (y, p) is exact to
    rounding. Where Newton's method did not converge, the length of the bracket.
    """

    @property
    def supercritical(self) -> bool:
        """Whether what is born is attracting, next to the point and in the directions that change stability.

        Raises:
            ValueError: the kind of point has no such coefficient.
        """
        if math.isnan(self.coefficient):
            raise ValueError(f"a {self.kind} point has no coefficient; Hopf, Neimark–Sacker and doubling points have")
        return self.coefficient > 0 if self.kind == "period-doubling" else self.coefficient < 0


@dataclass(eq=False)
class Branch:
    """A curve of equilibria or cycles: n points in order along the curve."""

    p: Tensor
    """the parameter, (n,)."""
    y: Tensor
    """the state, (n, d)."""
    eigenvalues: Tensor
    """of ∂f/∂y, or of a map's iterate, (n, d), complex."""
    stable: Tensor
    """(n,), of bool."""
    points: list[BifurcationPoint]
    """the bifurcation points, in order."""
    status: str
    """why the branch ends: ``"left p_range"``, ``"max_steps"``, ``"closed"`` (it has come back to its start),
    ``"stopped at …"`` (what ``stop_at`` asked for), or ``"step collapsed: …"`` with a hint. A branch that was
    followed both ways has both reasons, with ``" | "`` in between.
    """
    # the family, its kind and the period of the cycle.
    problem: FixedPointProblem = field(repr=False)
    # how far it was followed, which switch_branch takes over.
    reach: Reach = field(repr=False)

    def __len__(self) -> int:
        return len(self.p)

    def joined_before(self, other: "Branch") -> "Branch":
        """Return one branch: this one backwards, then ``other``, which begins at the same point."""
        columns = zip(self._columns(), other._columns(), strict=True)
        p, y, eigenvalues, stable = (torch.cat([a.flip(0), b[1:]]) for a, b in columns)
        status = self.status if self.status == other.status else f"{self.status} | {other.status}"
        points = [*self.points[::-1], *other.points]
        return Branch(p, y, eigenvalues, stable, points, status, self.problem, self.reach)

    def _columns(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.p, self.y, self.eigenvalues, self.stable
