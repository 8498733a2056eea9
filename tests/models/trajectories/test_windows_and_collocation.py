"""Collocation has its orders and removes noise; gradient matching is zero at the true field; windows grow."""

import math

import pytest
import torch

from ndelib.models import MLP, Autonomous, collocation, gradient_matching, growing_windows, shooting_loss
from ndelib.training import fit

F64 = torch.float64


def errors(degree, n, power=1.0):
    t = 4 * torch.linspace(0, 1, n, dtype=F64) ** power
    y, dydt = collocation(t, torch.stack([t.sin(), t.exp()], -1), window=degree + 3, degree=degree)
    middle = slice(n // 4, -n // 4)
    return (y[:, 0] - t.sin())[middle].abs().max(), (dydt[:, 0] - t.cos()).abs().max()


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("power", [1.0, 1.5], ids=["even", "uneven"])
def test_slopes_have_the_order_of_the_degree(degree, power):
    coarse, fine = errors(degree, 101, power)[1], errors(degree, 201, power)[1]
    assert math.log2(coarse / fine) > degree - 0.2


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_polynomials_of_the_degree_are_exact_on_any_times(degree):
    t = torch.tensor([0.0, 0.1, 0.25, 0.3, 0.5, 0.62, 0.7, 1.0], dtype=F64)
    y, dydt = collocation(t, (t**degree)[:, None], window=6, degree=degree)
    assert torch.allclose(y[:, 0], t**degree, atol=1e-12)
    assert torch.allclose(dydt[:, 0], degree * t ** (degree - 1), atol=1e-11)


def test_what_is_masked_has_no_part_and_gets_a_value():
    t = torch.linspace(0, 2, 41, dtype=F64)
    mask = torch.ones(41, 1, dtype=torch.bool)
    mask[10:13] = False
    y, dydt = collocation(t, torch.where(mask, t[:, None] ** 2, math.nan), window=9, mask=mask)
    assert torch.allclose(y[:, 0], t**2, atol=1e-12)
    assert torch.allclose(dydt[:, 0], 2 * t, atol=1e-11)


def test_noise_in_slopes_is_far_below_that_of_differences():
    t = torch.linspace(0, 6, 301, dtype=F64)
    y = torch.sin(t)[:, None] + 0.05 * torch.randn(301, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    smooth, slope = collocation(t, y, window=51)
    assert (smooth[:, 0] - t.sin()).square().mean().sqrt() < 0.02
    assert (slope[:, 0] - t.cos()).square().mean().sqrt() < 0.15
    assert (torch.gradient(y[:, 0], spacing=(t,))[0] - t.cos()).square().mean().sqrt() > 1.5


def test_batches_are_smoothed_row_by_row():
    t = torch.linspace(0, 2, 21)
    y = torch.stack([t.sin(), t.cos()])[..., None]
    together = collocation(t, y)
    for i in range(2):
        for whole, alone in zip(together, collocation(t, y[i]), strict=True):
            assert torch.equal(whole[i], alone)
            assert whole.dtype == torch.float32


def test_gradient_matching_is_zero_at_the_true_field_and_a_warm_start():
    t = torch.linspace(0, 6, 121, dtype=F64)
    y = torch.stack([t.cos(), -t.sin()], -1)
    A = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=F64)
    assert gradient_matching(lambda t, y: y @ A.T, t, y, y @ A.T) == 0
    field = Autonomous(torch.nn.Linear(2, 2, bias=False).double())
    data = (t, *collocation(t, y, window=7))
    fit(field, gradient_matching, data, steps=400, lr=0.05, schedule="cosine", progress=False)
    assert (field.net.weight - A).abs().max() < 0.01  # O(h²) of the window
    assert shooting_loss(field, t, y) < 1e-3


def test_gradient_matching_sees_each_points_time_and_mask_and_scale():
    t = torch.linspace(0, 1, 5, dtype=F64)
    y = torch.zeros(5, 2, dtype=F64)
    slope = torch.stack([t, 3 * t], -1)
    assert gradient_matching(lambda t, y: torch.cat([t, 3 * t], -1), t, y, slope) == 0
    assert gradient_matching(lambda t, y: torch.stack([t + y[..., 0], 3 * t], -1), t, y, slope) == 0
    plain = gradient_matching(lambda t, y: 0 * y, t, y, slope, mask=t < 0.3)
    assert plain.item() == pytest.approx((0.25**2 + 0.75**2) / 4)
    scaled = gradient_matching(lambda t, y: 0 * y, t, y, slope, scale=torch.tensor([1.0, 3.0], dtype=F64))
    assert scaled.item() == pytest.approx((t**2).mean().item())


def test_windows_are_beginnings_that_grow_to_the_whole():
    t = torch.linspace(0, 1, 40)
    y = torch.randn(3, 40, 2)
    found = list(growing_windows(t, y))
    assert [window.t.shape for window in found] == [(3, 5), (3, 10), (3, 20), (3, 40)]
    assert all(torch.equal(window.y, y[:, : window.t.shape[1]]) for window in found)


def test_growing_windows_find_a_frequency_that_the_whole_at_once_misses():
    t = torch.linspace(0, 15, 61, dtype=F64)
    y = torch.stack([(2 * t).cos(), -(2 * t).sin()], -1)

    def error(sizes):
        rate = torch.nn.Linear(1, 1, bias=False).double()
        torch.nn.init.ones_(rate.weight)
        field = Autonomous(rate)

        def loss(field, *data):
            return shooting_loss(lambda t, y: field.net.weight * torch.stack([y[..., 1], -y[..., 0]], -1), *data)

        for window in growing_windows(t, y, sizes):
            fit(field, loss, window, steps=40, lr=0.08, progress=False)
        return abs(rate.weight.item() - 2.0)

    assert error([8, 25, 61]) < 0.01
    assert error([61]) > 0.1


def wrong_calls():
    t, y = torch.linspace(0, 1, 20), torch.zeros(20, 1)
    mask = torch.zeros(20, dtype=torch.bool)
    mask[:3] = True
    field = MLP(1)
    yield lambda: collocation(t, y, window=21), r"y has 20 points, fewer than window=21"
    yield lambda: collocation(t, y, window=3), r"window=3 points are too few for degree=2: take at least 4"
    yield lambda: collocation(t, y, degree=0), r"degree must be a whole number, at least 1"
    yield lambda: collocation(t, y, mask=mask), r"mask leaves fewer than 3 points of column 0 in the window around row"
    yield lambda: growing_windows(t, y, [10, 5]), r"sizes must be growing numbers of points, from 2 to the 20"
    yield lambda: growing_windows(t, y, [10, 30]), r"sizes must be growing"
    yield lambda: gradient_matching(field, t, y, y[:5]), r"t, y and dydt must be \(n,\), \(n, d\) and \(n, d\)"


@pytest.mark.parametrize(("call", "message"), list(wrong_calls()))
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
