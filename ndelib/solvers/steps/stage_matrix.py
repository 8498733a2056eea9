"""The matrix I − hγJ of Newton's method: its Jacobian and its LU decomposition, kept for as many steps as they serve.

Source: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), section IV.8.
"""

import math

import torch
from torch import Tensor

from ndelib.solvers.steps.jacobian import (
    Jacobian,
    at_least_vector,
    check_jacobian,
    check_that_results_are_new,
    check_that_rows_are_independent,
    jacobian_by_jvp,
)
from ndelib.solvers.steps.step import Field, Statistics, time_like


class StageMatrix:
    """I − hγJ for every system of a batch, y of shape (*, d): the last Jacobian, and the last decomposition.

    A decomposition serves every h that differs from its own by at most the part ``same_h``.
    """

    def __init__(self, field: Field, statistics: Statistics, jacobian: Jacobian | None, same_h: float) -> None:
        self.field = field
        self.statistics = statistics
        self.jacobian = jacobian
        self.same_h = same_h
        self.correction = 1.0
        """by what an increment is to be multiplied, because the matrix is that of another h"""
        self.mismatch = 0.0
        """the part of the error that an iteration leaves for that reason"""
        self._t = math.nan
        self._y: Tensor | None = None
        self._J: Tensor | None = None
        self._lu: tuple[Tensor, Tensor] | None = None
        self._lu_h_gamma = math.nan

    def fits(self, y: Tensor) -> bool:
        """Whether there is a Jacobian, of systems like ``y``."""
        return self._J is not None and self._J.shape[:-1] == at_least_vector(y).shape

    def renew(self, t: float, y: Tensor) -> None:
        """Evaluate the Jacobian at ``(t, y)``, unless it is the one in use."""
        if not (self._t == t and self._y is y):
            self._J, self._lu = self._evaluate_jacobian(t, y.detach()), None
            self._t, self._y = t, y

    def use(self, h_gamma: float) -> None:
        """Take the LU decomposition of I − hγJ, or one of another h that is near enough."""
        ratio = h_gamma / self._lu_h_gamma
        if self._lu is None or not abs(ratio - 1) <= self.same_h:
            self._lu, self._lu_h_gamma = self._factor(self._J, h_gamma), h_gamma
            ratio = 1.0
        # With the matrix of another h an increment is too large by `ratio` in the stiffest components and by 1 in the
        # slow ones. This factor makes the error that remains the same in both: |1 − ratio| / (1 + ratio).
        self.correction = 2 / (1 + ratio)
        self.mismatch = abs(1 - ratio) / (1 + ratio)

    def solve(self, v: Tensor) -> Tensor:
        """Return (I − hγJ)⁻¹ v, with the matrix that is in use: (*) -> (*)."""
        assert self._lu is not None
        return solve(self._lu, v)

    def exact(self, t: float, y: Tensor, h_gamma: float) -> tuple[Tensor, Tensor]:
        """Return the decomposition of the matrix at ``(t, y)``; what is kept stays."""
        return self._factor(self._evaluate_jacobian(t, y), h_gamma)

    def largest_change(self, y: Tensor) -> Tensor:
        """Return |J| |y|, (*): by how much f may change if every component of y changes by itself."""
        assert self._J is not None
        return (self._J.abs() @ at_least_vector(y).abs().unsqueeze(-1)).squeeze(-1).reshape(y.shape)

    def _evaluate_jacobian(self, t: float, y: Tensor) -> Tensor:
        self.statistics.jacobians += 1
        with torch.no_grad():
            if self.jacobian is not None:
                return check_jacobian(self.jacobian(time_like(t, y), y), y).detach()
            # The derivatives of f are counted as one Jacobian, not as evaluations of f.
            evaluate = getattr(self.field, "uncounted", self.field)
            try:
                J = jacobian_by_jvp(lambda y: evaluate(t, y), y)
            except RuntimeError:
                check_that_results_are_new(lambda y: evaluate(t, y), y)
                raise
            if self._J is None and y.ndim > 1:
                check_that_rows_are_independent(lambda y: evaluate(t, y), y, J)
            return J.detach()

    def _factor(self, J: Tensor | None, h_gamma: float) -> tuple[Tensor, Tensor]:
        assert J is not None
        self.statistics.factorizations += 1
        identity = torch.eye(J.shape[-1], dtype=J.dtype, device=J.device)
        # Not lu_factor: it would stall a GPU to look for singular matrices, which here show as infinite increments.
        lu, pivots, _ = torch.linalg.lu_factor_ex(identity - h_gamma * J)
        return lu, pivots


def solve(lu: tuple[Tensor, Tensor], v: Tensor) -> Tensor:
    """Return M⁻¹ v for the decomposition ``lu`` of M, (*, d, d): (*, d) -> (*, d)."""
    column = at_least_vector(v).unsqueeze(-1)
    if not torch._C._functorch.is_functorch_wrapped_tensor(column):
        return torch.linalg.lu_solve(*lu, column).reshape(v.shape)
    # Under two levels of vmap (also those of jacrev and jacfwd), torch.linalg.lu_solve returns wrong numbers where only
    # the outer one batches the matrix (seen with torch 2.13). The same in small steps:
    P, L, U = torch.lu_unpack(*lu)
    column = torch.linalg.solve_triangular(L, P.mT @ column, upper=False, unitriangular=True)
    return torch.linalg.solve_triangular(U, column, upper=True).reshape(v.shape)
