"""What becomes of an equilibrium on the boundary: criteria against the equilibria, and against simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from ndelib.dynamics import BoundaryEquilibrium
from tests.conftest import full

PLANAR = {"A1": [[-1, 1], [-1, 0]], "A2": [[2, 1], [-5, 0]], "b": [0, 1], "c": [1, 0]}
SIZE = 1e6
EXAMPLES = full(100, 30)
entry = st.floats(-3, 3).map(lambda x: round(x, 2))


def liénard(t1, d1, t2, d2):
    """ẋ = tx + y, ẏ = −dx + μ: the form of continuous planar families with an observable c (Freire et al. 1998)."""
    return BoundaryEquilibrium([[t1, 1], [-d1, 0]], [[t2, 1], [-d2, 0]], b=[0, 1], c=[1, 0])


def numbers(draw, low, high):
    return draw(st.floats(low, high).map(lambda x: round(x, 2)))


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(st.integers(2, 4), st.data())
def test_the_sign_of_the_determinants_decides_between_persistence_and_a_fold(d, data):
    draw = lambda n: np.array(data.draw(st.lists(entry, min_size=n, max_size=n)))  # noqa: E731
    A1, q, c, b = draw(d * d).reshape(d, d), draw(d), draw(d), draw(d)
    A2 = A1 + np.outer(q, c)
    dets = np.linalg.det(A1), np.linalg.det(A2)
    if min(map(abs, dets)) < 1e-2 or abs(np.outer(q, c)).max() == 0 or abs(c @ np.linalg.solve(A1, b)) < 1e-6:
        reject()
    family = BoundaryEquilibrium(A1, A2, b, c)
    assert family.continuous
    scenario = family.scenario()
    assert (scenario.kind == "non-smooth fold") == (dets[0] * dets[1] < 0)
    # By the definition: zeros of the field that is there.
    for mu, sides in zip((-1.0, 1.0), scenario.equilibria, strict=True):
        system, found = family.at(mu), []
        for side, A in ((-1, A1), (1, A2)):
            y = torch.as_tensor(-np.linalg.solve(A, mu * b))
            field = system.f_minus if system.region(y) < 0 else system.f_plus
            if field(0.0, y).abs().max() <= 1e-9 * (1 + y.abs().max()):
                found.append(side)
        assert tuple(found) == sides
        assert len(sides) == (1 if scenario.kind != "non-smooth fold" else len(sides))
    assert sum(map(len, scenario.equilibria)) == 2


def settles(family, mu, start, point):
    """Return where a solution ends: "rest", "cycle" or "infinity"."""
    system, size = family.at(mu), math.nan
    for _ in range(15):
        orbit = system.orbit(start, 50, largest=1e6 * SIZE)
        start = orbit.y[-1]
        if orbit.escaped:
            return "infinity"
        if (start - point).norm() <= 1e-9:
            return "rest"
        before, size = size, orbit.y[1:-1, 1].max().item() if len(orbit.t) > 2 else math.nan
        if abs(size - before) <= 1e-9 * size:
            return "cycle"
    return "undecided"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_planar_cycles_are_born_as_the_criterion_says(data):
    """Foci and nodes with traces of both signs, followed from near the equilibrium and from far away."""
    t1, t2 = (numbers(data.draw, low, high) for low, high in ((-3, 3), (-3, 3)))
    d1, d2 = (numbers(data.draw, 0.3, 5) for _ in range(2))
    focus = [t * t < 4 * d for t, d in ((t1, d1), (t2, d2))]
    ratio = [t / math.sqrt(4 * d - t * t) if f else 0.0 for t, d, f in zip((t1, t2), (d1, d2), focus, strict=True)]
    # Close to a degenerate case convergence takes longer than the solve; half a turn multiplies by 1e-4 … 1e4.
    assume(min(abs(t1), abs(t2)) > 0.2 and not (all(focus) and abs(sum(ratio)) < 0.2))
    assume(all(abs(t * t - 4 * d) > 1 for t, d in ((t1, d1), (t2, d2))))
    family = liénard(t1, d1, t2, d2)
    scenario = family.scenario()
    for mu in (-1.0, 1.0):
        (point,) = [p for p in family.equilibria(mu) if p.admissible]
        near, far = (point.y + torch.tensor([1e-3, 2e-3])), torch.tensor([0.3, 1.0]) * SIZE
        inner, outer = (settles(family, mu, start, point.y) for start in (near, far))
        if scenario.cycle_at == mu:
            expected = ("cycle", "cycle") if scenario.cycle == "attracting" else ("rest", "infinity")
        else:
            expected = ("rest", "rest") if point.stable else ("infinity", "infinity")
        assert inner == expected[0]
        # Beyond the straight orbits of an unstable node that is virtual, all goes to infinity without turning.
        assert outer == expected[1] or (not any(focus) and t1 * t2 < 0 and outer == "infinity")


def test_the_attracting_cycle_is_found_and_the_repelling_one_is_it_with_time_reversed():
    family = BoundaryEquilibrium(**PLANAR)
    scenario = family.scenario()
    assert (scenario.kind, scenario.cycle, scenario.cycle_at) == ("limit cycle", "attracting", 1)
    assert "-0.07735" in scenario.reason  # −1/√3 + 1/2
    backwards = BoundaryEquilibrium(-family.A1, -family.A2, -family.b, family.c)
    reverse = backwards.scenario()
    assert (reverse.kind, reverse.cycle, reverse.cycle_at) == ("limit cycle", "repelling", 1)
    cycle = family.at(1.0).limit_cycle()
    other = backwards.at(1.0).limit_cycle(cycle.orbit.y[1])
    assert other.period == pytest.approx(cycle.period, rel=1e-10)
    assert not other.stable
    assert other.multipliers.abs().max().item() == pytest.approx(1 / cycle.multipliers.abs().min().item(), rel=1e-8)


def test_a_node_and_a_focus_make_the_cycle_that_the_focus_says():
    for side, family in ((1, liénard(-3, 1, 1, 2)), (-1, liénard(1, 2, -3, 1))):
        scenario = family.scenario()
        assert (scenario.kind, scenario.cycle) == ("limit cycle", "attracting")
        assert [p.side for p in family.equilibria(scenario.cycle_at) if p.admissible] == [side]
        assert family.at(scenario.cycle_at).limit_cycle().stable
    assert liénard(3, 1, -1, 2).scenario().cycle == "repelling"


def test_the_four_scenarios_of_the_normal_form():
    kinds = {
        "persistence": liénard(-1, 1, -2, 3),
        "non-smooth fold": liénard(-1, 1, 0.5, -2),
        "limit cycle": BoundaryEquilibrium(**PLANAR),
    }
    assert {name: family.scenario().kind for name, family in kinds.items()} == {name: name for name in kinds}
    assert kinds["persistence"].scenario().cycle == "none"
    fold = kinds["non-smooth fold"].scenario()
    assert sorted(map(len, fold.equilibria)) == [0, 2]
    spatial = BoundaryEquilibrium(
        [[-0.8, 1, 0], [-0.57, 0, 1], [-0.09, 0, 0]], [[0.1, 1, 0], [-0.2, 0, 1], [-60, 0, 0]], [0, 0, 1], [1, 0, 0]
    ).scenario()  # chaos, by test_piecewise_linear.py: no criterion of matrices says so
    assert (spatial.kind, spatial.stable, spatial.cycle) == ("persistence", (True, False), "undecided")


def test_degenerate_families_are_named():
    with pytest.raises(ValueError, match="stays on the boundary"):
        BoundaryEquilibrium([[1, 0], [0, 1]], [[2, 0], [0, 1]], [0, 1], [1, 0]).scenario()
    with pytest.raises(ValueError, match="A1 must be invertible"):
        BoundaryEquilibrium([[0, 0], [0, 1]], [[2, 0], [0, 1]], [1, 1], [1, 0]).scenario()
    jump = BoundaryEquilibrium([[-1, 0], [0, -1]], [[-1, 2], [0, -2]], [1, 1], [1, 0])
    assert not jump.continuous
    assert jump.scenario().cycle == "undecided"
