"""Least squares on part of the columns, again and again: the problem is made small once, by one QR factorisation.

With (Θ Y) = Q (A B), where Q has orthonormal columns, ‖Θξ − y‖ and ‖Aξ − b‖ are equal for every ξ. A has as many rows
as (Θ Y) has columns, so what follows costs the same for a hundred samples and for a million. See Golub & Van Loan,
*Matrix Computations* (2013), section 5.3; unlike the normal equations this does not square the condition number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

DEPENDENT = 1e-8
"""A column whose distance from the span of others is below this share of its length depends on them."""


@dataclass(frozen=True)
class LeastSquares:
    """Find ξ, (p, k), with Aξ close to B."""

    A: Tensor
    """The columns, (m, p)."""
    B: Tensor
    """The right-hand sides, (m, k)."""
    rows: int
    """How many samples the problem was made of."""

    def scaled(self, lengths: Tensor) -> "LeastSquares":
        """Return the problem for ξ · ``lengths``, whose columns are divided by them, (p,)."""
        return LeastSquares(self.A / lengths, self.B, self.rows)

    def lengths(self) -> Tensor:
        """Return the length of each column, (p,), and 1 for a column of zeros."""
        found = self.A.norm(dim=0)
        return torch.where(found > 0, found, 1.0)

    def columns(self, chosen: Tensor) -> "LeastSquares":
        """Return the problem with the chosen columns only."""
        return LeastSquares(self.A[:, chosen], self.B, self.rows)

    def solve(self, support: Tensor, alpha: float = 0.0) -> Tensor:
        """Minimise ‖Aξ − b‖² + α‖ξ‖² for each right-hand side; ξ, (p, k), is zero outside of ``support``, (p, k)."""
        xi = torch.zeros_like(support, dtype=self.A.dtype)
        patterns, which = torch.unique(support, dim=1, return_inverse=True)
        for i, kept in enumerate(patterns.T):  # right-hand sides with the same support are solved together
            if kept.any():
                solved = ridge(self.A[:, kept], self.B[:, which == i], alpha)
                xi[kept.nonzero(), (which == i).nonzero()[:, 0]] = solved
        return xi

    def dependent(self) -> list[tuple[int, Tensor]]:
        """Return each column that depends on those to its left, with its coefficients on them, (p,)."""
        lengths = self.lengths()
        R = torch.linalg.qr(self.A / lengths, mode="r").R
        distance = R.diagonal().abs()  # of each column from the span of those to its left
        kept = torch.zeros(len(lengths), dtype=torch.bool, device=R.device)
        kept[: len(distance)] = distance > DEPENDENT
        found = []
        for j in (~kept).nonzero()[:, 0].tolist():
            before = kept & (torch.arange(len(kept), device=R.device) < j)
            coefficients = torch.zeros_like(lengths)
            if before.any():
                # "gels" is enough for these columns: those that depend on others are not among them.
                made = torch.linalg.lstsq(R[:, before], R[:, j : j + 1], driver="gels").solution[:, 0]
                coefficients[before] = made * lengths[j] / lengths[before]
            found.append((j, coefficients))
        return found


def compress(terms: Tensor, targets: Tensor) -> LeastSquares:
    """Return the small problem that has the solutions of ``terms`` ξ ≈ ``targets``, (n, p) and (n, k)."""
    n, p = terms.shape
    if n <= p + targets.shape[1]:
        return LeastSquares(terms, targets, n)
    R = torch.linalg.qr(torch.cat([terms.T, targets.T]).T, mode="r").R  # column by column, as LAPACK wants it
    return LeastSquares(R[:, :p], R[:, p:], n)


def ridge(A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """Minimise ‖Aξ − B‖² + α‖ξ‖²; (m, p), (m, k) -> (p, k). √α I under A, zeros under B make it plain least squares."""
    if alpha > 0:
        p = A.shape[1]
        A = torch.cat([A, alpha**0.5 * torch.eye(p, dtype=A.dtype, device=A.device)])
        B = torch.cat([B, B.new_zeros(p, B.shape[1])])
    if A.is_cuda:  # has no driver for columns that depend on each other
        return torch.linalg.pinv(A) @ B
    # Of columns that depend on each other gelsy, torch's default, returns wrong answers, that change from call to call
    # (torch 2.13: its pivots are not initialised). With √α I under them columns are independent, and QR is enough.
    solution: Tensor = torch.linalg.lstsq(A, B, driver="gels" if alpha > 0 else "gelsd").solution
    return solution
