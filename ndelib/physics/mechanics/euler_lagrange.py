"""Euler and Lagrange's equation of any Lagrangian L(q, q̇), solved for the accelerations.

With p = ∂L/∂q̇ and the mass matrix M = ∂p/∂q̇, the equation dp/dt = ∂L/∂q + Q reads M q̈ = ∂L/∂q − (∂p/∂q) q̇ + Q.

Sources: Goldstein, Poole & Safko, *Classical Mechanics* (2002), chapters 1 and 2; Cranmer et al., Lagrangian neural
networks, ICLR 2020 workshop (the equation solved for q̈ by automatic differentiation).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from ndelib.physics.mechanics.errors import SingularMassMatrix
from ndelib.physics.states import columns, halves, total
from ndelib.solvers.graph import values

Lagrangian = Callable[[Tensor, Tensor], Tensor]
"""``L(q, v)``, (*, n) and (*, n) -> (*); sample by sample, so that no sample has a part in another's value."""

Force = Callable[[Any, Tensor, Tensor], Tensor]
"""Generalised forces ``Q(t, q, v)`` that come from no potential, (*, n)."""


def euler_lagrange(L: Lagrangian, forces: Force | None = None) -> Callable[[Any, Tensor], Tensor]:
    """Return the vector field of Euler and Lagrange's equation: ``field(t, y) = [q̇, q̈]`` with y = [q, q̇].

    Args:
        L: the Lagrangian ``L(q, v)``, (*, n) and (*, n) -> (*), made of torch operations.
        forces: generalised forces ``forces(t, q, v)``, (*, n): friction, motors. ``None`` means none.

    The field's method is :func:`accelerations`; where M = ∂²L/∂v² has no inverse it raises
    :class:`~ndelib.physics.SingularMassMatrix`.

    Example:
        >>> import torch
        >>> from ndelib.physics import euler_lagrange
        >>> def L(q, v):  # a pendulum of length 2 with g = 10
        ...     return (2 * v**2 + 20 * q.cos()).sum(-1)
        >>> field = euler_lagrange(L)
        >>> field(0.0, torch.tensor([torch.pi / 6, 0.3]))
        tensor([ 0.3000, -2.5000])
    """

    def field(t: Any, y: Tensor) -> Tensor:
        q, v = halves(y, "[q, v]", "euler_lagrange(L)")
        return torch.cat((v, accelerations(L, q, v, None if forces is None else forces(t, q, v))), -1)

    return field


def momentum(L: Lagrangian) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the generalised momenta p = ∂L/∂v as a function of (q, v), (*, n).

    Example:
        >>> import torch
        >>> from ndelib.physics import momentum
        >>> def L(q, v):  # relativity, m = c = 1
        ...     return 1 - (1 - v**2).sqrt().sum(-1)
        >>> p = momentum(L)
        >>> p(torch.tensor([0.0]), torch.tensor([0.6]))
        tensor([0.7500])
    """
    return lambda q, v: grad(lambda v: _total(L, q, v))(v)


def mass_matrix(L: Lagrangian) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mass matrix M = ∂²L/∂v∂v as a function of (q, v), (*, n, n).

    Example:
        >>> import torch
        >>> from ndelib.physics import Kepler, mass_matrix
        >>> M = mass_matrix(Kepler().lagrangian)
        >>> M(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    return lambda q, v: _equation(L, q, v)[0]


def energy_function(L: Lagrangian) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the energy p·v − L as a function of (q, v), (*): conserved where L does not depend on time.

    Example:
        >>> import torch
        >>> from ndelib.physics import energy_function
        >>> E = energy_function(lambda q, v: (v**2 - q**2).sum(-1) / 2)
        >>> E(torch.tensor([3.0]), torch.tensor([4.0]))
        tensor(12.5000)
    """
    return lambda q, v: (momentum(L)(q, v) * v).sum(-1) - L(q, v)


def accelerations(L: Lagrangian, q: Tensor, v: Tensor, forces: Tensor | None = None) -> Tensor:
    """Return q̈ from M q̈ = ∂L/∂q − (∂²L/∂q∂v) v + Q, (*, n).

    Args:
        L: the Lagrangian ``L(q, v)``.
        q: the positions, (*, n).
        v: the velocities, (*, n).
        forces: the generalised forces Q, (*, n), or what broadcasts with them.

    Raises:
        SingularMassMatrix: M has no inverse at one of the states: L is not strictly convex (or concave) in v there.

    Example:
        >>> import torch
        >>> from ndelib.physics import accelerations
        >>> L = lambda q, v: (v**2 - q**2).sum(-1) / 2
        >>> q, v = torch.tensor([3.0]), torch.tensor([4.0])
        >>> accelerations(L, q, v), accelerations(L, q, v, forces=-0.5 * v)
        (tensor([-3.]), tensor([-5.]))
    """
    M, rest = _equation(L, q, v)
    return solve_masses(M, rest if forces is None else rest + forces, q, v)


