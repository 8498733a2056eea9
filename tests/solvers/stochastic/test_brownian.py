"""Brownian motion: the laws of its increments and areas, that parts make wholes, and that it is one path."""

import functools
import itertools
import math
import random

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from ndelib import BrownianMotion
from ndelib.solvers.stochastic.levy import join
from ndelib.solvers.stochastic.normals import Normals
from tests.conftest import full

LEAST = 1e-3
"""A correct sampler fails a test with this probability; seeds are fixed, so it passes always or never."""


def path(
    dt: float | None = None, area: str = "none", size: tuple[int, ...] = (4000,), **more: object
) -> BrownianMotion:
    options = {"dtype": torch.float64, "entropy": 11} | more
    return BrownianMotion(0.0, 1.0, size, dt=dt, levy_area_approximation=area, **options)  # type: ignore[arg-type]


def is_standard_normal(x: Tensor) -> bool:
    return bool(kstest(x.double().flatten().numpy(), "norm").pvalue > LEAST)


def are_uncorrelated(x: Tensor, y: Tensor) -> bool:
    """√n times the correlation of independent numbers is nearly standard normal; 3.3 is passed once in a thousand."""
    x, y = x.flatten() - x.mean(), y.flatten() - y.mean()
    return bool(((x * y).mean() / (x.std() * y.std())).abs() * math.sqrt(len(x)) < 3.3)


# A whole cell, many cells, a node inside a cell, ends that are no nodes, in one cell and in two, a tiny part of one.
INTERVALS = [(0.25, 0.5), (0.0, 1.0), (0.5, 0.53125), (0.3, 0.32), (0.1234, 0.8), (0.7, 0.7 + 1e-5)]
GRIDS = [None, 0.25, 0.01]


