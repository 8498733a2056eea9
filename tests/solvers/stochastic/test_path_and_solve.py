"""A path and the solves on it: ends that were rounded, cells that times have to meet, and paths made without cells.

dy = dW is solved exactly by every step of Euler's: y(t) = y(0) + W(t), whatever the steps.
"""

import math

import pytest
import torch
from torch import Tensor

from ndelib import BrownianMotion, sdeint
from tests.solvers.stochastic.sde_problems import CUBIC, LINEAR, NON_COMMUTING, WAVE, Equation, ExactProblem, slope

DOUBLE = torch.float64
WALK = Equation(lambda t, y: 0 * y, lambda t, y: torch.ones_like(y), "diagonal", "stratonovich")
ITO = Equation(lambda t, y: 0 * y, lambda t, y: torch.ones_like(y), "diagonal", "ito")

ROUNDED_UP = [0.1, 0.3, 0.6, 1.1, 5.9, 10.1, 100.3]
"""numbers that single precision rounds up"""


def walk(bm: BrownianMotion, ts: Tensor | list[float], dt: float, **options: object) -> Tensor:
    return sdeint(ITO, torch.zeros(bm.shape, dtype=bm.dtype), ts, bm, "euler", dt, **options)  # type: ignore[arg-type]


# Ends of the path, rounded.


@pytest.mark.parametrize("T", ROUNDED_UP)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_last_time_that_single_precision_rounded_past_the_end_is_the_end(T: float, dtype: torch.dtype) -> None:
    ts = torch.linspace(0, T, 4)
    assert ts[-1].item() > T
    for given in (ts, ts.tolist(), ts.double()):
        for dt in (None, T / 3, T / 12):
            bm = BrownianMotion(0.0, T, (3, 1), dtype, entropy=4, dt=dt)
            ys = walk(bm, given, T / 12)
            torch.testing.assert_close(ys[-1], bm(0.0, T))
            torch.testing.assert_close(ys[2], bm(0.0, ts[2]))


@pytest.mark.parametrize("t0", [0.7, 1.3, 5.7])
def test_so_is_a_first_time_before_the_beginning_and_so_it_is_backwards(t0: float) -> None:
    ts = torch.tensor([t0, t0 + 0.5, t0 + 1.1])
    assert ts[0].item() < t0
    bm = BrownianMotion(t0, ts[-1], (2, 2), DOUBLE, entropy=1, dt=0.05)
    torch.testing.assert_close(walk(bm, ts, 0.05)[-1], bm(t0, ts[-1]))
    back = sdeint(WALK, torch.zeros(2, 2, dtype=DOUBLE), ts.flip(0), bm, "heun", 0.05)
    torch.testing.assert_close(back[-1], -bm(t0, ts[-1]))


def test_a_path_is_asked_directly_for_times_beside_its_ends() -> None:
    bm = BrownianMotion(0.0, 0.3, (2,), DOUBLE, dt=0.1)
    assert torch.equal(bm(0.0, math.nextafter(0.3, 1)), bm(0.0, 0.3))
    assert torch.equal(bm(torch.tensor(0.0), torch.tensor(0.3)), bm(0.0, 0.3))
    assert torch.equal(bm(-1e-8, 0.3), bm(0.0, 0.3))
    assert torch.equal(bm(torch.tensor(0.3), -1e-8), -bm(0.0, 0.3))
    assert not bm(0.3, math.nextafter(0.3, 1)).any()


def test_times_further_outside_are_errors_with_digits_that_say_so() -> None:
    for t0, t1, s, t in ((0.0, 1.0, 0.5, 1.000001), (0.0, 1e-3, 0.0, 1.000001e-3), (1e6, 1e6 + 1, 1e6, 1e6 + 1.01)):
        bm = BrownianMotion(t0, t1, (2,))
        with pytest.raises(ValueError, match=f"t = {t!r} lies outside the path, which goes from .* to {t1:.9g}"):
            bm(s, t)
        with pytest.raises(ValueError, match=f"ts goes from .* to {t!r}, outside the path bm, .* to {t1:.9g}"):
            walk(bm, [s, t], t - s)


# Cells.


