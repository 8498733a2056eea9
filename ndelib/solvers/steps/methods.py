"""The register of methods: what :func:`ndelib.odeint` accepts as ``method``, and where each comes from."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ndelib.solvers.steps import implicit, multistep, reversible, runge_kutta, symplectic
from ndelib.solvers.steps.butcher import ButcherTableau, check_order
from ndelib.solvers.steps.step import Method

MethodLike = str | ButcherTableau | Method
"""What ``method=`` takes: a name of the register, or a method of one's own, as a table or as a function."""

METHODS: dict[str, Method] = {
    **runge_kutta.METHODS,
    **implicit.METHODS,
    **multistep.METHODS,
    **symplectic.METHODS,
    **reversible.METHODS,
}

ALIASES = {"dop853": "dopri8"}
"""Second names: in torchdiffeq, dopri8 is another method, and dop853 is called so nowhere else."""

ELSEWHERE = {
    **{"RK23": "bosh3", "RK45": "dopri5", "DOP853": "dopri8"},
    **dict.fromkeys(("Radau", "BDF", "LSODA", "kvaerno4", "kvaerno5"), "esdirk54"),
    **{"adaptive_heun": "heun2", "fehlberg2": "heun2", "heun3": "bosh3"},
    **dict.fromkeys(("explicit_adams", "implicit_adams", "fixed_adams"), "adams_bashforth_moulton"),
}
"""What SciPy, torchdiffeq and diffrax call their methods, and which one to take here."""


@dataclass(frozen=True)
class MethodInfo:
    """One row of :func:`methods`: name, order, kind of method, whether it can choose its steps, and its source."""

    name: str
    order: float
    kind: str
    adaptive: bool
    source: str


def methods() -> list[MethodInfo]:
    """List every method of the library with its order, kind and source.

    Those of the kind "reversible" are for solutions that oscillate, or for times of a few 1/λ where the flow contracts
    like exp(−λt): later the error grows like exp(λt), whatever the step.

    ``"dopri8"`` is Dormand and Prince's method of order 8 in Hairer's form with two error estimates, DOP853, and also
    answers to ``"dop853"``. What torchdiffeq calls ``dopri8`` is another method, the pair 8(7) of Prince and Dormand;
    what it calls ``rk4`` is ``"rk4_38"`` here; and its ``heun2`` has fixed steps, here those of ``adaptive=False``.

    Example:
        >>> from ndelib import methods
        >>> {method.name: method.order for method in methods()}["dopri5"]
        5
    """
    return [MethodInfo(m.name, m.order, m.kind, m.adaptive, m.source) for m in METHODS.values()]


def find_method(method: Any, argument: str = "method") -> Method:
    """Return the method with this name, or that an object is, which the user made (see :data:`MethodLike`).

    Raises:
        ValueError: the name is unknown (the message suggests the closest ones), or a table has not the order it claims.
        TypeError: it is neither a name nor a method.
    """
    if isinstance(method, str):
        name = ALIASES.get(method, method)
        if name in METHODS:
            return METHODS[name]
        if name in ELSEWHERE:
            here = ELSEWHERE[name]
            raise ValueError(f"{argument} {name!r} is unknown: here that is, or the closest to it is, {here!r}")
        raise ValueError(f"{argument} {name!r} is unknown: {closest(name, METHODS)}")
    if isinstance(method, ButcherTableau):
        return _own_method(method)
    if not isinstance(method, Method):
        made = f"the class {method.__name__}" if isinstance(method, type) else type(method).__name__
        raise TypeError(f"{argument} must be a name, a ButcherTableau or a Method, got {made}")
    if method.kind == "stochastic":
        raise ValueError(f"{argument} {method.name!r} is for stochastic equations: call sdeint")
    return method


@lru_cache(maxsize=32)
def _own_method(tableau: ButcherTableau) -> Method:
    """Return the method that a user's table stands for, once its order has been checked."""
    check_order(tableau)
    return runge_kutta.method_of(tableau)


def closest(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names was probably meant by ``name``."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"choose from {', '.join(known)}"
