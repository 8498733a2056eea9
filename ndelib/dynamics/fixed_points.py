"""Fixed points of a vector field, f(y*) = 0: finding them on the line and in a box, and saying what they are.

Sources: bisection for sign changes on the line; Newton's method from many starts elsewhere. Stability by the sign
of f′ and by the eigenvalues of the Jacobian: Strogatz, *Nonlinear Dynamics and Chaos* (2015), chapters 2 and 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.classification import classify
from ndelib.solvers.runge_kutta import VectorField, time_like

RowField = Callable[[Tensor], Tensor]  # an autonomous field on a batch of states, (n, d) -> (n, d)

_RESIDUAL = 1e-10  # |f| at a fixed point, relative to the largest |f| seen in the search region
_SAME = 1e-5  # two fixed points closer than this share of the region's size are one


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class FixedPoint:
    """A fixed point: ``location`` (d,), ``jacobian`` (d, d), its ``eigenvalues`` (d,) and the ``kind`` they make it.

    ``kind`` is a name from :func:`ndelib.dynamics.classify`; on the line, where f′(x*) = 0 decides nothing, it is
    read from the sign of f on both sides and may also be ``"half-stable"``.
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

    Args:
        f: the vector field ``f(t, y)``, called on whole batches. On the line ``y`` has the shape (n,) and ``f`` acts
            on every entry; in d dimensions it has the shape (n, d). It computes in float64.
        low: the lower end of the interval, a number; or the lower corner of a box, d numbers.
        high: the upper end or corner.
        t: the time at which a field that depends on time is frozen.
        resolution: how many starts in each direction (1001 on the line, 25 in the plane, fewer above). Fixed points
            that are closer together than the grid may be missed, and a fixed point can be found only where the
            field is defined nearby; the search proves nothing about what it did not find.

    Raises:
        ValueError: ``low`` is not below ``high``, or they differ in length.
    """
    lower, upper = (torch.as_tensor(end, dtype=torch.float64) for end in (low, high))
    if lower.shape != upper.shape or lower.ndim > 1 or not (lower < upper).all():
        raise ValueError(f"low must be below high and of the same length, got low = {low} and high = {high}")
    time = time_like(t, lower)
    if lower.ndim == 0:

        def field_on_the_line(y: Tensor) -> Tensor:
            return f(time, y[:, 0])[:, None]

        found = _roots_on_the_line(field_on_the_line, lower[None], upper[None], resolution or 1001)
        return [_on_the_line(field_on_the_line, x, _SAME * (upper - lower)) for x in found]

    def field(y: Tensor) -> Tensor:
        return f(time, y)

    return [_in_space(field, y) for y in _roots_in_a_box(field, lower, upper, resolution)]


def _roots_on_the_line(g: RowField, low: Tensor, high: Tensor, resolution: int) -> list[Tensor]:
    """Bracket every change of sign and bisect all brackets at once; then look for zeros that only touch."""
    x = torch.linspace(low.item(), high.item(), resolution, dtype=torch.float64)[:, None]
    values = g(x).detach()
    changes = ((values[:-1].sign() * values[1:].sign()) < 0)[:, 0]
    left, right, sign_left = x[:-1][changes], x[1:][changes], values[:-1][changes].sign()
    for _ in range(60):  # 60 halvings take any bracket below the spacing of float64
        middle = (left + right) / 2
        same = g(middle).detach().sign() == sign_left
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    # Newton, from the dips of |f|, finds what does not change sign (x² at 0) and zeros that lie on the grid.
    size = values.abs()[:, 0]
    dips = torch.ones_like(size, dtype=torch.bool)
    dips[1:] &= size[1:] <= size[:-1]
    dips[:-1] &= size[:-1] <= size[1:]
    candidates = torch.cat([(left + right) / 2, _newton(g, x[dips])])
    return _keep_true_roots(g, candidates, low, high, _largest(values))


def _roots_in_a_box(g: RowField, low: Tensor, high: Tensor, resolution: int | None) -> list[Tensor]:
    """Start Newton's method on a grid and keep where it ends."""
    dimension = low.numel()
    per_axis = resolution or max(3, round(625 ** (1 / dimension)))
    ends = zip(low.tolist(), high.tolist(), strict=True)
    axes = [torch.linspace(a, b, per_axis, dtype=torch.float64) for a, b in ends]
    starts = torch.cartesian_prod(*axes).reshape(-1, dimension)
    return _keep_true_roots(g, _newton(g, starts), low, high, _largest(g(starts).detach()))


def _largest(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _newton(g: RowField, y: Tensor, iterations: int = 60) -> Tensor:
    """Newton's method for every row of ``y`` (n, d) at once; rows that fail end as NaN or far away."""
    for _ in range(iterations):
        # pinv instead of solve: at a singular Jacobian the step is the shortest one, not an error.
        step = torch.linalg.pinv(_jacobians(g, y).nan_to_num()) @ g(y).detach().nan_to_num()[:, :, None]
        y = y - step[:, :, 0]
    return y


def _jacobians(g: RowField, y: Tensor) -> Tensor:
    """Return ∂g/∂y for every row of a batch: (n, d) -> (n, d, d). Rows do not interact, so one sweep a column does."""
    rows = []
    with torch.inference_mode(False), torch.enable_grad():  # also where the caller has switched gradients off
        y = y.detach().clone().requires_grad_(True)
        values = g(y)
        for i in range(y.shape[1]):
            row = None
            if values.requires_grad:  # not so for a constant field
                (row,) = torch.autograd.grad(values[:, i].sum(), y, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(y) if row is None else row)
    return torch.stack(rows, dim=1).detach()


def _keep_true_roots(g: RowField, candidates: Tensor, low: Tensor, high: Tensor, scale: float) -> list[Tensor]:
    """Keep what lies in the region and solves f = 0, once each: a bisected jump or pole does not."""
    slack = _SAME * (high - low)
    inside = ((candidates >= low - slack * 1e-4) & (candidates <= high + slack * 1e-4)).all(dim=1)
    candidates = candidates[inside]
    if len(candidates) == 0:
        return []
    residual = g(candidates).detach().abs().amax(dim=1)
    good = residual <= _RESIDUAL * scale
    order = residual[good].argsort()  # the sharpest of several copies is the one to keep
    kept: list[Tensor] = []
    for y in candidates[good][order]:
        if all(((y - other).abs() > slack).any() for other in kept):
            kept.append(y)
    return sorted(kept, key=lambda y: y.tolist())


def _on_the_line(g: RowField, x: Tensor, nearby: Tensor) -> FixedPoint:
    """Classify by the sign of f on both sides: that is what stability on the line means; f′ only predicts it."""
    slope = _jacobians(g, x[None])[0]
    before, after = (g((x + shift)[None]).item() for shift in (-nearby, nearby))
    kinds = {(True, True): "stable", (False, False): "unstable"}
    return FixedPoint(x, slope, torch.linalg.eigvals(slope), kinds.get((before > 0, after < 0), "half-stable"))


def _in_space(g: RowField, y: Tensor) -> FixedPoint:
    jacobian = _jacobians(g, y[None])[0]
    return FixedPoint(y, jacobian, torch.linalg.eigvals(jacobian), classify(jacobian))
