"""The figure of the landing page: a neural ODE that carries two classes apart, trained and solved by this build.

Points on two spiral arms, one inside the other, are the start. A network of 32 units says where each moves; it is
trained, by back-propagation through ``ndelib.odeint``, until the flow has brought the arms to two sides. The drawing is
an SVG with the colours of the page; ``_static/book.js`` moves the points along their trajectories. It is made again
when this file, what it uses of ndelib, or PyTorch changes, and is kept in ``_build/hero.html``.
"""

from __future__ import annotations  # Tensor is a name for readers and mypy alone

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tools.common import BUILD
from tools.execute import library_key

if TYPE_CHECKING:  # importing PyTorch takes seconds, which a build with a kept figure saves
    import torch
    from torch import Tensor

KEPT = BUILD / "hero.html"
POINTS = 44  # on each arm
UNITS = 32
TRAINING_STEPS = 200
TIMES = 25  # at which a trajectory is drawn, equally far apart, so that the motion has the speed of the flow
SIZE, SCALE = 800, 270  # of the drawing, and units of it per unit of the plane

FIGURE = """\
<figure class="nde-hero">
<svg viewBox="0 0 {size} {size}" role="img" aria-label="{alternative}">
<g class="nde-field"><path d="{field}"/></g>
{arms}
</svg>
<div class="nde-hero-control" hidden=""><button type="button">Pause</button>
<label>time <input type="range" min="0" max="1" step="0.01" value="1"/></label></div>
<figcaption>{caption}</figcaption>
</figure>"""

ALTERNATIVE = (
    "Points on two interlocked spiral arms, one blue, one orange. The curves of a flow lead every blue point to the "
    "right and every orange point to the left."
)
CAPTION = (
    "A neural ODE with {units} units, trained by this build. Its flow has brought {right} of {all} points to their "
    "side; solved backwards, it brings them home."
)


def hero_figure(kept: Path = KEPT) -> str:
    """Return the figure as HTML, made anew only when something that it depends on has changed."""
    source = Path(__file__).read_text(encoding="utf-8")
    key = hashlib.sha256((library_key([source]) + source).encode()).hexdigest()
    if kept.exists():
        stamp, _, figure = kept.read_text(encoding="utf-8").partition("\n")
        if stamp == key:
            return figure
    figure = draw()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(f"{key}\n{figure}", encoding="utf-8")
    return figure


def draw() -> str:
    """Train the neural ODE, solve it for all points, and return the figure as HTML."""
    trajectories, velocities = trained_flow()
    ends = trajectories[-1]
    right = int((ends[:POINTS, 0] > 0).sum() + (ends[POINTS:, 0] < 0).sum())
    arms = [_arm(name, trajectories[:, part]) for name, part in (("a", slice(POINTS)), ("b", slice(POINTS, None)))]
    return FIGURE.format(
        size=SIZE,
        alternative=ALTERNATIVE,
        field=_strokes(*velocities),
        arms="\n".join(arms),
        caption=CAPTION.format(units=UNITS, right=right, all=2 * POINTS),
    )


def trained_flow() -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the trajectories, (time, point, 2), and the field: places (n, 2) and velocities there (n, 2)."""
    import torch

    # A second thread gains nothing on tensors this small, and costs much on a machine that is busy.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train_and_solve(torch.Generator().manual_seed(2))
    finally:
        torch.set_num_threads(threads)


def _train_and_solve(generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    import torch

    from ndelib import odeint

    def normal(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float64)

    starts = two_arms() + normal(2 * POINTS, 2, scale=0.05)
    side = torch.ones(2 * POINTS, dtype=torch.float64)
    side[POINTS:] = -1
    weights = [normal(2, UNITS, scale=1.5), normal(UNITS, scale=1.0), normal(UNITS, 2, scale=0.1)]
    inner, bias, outer = (weight.requires_grad_() for weight in weights)

    def f(t: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(x @ inner + bias) @ outer

    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    optimizer = torch.optim.Adam([inner, bias, outer], lr=0.03)
    for _ in range(TRAINING_STEPS):
        states = odeint(f, starts, times, method="midpoint")
        apart = torch.nn.functional.softplus(-3 * side * states[-1, :, 0]).mean()
        effort = (states.diff(dim=0) / times[1]).square().sum(-1).mean()  # short, slow ways look best
        loss = apart + 0.02 * effort + 0.02 * states[-1].square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    axis = torch.linspace(-1.35, 1.35, 15, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        trajectories = odeint(f, starts, torch.linspace(0, 1, TIMES, dtype=torch.float64))
        return trajectories, (places, f(times[0], places))


def two_arms() -> Tensor:
    """Return points on two spiral arms, the second the first turned by half a turn: (2 · POINTS, 2)."""
    import torch

    along = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    radius, angle = 0.35 + 1.05 * along, 4.4 * along
    arm = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return torch.cat([arm, -arm])


def _arm(name: str, trajectories: Tensor) -> str:
    """Draw one class, trajectories (time, point, 2): its ways, and its points where they end."""
    ways = [[_pixel(*state) for state in way] for way in trajectories.transpose(0, 1).tolist()]
    lines = "".join(f'<polyline points="{" ".join(f"{x},{y}" for x, y in way)}"/>' for way in ways)
    points = "".join(f'<circle r="9" cx="{way[-1][0]}" cy="{way[-1][1]}"/>' for way in ways)
    return f'<g class="nde-ways nde-{name}">{lines}</g>\n<g class="nde-points nde-{name}">{points}</g>'


def _strokes(places: Tensor, velocities: Tensor) -> str:
    """Draw the field as short strokes of one length, each centred on its place."""
    strokes = []
    for (x, y), (u, v) in zip(places.tolist(), velocities.tolist(), strict=True):
        length = math.hypot(u, v) or 1.0
        (a, b), (c, d) = (_pixel(x + sign * 0.045 * u / length, y + sign * 0.045 * v / length) for sign in (-1, 1))
        strokes.append(f"M{a} {b}L{c} {d}")
    return "".join(strokes)


def _pixel(x: float, y: float) -> tuple[int, int]:
    """Return where a point of the plane is in the drawing, whose second axis points down."""
    return round(SIZE / 2 + SCALE * x), round(SIZE / 2 - SCALE * y)
