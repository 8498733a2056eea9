"""Diagonally implicit Runge–Kutta methods as data: adding a stiff method to the library means adding one table here.

Every method here begins with an explicit stage (the slope at t, which is the last slope of the step before), has one
number γ on the rest of its diagonal, so that all stages share one matrix I − hγJ, and ends with the stage that *is* the
new state (it is *stiffly accurate*).

Sources: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), section IV.6; Kværnø, Singly diagonally
implicit Runge–Kutta methods with an explicit first stage, BIT 44 (2004) 489–502; Kennedy & Carpenter, Diagonally
implicit Runge–Kutta methods for stiff ODEs, Appl. Numer. Math. 146 (2019) 221–244.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from ndelib.solvers.steps.butcher import Row


@dataclass(frozen=True)
class DiagonallyImplicitTableau:
    """A diagonally implicit Runge–Kutta method: nodes ``c``, and stage weights ``a`` up to and with the diagonal.

    Row ``i`` of ``a`` holds the ``i + 1`` weights of the stages 0, …, i. Row 0 is ``(0,)``: the first stage is
    explicit. The last row is also the weights ``b`` of the solution.

    ``b_error = b − b̂`` weighs the stages into an estimate of the error of one step, which behaves like
    h^(error_order + 1). Its stages are those of the method and, after them, explicit ``extra`` stages: rows of ``a``
    (and nodes ``extra_c``) that only the estimate needs. ``filters`` is how often (I − hγJ)⁻¹ is applied to the
    estimate, so that it stays bounded however stiff the problem is (Hairer & Wanner II, eq. IV.8.19).

    ``dense_order``: the order of the continuous extension :attr:`dense`; 3 for methods that use a cubic instead.

    A table that contradicts itself raises ``ValueError`` when it is made.
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b_error: Row
    error_order: int
    extra_c: Row = ()
    extra_a: tuple[Row, ...] = ()
    filters: int = 0
    dense_order: int = 3
    source: str = ""

    def __post_init__(self) -> None:
        stages, every = len(self.a), len(self.a) + len(self.extra_a)
        lengths = [len(row) for row in (*self.a, *self.extra_a)]
        expected = [*range(1, stages + 1), *range(stages, every)]
        if lengths != expected or [len(self.c), len(self.extra_c)] != [stages, every - stages]:
            raise ValueError(
                f"tableau {self.name!r}: rows of a must have the lengths {expected}, one for each node; got {lengths}, "
                f"{len(self.c)} nodes c and {len(self.extra_c)} extra nodes"
            )
        if len(self.b_error) != every:
            raise ValueError(f"tableau {self.name!r}: b_error needs {every} weights, got {len(self.b_error)}")
        for i, (node, row) in enumerate(zip(self.c + self.extra_c, self.a + self.extra_a, strict=True)):
            if abs(math.fsum(row) - node) > 1e-14:
                raise ValueError(f"tableau {self.name!r}: row {i} of a sums to {math.fsum(row)}, its node is {node}")
        if abs(math.fsum(self.b_error)) > 1e-14:
            raise ValueError(f"tableau {self.name!r}: b_error sums to {math.fsum(self.b_error)}, not to 0")
        if stages < 2 or self.a[0] != (0.0,) or self.c[-1] != 1.0:
            raise ValueError(f"tableau {self.name!r}: the first stage must be explicit, the last must be at c = 1")
        if self.gamma <= 0 or any(row[-1] != self.gamma for row in self.a[1:]):
            raise ValueError(f"tableau {self.name!r}: the diagonal after the first stage must be one positive number")

    @property
    def gamma(self) -> float:
        """The number γ on the diagonal."""
        return self.a[1][1]

    @property
    def b(self) -> Row:
        """The weights of the solution: those of the last stage."""
        return self.a[-1]

    @cached_property
    def predictors(self) -> tuple[Row, ...]:
        """For each stage the weights of the earlier slopes that guess its slope: Newton's method starts there.

        The guess is the value at ``c[i]`` of the parabola through the latest three slopes with different nodes.
        """
        return tuple(_extrapolation(self.c[:i], self.c[i]) for i in range(len(self.c)))

    @cached_property
    def dense(self) -> tuple[Row, ...]:
        """The continuous extension: ``y(t + θh) = y + h Σᵢ (Σⱼ dense[i][j] θ^(j+1)) kᵢ``, of order ``dense_order``."""
        return continuous_extension(self)


