"""Pictures of fields show the field: its directions, its fixed points, and nothing where it is not defined."""

import math

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")
import matplotlib.pyplot as plt

from ndelib import plotting
from ndelib.plotting import COLORS
from ndelib.plotting.figure import to_png


@pytest.fixture
def ax():
    fig, ax = plt.subplots(figsize=(3, 3))
    yield ax
    to_png(fig)  # what was drawn can also be rendered


def planar(velocity):
    """Return the field on batches whose two velocities are ``velocity(x, y)``."""
    return lambda t, y: torch.stack(velocity(*y.unbind(-1)), dim=-1)


def arrows(ax):
    """Return places, middle and sign, of the arrows of a phase line, from left to right."""
    pairs = sorted((arrow.xyann[0], arrow.xy[0]) for arrow in ax.texts)
    return [((tail + head) / 2, math.copysign(1, head - tail)) for tail, head in pairs]


def test_strokes_of_a_direction_field_have_the_slope_of_the_field(ax):
    plotting.direction_field(lambda t, y: 3 * y, (0, 2), (1, 2), density=3, ax=ax)
    (quiver,) = ax.collections
    slopes = torch.as_tensor(quiver.V / quiver.U).reshape(3, 3)
    assert torch.allclose(slopes, 3 * torch.tensor([1.0, 1.5, 2.0]).double()[:, None].expand(3, 3))


def test_phase_portrait_survives_solutions_that_blow_up(ax):
    found = plotting.phase_portrait(lambda t, y: y**3 - y, (-2, 2), (-2, 2), starts=[(1.5, 1.5), (0.5, 0.5)], ax=ax)
    assert [p.kind for p in found].count("stable star") == 1
    assert len(found) == 9


@pytest.mark.parametrize("velocity", [lambda x, y: (-y, 2 * x), lambda x, y: (1e200 * x, 1e200 * (y + 3))])
def test_arrows_of_a_vector_field_point_where_the_field_does(ax, velocity):
    plotting.vector_field(planar(velocity), (-2, 2), (-1, 1), density=8, ax=ax)
    (quiver,) = ax.collections
    assert len(quiver.U) == 8 * 4
    x, y = (torch.as_tensor(c) for c in quiver.XY.T)
    u, v = velocity(x, y)
    assert torch.allclose(torch.as_tensor(quiver.U), u / torch.hypot(u, v))
    assert torch.allclose(torch.as_tensor(quiver.V), v / torch.hypot(u, v))
    speed = torch.hypot(u, v)
    assert (quiver.get_alpha()[speed.argsort()] == np.sort(quiver.get_alpha())).all()  # the paler, the slower


def test_arrows_are_drawn_where_the_field_is_finite(ax):
    f = planar(lambda x, y: (torch.log(x), torch.where(y > 0, y, math.inf)))
    plotting.vector_field(f, (-1, 1), (-1, 1), density=10, ax=ax)
    (quiver,) = ax.collections
    assert len(quiver.U) == 25
    assert (quiver.XY > 0).all()
    assert np.allclose(np.hypot(quiver.U, quiver.V), 1)


def test_a_field_that_is_nowhere_finite_leaves_the_picture_empty(ax):
    plotting.vector_field(lambda t, y: math.nan * y, (-1, 1), (-2, 2), ax=ax)
    assert len(ax.collections) == 0
    assert ax.get_ylim() == (-2, 2)


def test_a_solution_stops_where_the_field_is_not_defined(ax):
    f = planar(lambda x, y: (-torch.sqrt(x) - 0.1, 0 * y))
    plotting.phase_portrait(f, (-1, 1), (-1, 1), starts=[(0.5, 0.5), (-0.5, 0.5)], ax=ax)
    curve, _, still, _ = (line.get_xydata() for line in ax.lines[:4])
    assert curve[0, 0] == 0.5
    assert abs(curve[-1, 0]) < 0.1 * 10 / 400  # the way of one step
    assert (still == (-0.5, 0.5)).all()