@pytest.mark.parametrize("n", [3, 7, 10, 11])
def test_times_in_single_precision_meet_the_cells_and_cost_no_bridge(n: int) -> None:
    bm = BrownianMotion(0.0, 1.0, (2, 1), DOUBLE, entropy=2, dt=1 / (100 * n))
    exact = walk(bm, [k / n for k in range(n + 1)], 1 / (100 * n))
    assert torch.equal(walk(bm, torch.linspace(0, 1, n + 1), 1 / (100 * n)), exact)
    assert not bm._bridges.pairs
    for k in range(n):
        t, t1 = torch.tensor(k / n), torch.tensor((k + 1) / n)
        assert torch.equal(bm(t, t1), bm(k / n, (k + 1) / n))
    assert not bm._bridges.pairs


def test_in_double_precision_a_time_beside_a_cell_is_another_time() -> None:
    """W(t + δ) − W(t) has the variance δ also for a δ that single precision would not see."""
    bm, delta = BrownianMotion(0.0, 1.0, (20_000,), DOUBLE, entropy=2, dt=1e-3), 1e-8
    assert bm(0.7, 0.7 + delta).std().item() == pytest.approx(math.sqrt(delta), rel=0.03)


# Paths made without ``dt``.


def one(problem: ExactProblem, paths: int, area: str = "none", **more: object) -> BrownianMotion:
    return BrownianMotion(0.0, 1.0, (paths, problem.channels), DOUBLE, entropy=5, levy_area_approximation=area, **more)  # type: ignore[arg-type]


def test_without_dt_the_cells_are_the_steps_of_the_first_solve() -> None:
    ts = [0.0, 0.3, 1.0]
    bm, cut = one(LINEAR, 3), one(LINEAR, 3, dt=0.01, through=ts)
    assert torch.equal(walk(bm, ts, 0.01), walk(cut, ts, 0.01))
    assert bm.grid.count == 100
    assert not bm._bridges.pairs
    walk(bm, [0.3, 1.0], 0.07)
    assert bm.grid.count == 100


def test_a_part_of_the_path_is_solved_with_cells_for_the_rest() -> None:
    bm = one(LINEAR, 3)
    walk(bm, [0.25, 0.5], 0.01)
    walk(bm, [0.5, 1.0], 0.01)
    assert not bm._bridges.pairs
    endless = BrownianMotion(0.0, 1e12, (2, 1), DOUBLE)  # cells of a thousandth of it would be too many to number
    assert walk(endless, [0.0, 1.0], 1e-3).isfinite().all()


@pytest.mark.parametrize("area", ["none", "space-time", "area"])
@pytest.mark.parametrize("steps", [(0.1, 0.05, 0.02), (0.01, 0.1), (0.07, 0.05)])
def test_solves_with_any_steps_are_on_one_path(area: str, steps: tuple[float, ...]) -> None:
    bm = one(LINEAR, 4, area)
    for dt in steps:
        ys = walk(bm, [0.0, 0.4, 1.0], dt)
        torch.testing.assert_close(ys[1], bm(0.0, 0.4), rtol=0, atol=1e-12)
        torch.testing.assert_close(ys[2], bm(0.0, 1.0), rtol=0, atol=1e-12)


def test_a_path_that_has_answered_stays_what_it_is() -> None:
    bm = one(LINEAR, 4)
    before = bm(0.2, 0.7)
    ys = walk(bm, [0.0, 0.2, 0.7, 1.0], 0.1)
    assert torch.equal(bm(0.2, 0.7), before)
    torch.testing.assert_close(ys[2] - ys[1], before, rtol=0, atol=1e-13)


@torch.no_grad()
@pytest.mark.parametrize("counts", [(16, 32, 64, 128), (128, 64, 32, 16)])
@pytest.mark.parametrize(("method", "problem", "order"), [("milstein", WAVE, 1.0), ("srk", CUBIC, 1.5)])
def test_the_strong_order_shows_on_one_object_in_either_direction(
    method: str, problem: ExactProblem, order: float, counts: tuple[int, ...]
) -> None:
    bm, y0 = one(problem, 1000, "space-time"), problem.start(1000)
    ends = [sdeint(problem.equation("ito"), y0, [0.0, 1.0], bm, method, 1 / n)[-1] for n in counts]
    exact = problem.exact(y0, 1.0, bm)
    errors = [(y - exact).square().sum(-1).mean().sqrt().item() for y in ends]
    assert slope([1 / n for n in counts], errors) == pytest.approx(order, abs=0.2)


