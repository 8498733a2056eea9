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
from ndelib.plotting.style import COLORS
from ndelib.solvers import odeint
from ndelib.solvers.runge_kutta import VectorField, time_like

Limits = tuple[float, float]


def phase_line(f: VectorField, low: float, high: float, *, ax: Axes | None = None) -> Axes:
    """Draw the flow of a scalar field ``f(t, x)``, x: (n,) -> (n,): its graph, its direction and its fixed points."""
    ax = ax or plt.gca()
    x = torch.linspace(low, high, 401, dtype=torch.float64)
    velocity = _at_zero(f, x)
    ax.axhline(0, color=COLORS["field"], linewidth=1)
    ax.plot(x, velocity, color=COLORS["model"])
    found = fixed_points(f, low, high)
    roots = [p.location.item() for p in found]
    # One arrow in the middle of each stretch between fixed points: there the direction cannot change.
    ends = [low, *roots, high]
    for a, b in pairwise(ends):
        if b - a > 0.02 * (high - low):
            middle = torch.tensor([(a + b) / 2], dtype=torch.float64)
            sign = 1 if _at_zero(f, middle).item() > 0 else -1
            ax.annotate(
                "",
                (middle.item() + sign * 0.025 * (high - low), 0),
                (middle.item() - sign * 0.025 * (high - low), 0),
                arrowprops={"arrowstyle": "-|>", "color": COLORS["truth"], "lw": 1.6, "mutation_scale": 16},
            )
    for point in found:
        _draw_fixed_point(point, (point.location.item(), 0), ax)
    ax.set_xlim(low, high)
    return ax


def direction_field(f: VectorField, t: Limits, y: Limits, *, density: int = 21, ax: Axes | None = None) -> Axes:
    """Draw the slopes of a scalar equation ``dy/dt = f(t, y)`` over the (t, y) plane; y: (n,) -> (n,)."""
    ax = ax or plt.gca()
    times = torch.linspace(*t, density, dtype=torch.float64)
    states = torch.linspace(*y, density, dtype=torch.float64)
    slopes = torch.stack([f(time, states) for time in times], dim=1)
    # angles="xy" turns each stroke into the slope of its place; dividing by the norm gives all of them one length.
    norm = (1 + slopes**2).sqrt()
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
    """Draw a planar field ``f(t, y)``, y: (n, 2) -> (n, 2), as arrows of equal length; the paler, the slower."""
    ax = ax or plt.gca()
    # One spacing in both directions; density counts the arrows along the longer side.
    spacing = max(xlim[1] - xlim[0], ylim[1] - ylim[0]) / density
    axes = [torch.arange(low + spacing / 2, high, spacing, dtype=torch.float64) for low, high in (xlim, ylim)]
    points = torch.cartesian_prod(*axes)
    velocity = _at_zero(f, points)
    speed = velocity.norm(dim=1)
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
    ax.set(xlim=xlim, ylim=ylim, aspect="equal")
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

    Solutions run for ``duration`` time units of RK4 in 400 steps, and stop where they leave the picture. Returns the
    fixed points that were found and drawn.
    """
    ax = ax or plt.gca()
    vector_field(f, xlim, ylim, density=density, ax=ax)
    if len(starts):
        low = torch.tensor([xlim[0], ylim[0]], dtype=torch.float64)
        high = torch.tensor([xlim[1], ylim[1]], dtype=torch.float64)
        margin = 0.2 * (high - low)

        def stopping(t: Tensor, y: Tensor) -> Tensor:
            # Outside the picture the field is set to zero, or a solution that blows up would end the drawing.
            inside = ((y > low - margin) & (y < high + margin)).all(dim=1, keepdim=True)
            return torch.where(inside, f(t, y), torch.zeros_like(y))

        times = torch.linspace(0, duration, 401, dtype=torch.float64)
        plot_trajectory(odeint(stopping, torch.as_tensor(starts, dtype=torch.float64), times, method="rk4"), ax=ax)
    found = fixed_points(f, (xlim[0], ylim[0]), (xlim[1], ylim[1]))
    for point in found:
        _draw_fixed_point(point, (point.location[0].item(), point.location[1].item()), ax)
    return found


def _at_zero(f: VectorField, y: Tensor) -> Tensor:
    """Return the field at t = 0, where an autonomous field is the same as at any other time."""
    return f(time_like(0.0, y), y).detach()


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
