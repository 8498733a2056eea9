"""Integrals over a step, by Gauss quadrature on its dense output.

Source: Golub & Welsch, Calculation of Gauss quadrature rules, Math. Comp. 23 (1969) 221.
"""

from collections.abc import Iterator
from functools import cache

import torch


@cache
def gauss_legendre(n: int) -> list[tuple[float, float]]:
    """Return nodes and weights on [0, 1] of the rule that integrates polynomials of degree 2n − 1 exactly.

    The nodes are the eigenvalues of the matrix of the three-term recurrence of Legendre's polynomials, the weights the
    squares of the first components of its eigenvectors.
    """
    k = torch.arange(1, n, dtype=torch.float64, device="cpu")
    beside = k / (4 * k * k - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return list(zip(((1 + nodes) / 2).tolist(), vectors[0].square().tolist(), strict=True))


def nodes_for(order: float) -> int:
    """Return how many nodes make the error of an integral over a step, O(h^(2n + 1)), no larger than the step's own."""
    return int(order // 2) + 1


def gauss_points(start: float, end: float, order: float) -> Iterator[tuple[float, float]]:
    """Yield (t, weight) with ∫ from ``start`` to ``end`` ≈ Σ weight · value(t), for steps of a method of ``order``."""
    for node, weight in gauss_legendre(nodes_for(order)):
        yield start + node * (end - start), weight * (end - start)
