"""Sparse regression: few ξ that are not zero, with Θξ close to ẋ.

Names and parameters are those of PySINDy and scikit-learn. Sources: Brunton, Proctor & Kutz, PNAS 113 (2016), for
STLSQ; Zheng et al., IEEE Access 7 (2019), and Champion et al., IEEE Access 8 (2020), for SR3; Tibshirani, J. R.
Statist. Soc. B 58 (1996), for the Lasso.
"""

import warnings
from typing import Any, Self

import torch
from torch import Tensor

from ndelib.discovery.data import like, numbers
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.least_squares import LeastSquares, compress


class Optimizer(Estimator):
    """A sparse regression that depends on the samples only through ‖Θξ − ẋ‖. A subclass says how: ``sparse(problem)``.

    Args:
        normalize_columns: whether each term is divided by its Euclidean length over the samples first. Thresholds and
            penalties then weigh what a term contributes to ẋ, and not its coefficient, which depends on units.
        unbias: whether the coefficients that are not zero are found again by plain least squares at the end.
    """

    coef_: Any
    """The coefficients, (targets, terms)."""

    def __init__(self, normalize_columns: bool = False, unbias: bool = True) -> None:
        self.normalize_columns = normalize_columns
        self.unbias = unbias

    def sparse(self, problem: LeastSquares) -> Tensor:
        """Return the sparse coefficients, (terms, targets)."""
        raise NotImplementedError

    def fit_problem(self, problem: LeastSquares) -> Tensor:
        """Return the coefficients, (targets, terms), of a problem that was compressed before."""
        lengths = problem.lengths() if self.normalize_columns else problem.A.new_ones(problem.A.shape[1])
        problem = problem.scaled(lengths)
        xi = self.sparse(problem)
        if self.unbias:
            xi = problem.solve(xi.abs() > 1e-14)
        self.coef_ = (xi / lengths[:, None]).T
        result: Tensor = self.coef_
        return result

    def fit(self, X: Any, y: Any) -> Self:
        """Find ``coef_`` for terms ``X``, (samples, terms), and ``y``, (samples,) or (samples, targets)."""
        terms, targets = numbers(X, "X"), numbers(y, "y")
        self.coef_ = like(self.fit_problem(compress(terms, targets.reshape(len(targets), -1))), X)
        return self

    def predict(self, X: Any) -> Any:
        """Return ``X @ coef_.T``, (samples, targets)."""
        self._check_fitted("coef_")
        return X @ self.coef_.T

    @property
    def complexity(self) -> int:
        """How many coefficients are not zero."""
        self._check_fitted("coef_")
        return int((self.coef_ != 0).sum())


class STLSQ(Optimizer):
    """Sequentially thresholded least squares: fit, drop what is small, fit again, until nothing is dropped.

    Args:
        threshold: coefficients below it are dropped. Coefficients have units, so it has; with ``normalize_columns`` it
            is compared with coefficient times length.
        alpha: of the ridge penalty α‖ξ‖² in the fits that decide what is dropped.
        max_iter: how often to fit at most.
        normalize_columns: see :class:`Optimizer`.
        unbias: whether the last fit is without ``alpha``.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import STLSQ
        >>> X = np.random.default_rng(0).normal(size=(100, 4))
        >>> STLSQ(threshold=0.5).fit(X, 2 * X[:, 0] - X[:, 2]).coef_.round(9)
        array([[ 2.,  0., -1.,  0.]])
    """

    history_: list[Tensor]
    """The coefficients after each fit and threshold, (targets, terms), in the units of the normalised columns."""

    def __init__(
        self,
        threshold: float = 0.1,
        alpha: float = 0.05,
        max_iter: int = 20,
        normalize_columns: bool = False,
        unbias: bool = True,
    ) -> None:
        super().__init__(normalize_columns, unbias)
        for name, value in (("threshold", threshold), ("alpha", alpha)):
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value!r}")
        _check_iterations(max_iter)
        self.threshold = threshold
        self.alpha = alpha
        self.max_iter = max_iter

    def sparse(self, problem: LeastSquares) -> Tensor:
        """Fit and threshold until no support changes."""
        kept = torch.ones(problem.A.shape[1], problem.B.shape[1], dtype=torch.bool, device=problem.A.device)
        self.history_ = []
        for _ in range(self.max_iter):
            xi = problem.solve(kept, self.alpha)
            before, kept = kept, kept & (xi.abs() >= self.threshold)
            xi = torch.where(kept, xi, 0.0)
            self.history_.append(xi.T)
            if torch.equal(before, kept):
                break
        else:
            _warn(f"STLSQ still drops terms after max_iter={self.max_iter} fits: take a larger max_iter")
        empty = (~kept.any(dim=0)).nonzero()[:, 0].tolist()
        if empty:
            _warn(
                f"threshold={self.threshold} is above every coefficient of equation {_listed(empty)}, whose right-hand "
                "side is now zero: take a smaller one"
            )
        return xi


