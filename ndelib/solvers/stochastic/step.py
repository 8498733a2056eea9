"""What a method for stochastic differential equations is: a :class:`Method` that knows its noise and its calculus.

A step looks up the noise between its ends by time. As the path is a function of time, a step still depends on its
arguments alone, and can be made again, undone, or halved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from ndelib.solvers.steps.step import Method
from ndelib.solvers.stochastic.diffusion import NOISE_TYPES, SDE_TYPES
from ndelib.solvers.stochastic.levy import Increment


class Noise(Protocol):
    """A path of noise, such as a :class:`~ndelib.solvers.BrownianMotion`."""

    def increment(self, s: float, t: float) -> Increment:
        """Return what is known of the noise from ``s`` to ``t``."""


@dataclass(frozen=True)
class StochasticMethod(Method):
    """A row of the register of methods for dy = f dt + g dW. ``order`` is the strong one, for the noise it runs with.

    ``start(field, statistics, *, diffusion, noise, calculus)`` prepares a step.
    """

    strong: Mapping[str, float] | None = None
    """the strong order for every noise type that it works with: E|y_n − y(t_n)| = O(h^order)"""
    weak: float = 1.0
    """|E φ(y_n) − E φ(y(t_n))| = O(h^weak) for smooth φ"""
    calculus: tuple[str, ...] = SDE_TYPES
    """``"ito"``, ``"stratonovich"`` or both; with additive noise both, for they agree there"""
    levy_area: Mapping[str, str] | None = None
    """what it needs of the noise besides W, for some noise types: ``"space-time"`` or ``"area"``"""

    def supports(self, noise_type: str, sde_type: str) -> bool:
        """Return whether the method can solve equations of these types."""
        assert self.strong is not None
        return noise_type in self.strong and (sde_type in self.calculus or noise_type == "additive")

    def area_for(self, noise_type: str) -> str:
        """Return what a path has to keep for it: ``"none"``, ``"space-time"`` or ``"area"``."""
        return (self.levy_area or {}).get(noise_type, "none")

    def running_on(self, noise_type: str) -> "StochasticMethod":
        """Return the method with its order for this noise, and whether it can choose its steps.

        Steps that are chosen by looking at the path converge to the solution only where the method has strong order 1
        or more (Gaines & Lyons 1997): a lower one leaves out terms whose mean is zero only if nobody looks.
        The error of one step is half an order above that of the solve in mean square.
        """
        assert self.strong is not None
        order = self.strong[noise_type]
        controlled = order >= 1.0 and self.reverse is None
        return replace(self, order=order, error_order=order - 0.5 if controlled else None)


def all_noise(order: float, additive: float = 1.0, **others: float) -> dict[str, float]:
    """Return strong orders for all noise types: ``order``, but for ``additive`` and ``others``."""
    return {name: order for name in NOISE_TYPES} | {"additive": additive} | others
