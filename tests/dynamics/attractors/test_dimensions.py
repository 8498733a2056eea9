"""Dimensions of sets and of borders whose dimension is known; basins whose border is known."""

import math

import pytest
import torch

from ndelib import odeint
from ndelib.dynamics import (
    Duffing,
    HenonMap,
    LogisticMap,
    TentMap,
    basins,
    box_dimension,
    omega_limit_sets,
    uncertainty_exponent,
)

CANTOR, KOCH = math.log(2) / math.log(3), math.log(4) / math.log(3)


def numbers(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def cantor(level):
    """Return the middles of the 2ⁿ intervals that are left of [0, 1] after n middle thirds are gone."""
    left = torch.zeros(1, dtype=torch.float64)
    for n in range(1, level + 1):
        left = torch.cat([left, left + 2 / 3**n])
    return left + 0.5 / 3**level


def koch(level):
    """Return the corners of Koch's curve."""
    z = torch.tensor([0, 1], dtype=torch.complex128)
    sixty = complex(0.5, math.sqrt(3) / 2)
    for _ in range(level):
        step = (z[1:] - z[:-1]) / 3
        z = torch.cat(
            [torch.stack([z[:-1], z[:-1] + step, z[:-1] + step * (1 + sixty), z[1:] - step], 1).flatten(), z[-1:]]
        )
    return torch.view_as_real(z)


def test_a_line_has_dimension_one_in_the_plane():
    s = torch.linspace(0, 1, 20_000, dtype=torch.float64)
    line = box_dimension(torch.stack([s, 0.3 * s], dim=-1), [0.1, 0.05, 0.02, 0.01, 0.005])
    assert line.dimension == pytest.approx(1, abs=0.03)
    assert line.counts.tolist() == sorted(line.counts.tolist())


def test_a_square_has_dimension_two():
    square = box_dimension(numbers(100_000, 2), [0.2, 0.1, 0.05, 0.025])
    assert square.dimension == pytest.approx(2, abs=0.02)


def test_a_point_has_dimension_zero():
    assert box_dimension(torch.ones(5, 2), [0.1, 0.2, 0.3]).dimension == 0


def test_cantors_dust_at_its_own_sizes_is_exact():
    points = cantor(11)[:, None]
    dust = box_dimension(points, [3.0**-n for n in range(1, 9)])
    assert dust.counts.tolist() == [2**n for n in range(1, 9)]
    assert dust.dimension == pytest.approx(CANTOR, abs=1e-12)
    assert dust.standard_error < 1e-12


def test_cantors_dust_and_kochs_curve_at_other_sizes_are_within_their_errors():
    sizes = [2.0**-n for n in range(2, 10)]
    for points, expected in ((cantor(13)[:, None], CANTOR), (koch(7), KOCH)):
        measured = box_dimension(points, sizes)
        assert abs(measured.dimension - expected) < 2 * measured.standard_error
        assert measured.standard_error < 0.08


def test_henon_as_published():
    # Russell, Hanson & Ott, Physical Review Letters 45 (1980): 1.261 ± 0.003.
    orbits = omega_limit_sets(HenonMap(), 0.1 * numbers(400, 2), transient=100, keep=500).points
    measured = box_dimension(orbits.flatten(0, 1), [2.0**-n for n in range(2, 9)])
    assert measured.dimension == pytest.approx(1.261, abs=0.06)


def test_an_image_is_counted_in_pixels():
    carpet = torch.ones(1, 1, dtype=torch.bool)
    for _ in range(5):
        carpet = torch.kron(torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), carpet.long()).bool()
    measured = box_dimension(carpet, [1, 3, 9, 27])
    assert measured.dimension == pytest.approx(math.log(8) / math.log(3), abs=1e-12)
    assert measured.counts.tolist() == [8**5, 8**4, 8**3, 8**2]


def test_the_error_of_a_slope_is_the_scatter_between_neighbours():
    # Sizes 1, 2, 4 and counts 8, 4, 1: log₂ 3, 2, 0, so that the slopes between neighbours are 1 and 2.
    image = torch.zeros(4, 4, dtype=torch.bool)
    image[0, :] = image[2, :] = True
    measured = box_dimension(image, [1, 2, 4])
    assert measured.counts.tolist() == [8, 4, 1]
    assert measured.dimension == pytest.approx(1.5)
    assert measured.standard_error == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_a_smooth_border_has_exponent_one():
    def disc(y):
        return (y.norm(dim=-1) < 0.7).long()

    measured = uncertainty_exponent(disc, [0.1, 0.05, 0.02, 0.01, 0.005], starts=2 * numbers(40_000, 2) - 1)
    assert measured.exponent == pytest.approx(1, abs=0.05)
    assert measured.dimension == pytest.approx(1, abs=0.05)
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 500)] * 2)
    measured = uncertainty_exponent(disc(grid).reshape(500, 500), [1, 2, 4, 8, 16])
    assert measured.exponent == pytest.approx(1, abs=0.02)


def test_the_share_of_uncertain_starts_is_that_within_the_distance():
    sizes = [0.1, 0.05, 0.02]
    measured = uncertainty_exponent(lambda y: y[:, 0] > 0.5, sizes, starts=numbers(40_000, 1))
    assert measured.shares.tolist() == pytest.approx([2 * size for size in sizes], rel=0.05)


