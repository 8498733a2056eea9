"""Optimal control: Pontryagin's costates, which are what backpropagation computes, and shooting on the first costate.

Discrete: xₖ₊₁ = f(xₖ, uₖ) is to minimise Σ l(xₖ, uₖ) + Φ(x_N). With H(x, λ, u) = λ·f(x, u) + l(x, u), the costates are
λ_N = ∂Φ/∂x and λₖ = ∂H/∂x(xₖ, λₖ₊₁, uₖ), and the gradient of the cost is ∂H/∂u(xₖ, λₖ₊₁, uₖ). Continuous: the same H
gives ẋ = ∂H/∂λ and λ̇ = −∂H/∂x, with u where ∂H/∂u = 0. These are Hamilton's equations, with λ as the momentum.

Sources: Pontryagin, Boltyanskii, Gamkrelidze & Mishchenko, *The Mathematical Theory of Optimal Processes* (1962);
Bryson & Ho, *Applied Optimal Control* (1975), chapter 2; LeCun, A theoretical framework for back-propagation (1988).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jacrev

from ndelib.adjoints import odeint
from ndelib.physics.mechanics.errors import ShootingFailed

Step = Callable[[Tensor, Tensor], Tensor]
"""``f(x, u)``, the next state: (*, d) and (*, m) -> (*, d)."""

Cost = Callable[[Tensor, Tensor], Tensor]
"""``l(x, u)``, (*, d) and (*, m) -> (*)."""


def rollout(f: Step, x0: Tensor, u: Tensor) -> Tensor:
    """Return the states x₀, …, x_N of xₖ₊₁ = f(xₖ, uₖ): (*, d) and (N, *, m) -> (N + 1, *, d).

    Example:
        >>> import torch
        >>> from ndelib.physics import rollout
        >>> rollout(lambda x, u: x + u, torch.tensor([1.0]), torch.ones(2, 1))
        tensor([[1.],
                [2.],
                [3.]])
    """
    x = [x0]
    for control in u:
        x.append(f(x[-1], control))
    return torch.stack(x)


def total_cost(f: Step, l: Cost, Phi: Callable[[Tensor], Tensor], x0: Tensor, u: Tensor) -> Tensor:  # noqa: E741
    """Return Σ l(xₖ, uₖ) + Φ(x_N) of the controls u, (N, *, m) -> (*).

    Example:
        >>> import torch
        >>> from ndelib.physics import total_cost
        >>> f, l = lambda x, u: x + u, lambda x, u: (u**2).sum(-1)
        >>> Phi = lambda x: (x**2).sum(-1)
        >>> total_cost(f, l, Phi, torch.tensor([1.0]), -torch.ones(2, 1))
        tensor(3.)
    """
    x = rollout(f, x0, u)
    return l(x[:-1], u).sum(0) + Phi(x[-1])


def costates(f: Step, l: Cost, Phi: Callable[[Tensor], Tensor], x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    """Return Pontryagin's costates, by the recursion backward in time, and the gradient of the cost.

    Args:
        f: the next state, ``f(x, u)``, (*, d) and (*, m) -> (*, d).
        l: the running cost, ``l(x, u)``, (*, d) and (*, m) -> (*).
        Phi: the final cost, ``Phi(x)``, (*, d) -> (*).
        x: the states, (N + 1, *, d), as :func:`rollout` makes them.
        u: the controls, (N, *, m).

    Returns:
        λ₀, …, λ_N, (N + 1, *, d), and the derivatives by u₀, …, u_{N−1}, (N, *, m). λₖ is the derivative of the cost by
        xₖ, and λ₀ that by the initial state.

    Example:
        >>> import torch
        >>> from ndelib.physics import costates, rollout
        >>> f = lambda x, u: x + 0.5 * u
        >>> l = lambda x, u: (u**2).sum(-1)
        >>> Phi = lambda x: (x**2).sum(-1)
        >>> u = torch.zeros(2, 1)
        >>> costates(f, l, Phi, rollout(f, torch.ones(1), u), u)
        (tensor([[2.],
                [2.],
                [2.]]), tensor([[1.],
                [1.]]))
    """
    if len(x) != len(u) + 1:
        raise ValueError(
            f"x must be one longer than u, as rollout(f, x0, u) is; got {len(x)} states, {len(u)} controls"
        )

    def H(x: Tensor, lam: Tensor, u: Tensor) -> Tensor:
        return ((lam * f(x, u)).sum(-1) + l(x, u)).sum()

    lam, gradients = [grad(lambda x: Phi(x).sum())(x[-1])], []
    for xk, uk in zip(reversed(x[:-1]), reversed(u), strict=True):
        Hx, Hu = grad(H, argnums=(0, 2))(xk, lam[-1], uk)
        lam.append(Hx)
        gradients.append(Hu)
    return torch.stack(lam[::-1]), torch.stack(gradients[::-1])


def shooting(
    field: Callable[[Any, Tensor], Tensor],
    q0: Tensor,
    t: Tensor | Sequence[float],
    end: Callable[[Tensor, Tensor], Tensor],
    *,
    p0: Tensor | None = None,
    tol: float = 1e-10,
    max_iterations: int = 30,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Find the momenta p(0) with which a motion from q(0) meets a condition at its end, by Newton's method.

    Hamilton's equations with half of the conditions at each end: a throw from here to there (p a momentum), or an
    optimal control (p the costate λ, and ``field = hamiltonian_field(H)`` of the minimised H(x, λ)).

    Args:
        field: Hamilton's equations ``field(t, [q, p])``, such as :func:`~ndelib.physics.hamiltonian_field` makes.
        q0: the initial positions, (n,).
        t: the times, (T,); the condition is for the last.
        end: ``end(q, p)``, n numbers that are to be zero at the end: ``q − target``, or ``p − ∂Φ/∂q``.
        p0: a first guess, (n,); zeros if ``None``. A nonlinear problem may have several solutions: the guess decides.
        tol: how small the largest of the n numbers must be.
        max_iterations: how many steps of Newton's method may be made; each is halved until it is a step forward.
        **options: those of :func:`ndelib.odeint`; the tolerances are 1e-10 if not given.

    Returns:
        p(0), (n,), and the motion at the times, (T, 2n).

    Raises:
        ShootingFailed: the condition was not met.

    Example:
        >>> import torch
        >>> from ndelib.physics import hamiltonian_field, shooting
        >>> def H(q, p):  # a ball, g = 10
        ...     return p.square().sum(-1) / 2 + 10 * q[..., 1]
        >>> field = hamiltonian_field(H)
        >>> target = torch.tensor([3.0, 0.0], dtype=torch.float64)
        >>> q0 = torch.zeros_like(target)
        >>> p0, y = shooting(field, q0, [0, 1], lambda q, p: q - target)
        >>> p0
        tensor([3.0000, 5.0000], dtype=torch.float64)
    """
    n = q0.shape[-1]
    if q0.ndim != 1:
        raise ValueError(f"q0 must be one state, (n,), got the shape {tuple(q0.shape)}: shoot for one sample at a time")
    options = {"rtol": 1e-10, "atol": 1e-10, **options}
    p0 = torch.zeros_like(q0) if p0 is None else p0.clone()

    def miss(p0: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y = odeint(field, torch.cat((q0, p0)), t, **options)
        residual = end(y[-1, :n], y[-1, n:])
        if residual.shape != q0.shape:
            raise ValueError(
                f"end(q, p) must return {n} numbers, {tuple(q0.shape)}; it returned {tuple(residual.shape)}"
            )
        return residual, (residual, y)

    for _ in range(max_iterations):
        J, (residual, y) = jacrev(miss, has_aux=True)(p0)
        size = float(residual.abs().max())
        if size <= tol:
            return p0, y.detach()
        step, failed = torch.linalg.solve_ex(J, -residual)
        if int(failed) or not bool(step.isfinite().all()):
            raise ShootingFailed(
                f"shooting cannot mend p0 = {[round(x, 4) for x in p0.tolist()]}: the derivative of end(q, p) by p0 "
                f"({n} × {n}) has no inverse there, so its numbers do not determine p0. Change end, or give another p0",
                residual=size,
            )
        factor = 1.0
        while factor > 1e-6 and not float(miss(p0 + factor * step)[0].norm()) < float(residual.norm()):
            factor /= 2
        p0 = p0 + factor * step
    raise ShootingFailed(
        f"shooting did not meet its condition in {max_iterations} steps of Newton's method: the largest of the numbers "
        f"end(q, p) is {size:.2g}, tol is {tol:.2g}. Give p0 nearer to the solution, or a shorter time",
        residual=size,
    )