def _extrapolation(nodes: Row, node: float, points: int = 3) -> Row:
    latest = {c: i for i, c in enumerate(nodes)}  # of equal nodes the later
    used = sorted(latest.values())[-points:]
    weights = [0.0] * len(nodes)
    for i in used:
        weights[i] = math.prod((node - nodes[j]) / (nodes[i] - nodes[j]) for j in used if j != i)
    return tuple(weights)


def continuous_extension(tableau: DiagonallyImplicitTableau) -> tuple[Row, ...]:
    """Return weights bᵢ(θ) = Σⱼ βᵢⱼ θ^j, j = 1, …, p, that make a continuously differentiable curve of order p ≤ 4.

    The conditions are those for the order of a step of length θh (Hairer, Nørsett & Wanner I, section II.6),

        Σ bᵢ(θ) cᵢ^(q−1) = θ^q / q  for q = 1, …, p,  and  Σ bᵢ(θ) aᵢⱼ cⱼ² = θ⁴ / 12  for p = 4;

    all others of order ≤ 4 follow from these, because the stages satisfy Σⱼ aᵢⱼ cⱼ = cᵢ²/2. To these we add that the
    curve ends where the step ends, b(1) = b, and leaves and arrives with the slopes there, b'(0) = e₁ and b'(1) = eₛ.
    Of the solutions we take the one with the smallest coefficients.
    """
    p, stages = tableau.dense_order, len(tableau.c)
    a = torch.tensor([[*row, *[0.0] * (stages - len(row))] for row in tableau.a], dtype=torch.float64)
    c = torch.tensor(tableau.c, dtype=torch.float64)
    identity = torch.eye(stages, dtype=torch.float64)
    powers = torch.arange(1, p + 1, dtype=torch.float64)
    # One condition is a pair (weights over stages, weights over powers) and a right side: Σᵢⱼ wᵢ βᵢⱼ vⱼ = r.
    stage_sums = [(c ** (q - 1), q, 1 / q) for q in range(1, p + 1)]
    if p == 4:
        stage_sums.append((a @ c**2, 4, 1 / 12))
    conditions = [
        (w, e, value * (j == q))
        for w, q, value in stage_sums
        for j, e in enumerate(torch.eye(p, dtype=c.dtype), start=1)
    ]
    for i, unit in enumerate(identity):
        conditions.append((unit, torch.ones(p, dtype=c.dtype), tableau.b[i]))
        conditions.append((unit, (powers == 1).to(c.dtype), float(i == 0)))
        conditions.append((unit, powers, float(i == stages - 1)))
    matrix = torch.stack([torch.outer(w, v).flatten() for w, v, _ in conditions])
    right = torch.tensor([r for _, _, r in conditions], dtype=torch.float64)
    beta = torch.linalg.lstsq(matrix, right.unsqueeze(-1), driver="gelsd").solution.reshape(stages, p)
    return tuple(tuple(w if abs(w) > 1e-12 else 0.0 for w in row) for row in beta.tolist())  # without rounding errors


BACKWARD_EULER = DiagonallyImplicitTableau(
    "backward_euler",
    1,
    c=(0.0, 1.0),
    a=((0.0,), (0.0, 1.0)),
    b_error=(-1 / 2, 1 / 2),  # against the trapezoidal rule
    error_order=1,
    filters=1,
    source="Euler (1768); Hairer & Wanner II (1996), eq. IV.3.9",
)

