"""Pictures of vector fields: on the line, over time, and in the plane, with their fixed points and solutions.

Conventions: Strogatz, *Nonlinear Dynamics and Chaos* (2015): a filled dot attracts, an open one repels.
"""

from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ndelib.dynamics import FixedPoint, fixed_points
from ndelib.dynamics.frozen import RowField, frozen, precision
from ndelib.plotting.style import COLORS
from ndelib.solvers import odeint
from ndelib.solvers.steps.step import VectorField

Limits = tuple[float, float]


def phase_line(f: VectorField, low: float, high: float, *, ax: Axes | None = None) -> Axes:
    """Draw the flow of a scalar field ``f(t, x)``, x: (n,) -> (n,): its graph, its direction and its fixed points.

    Example:
        >>> from ndelib import plotting
        >>> axis = plotting.phase_line(lambda t, x: x * (1 - x), -0.5, 1.5)
        >>> label = axis.set_xlabel("$x$")
    """
    ax = ax or plt.gca()
    x = torch.linspace(low, high, 401, dtype=torch.float64)
    velocity = _at_zero(f, x)(x)
    ax.axhline(0, color=COLORS["field"], linewidth=1)
    ax.plot(x, velocity, color=COLORS["model"])
    found = fixed_points(f, low, high)
    roots = [p.location.item() for p in found]
    # One arrow in the middle of each stretch between fixed points, poles, jumps and gaps: there the direction cannot
    # change.
    for a, b in pairwise(sorted([low, *roots, *_breaks(x, velocity, roots), high])):
        middle = (a + b) / 2
        sign = _at_zero(f, x)(torch.tensor([middle], dtype=torch.float64)).sign().item()
        if b - a > 0.02 * (high - low) and sign != 0:  # 0 where f stands still or is not defined
            ax.annotate(
                "",
                (middle + sign * 0.025 * (high - low), 0),
                (middle - sign * 0.025 * (high - low), 0),
                arrowprops={"arrowstyle": "-|>", "color": COLORS["truth"], "lw": 1.6, "mutation_scale": 16},
            )
    for point in found:
        _draw_fixed_point(point, (point.location.item(), 0), ax)
    ax.set_xlim(low, high)
    return ax


def direction_field(f: VectorField, t: Limits, y: Limits, *, density: int = 21, ax: Axes | None = None) -> Axes:
    """Draw the slopes of a scalar equation ``dy/dt = f(t, y)`` over the (t, y) plane; y: (n,) -> (n,).

    Example:
        >>> from ndelib import plotting
        >>> axis = plotting.direction_field(lambda t, y: t - y, (0, 3), (-1, 2))
        >>> label = axis.set_ylabel("$y(t)$")
    """
    ax = ax or plt.gca()
    times = torch.linspace(*t, density, dtype=torch.float64)
    states = torch.linspace(*y, density, dtype=torch.float64)
    dtype = precision(f, t[0], states)
    slopes = torch.stack([frozen(f, time, dtype)(states).detach() for time in times.tolist()], dim=1)
    # angles="xy" turns each stroke into the slope of its place; dividing by the norm gives all of them one length.
    # Where a slope is not finite, quiver leaves a gap.
    norm = torch.hypot(torch.ones_like(slopes), slopes)
    ax.quiver(
        times,
        states,
        1 / norm,
        slopes / norm,
        color=COLORS["field"],
        angles="xy",
        pivot="mid",
        units="height",
        scale_units="height",
        scale=1.5 * density,
        width=0.005,
        headwidth=1,
        headlength=0,
        headaxislength=0,
    )
    ax.set(xlim=t, ylim=y)
    return ax


def vector_field(f: VectorField, xlim: Limits, ylim: Limits, *, density: int = 19, ax: Axes | None = None) -> Axes:
    """Draw a planar field ``f(t, y)``, y: (n, 2) -> (n, 2), as arrows of equal length; the paler, the slower.

    Where the field is not finite there is no arrow.
    """
    ax = ax or plt.gca()
    # One spacing in both directions; density counts the arrows along the longer side.
    spacing = max(xlim[1] - xlim[0], ylim[1] - ylim[0]) / density
    axes = [torch.arange(low + spacing / 2, high, spacing, dtype=torch.float64) for low, high in (xlim, ylim)]
    points = torch.cartesian_prod(*axes)
    velocity = _at_zero(f, points)(points)
    speed = torch.hypot(*velocity.unbind(1))
    drawn = speed.isfinite()
    ax.set(xlim=xlim, ylim=ylim, aspect="equal")
    if not drawn.any():
        return ax
    points, velocity, speed = points[drawn], velocity[drawn], speed[drawn]
    direction = velocity / speed.clamp_min(1e-300)[:, None]
    alpha = 0.35 + 0.65 * (speed / speed.max().clamp_min(1e-300)) ** 0.5
    ax.quiver(
        points[:, 0],
        points[:, 1],
        direction[:, 0],
        direction[:, 1],
        alpha=alpha.numpy(),
        color=COLORS["field"],
        angles="xy",
        pivot="mid",
        scale_units="xy",
        scale=1.35 / spacing,
        width=0.0035 * 19 / density,
    )
    return ax


