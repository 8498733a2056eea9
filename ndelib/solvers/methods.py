"""The register of methods: what :func:`ndelib.odeint` accepts as ``method``, and where each comes from."""

import difflib
from dataclasses import dataclass

from ndelib.solvers.tableaus import TABLEAUS, ButcherTableau


@dataclass(frozen=True)
class MethodInfo:
    """One row of :func:`methods`: name, order, kind of method, and its source."""

    name: str
    order: int
    kind: str
    source: str


def methods() -> list[MethodInfo]:
    """List every method of the library with its order, kind and source."""
    return [MethodInfo(t.name, t.order, "explicit Runge–Kutta", t.source) for t in TABLEAUS.values()]


def find_method(name: str) -> ButcherTableau:
    """Return the tableau called ``name``; an unknown name raises ``ValueError`` and suggests the closest ones."""
    if name in TABLEAUS:
        return TABLEAUS[name]
    close = difflib.get_close_matches(str(name), TABLEAUS, n=3, cutoff=0.4)
    suggestion = f"did you mean {' or '.join(map(repr, close))}?" if close else f"choose from {', '.join(TABLEAUS)}"
    raise ValueError(f"method {name!r} is unknown: {suggestion}")
