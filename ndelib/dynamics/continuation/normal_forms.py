"""On which side a cycle is born, and whether it attracts: the coefficient of the cubic term on the centre manifold.

Kuznetsov, *Elements of Applied Bifurcation Theory* (2004), sections 3.5, 4.5, 4.7 and 5.4, in the form that needs no
change of coordinates: with Aq = λq, Aᵀp̄ = λp̄, ⟨p, q⟩ = 1, |q| = 1, and the second and third derivatives B and C of f.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacfwd

Vector = Tensor


class Derivatives:
    """A (d, d), and B(u, v) and C(u, v, w) as functions of complex vectors (d,), of ``f`` at ``y``."""

    def __init__(self, f: Callable[[Tensor], Tensor], y: Tensor):
        self.A = jacfwd(f)(y).to(torch.complex128)
        self.second = jacfwd(jacfwd(f))(y).to(torch.complex128)
        self.third = jacfwd(jacfwd(jacfwd(f)))(y).to(torch.complex128)
        self.identity = torch.eye(len(y), dtype=torch.complex128)

    def B(self, u: Vector, v: Vector) -> Vector:
        """Return the second derivative in the directions u and v."""
        return torch.einsum("ijk,j,k->i", self.second, u, v)

    def C(self, u: Vector, v: Vector, w: Vector) -> Vector:
        """Return the third derivative in the directions u, v and w."""
        return torch.einsum("ijkl,j,k,l->i", self.third, u, v, w)

    def pair(self, eigenvalue: complex) -> tuple[Vector, Vector]:
        """Return the right eigenvector q, |q| = 1, of the eigenvalue, and the left one p with ⟨p, q⟩ = Σ p̄ᵢqᵢ = 1."""
        shifted = self.A - eigenvalue * self.identity
        U, _, Vh = torch.linalg.svd(shifted)
        q, p = Vh[-1].conj(), U[:, -1]
        return q, p / torch.vdot(p, q).conj()


def first_lyapunov_coefficient(f: Callable[[Tensor], Tensor], y: Tensor, omega: float) -> float:
    """Return l₁ of a Hopf point with the eigenvalues ±iω: below zero, the cycle that is born attracts.

    On the centre manifold the amplitude obeys ṙ = l₁ω r³ + …, where y = r (q e^{iωt} + q̄ e^{−iωt}) and |q| = 1.
    """
    D = Derivatives(f, y)
    if not 0 < omega < math.inf:
        raise ValueError(f"omega must be positive and finite, got {omega}")
    values = torch.linalg.eigvals(D.A)
    if not (values - 1j * omega).abs().min() < 1e-3 * omega:
        raise ValueError(
            f"y is no Hopf point with this omega: ±{omega:g}i are not among the eigenvalues {values.tolist()}"
        )
    q, p = D.pair(1j * omega)
    h_11 = torch.linalg.solve(D.A, D.B(q, q.conj()))
    h_20 = torch.linalg.solve(2j * omega * D.identity - D.A, D.B(q, q))
    cubic = D.C(q, q, q.conj()) - 2 * D.B(q, h_11) + D.B(q.conj(), h_20)
    return torch.vdot(p, cubic).real.item() / (2 * omega)


def period_doubling_coefficient(f: Callable[[Tensor], Tensor], y: Tensor) -> float:
    """Return c of ξ ↦ −ξ + c ξ³ on the centre manifold of a multiplier −1: above zero, the doubled cycle attracts."""
    D = Derivatives(f, y)
    q, p = D.pair(-1.0)
    h = torch.linalg.solve(D.A - D.identity, D.B(q, q))
    return (torch.vdot(p, D.C(q, q, q)) / 6 - torch.vdot(p, D.B(q, h)) / 2).real.item()


def neimark_sacker_coefficient(f: Callable[[Tensor], Tensor], y: Tensor, theta: float) -> float:
    """Return d of |ξ| ↦ |ξ| (1 + d |ξ|²) on the centre manifold of e^{±iθ}: below zero, the invariant curve attracts.

    Not to be used at the strong resonances e^{iθk} = 1, k ≤ 4.
    """
    D = Derivatives(f, y)
    multiplier = complex(torch.exp(torch.tensor(1j * theta, dtype=torch.complex128)))
    q, p = D.pair(multiplier)
    h_11 = torch.linalg.solve(D.identity - D.A, D.B(q, q.conj()))
    h_20 = torch.linalg.solve(multiplier**2 * D.identity - D.A, D.B(q, q))
    cubic = D.C(q, q, q.conj()) + 2 * D.B(q, h_11) + D.B(q.conj(), h_20)
    return (torch.vdot(p, cubic) / multiplier).real.item() / 2
