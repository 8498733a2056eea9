"""Fixed points of a vector field, f(y*) = 0: finding them on the line and in a box, and saying what they are.

Stability by the sign of f on both sides and by the eigenvalues of the Jacobian: Strogatz, *Nonlinear Dynamics and
Chaos* (2015), chapters 2 and 6. How zeros are found is told in ``zeros.py``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.classification import classify
from ndelib.dynamics.frozen import RowField, frozen, precision
from ndelib.dynamics.zeros import SAME, jacobians, zeros_in_a_box, zeros_on_the_line
from ndelib.solvers.steps.step import VectorField


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class FixedPoint:
    """A fixed point: ``location`` (d,), ``jacobian`` (d, d), its ``eigenvalues`` (d,) and the ``kind`` they make it.

    ``kind`` is a name from :func:`ndelib.dynamics.classify`. On the line, where f′(x*) = 0 decides nothing, it is
    read from the sign of f on both sides (on one, where f is not defined on the other): ``"stable"``,
    ``"unstable"``, ``"half-stable"``, or ``"undecided"`` where f stays zero.
    """

    location: Tensor
    jacobian: Tensor
    eigenvalues: Tensor
    kind: str

    @property
    def stable(self) -> bool:
        """Whether nearby solutions converge to the point."""
        return self.kind.startswith("stable")


def fixed_points(
    f: VectorField,
    low: float | Sequence[float],
    high: float | Sequence[float],
    *,
    t: float = 0.0,
    resolution: int | None = None,
) -> list[FixedPoint]:
    """Find the fixed points of ``f`` between ``low`` and ``high``, sorted by location.

    A stretch where f is zero throughout counts as one fixed point, in its middle, of the kind ``"undecided"``. A curve
    of fixed points that bends comes back as the many points of it that were hit.

    Args:
        f: the vector field ``f(t, y)``, called on whole batches. On the line ``y`` has the shape (n,) and ``f`` acts
            on every entry; in d dimensions it has the shape (n, d). It computes in float64, or in float32 if it
            refuses that (a network with its default weights).
        low: the lower end of the interval, a number; or the lower corner of a box, d numbers.
        high: the upper end or corner.
        t: the time at which a field that depends on time is frozen.
        resolution: how many starts in each direction (1001 on the line, 25 in the plane, fewer above). Fixed points
            that are closer together than the grid may be missed, and a fixed point can be found only where the
            field is defined nearby; the search proves nothing about what it did not find.

    Raises:
        ValueError: ``low`` is not below ``high``, they differ in length or are infinite; ``resolution`` is below 2;
            or ``f`` returns another shape than that of ``y``.

    Example:
        >>> from ndelib.dynamics import fixed_points
        >>> for point in fixed_points(lambda t, x: (x - 1) * (3 - x), 0, 4):
        ...     print(round(point.location.item(), 6), point.kind)
        1.0 unstable
        3.0 stable
    """
    low, high = (
        tuple(end) if isinstance(end, Iterable) and not isinstance(end, Tensor) else end for end in (low, high)
    )
    lower, upper = (torch.as_tensor(end, dtype=torch.float64) for end in (low, high))
    if lower.shape != upper.shape or lower.ndim > 1 or lower.numel() == 0 or not (lower < upper).all():
        raise ValueError(f"low must be below high and of the same length, got low = {low} and high = {high}")
    if not (upper - lower).isfinite().all():
        raise ValueError(f"low and high must be finite, got low = {low} and high = {high}: search a bounded region")
    if resolution is None:
        resolution = 1001 if lower.numel() == 1 else max(3, round(625 ** (1 / lower.numel())))
    if resolution < 2:
        raise ValueError(f"resolution must be at least 2 starts in each direction, got {resolution}")

    on_numbers = lower.ndim == 0  # f takes the shape (n,), not (n, 1)
    lower, upper = lower.reshape(-1), upper.reshape(-1)
    probe = torch.stack([lower, upper])
    dtype = precision(f, t, probe[:, 0] if on_numbers else probe)
    at_t = frozen(f, t, dtype)

    def field(y: Tensor) -> Tensor:
        return at_t(y[:, 0])[:, None] if on_numbers else at_t(y)

    eps = torch.finfo(dtype).eps
    nearby = max(SAME, math.sqrt(eps)) * (upper - lower)
    if lower.numel() == 1:
        found = zeros_on_the_line(field, lower, upper, resolution, eps)
        return [_on_the_line(field, x, nearby.maximum(8 * eps * x.abs())) for x in found]
    return [_in_space(field, y, nearby, dtype) for y in zeros_in_a_box(field, lower, upper, resolution, eps)]


def _on_the_line(g: RowField, x: Tensor, nearby: Tensor) -> FixedPoint:
    """Classify by the sign of f on both sides: that is what stability on the line means; f′ only predicts it."""
    slope = jacobians(g, x[None])[0]
    before, after = (g((x + shift)[None]).item() for shift in (-nearby, nearby))
    before, after = (-after if math.isnan(before) else before), (-before if math.isnan(after) else after)
    if before > 0 > after:
        kind = "stable"
    elif before < 0 < after:
        kind = "unstable"
    else:
        kind = "half-stable" if before * after > 0 else "undecided"
    return FixedPoint(x, slope, slope[0].to(torch.complex128), kind)


def _in_space(g: RowField, y: Tensor, nearby: Tensor, dtype: torch.dtype) -> FixedPoint:
    """Classify by the Jacobian, unless it is another one nearby: so close to a multiple zero it says nothing."""
    jacobian = jacobians(g, y[None])[0]
    if not jacobian.isfinite().all():
        return FixedPoint(y, jacobian, torch.full_like(y, math.nan).to(torch.complex128), "undecided")
    unit = nearby / nearby[:, None]  # ∂fᵢ/∂yⱼ in widths of the region, so that units of y do not matter
    change = (jacobians(g, torch.stack([y - nearby, y + nearby])) - jacobian).nan_to_num().abs() * unit
    kind = "undecided" if (jacobian.abs() * unit).amax() <= change.amax() else classify(jacobian.to(dtype))
    return FixedPoint(y, jacobian, torch.linalg.eigvals(jacobian), kind)
