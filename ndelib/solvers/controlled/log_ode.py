"""The log-ODE method: over a window of the path, the equation of a straight line in the space of brackets.

For dz = Σ gᵢ(z) dXⁱ over a window with the log-signature λ, the state at its end is nearly that at time 1 of
dz/ds = Σ_w λ_w g_w(z), where g_w are the columns gᵢ for single letters and their Lie brackets for longer words. With
depth N the error of a window in which the path has length ε is O(ε^{N+1}), however often the path turns there.

Sources: Castell & Gaines, Ann. Inst. H. Poincaré 32 (1996) 231; Morrill, Salvi, Kidger & Foster, Neural rough
differential equations for long time series, ICML 2021.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.controlled.lyndon import lyndon_words, standard_factors

Columns = Callable[[Tensor], Tensor]
"""Vector fields at z, (*, hidden) -> (*, hidden, n): one in each column"""


def log_ode_field(func: Callable[..., Tensor], depth: int) -> "LogODEField":
    """Return ``func``, (*, hidden, channels), with the Lie brackets of its columns, (*, hidden, logsig_channels).

    With a path of :func:`ndelib.logsig_windows` of the same ``depth`` it makes :func:`ndelib.cdeint` the log-ODE method
    for dz = func(t, z) dX. Brackets are taken at a frozen t, which here counts windows: let ``func`` depend on z alone,
    with the time in a channel of the path and in z if it matters.

    Args:
        func: ``func(t, z)`` -> (*, hidden, channels), differentiable in z (``depth`` − 1 times, by ``torch.func.jvp``),
            and a function of each sample of a batch apart.
        depth: 1, 2 or 3.

    Returns:
        A module, so that the parameters of ``func`` are found if it is one.
    """
    if depth not in (1, 2, 3):
        raise ValueError(f"depth must be 1, 2 or 3, got {depth!r}")
    return LogODEField(func, depth)


class LogODEField(torch.nn.Module):
    """See :func:`log_ode_field`."""

    def __init__(self, func: Callable[..., Tensor], depth: int) -> None:
        super().__init__()
        self.func, self.depth = func, depth

    def forward(self, t: Any, z: Tensor) -> Tensor:
        """Return the columns of func and their brackets, (*, hidden, logsig_channels)."""
        levels: list[Columns] = [partial(self.func, t)]
        first = levels[0](z)
        if first.shape[:-1] != z.shape:
            raise ValueError(
                f"func(t, z) must return (…, hidden, channels) for z {tuple(z.shape)}, got {tuple(first.shape)}"
            )
        for length in range(2, self.depth + 1):
            levels.append(partial(_brackets, levels[:], first.shape[-1], length))
        return torch.cat([first, *(level(z) for level in levels[1:])], dim=-1)


def _brackets(levels: list[Columns], channels: int, length: int, z: Tensor) -> Tensor:
    """Return the brackets of all Lyndon words with ``length`` letters, (*, hidden, n); ``levels`` are the shorter ones.

    [u, v] = Dg_v g_u − Dg_u g_v is the field of the commutator of the derivatives along g_u and g_v. It has the sign
    that belongs to signatures in which the first letter is integrated first.
    """
    words = [[w for w in lyndon_words(channels, length) if len(w) == n] for n in range(1, length + 1)]
    at = {word: i for level in words for i, word in enumerate(level)}
    factors = [standard_factors(word) for word in words[-1]]
    columns, order = [], []
    changes = {p: _along(levels[length - p - 1], z, levels[p - 1](z)).flatten(-2) for p in range(1, length)}
    for p in range(1, length):
        chosen = [i for i, (u, _) in enumerate(factors) if len(u) == p]
        pairs = [(at[u], at[v]) for u, v in (factors[i] for i in chosen)]
        of_v = changes[p][..., [v * len(words[p - 1]) + u for u, v in pairs]]
        of_u = changes[length - p][..., [u * len(words[length - p - 1]) + v for u, v in pairs]]
        columns.append(of_v - of_u)
        order += chosen
    return torch.cat(columns, dim=-1)[..., sorted(range(len(order)), key=order.__getitem__)]


def _along(columns: Columns, z: Tensor, directions: Tensor) -> Tensor:
    """Return the derivatives of ``columns`` at ``z`` along ``directions``, (*, hidden, m): (*, hidden, n, m)."""
    return torch.func.vmap(lambda v: torch.func.jvp(columns, (z,), (v,))[1], in_dims=-1, out_dims=-1)(directions)
