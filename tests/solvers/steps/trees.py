"""Rooted trees and the order conditions that they stand for (Hairer, Nørsett & Wanner I, section II.2).

A tree is the sorted tuple of the trees that hang on its root: ``()`` is the single vertex. A method has order p when
Σᵢ bᵢ Φᵢ(τ) = 1/γ(τ) for every tree τ of at most p vertices; its continuous extension, when Σᵢ bᵢ(θ) Φᵢ(τ) = θ^ρ/γ(τ),
where ρ is the number of vertices of τ.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from math import factorial, prod

from ndelib.solvers.steps.butcher import ButcherTableau, Row

Tree = tuple["Tree", ...]
Numbers = Sequence[Fraction]

ROUNDED = {"tsit5", "dopri8"}  # tables whose coefficients are not rational
HALF_ULP = 2.0**-53


@cache
def trees(size: int) -> tuple[Tree, ...]:
    """All rooted trees of so many vertices."""
    if size == 1:
        return ((),)
    # Hang a smaller tree on the root of another one: every tree arises so, and sorting shows which are the same.
    joined = {
        tuple(sorted((*rest, branch)))
        for branch_size in range(1, size)
        for branch in trees(branch_size)
        for rest in trees(size - branch_size)
    }
    return tuple(sorted(joined))


def vertices(tree: Tree) -> int:
    """ρ."""
    return 1 + sum(map(vertices, tree))


def density(tree: Tree) -> int:
    """γ: the product, over all vertices, of the size of the subtree that begins there."""
    return vertices(tree) * prod(map(density, tree))


def symmetry(tree: Tree) -> int:
    """σ: in how many ways equal branches can change places."""
    return prod(factorial(tree.count(branch)) for branch in set(tree)) * prod(map(symmetry, tree))


class Stages:
    """The stages of a method: ``phi(tree)[i]`` is Φᵢ(τ), and every condition weighs these."""

    def __init__(self, a: Sequence[Numbers], c: Numbers) -> None:
        self.a, self.c = a, c
        self._phi: dict[Tree, Numbers] = {(): [Fraction(1)] * len(c)}

    def phi(self, tree: Tree) -> Numbers:
        if tree not in self._phi:
            # A leaf stands for the node c, not for the sum of the row of a: so a wrong node shows.
            factors = [self.c if branch == () else self._through_a(self.phi(branch)) for branch in tree]
            self._phi[tree] = [prod(column) for column in zip(*factors, strict=True)]
        return self._phi[tree]

    def _through_a(self, phi: Numbers) -> Numbers:
        return [weigh(row, phi) for row in self.a]

    def condition(self, weights: Numbers, tree: Tree) -> Fraction:
        """Σᵢ wᵢ Φᵢ(τ); stages beyond the last weight have none."""
        return weigh(weights, self.phi(tree))


def weigh(weights: Numbers, numbers: Numbers) -> Fraction:
    return sum((w * x for w, x in zip(weights, numbers, strict=False) if w), Fraction(0))


class Exact:
    """A table in exact arithmetic: as the fractions that it was written in, or else as the floats that it holds."""

    def __init__(self, tableau: ButcherTableau) -> None:
        self.rounded = tableau.name in ROUNDED
        number = Fraction if self.rounded else fraction_behind
        self.b = [number(x) for x in tableau.b]
        self.stages, self.magnitudes = exact_stages(number, *all_stages(tableau))
        self.b_hat = [number(x) for x in difference(tableau.b, tableau.b_error)]
        self.b_hat_low = [number(x) for x in difference(tableau.b, tableau.b_error_low)]
        # The numerators and denominators in dopri5's extension have eleven digits: too many to tell from a float.
        self.dense_rounded = self.rounded or tableau.name == "dopri5"
        number = Fraction if self.dense_rounded else fraction_behind
        self.dense = [[number(x) for x in row] for row in tableau.dense or ()]

    def order(self) -> int:
        return self._order(self.b, self.b if self.rounded else ())

    def embedded_order(self) -> int:
        return self._order(self.b_hat, self.b_hat if self.rounded else ())

    def low_order(self) -> int:
        return self._order(self.b_hat_low, self.b_hat_low if self.rounded else ())

    def dense_order(self, theta: Fraction) -> int:
        powers = [theta ** (j + 1) for j in range(len(self.dense[0]))]
        weights = [sum(x * p for x, p in zip(row, powers, strict=True)) for row in self.dense]
        sizes = [sum(abs(x) * p for x, p in zip(row, powers, strict=True)) for row in self.dense]
        return self._order(weights, sizes if self.dense_rounded else (), theta)

    def _order(self, weights: Numbers, rounded: Numbers, theta: Fraction = Fraction(1)) -> int:
        """The highest order of which every condition holds: exactly, but for what ``rounded`` weights may be off."""
        for order in range(1, 10):
            for tree in trees(order):
                residual = self.stages.condition(weights, tree) - theta**order / density(tree)
                if abs(residual) > self._rounding(tree, rounded):
                    return order - 1
        raise AssertionError("no condition fails")

    def _rounding(self, tree: Tree, weights: Numbers) -> float:
        """Bound what the rounding of coefficients does to a condition.

        It sums products of as many coefficients as the tree has vertices, each off by half an ulp at most. Weights
        that are computed when the table is made (b − b̂, powers of θ) are off by another two ulps at most.
        """
        return (vertices(tree) + 4) * HALF_ULP * self.magnitudes.condition([abs(float(x)) for x in weights], tree)


def all_stages(tableau: ButcherTableau) -> tuple[tuple[Row, ...], Row]:
    """Rows a and nodes c of all slopes of dense output: those of the step, f(t + h, y₁), and the extra ones."""
    f1 = () if tableau.fsal else (tableau.b,)
    return (*tableau.a, *f1, *tableau.extra_a), (*tableau.c, *(1.0 for _ in f1), *tableau.extra_c)


@lru_cache(maxsize=32)
def exact_stages(number: Callable[[float], Fraction], a: tuple[Row, ...], c: Row) -> tuple[Stages, Stages]:
    """The stages exactly, and with the absolute values of all coefficients in floats, which will do for bounds."""
    magnitudes = Stages([[abs(x) for x in row] for row in a], [abs(x) for x in c])
    return Stages([[number(x) for x in row] for row in a], [number(x) for x in c]), magnitudes


def fraction_behind(x: float) -> Fraction:
    fraction = Fraction(x).limit_denominator(10**6)
    # Within the rounding of x, or of b − (b − b̂), no other fraction with a denominator below 10⁶ is found.
    assert abs(fraction - Fraction(x)) <= 4 * HALF_ULP * max(1, abs(fraction)), f"{x} is no fraction of small numbers"
    return fraction


def difference(b: Row, b_error: Row | None) -> Row:
    return tuple(x - e for x, e in zip(b, b_error, strict=True)) if b_error else ()
