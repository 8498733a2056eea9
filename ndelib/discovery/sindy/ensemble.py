"""Many fits instead of one: to samples that were drawn again, to libraries with terms left out, or both.

How often a term is kept is a measure of trust in it. Sources: Breiman, Bagging predictors, Machine Learning 24 (1996);
Fasel, Kutz, Brunton & Brunton, Ensemble-SINDy, Proc. R. Soc. A 478 (2022); parameters as in PySINDy.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from ndelib.discovery.data import like, numbers
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.least_squares import LeastSquares, compress
from ndelib.discovery.sindy.optimizers import Optimizer


class EnsembleOptimizer(Estimator):
    """Fit ``opt`` many times and take the median of the coefficients.

    Args:
        opt: the sparse regression, an :class:`Optimizer` such as :class:`STLSQ`.
        bagging: whether each fit sees samples that were drawn at random.
        library_ensemble: whether each fit sees a library with ``n_candidates_to_drop`` terms left out at random.
        n_models: how many fits.
        n_subset: how many samples a fit sees; without it all, or six tenths if ``replace`` is off.
        n_candidates_to_drop: how many terms are left out.
        replace: whether a sample can be drawn more than once.
        ensemble_aggregator: makes the coefficients, (targets, terms), of those of all fits, (models, targets, terms);
            the median without it.
        seed: of the draws.

    ``coef_list`` has the coefficients of every fit, (models, targets, terms), and ``inclusion_`` says for each term in
    what share of those fits that had it in their library it was kept, (targets, terms).

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import EnsembleOptimizer, STLSQ
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(200, 3))
        >>> y = 2 * X[:, 0] + 0.5 * rng.normal(size=200)
        >>> many = EnsembleOptimizer(STLSQ(0.05), bagging=True).fit(X, y)
        >>> many.inclusion_[0, 0]  # the others are noise, kept now and then
        np.float64(1.0)
    """

    coef_: Any
    coef_list: Any
    inclusion_: Any

    def __init__(
        self,
        opt: Optimizer,
        bagging: bool = False,
        library_ensemble: bool = False,
        n_models: int = 20,
        n_subset: int | None = None,
        n_candidates_to_drop: int = 1,
        replace: bool = True,
        ensemble_aggregator: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        if not bagging and not library_ensemble:
            raise ValueError("bagging and library_ensemble are both off, so all fits would be the same: switch one on")
        if not isinstance(opt, Optimizer):
            raise TypeError(f"opt must be a sparse regression such as STLSQ(), got {type(opt).__name__}")
        if not isinstance(n_models, int) or n_models < 1:
            raise ValueError(f"n_models must be a positive whole number, got {n_models!r}")
        if n_subset is not None and n_subset < 1:
            raise ValueError(f"n_subset must be a positive number of samples, got {n_subset!r}")
        if library_ensemble and n_candidates_to_drop < 1:
            raise ValueError(f"n_candidates_to_drop must be at least 1, got {n_candidates_to_drop!r}")
        self.opt = opt
        self.bagging = bagging
        self.library_ensemble = library_ensemble
        self.n_models = n_models
        self.n_subset = n_subset
        self.n_candidates_to_drop = n_candidates_to_drop
        self.replace = replace
        self.ensemble_aggregator = ensemble_aggregator
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Fit many times, to terms ``X``, (samples, terms), and ``y``, (samples, targets)."""
        terms, targets = numbers(X, "X"), numbers(y, "y")
        targets = targets.reshape(len(targets), -1)
        p = terms.shape[1]
        if self.library_ensemble and self.n_candidates_to_drop >= p:
            raise ValueError(
                f"n_candidates_to_drop={self.n_candidates_to_drop} leaves none of the library's {p} terms: drop fewer"
            )
        draw = torch.Generator().manual_seed(self.seed)
        whole = None if self.bagging else compress(terms, targets)
        coefficients = terms.new_zeros(self.n_models, targets.shape[1], p)
        offered = torch.zeros(p, dtype=terms.dtype, device=terms.device)
        for i in range(self.n_models):
            kept = torch.arange(p)
            if self.library_ensemble:
                kept = torch.randperm(p, generator=draw)[self.n_candidates_to_drop :].sort().values
            problem = whole or self._bag(terms, targets, draw)
            coefficients[i][:, kept] = self.opt.fit_problem(problem.columns(kept.to(terms.device)))
            offered[kept] += 1
        aggregate = self.ensemble_aggregator or _median
        self.coef_list = like(coefficients, X)
        self.coef_ = like(torch.as_tensor(aggregate(coefficients)), X)
        self.inclusion_ = like((coefficients != 0).sum(dim=0) / offered.clamp(min=1), X)
        return self

    def _bag(self, terms: Tensor, targets: Tensor, draw: torch.Generator) -> LeastSquares:
        """Return the problem of samples that were drawn at random."""
        n = len(terms)
        size = self.n_subset or (n if self.replace else int(0.6 * n))
        if self.replace:
            rows = torch.randint(n, (size,), generator=draw)
        else:
            if size > n:
                raise ValueError(f"n_subset={size} is more than the {n} samples there are: take fewer, or replace=True")
            rows = torch.randperm(n, generator=draw)[:size]
        rows = rows.to(terms.device)
        return compress(terms[rows], targets[rows])

    def predict(self, X: Any) -> Any:
        """Return ``X @ coef_.T``, (samples, targets)."""
        self._check_fitted("coef_")
        return X @ self.coef_.T


def _median(coefficients: Tensor) -> Tensor:
    """Return the median over the models; for an even number the mean of the two in the middle."""
    return coefficients.quantile(0.5, dim=0)
