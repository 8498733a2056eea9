"""The register of methods: what :func:`ndelib.odeint` accepts as ``method``, and where each comes from."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ndelib.solvers.steps import implicit, multistep, reversible, runge_kutta, symplectic
from ndelib.solvers.steps.step import Method

METHODS: dict[str, Method] = {
    **runge_kutta.METHODS,
    **implicit.METHODS,
    **multistep.METHODS,
    **symplectic.METHODS,
    **reversible.METHODS,
}

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
    """
    return [MethodInfo(m.name, m.order, m.kind, m.adaptive, m.source) for m in METHODS.values()]


def find_method(name: str) -> Method:
    """Return the method called ``name``; an unknown name raises ``ValueError`` and suggests the closest ones."""
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    if isinstance(name, str) and name in ELSEWHERE:
        raise ValueError(f"method {name!r} is unknown: here that is, or the closest to it is, {ELSEWHERE[name]!r}")
    raise ValueError(f"method {name!r} is unknown: {closest(str(name), METHODS)}")


def closest(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names was probably meant by ``name``."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"choose from {', '.join(known)}"