def test_boxes_lie_on_both_sides_of_zero_and_sizes_come_in_any_order():
    points = torch.linspace(-0.999, 0.999, 1000, dtype=torch.float64)[:, None]
    assert box_dimension(points, [0.5, 0.25, 0.01]).counts.tolist() == [4, 8, 200]
    dust = cantor(8)[:, None]
    ordered, mixed = (box_dimension(dust, sizes) for sizes in ([0.5, 0.25, 0.01], [0.25, 0.01, 0.5]))
    assert (mixed.dimension, mixed.standard_error) == pytest.approx((ordered.dimension, ordered.standard_error))


def steps_until_gone(x):
    """Return after how many steps of x ↦ 3·min(x, 1 − x) a start leaves [0, 1]; Cantor's dust never does."""
    steps, tent = torch.zeros_like(x), TentMap(3.0)
    for _ in range(30):
        steps += (x >= 0) & (x <= 1)
        x = torch.where((x >= 0) & (x <= 1), tent(x), x)
    return steps


def test_a_border_that_is_cantors_dust():
    def parity(y):
        return steps_until_gone(y[:, 0]) % 2

    measured = uncertainty_exponent(parity, [2.0**-n for n in range(4, 16)], starts=numbers(100_000, 1))
    assert measured.exponent == pytest.approx(1 - CANTOR, abs=0.02)
    assert abs(measured.dimension - CANTOR) < 2 * measured.standard_error
    image = steps_until_gone((torch.arange(3**11).double() + 0.5) / 3**11) % 2
    assert uncertainty_exponent(image, [2**n for n in range(3, 14)]).exponent == pytest.approx(1 - CANTOR, abs=0.02)


def test_basins_of_a_double_well():
    well = Duffing(delta=1.0, gamma=0.0)
    side = torch.linspace(-2, 2, 20, dtype=torch.float64)
    starts = torch.cartesian_prod(side, side).reshape(20, 20, 2)

    def flow(y):
        return odeint(well, y, [0.0, 1.0], method="rk4", step_size=0.05)[-1]

    found = basins(flow, starts, transient=40, dimension=2, max_period=1)
    assert found.labels.shape == (20, 20)
    ends = [round(cycle[0, 0].item(), 6) for cycle in found.attractors]
    assert sorted(ends) == [-1, 1]
    assert ((found.labels == 0) == (found.labels == 1).flip(0, 1)).all()  # the symmetry y ↦ −y
    far = odeint(well, starts, [0.0, 60.0], rtol=1e-8)[-1, ..., 0]
    assert (torch.tensor(ends)[found.labels] == far.sign()).all()


def test_points_of_one_cycle_are_one_attractor():
    found = basins(LogisticMap(3.5), numbers(50))
    assert found.labels.unique().tolist() == [0]
    assert [len(cycle) for cycle in found.attractors] == [4]
    cycle = found.attractors[0]
    assert torch.allclose(LogisticMap(3.5)(cycle), cycle.roll(-1))


def test_what_escapes_and_what_does_not_repeat_itself():
    found = basins(LogisticMap(torch.tensor([2.5, 3.9, 4.5]).double()), 0.3)
    assert found.labels.tolist() == [0, -2, -1]
    henon = basins(HenonMap(a=0.2), torch.tensor([[0.1, 0.1], [50.0, 50.0], [0.3, 0.0]]).double())
    assert henon.labels.tolist() == [0, -1, 0]
    assert henon.attractors[0].shape == (1, 2)
    one = basins(HenonMap(a=0.2), torch.tensor([0.1, 0.1]).double())
    assert one.labels.item() == 0


def test_a_continuum_of_fixed_points_is_no_list_of_attractors():
    with pytest.raises(ValueError, match="more than 200 different cycles"):
        basins(lambda x: x, torch.linspace(0, 1, 300), transient=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_dimension(numbers(5), [0.1, 0.2, 0.3]), r"points must be finite, \(n, d\)"),
        (lambda: box_dimension(numbers(5, 2) * math.nan, [0.1, 0.2, 0.3]), "points must be finite"),
        (lambda: box_dimension(torch.zeros(4, 4).bool(), [1, 2, 4]), "without a single point"),
        (lambda: box_dimension(numbers(5, 2), [0.1, 0.2]), "at least three different positive numbers"),
        (lambda: box_dimension(numbers(5, 2), [0.1, 0.2, 0.2]), "at least three different positive numbers"),
        (lambda: box_dimension(numbers(5, 2), [0.1, 0.2, -0.2]), "at least three different positive numbers"),
        (lambda: box_dimension(torch.ones(4, 4).bool(), [1, 2, 2.5]), "whole numbers up to 4"),
        (lambda: uncertainty_exponent(torch.ones(8, 8), [1, 2, 8]), "whole numbers up to 7"),
        (lambda: uncertainty_exponent(torch.ones(8, 8), [1, 2, 4]), r"no label changes at the sizes \[1, 2, 4\]"),
        (lambda: uncertainty_exponent(lambda y: y[:, 0] > 0, [1, 2, 4]), "starts must be given"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
