"""Running costs that make a neural ODE easy to solve: how fast its states move, and how much its field varies.

Source: Finlay, Jacobsen, Nurbekyan & Oberman,
*How to train your neural ODE: the world of Jacobian and kinetic regularization*, ICML 2020 (RNODE);
the estimate of the norm: Hutchinson, Comm. Statist. Simul. Comput. 18 (1989) 1059.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Cost = Callable[..., Tensor]


def kinetic_energy(f: Callable[..., Any]) -> Cost:
    """Return the running cost ‖f(t, y)‖², a value for each sample: its integral is small where paths are short.

    For a given start and end, it is least on straight lines at constant speed, which any method solves in one step.

    Args:
        f: a vector field on states (B, *); on a vector, (d,), the cost is one number.

    Example:
        >>> import torch
        >>> from ndelib import odeint_with_cost
        >>> from ndelib.models import kinetic_energy
        >>> def f(t, y):
        ...     return -y
        >>> y0 = torch.tensor([[1.0], [2.0]])
        >>> y, cost = odeint_with_cost(f, kinetic_energy(f), y0, [0.0, 1.0])
        >>> cost[-1]  # y0² (1 - exp(-2)) / 2
        tensor([0.4323, 1.7293])
    """

    def cost(t: Tensor, y: Tensor, *args: Any) -> Tensor:
        return _squared_norm(f(t, y, *args), y)

    return cost


def jacobian_norm(f: Callable[..., Any], probe: Tensor | None = None) -> Cost:
    """Return the running cost ‖∂f/∂y‖², a value for each sample: the sum of squares of all entries of the Jacobian.

    Exact, it costs as many vector–Jacobian products as a state has numbers. With a ``probe`` ε it is ‖εᵀ ∂f/∂y‖², one
    product, whose mean over ε with independent entries of mean 0 and variance 1 is the exact one. Draw one probe a
    solve, ``torch.randn_like(y0)``: another one at every step would be noise that the solver has to follow.

    Args:
        f: a vector field on states (B, *) in which no sample depends on another; or on a vector, (d,).
        probe: of the shape of the state; ``None`` for the exact norm.

    Example:
        >>> import torch
        >>> from ndelib import odeint_with_cost
        >>> from ndelib.models import jacobian_norm
        >>> A = torch.tensor([[0.0, -1.0], [3.0, 0.0]])
        >>> def f(t, y):
        ...     return y @ A.T
        >>> y0 = torch.ones(1, 2)
        >>> y, cost = odeint_with_cost(f, jacobian_norm(f), y0, [0.0, 2.0])
        >>> cost[-1]  # (1 + 9) times 2
        tensor([20.0000])
    """

    def cost(t: Tensor, y: Tensor, *args: Any) -> Tensor:
        pulled: Any = torch.func.vjp(lambda y: f(t, y, *args), y)
        product = pulled[1]  # v -> vᵀ ∂f/∂y
        if probe is not None:
            if probe.shape != y.shape:
                raise ValueError(
                    f"probe must have the shape of the state, {tuple(y.shape)}; it is {tuple(probe.shape)}"
                )
            return _squared_norm(product(probe)[0], y)
        state = y.shape[1:] if y.ndim > 1 else y.shape
        units = torch.eye(state.numel(), dtype=y.dtype, device=y.device).reshape(-1, *[1] * (y.ndim > 1), *state)
        rows = torch.func.vmap(product)(units.expand(-1, *y.shape))[0]
        return torch.stack([_squared_norm(row, y) for row in rows]).sum(0)

    return cost


def _squared_norm(v: Tensor, y: Tensor) -> Tensor:
    """Return ‖v‖² of every sample, (B,); of a vector, ()."""
    return v.square().flatten(1).sum(1) if y.ndim > 1 else v.square().sum()
