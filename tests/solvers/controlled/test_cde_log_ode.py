"""Signatures against closed forms and their algebra; the log-ODE method by its order, and where it is exact."""

import math
from itertools import pairwise, product

import pytest
import torch
from torch import nn

from ndelib import LinearInterpolation, cdeint, log_ode_field, logsig_windows
from ndelib.solvers.controlled.logsignature import logsig_channels, logsignature, signature, tensor_log, tensor_multiply
from ndelib.solvers.controlled.lyndon import expand, is_lyndon, lyndon_words, standard_factors

TIGHT = {"method": "dopri8", "rtol": 1e-9, "atol": 1e-11}


def steps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_lyndon_words_are_all_of_them_and_as_many_as_witt_counts(channels):
    words = lyndon_words(channels, 3)
    every = [word for n in (1, 2, 3) for word in product(range(channels), repeat=n)]
    assert list(words) == [word for word in every if is_lyndon(word)]
    d = channels
    assert [logsig_channels(d, depth) for depth in (1, 2, 3)] == [d, d + d * (d - 1) // 2, len(words)]
    assert len(words) == d + d * (d - 1) // 2 + (d**3 - d) // 3


def test_brackets_written_out():
    assert standard_factors((0, 0, 1)) == ((0,), (0, 1))
    assert standard_factors((0, 2, 1)) == ((0, 2), (1,))
    assert expand((0, 1)) == {(0, 1): 1, (1, 0): -1}
    assert expand((0, 0, 1)) == {(0, 0, 1): 1, (0, 1, 0): -2, (1, 0, 0): 1}
    assert expand((0, 2, 1)) == {(0, 2, 1): 1, (2, 0, 1): -1, (1, 0, 2): -1, (1, 2, 0): 1}


def test_a_straight_line_has_increments_only():
    v = steps(2, 1, 3)
    expected = torch.zeros(2, 14, dtype=torch.float64)
    expected[:, :3] = v[:, 0]
    torch.testing.assert_close(logsignature(v.expand(2, 6, 3) / 6, 3), expected, rtol=0, atol=1e-15)


def test_the_second_level_is_area():
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    triangle = logsignature(corners.diff(dim=0), 2)
    torch.testing.assert_close(triangle, torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(logsignature(corners.flip(0).diff(dim=0), 2)[2].item(), -3.0)
    n = 1000
    angle = torch.linspace(0, 2 * math.pi, n + 1, dtype=torch.float64)
    circle = logsignature(torch.stack([angle.cos(), angle.sin()], -1).diff(dim=0), 2)[2].item()
    assert circle == pytest.approx(n / 2 * math.sin(2 * math.pi / n), rel=1e-12)
    assert circle == pytest.approx(math.pi, rel=1e-4)


def test_two_straight_lines_obey_baker_campbell_and_hausdorff():
    """log(exp a exp b) = a + b + [a, b]/2 + [a, [a, b]]/12 + [[a, b], b]/12."""
    found = logsignature(torch.eye(2, dtype=torch.float64), 3)
    torch.testing.assert_close(found, torch.tensor([1, 1, 1 / 2, 1 / 12, 1 / 12], dtype=torch.float64))


def test_chens_identity():
    v = steps(2, 9, 3)
    joined = tensor_multiply(signature(v[:, :4], 3), signature(v[:, 4:], 3))
    for whole, parts in zip(signature(v, 3), joined, strict=True):
        torch.testing.assert_close(whole, parts)


def test_products_of_integrals_are_sums_over_shuffles():
    one, two, three = signature(steps(9, 3), 3)
    torch.testing.assert_close(one[:, None] * one, two + two.mT)
    ijk = torch.einsum("i,jk->ijk", one, two)
    torch.testing.assert_close(ijk, three + three.permute(1, 0, 2) + three.permute(2, 0, 1))


def test_a_path_and_its_way_back_are_nothing():
    v = steps(2, 9, 3)
    there_and_back = torch.cat([v, -v.flip(-2)], -2)
    torch.testing.assert_close(
        logsignature(there_and_back, 3), torch.zeros(2, 14, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_a_log_signature_does_not_know_how_fast_the_path_was():
    v = steps(5, 3)
    parts = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0, 1.0, 0.3, 0.7, 0.6, 0.4], dtype=torch.float64)
    torch.testing.assert_close(logsignature(v.repeat_interleave(2, 0) * parts[:, None], 3), logsignature(v, 3))


def test_the_logarithm_is_a_sum_of_brackets():
    v = steps(9, 3)
    levels = tensor_log(signature(v, 3))
    coefficients = dict(zip(lyndon_words(3, 3), logsignature(v, 3).tolist(), strict=True))
    for n in (1, 2, 3):
        level = torch.zeros((3,) * n, dtype=torch.float64)
        for bracket, coefficient in coefficients.items():
            for word, factor in expand(bracket).items() if len(bracket) == n else ():
                level[word] += coefficient * factor
        torch.testing.assert_close(levels[n - 1], level)


def test_windows_hold_the_log_signatures_of_their_pieces():
    x = steps(2, 8, 3).cumsum(-2)
    t = torch.tensor([0.0, 0.5, 0.6, 1.5, 2.0, 2.7, 4.0, 4.4], dtype=torch.float64)
    path = logsig_windows(x, 3, 1.5, t)
    assert path.shape == (2, 4, 14)  # windows end at 1.5, 3.0 and 4.4
    torch.testing.assert_close(path[:, 0, :3], x[:, 0])
    assert (path[:, 0, 3:] == 0).all()
    X = LinearInterpolation(x, t)
    for n, times in enumerate(([0.0, 0.5, 0.6, 1.5], [1.5, 2.0, 2.7, 3.0], [3.0, 4.0, 4.4])):
        corners = X.evaluate(torch.tensor(times, dtype=torch.float64))
        torch.testing.assert_close(path[:, n + 1] - path[:, n], logsignature(corners.diff(dim=-2), 3))


def test_depth_one_is_the_path_at_the_ends_of_windows():
    x = steps(2, 9, 3)
    torch.testing.assert_close(logsig_windows(x, 1, 2.0), x[:, ::2])
    assert logsig_windows(x.float(), 2, 0.1 * 20).dtype == torch.float32
    assert logsig_windows(x, 2, 0.1, 0.1 * torch.arange(9)).shape[-2] == 9  # rounding makes no window


def test_missing_values_lie_on_straight_lines():
    x = steps(2, 9, 3)
    x[0, 3, 1] = x[1, 5, 2] = math.nan
    filled = x.clone()
    filled[0, 3, 1], filled[1, 5, 2] = (x[0, 2, 1] + x[0, 4, 1]) / 2, (x[1, 4, 2] + x[1, 6, 2]) / 2
    torch.testing.assert_close(logsig_windows(x, 3, 4.0), logsig_windows(filled, 3, 4.0))


def test_gradients_of_log_signatures_are_right():
    x, t = (
        steps(5, 2).requires_grad_(),
        torch.tensor([0.0, 0.4, 1.3, 2.0, 2.2], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda x, t: logsig_windows(x, 3, 0.9, t), (x, t))


class Columns(nn.Module):
    """Three vector fields of z that are curved and do not commute."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(3, 9, dtype=torch.float64)

    def forward(self, t, z):
        return torch.tanh(self.linear(z)).unflatten(-1, (3, 3))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_error_of_a_window_has_the_power_after_its_depth(depth):
    v, z0 = steps(6, 3, seed=4), steps(3)

    def error(size):
        x = torch.cat([torch.zeros(1, 3, dtype=torch.float64), size * v.cumsum(0)])
        exact = cdeint(LinearInterpolation(x), Columns(), z0, **TIGHT)[-1]
        window = LinearInterpolation(logsig_windows(x, depth, 6.0))
        return (cdeint(window, log_ode_field(Columns(), depth), z0, **TIGHT)[-1] - exact).norm().item()

    coarse, fine = error(0.08), error(0.04)
    assert math.log2(coarse / fine) == pytest.approx(depth + 1, abs=0.2)


@pytest.mark.parametrize(("depth", "order"), [(1, 2), (2, 4)])
def test_along_a_smooth_path_the_order_is_two_with_increments_and_four_with_areas(depth, order):
    s = torch.linspace(0, 1, 193, dtype=torch.float64)
    x, z0 = torch.stack([s, (5 * s).sin(), (4 * s).cos()], -1), steps(3)
    exact = cdeint(LinearInterpolation(x, s), Columns(), z0, method="rk4")[-1]
    errors = []
    for windows in (8, 16):
        X = LinearInterpolation(logsig_windows(x, depth, 1 / windows, s))
        errors.append((cdeint(X, log_ode_field(Columns(), depth), z0, **TIGHT)[-1] - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_it_is_exact_where_longer_brackets_vanish(depth):
    """Of linear fields with strictly upper triangular matrices: of size depth + 1, and not of size depth + 2."""
    x = steps(7, 3, seed=2).cumsum(0)

    def error(size):
        A = steps(3, size, size).triu(1)
        z0, field = steps(size), lambda t, z: torch.einsum("cij,...j->...ic", A, z)
        exact = z0
        for a, b in pairwise(x):
            exact = torch.linalg.matrix_exp(torch.einsum("c,cij->ij", b - a, A)) @ exact
        window = LinearInterpolation(logsig_windows(x, depth, 6.0))
        return (cdeint(window, log_ode_field(field, depth), z0, **TIGHT)[-1] - exact).abs().max().item()

    assert error(depth + 1) < 1e-9
    assert error(depth + 2) > 1e-3


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint", "adjoint"])
def test_gradients_flow_through_brackets_to_parameters_and_data(gradient):
    x, z0, g = steps(2, 5, 3), steps(2, 3), Columns()

    def loss(gradient):
        X = LinearInterpolation(logsig_windows(data, 2, 3.0))
        z = cdeint(X, log_ode_field(g, 2), z0, gradient=gradient, rtol=1e-7, atol=1e-7)
        return torch.autograd.grad(z[:, -1].square().sum(), (g.linear.weight, data))

    data = (0.3 * x).requires_grad_()
    for found, expected in zip(loss(gradient), loss("backprop"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((4, 2.0), "depth must be 1, 2 or 3, got 4"), ((2, 0.0), "window_length"), ((2, "2"), "window_length")],
)
def test_windows_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        logsig_windows(steps(5, 2), *arguments)


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="depth must be 1, 2 or 3"):
        log_ode_field(Columns(), 0)
    with pytest.raises(ValueError, match=r"func\(t, z\) must return \(…, hidden, channels\)"):
        log_ode_field(lambda t, z: z, 2)(0.0, steps(2, 3))
    X = LinearInterpolation(logsig_windows(steps(5, 3), 2, 2.0))
    with pytest.raises(ValueError, match="a column for each of the 6 channels of X"):
        cdeint(X, log_ode_field(Columns(), 3), steps(3))