def test_strokes_have_one_length_however_steep_and_gaps_where_there_is_no_slope(ax):
    plotting.direction_field(lambda t, y: 1e200 * torch.sqrt(y), (0, 1), (-1, 1), density=4, ax=ax)
    (quiver,) = ax.collections
    assert quiver.Umask.sum() == 8
    assert np.allclose(quiver.V[~quiver.Umask], 1)


def test_fields_that_are_networks_can_be_drawn():
    scalar, plane = torch.nn.Linear(1, 1), torch.nn.Linear(2, 2)  # in float32, with weights that want gradients
    for draw in (
        lambda: plotting.direction_field(lambda t, y: scalar(y[:, None])[:, 0], (0, 1), (-1, 1)),
        lambda: plotting.phase_line(lambda t, y: scalar(y[:, None])[:, 0], -1, 1),
        lambda: plotting.vector_field(lambda t, y: plane(y), (-1, 1), (-1, 1)),
        lambda: plotting.phase_portrait(lambda t, y: plane(y), (-1, 1), (-1, 1), starts=[(0.5, 0.5)]),
    ):
        plt.figure(figsize=(2, 2))
        draw()
        to_png(plt.gcf())


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda t, x: x * (1 - x) * (x - 2), [(-0.25, 1), (0.5, -1), (1.5, 1), (2.25, -1)]),
        (lambda t, x: torch.ones_like(x), [(1.0, 1)]),
        (lambda t, x: -torch.ones_like(x), [(1.0, -1)]),
        (lambda t, x: torch.log(x), [(0.5, -1), (1.75, 1)]),  # none where x < 0
        (lambda t, x: 1 / (x - 0.5), [(0.0, -1), (1.5, 1)]),
        (lambda t, x: torch.relu(x), [(1.25, 1)]),  # none where f = 0
        (lambda t, x: torch.zeros_like(x), []),
    ],
)
def test_arrows_of_a_phase_line_point_along_the_flow(ax, f, expected):
    plotting.phase_line(f, -0.5, 2.5, ax=ax)
    assert [sign for _, sign in arrows(ax)] == [sign for _, sign in expected]
    assert [place for place, _ in arrows(ax)] == pytest.approx([place for place, _ in expected], abs=0.01)


@pytest.mark.parametrize(
    ("f", "fillstyle", "edge", "face"),
    [
        (lambda t, x: -x, "full", "stable", COLORS["stable"]),
        (lambda t, x: x, "full", "unstable", "white"),
        (lambda t, x: x**2, "left", "stable", COLORS["stable"]),
        (lambda t, x: torch.zeros_like(x), "left", "stable", COLORS["stable"]),
    ],
)
def test_a_filled_dot_attracts_an_open_one_repels_a_half_filled_one_does_neither(ax, f, fillstyle, edge, face):
    plotting.phase_line(f, -1, 1, ax=ax)
    dot = ax.lines[-1]
    assert dot.get_fillstyle() == fillstyle
    assert dot.get_markeredgecolor() == COLORS[edge]
    assert dot.get_markerfacecolor() == face
    assert dot.get_xydata()[0] == pytest.approx([0, 0], abs=1e-3)
    assert dot.get_marker() == "o"


def test_saddles_are_open_and_centers_half_filled(ax):
    def f(t, y):  # a pendulum without friction
        return torch.stack([y[:, 1], -torch.sin(y[:, 0])], dim=1)

    found = plotting.phase_portrait(f, (-4, 4), (-4, 4), ax=ax)
    assert [p.kind for p in found] == ["saddle", "center", "saddle"]
    assert [dot.get_fillstyle() for dot in ax.lines] == ["full", "left", "full"]
    assert [dot.get_markerfacecolor() for dot in ax.lines] == ["white", COLORS["stable"], "white"]