def plot_trajectory(y: Tensor, *, color: str = COLORS["model"], ax: Axes | None = None) -> Axes:
    """Draw planar solution curves, y: (T, 2) or (T, n, 2): a dot at the start, an arrow on the way."""
    ax = ax or plt.gca()
    for curve in (y[:, None] if y.ndim == 2 else y).detach().cpu().unbind(1):
        ax.plot(curve[:, 0], curve[:, 1], color=color)
        ax.plot(*curve[0], "o", color=color, markersize=4)
        lengths = curve.diff(dim=0).norm(dim=1).cumsum(0)
        if lengths.numel() and lengths[-1] > 0:
            i = min(int(torch.searchsorted(lengths, lengths[-1] * 0.4)), len(curve) - 2)
            ax.annotate(
                "",
                tuple(curve[i + 1].tolist()),
                tuple(curve[i].tolist()),
                arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6, "mutation_scale": 13},
            )
    return ax


def phase_portrait(
    f: VectorField,
    xlim: Limits,
    ylim: Limits,
    *,
    starts: Sequence[Sequence[float]] = (),
    duration: float = 10.0,
    density: int = 19,
    ax: Axes | None = None,
) -> list[FixedPoint]:
    """Draw a planar field ``f(t, y)``, y: (n, 2) -> (n, 2), with its fixed points and solutions from ``starts``.

    Solutions run for ``duration`` time units of RK4 in 400 steps, and stop where they leave the picture or come to
    where the field is not finite. Returns the fixed points that were found and drawn.

    Example:
        >>> import torch
        >>> from ndelib import plotting
        >>> def damped(t, y):
        ...     x, v = y.unbind(-1)
        ...     return torch.stack([v, -x - v / 2], dim=-1)
        >>> points = plotting.phase_portrait(damped, (-2, 2), (-2, 2))
        >>> [point.kind for point in points]
        ['stable spiral']
    """
    ax = ax or plt.gca()
    vector_field(f, xlim, ylim, density=density, ax=ax)
    starts = [tuple(start) for start in starts]
    if starts:
        low = torch.tensor([xlim[0], ylim[0]], dtype=torch.float64)
        high = torch.tensor([xlim[1], ylim[1]], dtype=torch.float64)
        margin = 0.2 * (high - low)
        y0 = torch.as_tensor(starts, dtype=torch.float64)
        dtype = precision(f, 0.0, y0)

        def stopping(t: Tensor, y: Tensor) -> Tensor:
            # Outside the picture the field is set to zero, or a solution that blows up would end the drawing.
            velocity = frozen(f, t.item(), dtype)(y).detach()
            moving = (y > low - margin) & (y < high + margin) & velocity.isfinite()
            return torch.where(moving.all(dim=1, keepdim=True), velocity, torch.zeros_like(y))

        times = torch.linspace(0, duration, 401, dtype=torch.float64)
        plot_trajectory(odeint(stopping, y0, times, method="rk4"), ax=ax)
    found = fixed_points(f, (xlim[0], ylim[0]), (xlim[1], ylim[1]))
    for point in found:
        _draw_fixed_point(point, (point.location[0].item(), point.location[1].item()), ax)
    return found


def _at_zero(f: VectorField, y: Tensor) -> RowField:
    """Return the field at t = 0, where an autonomous field is the same as at any other time, on states like y."""
    field = frozen(f, 0.0, precision(f, 0.0, y))
    return lambda y: field(y).detach()


def _breaks(x: Tensor, velocity: Tensor, roots: Sequence[float]) -> list[float]:
    """Return where the sign of ``velocity`` (n,) changes without a root: at poles, jumps, and ends of gaps."""
    sign = velocity.sign()  # of NaN: 0
    breaks = ((x[:-1] + x[1:]) / 2)[sign[:-1] != sign[1:]].tolist()
    spacing = (x[1] - x[0]).item()
    return [b for b in breaks if all(abs(b - root) > 1.01 * spacing for root in roots)]


def _draw_fixed_point(point: FixedPoint, place: tuple[float, float], ax: Axes) -> None:
    """Draw a dot: filled where it attracts, open where it repels, half filled where it does neither or both."""
    stable = point.kind.startswith("stable")
    half = point.kind in ("half-stable", "center", "undecided")
    ax.plot(
        *place,
        marker="o",
        markersize=9,
        fillstyle="left" if half else "full",
        color=COLORS["stable"] if stable or half else COLORS["unstable"],
        markerfacecolor=COLORS["stable"] if stable or half else "white",
        markerfacecoloralt="white",
        markeredgewidth=2,
        linestyle="none",
        zorder=5,
        clip_on=False,
    )
