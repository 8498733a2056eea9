"""What a step of a stochastic method may know of the noise in it, and how that of two intervals is put together.

Over an interval of length h a Brownian motion has its increment W, (*, m), its *space–time Lévy area* H, (*, m), the
mean over the interval of the path's distance from its chord, and its *Lévy area* A, (*, m, m),
A_ij = ½ ∫ (W_i dW_j − W_j dW_i). W and H are independent and normal with variances h and h/12; A is not normal.

Sources: Foster, Numerical approximations for stochastic differential equations, DPhil thesis, Oxford (2020), for H, its
bridge and E[A | W, H]; Chen, Ann. of Math. 65 (1957) 163, how areas add up. The formulas for unequal parts are derived
in the comments.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Increment(NamedTuple):
    """What is known of the noise over an interval of length ``h``; H and A are ``None`` where nobody asked for them."""

    h: float
    W: Tensor
    H: Tensor | None = None
    A: Tensor | None = None

    @property
    def I10(self) -> Tensor:
        """The integral over the interval of what W has grown since its beginning, (*, m): h (W/2 + H)."""
        assert self.H is not None
        return self.h * (0.5 * self.W + self.H)

    def reversed(self) -> "Increment":
        """Return the increment of the same path walked back. Distances from the chord stay what they are."""
        return Increment(-self.h, -self.W, self.H, None if self.A is None else -self.A)


def wedge(a: Tensor, b: Tensor) -> Tensor:
    """Return a_i b_j − b_i a_j, (*, m, m), for vectors (*, m)."""
    product = a.unsqueeze(-1) * b.unsqueeze(-2)
    return product - product.mT


def expected_area(W: Tensor, H: Tensor) -> Tensor:
    """Return E[A | W, H] = H_i W_j − W_i H_j, (*, m, m). It leaves a third of the variance of A unexplained."""
    return wedge(H, W)


def join(first: Increment, second: Increment) -> Increment:
    """Return the increment over two intervals, one after the other."""
    h = first.h + second.h
    W = first.W + second.W
    H = A = None
    if first.H is not None and second.H is not None:
        # h (W/2 + H) = h₁ (W₁/2 + H₁) + h₂ W₁ + h₂ (W₂/2 + H₂), solved for H
        r = first.h / h
        H = (0.5 * (1 - r)) * first.W - (0.5 * r) * second.W + r * first.H + (1 - r) * second.H
    if first.A is not None and second.A is not None:
        A = first.A + second.A + 0.5 * wedge(first.W, second.W)
    return Increment(h, W, H, A)


def remove(whole: Increment, first: Increment) -> Increment:
    """Return the second of two intervals from both together and the first: ``join`` solved for it. A is not kept."""
    h, r = whole.h - first.h, first.h / whole.h
    W = whole.W - first.W
    if whole.H is None or first.H is None:
        return Increment(h, W)
    H = (whole.H - (0.5 * (1 - r)) * first.W + (0.5 * r) * W - r * first.H) / (1 - r)
    return Increment(h, W, H)


def join_equal(h: float, W: Tensor, H: Tensor | None, with_area: bool) -> Increment:
    """Return the increment over n intervals of length ``h`` each.  W, H: (n, *, m)."""
    n = len(W)
    total = W.sum(0)
    if H is None:
        return Increment(n * h, total)
    # n (W/2 + H) = Σ (W_k/2 + H_k) + Σ (n − 1 − k) W_k, solved for H
    weights = torch.arange(n - 1, -1, -1, dtype=W.dtype, device=W.device) + (0.5 - 0.5 * n)
    mean = (torch.tensordot(weights, W, 1) + H.sum(0)) / n
    if not with_area:
        return Increment(n * h, total, mean)
    before = W.cumsum(0) - W
    # ½ Σ before_k ∧ W_k + Σ H_k ∧ W_k, as one product of matrices
    product = torch.einsum("k...i,k...j->...ij", 0.5 * before + H, W)
    return Increment(n * h, total, mean, product - product.mT)


def split(whole: Increment, r: float, normals: Tensor) -> tuple[Increment, Increment]:
    """Draw the increments over the first part, ``r`` of the interval, and over the rest, given that over the whole.

    ``normals``: (2, *, m), or (1, *, m) without H. This is the Brownian bridge, also for H. With h = 1 the covariances
    of (W₁, H₁) with (W, H) are [[r, r(1 − r)/2], [0, r²/12]], which gives the conditional means r W + 6 r(1 − r) H and
    r² H, the variances r(1 − r)(1 − 3r(1 − r)) and r(1 − r³)/12, and the covariance −r³(1 − r)/2.
    """
    s = 1 - r
    root = math.sqrt(whole.h)
    if whole.H is None:
        first = Increment(r * whole.h, torch.add(r * whole.W, normals[0], alpha=root * math.sqrt(r * s)))
        return first, remove(whole, first)
    deviation = math.sqrt(r * s * (1 - 3 * r * s))
    slope = -(r**3) * s / 2 / deviation
    rest = math.sqrt(max(0.0, r * (1 - r**3) / 12 - slope**2))
    W = r * whole.W + (6 * r * s) * whole.H + (root * deviation) * normals[0]
    H = r**2 * whole.H + (root * slope) * normals[0] + (root * rest) * normals[1]
    first = Increment(r * whole.h, W, H)
    return first, remove(whole, first)