TRAPEZOID = DiagonallyImplicitTableau(
    "trapezoid",
    2,
    c=(0.0, 1.0),
    a=((0.0,), (1 / 2, 1 / 2)),
    # Against Simpson's rule, with the slope at the middle of the cubic through both ends of the step.
    b_error=(1 / 3, 1 / 3, -2 / 3),
    error_order=2,
    extra_c=(1 / 2,),
    extra_a=((3 / 8, 1 / 8),),
    filters=2,
    source="Crank & Nicolson (1947); Hairer & Wanner II (1996), eq. IV.3.10",
)


def _kvaerno3() -> DiagonallyImplicitTableau:
    # γ is the root of γ³ − 3γ² + 3γ/2 − 1/6 between 1/3 and 1/2: with three implicit stages the only one that makes a
    # method of order 3 L-stable (Hairer & Wanner II, table IV.6.4). The other coefficients follow from the
    # conditions for order 2 (third stage) and order 3 (fourth stage).
    g = 0.43586652150845899942
    third = ((-4 * g * g + 6 * g - 1) / (4 * g), (1 - 2 * g) / (4 * g), g)
    fourth = ((6 * g - 1) / (12 * g), -1 / ((24 * g - 12) * g), (-6 * g * g + 6 * g - 1) / (6 * g - 3), g)
    return DiagonallyImplicitTableau(
        "kvaerno3",
        3,
        c=(0.0, 2 * g, 1.0, 1.0),
        a=((0.0,), (g, g), third, fourth),
        b_error=(fourth[0] - third[0], fourth[1] - third[1], fourth[2] - third[2], g),
        error_order=2,
        source="Kværnø (2004), ESDIRK 3/2 with γ = 0.4359",
    )


KVAERNO3 = _kvaerno3()


def _esdirk54() -> DiagonallyImplicitTableau:
    g = 23 / 125
    c = (0.0, 46 / 125, 7121331996143 / 11335814405378, 49 / 353, 3706679970760 / 5295570149437, 347 / 382, 1.0)
    # Without the first column, which follows from the nodes.
    rows: tuple[Row, ...] = (
        (g,),
        (791020047304 / 3561426431547, g),
        (-158159076358 / 11257294102345, -85517644447 / 5003708988389, g),
        (-1653327111580 / 4048416487981, 1514767744496 / 9099671765375, 14283835447591 / 12247432691556, g),
        (
            -4540011970825 / 8418487046959,
            -1790937573418 / 7393406387169,
            10819093665085 / 7266595846747,
            4109463131231 / 7386972500302,
            g,
        ),
        (
            -188593204321 / 4778616380481,
            2809310203510 / 10304234040467,
            1021729336898 / 2364210264653,
            870612361811 / 2470410392208,
            -1307970675534 / 8059683598661,
            g,
        ),
    )
    a = ((0.0,), *((node - math.fsum(row), *row) for node, row in zip(c[1:], rows, strict=True)))
    b_hat = (
        -582099335757 / 7214068459310,
        615023338567 / 3362626566945,
        3192122436311 / 6174152374399,
        6156034052041 / 14430468657929,
        -1011318518279 / 9693750372484,
        1914490192573 / 13754262428401,
    )
    return DiagonallyImplicitTableau(
        "esdirk54",
        5,
        c=c,
        a=a,
        b_error=tuple(b - low for b, low in zip(a[-1], (1 - math.fsum(b_hat), *b_hat), strict=True)),
        error_order=4,
        dense_order=4,
        source="Kennedy & Carpenter (2019), ESDIRK5(4)7L[2]SA2",
    )


ESDIRK54 = _esdirk54()

TABLEAUS = {tableau.name: tableau for tableau in (BACKWARD_EULER, TRAPEZOID, KVAERNO3, ESDIRK54)}