def solve_masses(M: Tensor, right: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Solve M a = right for a, (*, n), or say where and how badly M (*, n, n) is conditioned."""
    factors, _, failed = torch.linalg.lu_factor_ex(M.detach())
    sizes = factors.diagonal(dim1=-2, dim2=-1).abs()
    smallest = M.shape[-1] * torch.finfo(M.dtype).eps
    wrong = values((failed != 0) | ~(sizes.amin(-1) > smallest * sizes.amax(-1)))  # NaN is wrong, too
    if wrong.any():
        _complain(M, q, v, wrong)
    if M.shape[-1] == 1:
        return right / M[..., 0]
    return _solution(M, right[..., None])[..., 0]


def _solution(M: Tensor, right: Tensor) -> Tensor:
    """Return the x of M x = right, both (*, n, k), with derivatives that are right in every mode and order.

    Those of ``torch.linalg.solve`` are not: in ``vmap(jacfwd(f))``, and without ``enable_grad`` in ``vmap(jacrev(f))``,
    they come from ``torch.linalg.lu_solve``, which in torch 2.13 is wrong where it has to broadcast. So the value is
    that of the solve, and its derivatives are those of M⁻¹ right.
    """
    value: Tensor = torch.linalg.solve(M.detach(), right.detach())
    smooth = torch.linalg.inv(M) @ right
    return value + (smooth - smooth.detach())


def _equation(L: Lagrangian, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return M = ∂²L/∂v², (*, n, n), and ∂L/∂q − (∂p/∂q) v, (*, n).

    One batched pass back from p = ∂L/∂v makes the rows of ∂p/∂q and of M, all n at once. (Forward mode would need a
    direction more, and on small problems it is slower.)
    """
    q, v = torch.broadcast_tensors(q, v)
    (force, p), back = vjp(grad(lambda q, v: _total(L, q, v), argnums=(0, 1)), q, v)  # type: ignore[misc]
    rows, M = vmap(lambda e: back((torch.zeros_like(p), e)))(columns(p))
    return M.movedim(0, -2), force - (rows.movedim(0, -2) @ v[..., None])[..., 0]


def _total(L: Lagrangian, q: Tensor, v: Tensor) -> Tensor:
    """Return the sum of L over a batch, once its shape is checked: its gradient is that of each sample."""
    return total(L(q, v), q, "L(q, v)")


def _complain(M: Tensor, q: Tensor, v: Tensor, wrong: Tensor) -> None:
    """Raise :class:`SingularMassMatrix` for the first state of a batch that is ``wrong``."""
    n, one_layout = M.shape[-1], values(M).shape == M.shape  # inside vmap the batch stands elsewhere
    if not one_layout:
        raise SingularMassMatrix(
            "the mass matrix ∂²L/∂v∂v of L(q, v) has no inverse at one of the states, inside vmap; call it without "
            "vmap to see at which. L is linear in a velocity there, or its network is not smooth, or training diverged",
            q=values(q),
            v=values(v),
            condition=float("nan"),
        )
    M, which = values(M).reshape(-1, n, n), int(wrong.reshape(-1).nonzero()[0])
    q, v = (values(x).expand(*wrong.shape, n).reshape(-1, n)[which] for x in (q, v))
    bad = M[which]
    condition = float(torch.linalg.cond(bad)) if bad.isfinite().all() else float("nan")
    at = f"q = {[round(x, 4) for x in q.tolist()]}, v = {[round(x, 4) for x in v.tolist()]}"
    if bool((bad == 0).all()):
        why = "it is zero, so L is linear in v there, as every network of ReLUs is: use a smooth activation"
    elif condition != condition:
        why = "it is not finite: L is not defined there"
    else:
        why = (
            f"its condition number is {condition:.2g}, and {M.dtype} allows about {1 / torch.finfo(M.dtype).eps:.0e}. "
            "L does not determine every velocity: leave out the coordinate without inertia, or move away from there"
        )
    raise SingularMassMatrix(
        f"the mass matrix ∂²L/∂v∂v of L(q, v) has no inverse at {at} (sample {which} of {len(M)}): {why}",
        q=q,
        v=v,
        condition=condition,
    )
