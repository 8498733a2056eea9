"""Legendre's transform between Lagrangians L(q, v) and Hamiltonians H(q, p), by Newton's method.

It is its own inverse: p = ∂L/∂v and H = p·v − L lead there, v = ∂H/∂p and L = p·v − H lead back.

Source: Arnold, *Mathematical Methods of Classical Mechanics* (1989), sections 14 and 15.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from ndelib.physics.mechanics.errors import SingularMassMatrix
from ndelib.physics.mechanics.euler_lagrange import solve_masses
from ndelib.physics.states import columns
from ndelib.solvers.graph import values

Function = Callable[[Tensor, Tensor], Tensor]

MAX_ITERATIONS = 50


def legendre(L: Function, start: Function | None = None) -> Function:
    """Return the Hamiltonian H(q, p) = p·v − L(q, v) of a Lagrangian, where v solves ∂L/∂v = p.

    A quadratic L takes one step of Newton's method, any other as many as it needs, shortened where the
    whole step would lead away. The result is made of torch operations, with exact first and second derivatives, and
    so goes into :func:`~ndelib.physics.hamiltonian_field`. Since it is its own inverse, ``legendre(H)`` is L(q, v).

    Args:
        L: ``L(q, v)``, (*, n) and (*, n) -> (*), strictly convex (or concave) in v.
        start: ``start(q, p)``, where Newton's method starts; v = 0 if ``None``.

    Raises:
        SingularMassMatrix: ∂²L/∂v² has no inverse on the way.
        ArithmeticError: no v was found: p may lie outside of what ∂L/∂v can be.

    Example:
        >>> import torch
        >>> from ndelib.physics import legendre
        >>> def L(q, v):  # relativity, m = c = 1: H = √(1 + p²) − 1
        ...     return 1 - (1 - v**2).sqrt().sum(-1)
        >>> H = legendre(L)
        >>> H(torch.tensor([0.0]), torch.tensor([0.75]))
        tensor(0.2500)
    """

    def H(q: Tensor, p: Tensor) -> Tensor:
        v = conjugate(L, q, p, None if start is None else start(q, p))
        return (p * v).sum(-1) - L(q, v)

    return H


def conjugate(L: Function, q: Tensor, p: Tensor, start: Tensor | None = None) -> Tensor:
    """Return the v with ∂L/∂v(q, v) = p, (*, n); of a Hamiltonian H(q, p), the p with ∂H/∂p = v.

    After its last iteration Newton's method is run once more: its derivative there is that of the implicit function.
    """
    q, p = torch.broadcast_tensors(q, p)
    v = torch.zeros_like(p) if start is None else start
    tolerance = 8 * torch.finfo(p.dtype).eps
    before = float("inf")
    for _ in range(MAX_ITERATIONS):
        try:
            step, miss = _newton(L, q, p, v)
        except SingularMassMatrix as error:
            if before == float("inf"):
                raise
            raise ArithmeticError(
                f"no v with ∂L/∂v = p was found: Newton's method came to v up to {float(values(v).abs().max()):.2g}, "
                f"where ∂²L/∂v∂v has no inverse. p, up to {float(values(p).abs().max()):.3g}, lies outside of what "
                "∂L/∂v can be, or start(q, p) must be nearer to the solution"
            ) from error
        size = float(values(miss).abs().max()) if miss.numel() else 0.0
        scale = float((values(p).abs()).max()) + 1.0 if miss.numel() else 1.0
        if size <= tolerance * scale or (size < 1e3 * tolerance * scale and size >= before):
            return v + step
        before = size
        v = v + step * _shorten(L, q, p, v, step, miss)
    raise ArithmeticError(
        f"no v with ∂L/∂v = p was found in {MAX_ITERATIONS} steps of Newton's method: |∂L/∂v − p| is still {size:.2g}. "
        f"p, up to {scale - 1:.3g}, may lie outside of what ∂L/∂v can be; or start(q, p) must be nearer"
    )


def _newton(L: Function, q: Tensor, p: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step of Newton's method, and what ∂L/∂v lacks to p."""
    slope, back = vjp(grad(lambda v: L(q, v).sum()), v)  # type: ignore[misc]
    (M,) = vmap(back)(columns(v))
    M, miss = M.movedim(0, -2), p - slope
    return solve_masses(M, miss, q, v), miss


def _shorten(L: Function, q: Tensor, p: Tensor, v: Tensor, step: Tensor, miss: Tensor) -> Tensor:
    """Return a factor 1, ½, ¼, … for each sample, with which its step comes nearer to p: (*, 1)."""
    slope = grad(lambda v: L(q, v).sum())
    factor, old = torch.ones_like(miss[..., :1]), miss.norm(dim=-1, keepdim=True)
    for _ in range(30):
        new = (p - slope(v + factor * step)).norm(dim=-1, keepdim=True)
        worse = ~(new <= old * (1 - factor / 4)) & (old > 1e3 * torch.finfo(p.dtype).eps * (1 + p.abs()))[..., :1]
        if not bool(values(worse).any()):
            break
        factor = torch.where(worse, factor / 2, factor)
    return factor.detach()
