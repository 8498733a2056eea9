"""Noether's theorem: each symmetry of a Lagrangian has a quantity that its motion conserves.

Source: Noether, Nachrichten der Gesellschaft der Wissenschaften zu Göttingen (1918), 235–257; Arnold, *Mathematical
Methods of Classical Mechanics* (1989), section 20.
"""

from collections.abc import Callable

from torch import Tensor
from torch.func import grad

from ndelib.physics.mechanics.euler_lagrange import Lagrangian, momentum
from ndelib.physics.states import along

Generator = Callable[[Tensor], Tensor]
"""``ξ(q)``, the velocity with which a symmetry moves the coordinates, (*, n) -> (*, n)."""

Function = Callable[[Tensor, Tensor], Tensor]


def noether(L: Lagrangian, generator: Generator, boundary: Callable[[Tensor], Tensor] | None = None) -> Function:
    """Return the quantity p·ξ(q) − F(q) that belongs to the symmetry q ↦ q + εξ(q), as a function of (q, v), (*).

    It is conserved where the symmetry changes L by no more than the derivative dF/dt of a function F(q): see
    :func:`variation`, which measures the change. The energy belongs to the symmetry t ↦ t + ε; it is
    :func:`~ndelib.physics.energy_function`.

    Args:
        L: the Lagrangian ``L(q, v)``.
        generator: ξ(q): all ones for a translation, (−y, x) for a rotation of the plane.
        boundary: F(q), (*, n) -> (*); ``None`` where L does not change at all.

    Example:
        >>> import torch
        >>> from ndelib.physics import noether
        >>> L = lambda q, v: (v**2).sum(-1) / 2 + 1 / q.norm(dim=-1)
        >>> turn = lambda q: torch.stack((-q[..., 1], q[..., 0]), -1)
        >>> J = noether(L, turn)  # x v_y − y v_x
        >>> J(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.8]))
        tensor(0.8000)
    """

    def conserved(q: Tensor, v: Tensor) -> Tensor:
        quantity = (momentum(L)(q, v) * generator(q)).sum(-1)
        return quantity if boundary is None else quantity - boundary(q)

    return conserved


def variation(L: Lagrangian, generator: Generator, boundary: Callable[[Tensor], Tensor] | None = None) -> Function:
    """Return dL/dε − dF/dt of q ↦ q + εξ(q), v ↦ v + ε(∂ξ/∂q)v, as a function of (q, v), (*): zero for a symmetry.

    The arguments are those of :func:`noether`.

    Example:
        >>> import torch
        >>> from ndelib.physics import Kepler, variation
        >>> turn = lambda q: torch.stack((-q[..., 1], q[..., 0]), -1)
        >>> change = variation(Kepler().lagrangian, turn)
        >>> change(torch.tensor([3.0, 4.0]), torch.tensor([0.5, 0.25]))
        tensor(0.)
    """

    def change(q: Tensor, v: Tensor) -> Tensor:
        force, p = grad(lambda q, v: L(q, v).sum(), argnums=(0, 1))(q, v)
        dL = (force * generator(q) + p * along(generator, q, v)).sum(-1)
        return dL if boundary is None else dL - (grad(lambda q: boundary(q).sum())(q) * v).sum(-1)

    return change