@pytest.mark.parametrize("dt", GRIDS)
@pytest.mark.parametrize("area", ["none", "space-time"])
@pytest.mark.parametrize(("s", "t"), INTERVALS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_increments_are_normal_with_variance_h(
    s: float, t: float, dt: float | None, area: str, dtype: torch.dtype
) -> None:
    found = path(dt, area, dtype=dtype).increment(s, t)
    assert found.h == pytest.approx(t - s)
    assert is_standard_normal(found.W / math.sqrt(t - s))


@pytest.mark.parametrize("dt", GRIDS)
@pytest.mark.parametrize(("s", "t"), INTERVALS)
def test_h_is_normal_with_variance_h_over_twelve_and_independent_of_w(s: float, t: float, dt: float | None) -> None:
    _, W, H, _ = path(dt, "space-time").increment(s, t)
    assert is_standard_normal(H / math.sqrt((t - s) / 12))  # type: ignore[operator]
    assert are_uncorrelated(W, H)  # type: ignore[arg-type]


@pytest.mark.parametrize("dt", GRIDS)
def test_h_is_the_mean_distance_of_the_path_from_its_chord(dt: float | None) -> None:
    bm, s, t, n = path(dt, "space-time"), 0.1, 0.6, 2000
    times = torch.linspace(s, t, n + 1).tolist()
    W = torch.stack([bm(s, time) for time in times[1::100]])  # few: means over the rest are those of their H
    parts = [bm.increment(a, b) for a, b in itertools.pairwise([s, *times[1::100]])]
    integral = sum(p.h * (before + 0.5 * p.W + p.H) for p, before in zip(parts, [0 * W[0], *W[:-1]], strict=True))
    last = bm.increment(times[1::100][-1], t)
    integral = integral + last.h * (W[-1] + 0.5 * last.W + last.H)
    whole = bm.increment(s, t)
    torch.testing.assert_close(whole.H, integral / whole.h - 0.5 * whole.W, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dt", [None, 0.25])
@pytest.mark.parametrize(("s", "m", "t"), [(0.25, 0.375, 0.5), (0.25, 0.3, 0.5), (0.26, 0.31, 0.4), (0.1, 0.6, 0.9)])
def test_inside_an_interval_the_path_is_a_brownian_bridge(s: float, m: float, t: float, dt: float | None) -> None:
    bm, r = path(dt), (m - s) / (t - s)
    left, whole = bm(s, m), bm(s, t)
    residual = (left - r * whole) / math.sqrt(r * (1 - r) * (t - s))
    assert is_standard_normal(residual)
    assert are_uncorrelated(residual, whole)


@pytest.mark.parametrize("dt", [None, 0.25])
@pytest.mark.parametrize(("s", "m", "t"), [(0.25, 0.375, 0.5), (0.25, 0.3, 0.5), (0.26, 0.31, 0.4), (0.1, 0.6, 0.9)])
def test_with_h_it_is_a_bridge_of_both(s: float, m: float, t: float, dt: float | None) -> None:
    """The two parts of an interval have independent W and H, four numbers with variances h and h/12."""
    bm = path(dt, "space-time")
    left, right = bm.increment(s, m), bm.increment(m, t)
    numbers = [x / math.sqrt(h) for part in (left, right) for x, h in ((part.W, part.h), (part.H, part.h / 12))]
    assert all(is_standard_normal(x) for x in numbers)
    assert all(are_uncorrelated(x, y) for x, y in itertools.combinations(numbers, 2))


def test_levy_areas_have_the_variance_of_theirs() -> None:
    """Var A = h²/4 (Lévy 1951); what n cells miss is h²/(12 n) of it. A is uncorrelated with W, and antisymmetric."""
    n, h = 64, 0.5
    bm = path(1 / 128, "area", size=(20_000, 2))
    W, A = bm(0.25, 0.25 + h, return_A=True)
    assert torch.equal(A, -A.mT)
    expected = h * h / 4 - h * h / (12 * n)
    # The fourth moment of A/h is 5/16 (sech(ω/2) is its characteristic function), so Var (A/h)² = 5/16 − 1/16 = 1/4.
    assert A[:, 0, 1].square().mean().item() == pytest.approx(expected, abs=4 * h * h * 0.5 / math.sqrt(20_000))
    assert are_uncorrelated(A[:, 0, 1], W[:, 0])
    assert are_uncorrelated(A[:, 0, 1], W[:, 0] * W[:, 1])


def test_the_levy_area_is_that_of_the_path() -> None:
    """½ ∫ (W₁ dW₂ − W₂ dW₁) by sums over fine steps of the same path."""
    bm, n = path(1 / 512, "area", size=(500, 2)), 512
    W = torch.cumsum(
        torch.stack([torch.zeros(500, 2, dtype=torch.float64)] + [bm(k / n, (k + 1) / n) for k in range(n)]), 0
    )
    steps, middle = W[1:] - W[:-1], 0.5 * (W[1:] + W[:-1])
    direct = 0.5 * (middle[..., 0] * steps[..., 1] - middle[..., 1] * steps[..., 0]).sum(0)
    error = (bm(0, 1, return_A=True)[1][:, 0, 1] - direct).square().mean().sqrt().item()
    # Between two points of the sum the area is missing; of it a path with H knows two thirds: Var = (2/3) · h²/4 · n.
    assert error == pytest.approx(math.sqrt(2 / 3 / 4 / n), rel=0.15)


@pytest.mark.parametrize("cells", [1, 4])
def test_what_cells_miss_of_an_area_is_a_third_of_theirs(cells: int) -> None:
    """Var(A | W, H) is h²/12 in the mean; the true area is that of 64 parts of the same path, by Chen's relation."""
    bm, n = path(1 / cells, "area", size=(2000, 2)), 64
    parts = [bm.increment(k / n, (k + 1) / n) for k in range(n)]
    fine = functools.reduce(join, parts)
    missed = bm.increment(0.0, 1.0).A[:, 0, 1] - fine.A[:, 0, 1]  # type: ignore[index]
    expected = (1 / cells - 1 / n) / 12
    # Var of the square is at most that of a Laplace-like law, 5 times the squared variance: four standard deviations.
    assert missed.square().mean().item() == pytest.approx(expected, rel=4 * math.sqrt(5 / 2000))


@pytest.mark.parametrize("area", ["none", "space-time", "area"])
@pytest.mark.parametrize("dt", [None, 0.25, 0.01, 1e-3])
def test_parts_make_the_whole(dt: float | None, area: str) -> None:
    bm, numbers = path(dt, area, size=(5, 3)), random.Random(0)
    for _ in range(20):
        s, m, t = sorted(numbers.choice([numbers.random(), numbers.randrange(65) / 64]) for _ in range(3))
        if len({s, m, t}) < 3:
            continue
        left, right, whole = bm.increment(s, m), bm.increment(m, t), bm.increment(s, t)
        torch.testing.assert_close(left.W + right.W, whole.W, rtol=0, atol=1e-13)
        if area != "none":
            I10 = left.I10 + right.h * left.W + right.I10
            torch.testing.assert_close(I10, whole.I10, rtol=0, atol=1e-13)
        if area == "area" and dt is not None and (m / dt).is_integer():
            cross = 0.5 * (left.W[..., :, None] * right.W[..., None, :] - right.W[..., :, None] * left.W[..., None, :])
            torch.testing.assert_close(left.A + right.A + cross, whole.A, rtol=0, atol=1e-13)


@pytest.mark.parametrize("area", ["none", "area"])
@pytest.mark.parametrize("dt", [None, 0.07, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_are_the_same_bit_by_bit_forwards_backwards_and_at_random(
    dt: float | None, area: str, dtype: torch.dtype
) -> None:
    times = [*sorted(random.Random(1).random() for _ in range(40)), 0.25, 0.5]
    pairs = [*itertools.pairwise(times), (0.0, 1.0), (0.25, 0.5), (0.8, 0.2)]
    order = list(pairs)
    random.Random(2).shuffle(order)

    def walk(pairs: list[tuple[float, float]]) -> dict[tuple[float, float], tuple[Tensor, ...]]:
        bm = path(dt, area, size=(3, 2), dtype=dtype)
        return {(s, t): tuple(x.clone() for x in bm.increment(s, t)[1:] if x is not None) for s, t in pairs}

    forwards, backwards, anyhow = walk(pairs), walk(pairs[::-1]), walk(order)
    for pair in pairs:
        for one, two, three in zip(forwards[pair], backwards[pair], anyhow[pair], strict=True):
            assert torch.equal(one, two)
            assert torch.equal(one, three)


def test_a_path_walked_back_undoes_itself() -> None:
    bm = path(0.1, "area", size=(5, 2))
    there, back = bm.increment(0.13, 0.77), bm.increment(0.77, 0.13)
    assert torch.equal(there.W, -back.W)
    assert torch.equal(there.H, back.H)  # type: ignore[arg-type]
    assert torch.equal(there.A, -back.A)  # type: ignore[arg-type]


def test_coarse_steps_are_sums_of_fine_ones() -> None:
    bm = path(1e-3, size=(7,))
    fine = torch.stack([bm(k / 1000, (k + 1) / 1000) for k in range(1000)])
    for n in (500, 40, 8, 1):
        coarse = torch.stack([bm(k / n, (k + 1) / n) for k in range(n)])
        torch.testing.assert_close(coarse, fine.reshape(n, -1, 7).sum(1), rtol=0, atol=1e-13)


def test_a_million_steps() -> None:
    """Nothing recurs, nothing piles up, and the whole is the sum of its parts."""
    n, part = 1_000_000, full(100_000, 10_000)  # steps, and so many of them one by one: more than a block of cells
    bm = BrownianMotion(0.0, 1.0, (2,), torch.float64, entropy=3, dt=1 / n)
    for first in (0, n - part):
        total = torch.zeros(2, dtype=torch.float64)
        for k in range(first, first + part):
            total += bm(k / n, (k + 1) / n)
        torch.testing.assert_close(total, bm(first / n, (first + part) / n), rtol=0, atol=1e-11)
    middle = bm(0.1, 0.9)  # 800 000 cells at once
    torch.testing.assert_close(bm(0, 0.1) + middle + bm(0.9, 1.0), bm(0, 1), rtol=0, atol=1e-11)
    assert len(bm._cells.blocks) <= 4
    assert len(bm._bridges.pairs) == 0
    bm = BrownianMotion(0.0, 1.0, (2,), torch.float64, entropy=3)  # one cell, and bridges 20 levels deep
    steps = torch.stack([bm(k / n, (k + 1) / n) for k in range(500_000, 501_000)])
    assert steps.std().item() == pytest.approx(math.sqrt(1 / n), rel=0.1)
    torch.testing.assert_close(steps.sum(0), bm(0.5, 0.501), rtol=0, atol=1e-12)
    assert len(bm._bridges.pairs) <= 48


def test_different_seeds_cells_and_kinds_give_different_numbers() -> None:
    one, other = path(0.01, entropy=1)(0, 0.01), path(0.01, entropy=2)(0, 0.01)
    assert are_uncorrelated(one, other)
    bm = path(0.01, "space-time")
    assert are_uncorrelated(bm(0, 0.01), bm(0.01, 0.02))
    # PyTorch's generator takes 32 bits; blocks of one path must differ in them.
    normals = Normals(7, (1,), torch.float32, torch.device("cpu"))
    assert len({normals._seed(counter) for counter in range(200_000)}) == 200_000


def test_the_seed_comes_from_pytorchs_generator() -> None:
    torch.manual_seed(4)
    first = BrownianMotion(0, 1, (3,))
    torch.manual_seed(4)
    second = BrownianMotion(0, 1, (3,))
    assert first.entropy == second.entropy
    assert torch.equal(first(0, 1), second(0, 1))
    assert BrownianMotion(0, 1, (3,)).entropy != second.entropy
    assert "cells=1" in repr(first)


def test_cells_end_where_a_solution_is_wanted() -> None:
    bm = BrownianMotion(0, 1, (2,), dt=0.1, through=[0.33])
    assert [segment.count for segment in bm.grid.segments] == [4, 7]
    torch.testing.assert_close(bm(0, 0.33) + bm(0.33, 1), bm(0, 1))


def test_a_path_made_in_inference_mode_can_be_differentiated_through_later() -> None:
    bm = BrownianMotion(0, 1, (3,), torch.float64, dt=0.5)
    with torch.inference_mode():
        bm(0, 0.5)
        bm(0.1, 0.2)
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (x * bm(0, 0.5)).sum().backward()
    assert torch.equal(x.grad, bm(0, 0.5))  # type: ignore[arg-type]


def test_times_may_be_tensors_and_single_precision() -> None:
    bm, ts = path(0.1, size=(2,)), torch.linspace(0, 1, 11)
    assert torch.equal(bm(ts[3], ts[4]), bm(0.3, 0.4))  # as near to the cell's edge as float32 is
    assert torch.equal(bm(0.3), bm(0, 0.3))
    assert not bm(0.3, 0.3).any()
    W, U = path(None, "space-time", size=(2,))(0.2, 0.2, return_U=True)
    assert not W.any()
    assert not U.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("area", ["none", "area"])
def test_on_a_gpu(area: str) -> None:
    bm = path(0.01, area, size=(20_000, 2), device="cuda")
    again = path(0.01, area, size=(20_000, 2), device="cuda")
    assert is_standard_normal(bm(0.2, 0.71).cpu() / math.sqrt(0.51))
    again(0.9, 1.0)
    assert torch.equal(bm(0.203, 0.71), again(0.203, 0.71))
    torch.testing.assert_close(bm(0.2, 0.31) + bm(0.31, 0.71), bm(0.2, 0.71))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t0": 1.0, "t1": 0.0}, "t0 must be before t1"),
        ({"t1": math.inf}, "both finite"),
        ({"size": ()}, r"shape \(\*, m\)"),
        ({"size": (3, -1)}, r"shape \(\*, m\)"),
        ({"dt": 0.0}, "dt must be a positive number"),
        ({"dt": 2.0}, "longer than the path"),
        ({"tol": -1.0}, "tol must be a positive number"),
        ({"levy_area_approximation": "foster"}, "it is 'foster': here that is 'area'"),
        ({"levy_area_approximation": "spacetime"}, "did you mean 'space-time'"),
        ({"levy_area_approximation": ["area"]}, "must be one of"),
        ({"through": [math.nan]}, "through must lie within the path: t = nan"),
        ({"through": [1.5]}, "through must lie within the path: t = 1.5"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BrownianMotion(**({"size": (2,)} | arguments))  # type: ignore[arg-type]


def test_wrong_types_and_times() -> None:
    with pytest.raises(TypeError, match="size is missing"):
        BrownianMotion()
    for arguments, message in (
        ({"size": 3}, r"size must be the shape .*got 3: write \(3,\)"),
        ({"size": "3"}, "size must be the shape"),
        ({"size": (3, 1.5)}, "size must be a shape of integers, got 1.5"),
        ({"entropy": "a"}, "entropy must be an integer or None, got 'a'"),
        ({"entropy": 1.5}, "entropy must be an integer or None, got 1.5"),
        ({"dtype": torch.int64}, "dtype must be a real floating-point type.*torch.int64"),
        ({"dtype": "float32"}, "dtype must be a real floating-point type.*'float32'"),
        ({"t0": "0"}, "t0 must be a number, got '0'"),
        ({"t1": None}, "t1 must be a number, got None"),
        ({"t1": torch.ones(2)}, "t1 must be a number"),
        ({"dt": "0.1"}, "dt must be a number or None, got '0.1'"),
        ({"tol": [1.0]}, "tol must be a number or None"),
        ({"through": 0.5}, "through must be a sequence of times, got 0.5"),
        ({"through": ["a"]}, "a time of through must be a number, got 'a'"),
    ):
        with pytest.raises(TypeError, match=message):
            BrownianMotion(**({"size": (2,)} | arguments))  # type: ignore[arg-type]
    assert BrownianMotion(size=np.ones((2, 3)).shape, entropy=np.int64(7)).entropy == 7
    bm = BrownianMotion(size=(2,))
    for s, t in ((-0.1, 0.5), (0.5, 1.1), (0.5, math.nan)):
        with pytest.raises(ValueError, match="outside the path, which goes from 0 to 1"):
            bm(s, t)
    with pytest.raises(ValueError, match="return_U=True needs a path with levy_area_approximation='space-time'"):
        bm(0, 1, return_U=True)
    with pytest.raises(ValueError, match="return_A=True needs"):
        bm(0, 1, return_A=True)
