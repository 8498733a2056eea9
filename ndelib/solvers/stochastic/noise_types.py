"""Is g what ``noise_type`` says of it? Looked at once a solve, by derivatives along random directions.

A method that is told of commutative noise leaves out what cancels there, and has a lower order, or another limit,
where it does not. With random u and v in ℝᵐ the bracket of the two fields g u and g v,

    (∂(g u)/∂y) g v − (∂(g v)/∂y) g u = Σ_jk u_j v_k ((∂g^j/∂y) g^k − (∂g^k/∂y) g^j),

is zero, almost surely, only if all columns commute. In the same way random weights tell whether a matrix of derivatives
is diagonal, or zero. It is done where the first step ended, for a start may be special: at y = 0 much is zero.

Source: Kloeden & Platen, *Numerical Solution of Stochastic Differential Equations* (1992), (10.3.13), commutativity.
"""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ndelib.solvers.graph import inside_transform
from ndelib.solvers.stochastic.diffusion import CheckedDiffusion
from ndelib.solvers.stochastic.step import StochasticMethod

NOTICED = 1e-3
"""of the size of the derivatives: what is smaller does not matter, and in single precision may be rounding"""


def check_noise_type(method: StochasticMethod, diffusion: CheckedDiffusion, t: float, y: Tensor) -> None:
    """Warn if ``g`` at ``(t, y)`` is not of the noise type that gives ``method`` its order. Costs two derivatives of g.

    Nothing is looked at where the order is ½ for all noises, where g cannot be differentiated, inside transforms of
    ``torch.func`` and compiled code, and under autocast, which rounds too much.
    """
    noise_type, strong = diffusion.noise_type, method.strong or {}
    look = LOOKS.get(noise_type)
    if look is None or strong.get(noise_type, 0.0) <= 0.5 or y.numel() == 0:
        return
    if inside_transform() or torch.compiler.is_compiling() or torch.is_autocast_enabled(y.device.type):
        return
    try:
        # The graph lives for a moment only: a user's hooks on what is kept (to count it, to move it) are not asked.
        kept_as_it_is = torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved)
        with torch.inference_mode(False), torch.enable_grad(), kept_as_it_is:
            x = y.detach().clone().requires_grad_()
            seen = look(diffusion(t, x), x)
    except RuntimeError:  # a g without derivatives, or without second ones
        return
    if seen is not None:
        warnings.warn(
            f"noise_type is {noise_type!r}, but at t = {t:.6g} {seen}. As it is, method {method.name!r} may have a "
            f"lower order than {strong[noise_type]:g}, and a conversion between the calculi may be wrong.",
            UserWarning,
            stacklevel=2,
        )


def look_at_additive(g: Tensor, x: Tensor) -> str | None:
    """Say whether ``g`` changes with ``x``."""
    slope = gradient(g, x, weights(g.numel(), x).reshape(g.shape))
    if slope is None or not _norm(slope) * _norm(x) > noticed(x) * _norm(g) * math.sqrt(x.numel()):
        return None
    i = int(slope.abs().flatten().argmax())
    return (
        f"g changes with y (its derivative along {_place(i, x)} of y is about {slope.abs().max().item():.2g}), and it "
        "must depend on t alone. Say noise_type='general'"
    )


def look_at_diagonal(g: Tensor, x: Tensor) -> str | None:
    """Say whether some component of ``g`` changes with another one of ``x``; samples of a batch are not compared."""
    # J_ij = ∂g_i/∂y_j is diagonal if uᵀJ = (1ᵀJ) u, for almost every u.
    if g.shape[-1] == 1:
        return None
    u = weights(g.shape[-1], x).expand_as(g)
    pulled, plain = gradient(g, x, u), gradient(g, x, torch.ones_like(g))
    if pulled is None or plain is None:
        return None
    off = (pulled - u * plain).abs()
    if not _norm(off) > noticed(x) * max(_norm(pulled), _norm(u * plain)):
        return None
    place = int(off.flatten().argmax())
    sample, j = divmod(place, g.shape[-1])
    slopes = []
    for i in range(g.shape[-1]):
        row = gradient(g.reshape(-1, g.shape[-1])[sample, i], x)
        slopes.append(0.0 if row is None or i == j else row.flatten()[place].item())
    i = max(range(len(slopes)), key=lambda k: abs(slopes[k]))
    return (
        f"component {i} of g changes with component {j} of y (∂g_{i}/∂y_{j} = {slopes[i]:.2g}), and g_i must depend on "
        "t and y_i alone. Say noise_type='general', and let g return torch.diag_embed of this"
    )


