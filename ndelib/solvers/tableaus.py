"""Explicit Runge–Kutta methods as data: adding a method to the library means adding one table here.

The coefficients are those of Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993),
sections II.1 and II.2; each table names who found it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ButcherTableau:
    """An explicit Runge–Kutta method: stage weights ``a``, nodes ``c``, solution weights ``b``.

    With ``s = len(b)`` stages, row ``i`` of ``a`` holds the ``i`` weights of the stages before stage ``i``.
    A table that contradicts itself (wrong lengths, a row of ``a`` that does not sum to its node, weights that
    do not sum to one) raises ``ValueError`` when it is made.
    """

    name: str
    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        stages = len(self.b)
        if len(self.c) != stages or [len(row) for row in self.a] != list(range(stages)):
            raise ValueError(
                f"tableau {self.name!r}: {stages} weights b need {stages} nodes c and rows a of length 0, 1, …; "
                f"got {len(self.c)} nodes and rows of length {[len(row) for row in self.a]}"
            )
        for i, (node, row) in enumerate(zip(self.c, self.a, strict=True)):
            if abs(sum(row) - node) > 1e-14:
                raise ValueError(f"tableau {self.name!r}: row {i} of a sums to {sum(row)}, its node is {node}")
        if abs(sum(self.b) - 1) > 1e-14:
            raise ValueError(f"tableau {self.name!r}: the weights b sum to {sum(self.b)}, not to 1")


EULER = ButcherTableau("euler", 1, c=(0.0,), a=((),), b=(1.0,), source="Euler (1768)")

MIDPOINT = ButcherTableau("midpoint", 2, c=(0.0, 1 / 2), a=((), (1 / 2,)), b=(0.0, 1.0), source="Runge (1895)")

HEUN2 = ButcherTableau("heun2", 2, c=(0.0, 1.0), a=((), (1.0,)), b=(1 / 2, 1 / 2), source="Heun (1900)")

RALSTON = ButcherTableau("ralston", 2, c=(0.0, 2 / 3), a=((), (2 / 3,)), b=(1 / 4, 3 / 4), source="Ralston (1962)")

RK4 = ButcherTableau(
    "rk4",
    4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    source="Kutta (1901)",
)

RK4_38 = ButcherTableau(
    "rk4_38",
    4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
    source="Kutta (1901), the 3/8 rule",
)

TABLEAUS = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN2, RALSTON, RK4, RK4_38)}
