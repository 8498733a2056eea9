"""Points in the plane and above, of two classes each: computed from a seed, the same on every device."""

import math
from typing import Any

import torch
from torch import Tensor

Labelled = tuple[Tensor, Tensor]


def annuli(
    n: int,
    *,
    dims: int = 2,
    radii: tuple[float, float, float] = (0.5, 1.0, 1.5),
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Labelled:
    """Return points in a ball (label 0) and in a shell around it (label 1): no flow in the same space parts them.

    Source: Dupont, Doucet & Teh, Augmented neural ODEs, NeurIPS 2019, section 4: g is −1 for ‖x‖ ≤ r₁ and 1 for
    r₂ ≤ ‖x‖ ≤ r₃. Computed, so without a licence.

    Args:
        n: how many points: half in the ball, half in the shell, in random order.
        dims: the dimension of the space.
        radii: r₁ < r₂ < r₃.
        seed: of the points.
        device: of points and labels; the CPU if ``None``.
        dtype: of the points; torch's default if ``None``.

    Returns:
        The points, (n, dims), uniform in each region, and their labels, (n,).

    Raises:
        ValueError: ``n`` is below 2, ``dims`` below 1, or ``radii`` do not grow.

    Example:
        >>> from ndelib.datasets import annuli
        >>> x, y = annuli(100)
        >>> x.shape, (x[y == 0].norm(dim=-1) <= 0.5).all()
        (torch.Size([100, 2]), tensor(True))
    """
    _check(n, dims, least=1)
    if not 0 < radii[0] <= radii[1] < radii[2]:
        raise ValueError(f"radii must grow, r₁ ≤ r₂ < r₃, got {radii!r}")
    generator, y = _start(n, seed)
    inner = torch.where(y == 0, 0.0, radii[1]).double() ** dims
    outer = torch.where(y == 0, radii[0], radii[2]).double() ** dims
    directions = torch.nn.functional.normalize(_normal((n, dims), generator), dim=-1)
    r = (inner + (outer - inner) * _uniform(n, generator)) ** (1 / dims)  # volume is proportional to r^dims
    return _placed(r[:, None] * directions, y, device, dtype)


def moons(
    n: int,
    *,
    noise: float = 0.1,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Labelled:
    """Return points on two interleaved half circles with normal noise: a flow of the plane can part them.

    Source: scikit-learn's ``make_moons``, here with random places on the circles. Computed, so without a licence.

    Args:
        n: how many points: half on each moon, in random order.
        noise: standard deviation of what is added to each coordinate.
        seed: of the points.
        device: of points and labels; the CPU if ``None``.
        dtype: of the points; torch's default if ``None``.

    Returns:
        The points, (n, 2), and their labels, (n,), 0 or 1.

    Raises:
        ValueError: ``n`` is below 2, or ``noise`` negative.

    Example:
        >>> from ndelib.datasets import moons
        >>> x, y = moons(100)
        >>> x.shape, y.sum()
        (torch.Size([100, 2]), tensor(50))
    """
    _check(n, noise=noise)
    generator, y = _start(n, seed)
    angle = math.pi * _uniform(n, generator)
    upper = torch.stack([angle.cos(), angle.sin()], -1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    x = torch.where(y[:, None] == 0, upper, lower) + noise * _normal((n, 2), generator)
    return _placed(x, y, device, dtype)


def spirals(
    n: int,
    *,
    dims: int = 2,
    turns: float = 1.5,
    noise: float = 0.02,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Labelled:
    """Return points on two arms of a spiral, of radius up to 1, with normal noise.

    Source: Lang & Witbrock, Learning to tell two spirals apart, Proc. 1988 Connectionist Models Summer School, whose
    arms make three turns. Computed, so without a licence.

    Args:
        n: how many points: half on each arm, in random order.
        dims: the dimension of the space; coordinates after the second hold noise alone.
        turns: how often an arm goes around the origin.
        noise: standard deviation of what is added to each coordinate.
        seed: of the points.
        device: of points and labels; the CPU if ``None``.
        dtype: of the points; torch's default if ``None``.

    Returns:
        The points, (n, dims), and their labels, (n,), 0 or 1.

    Raises:
        ValueError: ``n`` or ``dims`` is below 2, or ``noise`` negative.

    Example:
        >>> from ndelib.datasets import spirals
        >>> x, y = spirals(100, noise=0.0)
        >>> x.shape, (x.norm(dim=-1) <= 1).all()
        (torch.Size([100, 2]), tensor(True))
    """
    _check(n, dims, noise)
    generator, y = _start(n, seed)
    r = _uniform(n, generator).sqrt()  # as many points on every piece of an arm, nearly
    angle = 2 * math.pi * turns * r + math.pi * y
    x = noise * _normal((n, dims), generator)
    x[:, 0] += r * angle.cos()
    x[:, 1] += r * angle.sin()
    return _placed(x, y, device, dtype)


def _check(n: Any, dims: Any = 2, noise: float = 0.0, least: int = 2) -> None:
    """Raise ``ValueError`` for numbers that make no data."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 2:
        raise ValueError(f"n must be a number of points, at least 2 (one in each class), got {n!r}")
    if not isinstance(dims, int) or isinstance(dims, bool) or dims < least:
        raise ValueError(f"dims must be a whole number, at least {least}, got {dims!r}")
    if not noise >= 0:
        raise ValueError(f"noise must be a standard deviation, not negative, got {noise!r}")


def _start(n: int, seed: int) -> tuple[torch.Generator, Tensor]:
    """Return a generator, and labels, half 0 and half 1, in random order, (n,)."""
    generator = torch.Generator().manual_seed(seed)
    return generator, (torch.randperm(n, generator=generator) >= (n + 1) // 2).long()


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, dtype=torch.float64)


def _normal(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _placed(x: Tensor, y: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> Labelled:
    """Return points and labels where they are wanted: the same numbers on every device and, rounded, in every dtype."""
    return x.to(device, dtype or torch.get_default_dtype()), y.to(device)