def look_at_commutative(g: Tensor, x: Tensor) -> str | None:
    """Say which two columns of ``g`` do not commute."""
    m = g.shape[-1]
    if m == 1 or not g.requires_grad:
        return None

    def bracket(u: Tensor, v: Tensor) -> tuple[Tensor, float]:
        """Return the bracket of the fields g u and g v, and the size of its two terms."""
        one, other = along(g @ u, x, (g @ v).detach()), along(g @ v, x, (g @ u).detach())
        return (one - other).detach(), _norm(one) + _norm(other)

    u, v = weights(2 * m, x).reshape(2, m)
    found, size = bracket(u, v)
    if not _norm(found) > noticed(x) * size:  # also if it is NaN
        return None
    unit = torch.eye(m, dtype=g.dtype, device=g.device)
    j = max(range(m), key=lambda k: _norm(bracket(unit[k], v)[0]))
    k = max((i for i in range(m) if i != j), key=lambda i: _norm(bracket(unit[j], unit[i])[0]))
    j, k = min(j, k), max(j, k)
    found, _ = bracket(unit[j], unit[k])
    one, other = along(g[..., j], x, g[..., k].detach()), along(g[..., k], x, g[..., j].detach())
    largest = max(one.abs().max().item(), other.abs().max().item())
    return (
        f"columns {j} and {k} of g do not commute: (∂g^{j}/∂y) g^{k} and (∂g^{k}/∂y) g^{j} differ by up to "
        f"{found.abs().max().item():.2g}, and are up to {largest:.2g} large. Say noise_type='general'"
    )


LOOKS: dict[str, Callable[[Tensor, Tensor], str | None]] = {
    "additive": look_at_additive,
    "diagonal": look_at_diagonal,
    "commutative": look_at_commutative,
}


def gradient(value: Tensor, x: Tensor, cotangent: Tensor | None = None) -> Tensor | None:
    """Return the derivative of ``value`` with respect to ``x``, weighted; ``None`` where it does not depend on it."""
    if not value.requires_grad:
        return None
    found: Tensor | None = torch.autograd.grad(value, x, cotangent, retain_graph=True, allow_unused=True)[0]
    return found


def along(value: Tensor, x: Tensor, direction: Tensor) -> Tensor:
    """Return (∂value/∂x) direction, as the derivative of u ↦ uᵀ ∂value/∂x."""
    u = torch.zeros_like(value).requires_grad_()
    (pulled,) = torch.autograd.grad(value, x, u, create_graph=True, allow_unused=True)
    if pulled is None or not pulled.requires_grad:
        return torch.zeros_like(value)
    (pushed,) = torch.autograd.grad((pulled * direction).sum(), u, retain_graph=True, allow_unused=True)
    return torch.zeros_like(value) if pushed is None else pushed


def weights(n: int, x: Tensor) -> Tensor:
    """Return random numbers, (n,), the same in each solve and without a trace in PyTorch's generator."""
    return torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)


def noticed(x: Tensor) -> float:
    """Return what is noticed in the precision of ``x``."""
    return max(NOTICED, math.sqrt(torch.finfo(x.dtype).eps))


def _norm(x: Tensor) -> float:
    return torch.linalg.vector_norm(x.detach()).item()


def _place(index: int, x: Tensor) -> str:
    """Name a component by its place among the last dimension."""
    return f"component {index % x.shape[-1]}"