class SR3(Optimizer):
    """Sparse relaxed regularised regression: minimise ½‖Θw − y‖² + λR(v) + ‖w − v‖²/(2ν) over w and v in turns.

    v is sparse and is ``coef_``; w, ``coef_full_``, is not. With "L0" v keeps what is at least √(2λν) in w, with "L1"
    it is w moved towards zero by λν, with "L2" it is w/(1 + 2λν).

    Args:
        reg_weight_lam: λ.
        regularizer: R: "L0" counts what is not zero, "L1" sums sizes, "L2" squares.
        relax_coeff_nu: ν, how far v may be from w.
        tol: stop when ‖v − previous v‖/ν is below it.
        max_iter: how many turns at most.
        normalize_columns: see :class:`Optimizer`.
        unbias: see :class:`Optimizer`; off, as in PySINDy.
    """

    coef_full_: Tensor

    def __init__(
        self,
        reg_weight_lam: float = 0.005,
        regularizer: str = "L0",
        relax_coeff_nu: float = 1.0,
        tol: float = 1e-5,
        max_iter: int = 30,
        normalize_columns: bool = False,
        unbias: bool = False,
    ) -> None:
        super().__init__(normalize_columns, unbias)
        if str(regularizer).upper() not in ("L0", "L1", "L2"):
            raise ValueError(f'regularizer must be "L0", "L1" or "L2", got {regularizer!r}')
        if not reg_weight_lam >= 0:
            raise ValueError(f"reg_weight_lam must be 0 or more, got {reg_weight_lam!r}")
        for name, value in (("relax_coeff_nu", relax_coeff_nu), ("tol", tol)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        _check_iterations(max_iter)
        self.reg_weight_lam = reg_weight_lam
        self.regularizer = regularizer
        self.relax_coeff_nu = relax_coeff_nu
        self.tol = tol
        self.max_iter = max_iter

    def prox(self, w: Tensor) -> Tensor:
        """Return the v that minimises λR(v) + ‖w − v‖²/(2ν)."""
        weight = self.reg_weight_lam * self.relax_coeff_nu
        if self.regularizer.upper() == "L0":
            return torch.where(w.abs() >= (2 * weight) ** 0.5, w, 0.0)
        if self.regularizer.upper() == "L1":
            return w.sign() * (w.abs() - weight).clamp(min=0.0)
        return w / (1 + 2 * weight)

    def sparse(self, problem: LeastSquares) -> Tensor:
        """Minimise over w, then over v, until v stands still."""
        A, B, nu = problem.A, problem.B, self.relax_coeff_nu
        p = A.shape[1]
        v = problem.solve(torch.ones(p, B.shape[1], dtype=torch.bool, device=A.device))
        L = torch.linalg.cholesky(A.T @ A + torch.eye(p, dtype=A.dtype, device=A.device) / nu)
        fitted, pull = torch.cholesky_solve(A.T @ B, L), torch.cholesky_inverse(L) / nu
        for _ in range(self.max_iter):
            w = fitted + pull @ v  # solves (AᵀA + I/ν) w = AᵀB + v/ν
            before, v = v, self.prox(w)
            if (v - before).norm() / nu < self.tol:
                break
        else:
            _warn(f"SR3 has not converged after max_iter={self.max_iter} turns: take a larger max_iter or tol")
        self.coef_full_ = w.T
        return v


class Lasso(Optimizer):
    """Minimise ‖Θξ − y‖²/(2n) + α‖ξ‖₁ over n samples, by scikit-learn's coordinate descent.

    Args:
        alpha: α, as in scikit-learn's ``Lasso``. It shrinks all coefficients, so small terms stay where their size
            helps to make up for that: expect more terms than from :class:`STLSQ`.
        max_iter: how many sweeps at most.
        tol: of scikit-learn's dual gap.
        normalize_columns: see :class:`Optimizer`.
        unbias: see :class:`Optimizer`.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        max_iter: int = 1000,
        tol: float = 1e-4,
        normalize_columns: bool = False,
        unbias: bool = True,
    ) -> None:
        super().__init__(normalize_columns, unbias)
        if not alpha >= 0:
            raise ValueError(f"alpha must be 0 or more, got {alpha!r}")
        _check_iterations(max_iter)
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol

    def sparse(self, problem: LeastSquares) -> Tensor:
        """Solve the small problem, whose sum of squares is not divided by as many rows."""
        try:
            from sklearn.linear_model import Lasso as CoordinateDescent
        except ImportError as error:
            raise ImportError("Lasso needs scikit-learn: pip install scikit-learn, or take STLSQ or SR3") from error

        A, B = problem.A.cpu().numpy(), problem.B.cpu().numpy()
        alpha = self.alpha * problem.rows / len(A)
        descent = CoordinateDescent(alpha, fit_intercept=False, max_iter=self.max_iter, tol=self.tol)
        return torch.as_tensor(descent.fit(A, B).coef_).reshape(B.shape[1], -1).T.to(problem.A)


def _check_iterations(max_iter: int) -> None:
    if not isinstance(max_iter, int) or max_iter < 1:
        raise ValueError(f"max_iter must be a positive whole number, got {max_iter!r}")


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)