@torch.no_grad()
def test_areas_of_a_path_without_dt_are_fine_enough_for_the_method_that_asks_first() -> None:
    """Cells of h²/T make the error of areas, √(h · cell / 12), of order h^1.5; that of one cell would be of order h."""
    bm = one(NON_COMMUTING, 500, "area")
    y0, errors = NON_COMMUTING.start(500), []
    for n in (32, 16, 8, 4):
        y = sdeint(NON_COMMUTING.equation("ito"), y0, [0.0, 1.0], bm, "milstein", 1 / n)[-1]
        errors.append((y - NON_COMMUTING.exact(y0, 1.0, bm)).square().sum(-1).mean().sqrt().item())
    assert bm.grid.count == 32**2
    assert slope([1 / 32, 1 / 16, 1 / 8, 1 / 4], errors) == pytest.approx(1.0, abs=0.2)


@torch.no_grad()
def test_adaptive_steps_are_nodes_of_a_path_without_dt() -> None:
    bm, y0 = one(WAVE, 20), WAVE.start(20)
    y = sdeint(WAVE.equation("ito"), y0, [0.0, 0.3, 1.0], bm, "milstein", 0.1, True, 1e-3, 1e-3)[-1]
    assert [segment.count for segment in bm.grid.segments] == [1, 1]
    assert (y - WAVE.exact(y0, 1.0, bm)).square().mean().sqrt().item() < 0.02


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible", "adjoint"])
def test_the_way_back_asks_a_path_without_dt_for_what_the_way_there_was_told(gradient: str) -> None:
    a = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    equation = Equation(lambda t, y: a * y, lambda t, y: 0.3 * y, "diagonal", "stratonovich")
    method = "reversible_heun" if gradient == "reversible" else "heun"
    found = []
    for way in ("backprop", gradient):
        bm = BrownianMotion(0.0, 1.0, (3, 2), DOUBLE, entropy=5)
        options = {"params": [a]} if way != "backprop" else {}
        y = sdeint(equation, torch.ones(3, 2, dtype=DOUBLE), [0.0, 1.0], bm, method, 0.01, gradient=way, **options)[-1]  # type: ignore[arg-type]
        found.append(torch.autograd.grad(y.sum(), a)[0].item())
        assert found[-1] == pytest.approx(y.sum().item(), rel=1e-2)  # ∂y/∂a = T y
    assert found[1] == pytest.approx(found[0], rel=1e-2 if gradient == "adjoint" else 1e-12)


# Many channels.


def test_a_million_channels_are_asked_for_w_alone() -> None:
    bm = BrownianMotion(0.0, 1.0, (1_000_000,), levy_area_approximation="area", entropy=1, dt=0.1)
    assert bm(0.1, 0.7).std().item() == pytest.approx(math.sqrt(0.6), rel=0.01)
    W, U = bm(0.0, 0.5, return_U=True)
    assert (U - 0.25 * W).std().item() == pytest.approx(0.5 * math.sqrt(0.5 / 12), rel=0.01)
    y0 = torch.zeros(1_000_000)
    y = sdeint(ITO, y0, [0.0, 0.5], BrownianMotion(0.0, 1.0, (1_000_000,), levy_area_approximation="area"), "srk", 0.1)
    assert y[-1].std().item() == pytest.approx(math.sqrt(0.5), rel=0.01)


def test_one_size_is_channels_and_a_batch_of_scalars_has_two() -> None:
    for size, area in (((4,), (4, 4)), ((4, 1), (4, 1, 1))):
        bm = BrownianMotion(0.0, 1.0, size, levy_area_approximation="area", dt=0.1)
        W, A = bm(0.0, 0.5, return_A=True)
        assert W.shape == size
        assert A.shape == area
