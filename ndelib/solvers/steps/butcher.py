"""A Runge–Kutta method as data: the Butcher tableau.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), sections II.1, II.4 and II.6.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

Row = tuple[float, ...]


@dataclass(frozen=True)
class ButcherTableau:
    """An explicit Runge–Kutta method: stage weights ``a``, nodes ``c``, solution weights ``b``.

    With ``s = len(b)`` stages, row ``i`` of ``a`` holds the ``i`` weights of the stages before stage ``i``.

    ``b_error = b − b̂`` weighs the stages into an estimate of the error of one step, which behaves like
    h^(error_order + 1). ``b_error_low`` is a second estimate, of low order, for methods that combine two
    (DOP853). ``dense`` is the continuous extension: ``y(t + θh) = y + h Σᵢ (Σⱼ dense[i][j] θ^(j+1)) kᵢ``, over the
    stages of the step and, after them, f(t + h, y₁) if the method is not FSAL, and ``extra`` stages: rows of ``a``
    (and nodes ``extra_c``) that only dense output needs. Without ``dense`` the library interpolates by a cubic.

    A table that contradicts itself (wrong lengths, a row that does not sum to its node, weights that do not sum
    to one) raises ``ValueError`` when it is made. It can be given to a solve as ``method=``, which checks the order
    that it claims (the eight conditions up to order four).

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.solvers import ButcherTableau
        >>> a, b, c = ((), (1 / 3,), (0, 2 / 3)), (1 / 4, 0, 3 / 4), (0, 1 / 3, 2 / 3)
        >>> heun3 = ButcherTableau("heun3", 3, c=c, a=a, b=b)
        >>> y0 = torch.ones(1)
        >>> odeint(lambda t, y: -y, y0, [0.0, 1.0], method=heun3, step_size=0.1)
        tensor([[1.0000],
                [0.3679]])
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_error: Row | None = None
    b_error_low: Row | None = None
    error_order: int | None = None
    dense: tuple[Row, ...] | None = None
    extra_c: Row = ()
    extra_a: tuple[Row, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        stages = len(self.b)
        if len(self.c) != stages or [len(row) for row in self.a] != list(range(stages)):
            raise ValueError(
                f"tableau {self.name!r}: {stages} weights b need {stages} nodes c and rows a of length 0, 1, …; "
                f"got {len(self.c)} nodes and rows of length {[len(row) for row in self.a]}"
            )
        for i, (node, row) in enumerate(zip(self.c, self.a, strict=True)):
            if abs(sum(row) - node) > 1e-13:
                raise ValueError(f"tableau {self.name!r}: row {i} of a sums to {sum(row)}, its node is {node}")
        if abs(sum(self.b) - 1) > 1e-13:
            raise ValueError(f"tableau {self.name!r}: the weights b sum to {sum(self.b)}, not to 1")
        for name, weights in (("b_error", self.b_error), ("b_error_low", self.b_error_low)):
            if weights is not None and (len(weights) != stages or abs(sum(weights)) > 1e-13):
                raise ValueError(f"tableau {self.name!r}: {name} needs {stages} weights that sum to 0, got {weights}")
        if (self.b_error is None) != (self.error_order is None):
            raise ValueError(f"tableau {self.name!r}: b_error and error_order come together")
        self._check_dense(stages + (not self.fsal))

    def _check_dense(self, known: int) -> None:
        """Check the continuous extension over ``known`` stages (f(t + h, y₁) among them) and its extra ones."""
        if [len(row) for row in self.extra_a] != [known + i for i in range(len(self.extra_c))]:
            raise ValueError(f"tableau {self.name!r}: rows of extra_a must have the lengths {known}, {known + 1}, …")
        for node, row in zip(self.extra_c, self.extra_a, strict=True):
            if abs(sum(row) - node) > 1e-13:
                raise ValueError(f"tableau {self.name!r}: a row of extra_a sums to {sum(row)}, its node is {node}")
        if self.dense is None:
            return
        at_end = [sum(row) for row in self.dense]
        b = [*self.b, *[0.0] * (len(at_end) - len(self.b))]
        # 1e-11: the powers of θ that make up DOP853's weights have coefficients of several hundreds, which cancel
        if len(at_end) != known + len(self.extra_c) or max(abs(x - y) for x, y in zip(at_end, b, strict=True)) > 1e-11:
            raise ValueError(f"tableau {self.name!r}: dense must have a row for every stage, and give b at θ = 1")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.order, self.a, self.b))  # once: compiled steps look themselves up by their table

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage is f(t + h, y₁), the first of the next step: *first same as last*."""
        return len(self.b) > 1 and self.c[-1] == 1.0 and self.b[-1] == 0.0 and self.a[-1] == self.b[:-1]


def check_order(tableau: ButcherTableau) -> None:
    """Raise ``ValueError`` if ``tableau`` has not the order that it claims, or its error estimate not its own.

    Checked are the eight conditions up to order four; there are 9 more for order five, and 200 in all for order eight.
    """
    for order, name, factors, value in _conditions(tableau):
        if order <= tableau.order and not math.isclose(found := _sum(tableau.b, factors), value, abs_tol=1e-10):
            raise ValueError(
                f"tableau {tableau.name!r} claims order {tableau.order}, but its order is {order - 1}: "
                f"{name} should be {value:.10g}, and is {found:.10g}"
            )
        if tableau.b_error is None or tableau.b_error_low is not None:  # two estimates together have a higher order
            continue
        assert tableau.error_order is not None
        if order <= tableau.error_order and abs(found := _sum(tableau.b_error, factors)) > 1e-10:
            raise ValueError(
                f"tableau {tableau.name!r} claims error_order = {tableau.error_order}, but the error estimate behaves "
                f"like h^{order}: {name} with b_error for b should be 0, and is {found:.10g}"
            )


def _conditions(tableau: ButcherTableau) -> Iterator[tuple[int, str, list[float], float]]:
    """Yield order, name, the factors of the bᵢ and the value of each condition up to order four (table II.2.2)."""
    c = tableau.c
    ac = [_sum(row, c) for row in tableau.a]
    acc = [_sum(row, [x * x for x in c]) for row in tableau.a]
    aac = [_sum(row, ac) for row in tableau.a]
    yield 1, "Σ bᵢ", [1.0] * len(c), 1.0
    yield 2, "Σ bᵢ cᵢ", [*c], 1 / 2
    yield 3, "Σ bᵢ cᵢ²", [x**2 for x in c], 1 / 3
    yield 3, "Σ bᵢ aᵢⱼ cⱼ", ac, 1 / 6
    yield 4, "Σ bᵢ cᵢ³", [x**3 for x in c], 1 / 4
    yield 4, "Σ bᵢ cᵢ aᵢⱼ cⱼ", [x * y for x, y in zip(c, ac, strict=True)], 1 / 8
    yield 4, "Σ bᵢ aᵢⱼ cⱼ²", acc, 1 / 12
    yield 4, "Σ bᵢ aᵢⱼ aⱼₖ cₖ", aac, 1 / 24


def _sum(weights: Sequence[float], factors: Sequence[float]) -> float:
    """Return Σ wᵢ xᵢ over the weights; a row of a has fewer than there are stages."""
    return math.fsum(w * x for w, x in zip(weights, factors, strict=False))
