"""SINDy for right-hand sides that are fractions: N(x) − ẋ D(x) = 0 with few terms in N and D.

With ẋ among the terms no term is known to be there, so each is tried as the one that the others make (SINDy-PI:
Kaheman, Kutz & Brunton, Proc. R. Soc. A 476 (2020)). Mangan et al., IEEE Transactions on Molecular, Biological and
Multi-Scale Communications 2 (2016), look for a sparse vector in the null space instead.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ndelib.discovery.data import like, trajectories
from ndelib.discovery.least_squares import LeastSquares, compress, ridge
from ndelib.discovery.sindy import text
from ndelib.discovery.sindy.libraries import FeatureLibrary
from ndelib.discovery.sindy.model import SINDy
from ndelib.discovery.sindy.optimizers import STLSQ, Optimizer

GOOD = 2.0
"""The fraction with the fewest terms is taken among those whose error is at most this many times the smallest."""
ROUNDING = 1e-6
"""Errors relative to the size of ẋ that are below this are all alike."""


class ImplicitSINDy(SINDy):
    """Find ẋ = N(x)/D(x), where N and D are both made of terms of the library.

    For every variable the terms θ_j and ẋθ_j, each divided by its length, are regressed on the others, one after the
    other. Fractions whose ẋ is at most twice as wrong as the best one's are good. As long as they stay good, terms are
    left out, those that come last first; the fraction with the fewest terms is taken, and among these the one with the
    terms that come first.

    A library that has more than it needs has x·(N − ẋD) too, so that fractions can be extended: keep it small. Noise
    hurts more than in :class:`SINDy`, since ẋ stands among the terms; smooth, or measure ẋ.

    Args:
        feature_library: the terms of N and of D; polynomials of degree 2 without it.
        optimizer: the sparse regression. Its threshold is relative: a term that contributes less than this share of the
            term on the left is dropped.
        differentiation_method: as in :class:`SINDy`.
        feature_names: as in :class:`SINDy`.

    ``coef_`` has the coefficients of N, ``denominator_`` those of D, (d, p) each. In D the constant is 1 if there is
    one, and else the largest coefficient is.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import ImplicitSINDy, PolynomialLibrary
        >>> x = np.linspace(0.1, 2.0, 50)
        >>> x_dot = 0.6 - 1.5 * x / (0.3 + x)  # an enzyme at work
        >>> ImplicitSINDy(PolynomialLibrary(1)).fit(x, x_dot=x_dot).print()
        x0' = (0.600 - 3.000 x0) / (1.000 + 3.333 x0)
    """

    denominator_: Tensor

    def __init__(
        self,
        feature_library: FeatureLibrary | None = None,
        optimizer: Any = None,
        differentiation_method: Callable[..., Any] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        optimizer = STLSQ(threshold=0.01, alpha=0.0) if optimizer is None else optimizer
        super().__init__(feature_library, optimizer, differentiation_method, feature_names)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer must be a sparse regression such as STLSQ(0.01), got {type(optimizer).__name__}"
            )

    def fit(
        self, x: Any, t: Any = None, x_dot: Any = None, u: Any = None, feature_names: Sequence[str] | None = None
    ) -> Self:
        """Find numerators and denominators; the arguments are those of :meth:`SINDy.fit`."""
        data = trajectories(x, t, x_dot, u)
        self._start(data, feature_names)
        terms, slopes = self._regression(data)
        self._warn_of_dependent_terms(compress(terms, slopes))
        found = [self._fraction(terms, slopes[:, k], k) for k in range(slopes.shape[1])]
        self.coef_ = torch.stack([N for N, _ in found])
        self.denominator_ = torch.stack([D for _, D in found])
        self._kind = like(self.coef_[:0], x)
        return self

    def _fraction(self, terms: Tensor, slope: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the coefficients of N and D, (p,) each, for variable number ``k``."""
        if not slope.any():
            raise ValueError(
                f"{self.feature_names_[k]} does not change: give it to u as an input, and leave it out of x"
            )
        relations = compress(torch.cat([terms, -slope[:, None] * terms], dim=1), slope[:, None])
        lengths = relations.lengths()
        A = relations.A / lengths

        def error(relation: Tensor) -> float:
            """Return how wrong ẋ = N/D is, relative to the size of ẋ; infinite where D is or has a zero."""
            N, D = (relation / lengths).split(terms.shape[1])
            under = terms @ D
            missed = (terms @ N / under - slope).norm() / slope.norm()
            return missed.clamp(min=ROUNDING).item() if N.any() and (under != 0).all() else math.inf

        def made_by(support: Tensor, j: int, regress: Callable[[LeastSquares], Tensor]) -> Tensor:
            """Return the relation between term ``j`` and others of the ``support``."""
            others = support.clone()
            others[j] = False
            relation = torch.zeros_like(lengths)
            relation[j] = -1.0
            relation[others] = regress(LeastSquares(A[:, others], A[:, j : j + 1], relations.rows))
            return relation

        everything = torch.ones_like(lengths, dtype=torch.bool)
        found = [(made_by(everything, j, lambda p: self.optimizer.fit_problem(p)[0]), j) for j in range(len(lengths))]
        bound = GOOD * min(error(relation) for relation, _ in found)
        if bound == math.inf:
            raise ValueError(
                f"no fraction was found for {self.feature_names_[k]}: no relation among the terms has its derivative; "
                "take a smaller threshold, or another feature_library"
            )
        good, place = [], torch.arange(terms.shape[1], device=A.device).repeat(2)
        for relation, j in found:
            while error(relation) <= bound:  # leave out one term after the other, those that come last first
                good.append(relation)
                kept = [i for i in relation.nonzero()[:, 0].tolist() if i != j]
                fewer = (
                    made_by((relation != 0).index_fill(0, torch.tensor([i], device=A.device), False), j, _plain)
                    for i in sorted(kept, key=lambda i: -int(place[i]))
                    if len(kept) > 1
                )
                relation = next((smaller for smaller in fewer if error(smaller) <= bound), 0 * relation)
        best = min(good, key=lambda r: (int((r != 0).sum()), int(place[r != 0].sum()), error(r)))
        N, D = (best / lengths).split(terms.shape[1])
        constant = [D[i] for i, name in enumerate(self.get_feature_names()) if name == "1" and D[i] != 0]
        scale = constant[0] if constant else D[D.abs().argmax()]
        return N / scale, D / scale

    def _slopes(self, columns: Tensor) -> Tensor:
        """Return N/D, (p, n) -> (d, n)."""
        return (self.coef_.to(columns) @ columns) / (self.denominator_.to(columns) @ columns)

    def coefficients(self) -> Any:
        """Return the coefficients of the numerators and of the denominators, (2, d, p); as the data came."""
        self._check_fitted("coef_")
        return like(torch.stack([self.coef_, self.denominator_]), self._kind)

    @property
    def complexity(self) -> int:
        """How many coefficients are not zero, in numerators and denominators."""
        self._check_fitted("coef_")
        return int((self.coef_ != 0).sum() + (self.denominator_ != 0).sum())

    def _fractions(self, names: Sequence[str], write: Callable[..., str], fraction: str, precision: int) -> list[str]:
        self._check_fitted("coef_")
        found = []
        for N, D in zip(self.coef_, self.denominator_, strict=True):
            over, under = write(N, names, precision), write(D, names, precision)
            is_whole = [name for name, c in zip(names, D.tolist(), strict=True) if c] == ["1"]
            found.append(over if is_whole else fraction.format(over, under))
        return found

    def equations(self, precision: int = 3) -> list[str]:
        """Return the right-hand sides as text."""
        return self._fractions(self.get_feature_names(), text.expression, "({}) / ({})", precision)

    def latex(self, precision: int = 3) -> str:
        """Return the equations in LaTeX."""
        self._check_fitted("coef_")
        names = self.feature_library.get_latex_names([text.latex_variable(name) for name in self.feature_names_])
        left = [text.latex_variable(name, dot=True) for name in self.feature_names_[: self.n_features_in_]]
        return text.aligned(left, self._fractions(names, text.latex_expression, r"\frac{{{}}}{{{}}}", precision))


def _plain(problem: LeastSquares) -> Tensor:
    """Return the plain least-squares solution, (p,)."""
    return ridge(problem.A, problem.B, 0.0)[:, 0]
