"""Walk along a curve G(z) = 0 with one unknown more than equations, by predictor and corrector.

The length along the curve is the parameter, so that nothing special happens where the curve turns: Keller (1977);
Doedel, Keller & Kernévez (1991); Kuznetsov, *Elements of Applied Bifurcation Theory* (2004), section 10.2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.continuation.newton import newton
from ndelib.dynamics.continuation.problem import Reach

System = Callable[[Tensor], tuple[Tensor, Tensor]]
"""z (n,) -> G(z), (n − 1,), and its derivative, (n − 1, n)."""

SMALLEST = 1e-9
"""The walk gives up when its steps would have to be shorter than this share of the longest."""


@dataclass(frozen=True, eq=False)
class Place:
    """A point ``z`` (n,) of a curve, whose last entry is the parameter, the unit ``tangent`` (n,) and G′ there."""

    z: Tensor
    tangent: Tensor
    derivative: Tensor


@dataclass(frozen=True)
class Curve:
    """G(z) = 0, with the ``weights`` (n,) of the scalar product ⟨a, b⟩ = Σ wᵢ aᵢ bᵢ that measures its length.

    ``rough``: nearly the same equations, for Newton's first steps, where G itself is costly. The derivative at a place
    is then that of Newton's last step, which began within 1e-8 of it.
    """

    system: System
    weights: Tensor
    rough: System | None = None

    def dot(self, a: Tensor, b: Tensor) -> float:
        """Return ⟨a, b⟩."""
        return (self.weights * a * b).sum().item()

    def unit(self, a: Tensor) -> Tensor:
        """Return ``a`` at length one."""
        return a / self.dot(a, a) ** 0.5

    def correct(self, guess: Tensor, normal: Tensor, along: Tensor) -> tuple[Place | None, int]:
        """Solve G(z) = 0 in the plane through ``guess`` that is orthogonal to ``normal``, and add the tangent.

        Newton's steps are counted.
        """
        row = self.weights * normal

        def square(system: System) -> System:
            def extended(z: Tensor) -> tuple[Tensor, Tensor]:
                values, J = system(z)
                return torch.cat([values, (row @ (z - guess))[None]]), torch.cat([J, row[None]])

            return extended

        z, steps, _, J = newton(square(self.system), guess, rough=None if self.rough is None else square(self.rough))
        if z is None or J is None:
            return None, steps
        return self.place(z, along, None if self.rough is None else J[:-1]), steps

    def place(self, z: Tensor, along: Tensor, derivative: Tensor | None = None) -> Place | None:
        """Add to ``z`` the unit tangent that points in the direction of ``along``: G′(z) t = 0, ⟨along, t⟩ > 0."""
        derivative = self.system(z)[1] if derivative is None else derivative
        last = torch.zeros_like(z)
        last[-1] = 1.0
        t, info = torch.linalg.solve_ex(torch.cat([derivative, (self.weights * along)[None]]), last)
        return Place(z, self.unit(t), derivative) if info.item() == 0 and t.isfinite().all() else None


def walk(
    curve: Curve,
    start: Place,
    *,
    reach: Reach,
    first_step: float,
    visit: Callable[[Place, Place], str | None],
) -> str:
    """Follow the curve from ``start``; call ``visit(previous, place)`` at every new place; return why the walk ended.

    A step is made again at half its length where Newton's method fails, where the curve turns by more than 25°, or
    where the correction is longer than half the step, which may mean another curve. What ``visit`` returns ends it.
    """
    here, h, (low, high) = start, first_step, reach.p_range
    why = ""
    for count in range(reach.max_steps):
        while True:
            if h < SMALLEST * reach.step:
                z = here.z
                return (
                    f"step collapsed: {why} at p = {z[-1].item():.6g} with |y| = {z[:-1].norm().item():.3g}. "
                    f"The branch may end there (a pole, a jump or the border of where f is defined), or f is not smooth"
                )
            guess = here.z + h * here.tangent
            there, iterations = curve.correct(guess, here.tangent, here.tangent)
            if there is None:
                why = "Newton's method fails"
            elif curve.dot(here.tangent, there.tangent) < 0.9:
                why = "the branch turns ever more sharply"
            elif curve.dot(there.z - guess, there.z - guess) > 0.25 * h * h:
                why = "the corrector leads far away"
            else:
                break
            h /= 2
        if not low <= there.z[-1].item() <= high:
            at_end = _at_the_border(curve, here, there, low if there.z[-1].item() < low else high)
            return (visit(here, at_end) if at_end is not None else None) or "left p_range"
        reason = visit(here, there)
        if reason:
            return reason
        if count >= 3 and _passes(curve, here, there, start):
            return "closed"
        here = there
        h = min(reach.step, h * (2.0 if iterations <= 3 else 1.0 if iterations <= 5 else 0.7))
    return "max_steps"


def _at_the_border(curve: Curve, here: Place, there: Place, p: float) -> Place | None:
    """Return the place between two places at which the parameter is ``p``."""
    share = (p - here.z[-1]) / (there.z[-1] - here.z[-1])
    guess = here.z + share * (there.z - here.z)
    guess[-1] = p
    normal = torch.zeros_like(guess)
    normal[-1] = 1.0
    return curve.correct(guess, normal, here.tangent)[0]


def _passes(curve: Curve, here: Place, there: Place, start: Place) -> bool:
    """Say whether the last step has gone over the start of the walk, in its direction."""
    chord = there.z - here.z
    length = curve.dot(chord, chord)
    share = curve.dot(start.z - here.z, chord) / length
    aside = start.z - here.z - share * chord
    return 0 < share <= 1 and curve.dot(aside, aside) < 0.01 * length and curve.dot(start.tangent, there.tangent) > 0.9


def root_between(curve: Curve, a: Place, b: Place, test: Callable[[Place], float], iterations: int) -> Place | None:
    """Return a place between ``a`` and ``b`` where ``test``, whose signs differ there, is close to zero.

    Regula falsi with the Illinois rule, which halves the value at an end that stays: Dowell & Jarratt (1971).
    """
    left, right = 0.0, curve.dot(b.z - a.z, a.tangent)
    at_left, at_right = test(a), test(b)
    scale = max(abs(at_left), abs(at_right))
    best, smallest, last = (a, abs(at_left), 0) if abs(at_left) < abs(at_right) else (b, abs(at_right), 0)
    for _ in range(iterations):
        s = (left * at_right - right * at_left) / (at_right - at_left)
        middle = curve.correct(a.z + s * a.tangent, a.tangent, a.tangent)[0]
        if middle is None:
            break
        value = test(middle)
        if abs(value) < smallest:
            best, smallest = middle, abs(value)
        if abs(value) <= 1e-13 * scale or abs(right - left) < 1e-13 * (1 + abs(right)):
            break
        if (value < 0) == (at_left < 0):
            left, at_left, at_right, last = s, value, at_right / 2 if last == -1 else at_right, -1
        else:
            right, at_right, at_left, last = s, value, at_left / 2 if last == 1 else at_left, 1
    return best
