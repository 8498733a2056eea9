"""Fixed points are found where they are, and nowhere else; their kind is what the flow does."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndelib import odeint
from ndelib.dynamics import fixed_points
from ndelib.dynamics.zeros import are_zeros, newton


def planar(velocity):
    """Return the field on batches whose two velocities are ``velocity(x, y)``."""
    return lambda t, y: torch.stack(velocity(*y.unbind(-1)), dim=-1)


def locations(points):
    return [p.location.item() for p in points]


def test_cubic_of_chapter_one():
    points = fixed_points(lambda t, x: x * (1 - x) * (x - 2), -1, 3)
    assert locations(points) == pytest.approx([0, 1, 2], abs=1e-12)
    assert [p.kind for p in points] == ["stable", "unstable", "stable"]
    assert [p.jacobian.item() for p in points] == pytest.approx([-2, 1, -2], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=6, unique=True))
def test_polynomials_give_back_their_roots(tenths):
    roots = [value / 10 for value in sorted(tenths)]

    def f(t, x):
        return -math.prod((x - root for root in roots), start=torch.ones_like(x))

    points = fixed_points(f, -5, 5)
    assert locations(points) == pytest.approx(roots, abs=1e-7)
    # The last root is stable, since f is negative beyond it, and stability alternates.
    assert [p.stable for p in reversed(points)] == [i % 2 == 0 for i in range(len(roots))]


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3))
def test_kind_on_the_line_is_what_the_flow_does(amplitude):
    def f(t, x):
        return torch.sin(3 * x) + amplitude * x / 10

    for point in fixed_points(f, -2, 2):
        start = point.location + torch.tensor([-1e-3, 1e-3], dtype=torch.float64)
        end = odeint(f, start, [0.0, 0.5], step_size=0.05)[-1]
        approaches = (end - point.location).abs() < (start - point.location).abs()
        assert approaches.all() == point.stable


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (lambda t, x: -(x**3), "stable"),
        (lambda t, x: x**3, "unstable"),
        (lambda t, x: x**2, "half-stable"),
        (lambda t, x: -(x**2), "half-stable"),
    ],
)
def test_zero_slope_is_decided_by_the_sign_of_f(f, kind):
    (point,) = fixed_points(f, -1.1, 1)  # the root is not on the grid of starts
    assert point.location.item() == pytest.approx(0, abs=1e-4)
    assert point.kind == kind


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: 1 / x,
        lambda t, x: torch.sign(x - 0.01),
        lambda t, x: 1 + x**2,
        lambda t, x: 1e-12 + x**2,
        lambda t, x: torch.ones_like(x),
        lambda t, x: -torch.ones_like(x),
    ],
)
def test_poles_jumps_near_misses_and_constants_are_no_fixed_points(f):
    assert fixed_points(f, -1, 1.1) == []


def test_a_pole_on_the_grid_is_no_fixed_point():
    assert fixed_points(lambda t, x: 1 / (x - 0.25), -1, 1, resolution=9) == []
    assert fixed_points(lambda t, x: 1 / (x - 0.3), -1, 1) == []  # on the grid up to rounding


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (lambda t, x: 1 + x**8, -100, 100),
        (lambda t, x: torch.exp(-x), -50, 50),
        (planar(lambda x, y: (1 + x**8, y)), (-100, -100), (100, 100)),
        (planar(lambda x, y: (torch.exp(-x), y)), (0, -1), (50, 1)),
        (planar(lambda x, y: (torch.exp(-x) + 1e6 * y, y)), (0, -1), (30, 1.1)),
        # The same decay, in axes that are turned: the Jacobian's rows are no longer small.
        (planar(lambda x, y: (0.6 * y - 0.8 * torch.exp(-x), 0.8 * y + 0.6 * torch.exp(-x))), (0, -1), (30, 1.1)),
        (planar(lambda x, y: (-x, 1e-20 * (1 + y**2))), (-1, -1), (1, 1.1)),
    ],
)
def test_small_is_not_zero_however_large_the_field_is_elsewhere(f, low, high):
    assert fixed_points(f, low, high) == []


def test_fixed_points_far_from_the_origin_are_found():
    first = math.ceil((1e7 - 10) / math.pi)
    expected = [k * math.pi for k in range(first, first + 7) if k * math.pi < 1e7 + 10]
    found = fixed_points(lambda t, x: torch.sin(x), 1e7 - 10, 1e7 + 10)
    assert locations(found) == pytest.approx(expected, rel=1e-15)
    assert [p.stable for p in found] == [k % 2 == 1 for k in range(first, first + len(expected))]
    (point,) = fixed_points(lambda t, x: torch.sin(x - 1e7), 1e7 - 1, 1e7 + 1.1)
    assert point.location.item() == 1e7


@pytest.mark.parametrize(("size", "steepness"), [(1.0, 1e6), (1e-300, 1.0), (1e300, 1e3)])
def test_a_change_of_sign_is_followed_to_the_last_digit(size, steepness):
    (point,) = fixed_points(lambda t, x: size * torch.tanh(steepness * (x - 0.1234)), -1, 1.1)
    assert point.location.item() == pytest.approx(0.1234, rel=1e-15)
    assert point.kind == "unstable"


def test_a_root_with_infinite_slope_is_found_on_and_off_the_grid():
    for high in (1, 1.1):
        (point,) = fixed_points(lambda t, x: -(x - 0.3).sign() * (x - 0.3).abs().sqrt(), -1, high)
        assert (point.location.item(), point.kind) == (pytest.approx(0.3, rel=1e-15), "stable")


def test_triple_roots_drowned_in_rounding_are_found():
    (point,) = fixed_points(lambda t, x: x**3 - 0.9 * x**2 + 0.27 * x - 0.027, -1, 1.1)  # (x − 0.3)³
    assert point.location.item() == pytest.approx(0.3, abs=1e-5)  # ∛(2⁻⁵³) = 5e-6 is all that rounding leaves


def test_zeros_on_the_grid_and_at_the_ends():
    points = fixed_points(lambda t, x: x * (1 - x) * (x - 0.5), 0, 1, resolution=5)
    assert locations(points) == [0.0, 0.5, 1.0]
    assert [p.kind for p in points] == ["stable", "unstable", "stable"]


def test_where_f_is_defined_on_one_side_only_that_side_decides():
    points = fixed_points(lambda t, x: -x * torch.sqrt(x), -1, 1)
    assert [(p.location.item(), p.kind) for p in points] == [(pytest.approx(0, abs=1e-8), "stable")]


@pytest.mark.parametrize(
    ("f", "middle"),
    [
        (lambda t, x: torch.relu(x), -0.5),
        (lambda t, x: -torch.relu(x), -0.5),
        (lambda t, x: torch.relu(-x - 0.5) - torch.relu(x), -0.25),
        (lambda t, x: torch.zeros_like(x), 0.0),
    ],
)
def test_a_flat_stretch_is_one_undecided_point_in_its_middle(f, middle):
    (point,) = fixed_points(f, -1, 1)
    assert point.location.item() == pytest.approx(middle, abs=2e-3)  # the spacing of the grid
    assert point.kind == "undecided"


@pytest.mark.parametrize(
    "velocity",
    [
        lambda x, y: (0 * x, 0 * y),
        lambda x, y: (torch.relu(x), torch.relu(y)),
        lambda x, y: (-x, 0 * y),
        lambda x, y: (0.3 * (0.3 * x + 0.7 * y), 0.7 * (0.3 * x + 0.7 * y)),
    ],
)
def test_a_flat_region_or_line_is_one_undecided_point(velocity):
    f = planar(velocity)
    (point,) = fixed_points(f, (-1, -1), (1, 1.1))
    assert point.kind == "undecided"
    assert f(0, point.location).abs().max() < 1e-15


@pytest.mark.parametrize("power", [2, 3, 9])
def test_a_multiple_zero_in_the_plane_is_one_point(power):
    c, s = 0.8, 0.6  # along the axes, and along axes that are turned

    def turned(x, y):
        u, v = c * x + s * y - 0.1, c * y - s * x
        return -c * u - s * v**power, -s * u + c * v**power

    (point,) = fixed_points(planar(lambda x, y: (-x, y**power)), (-1, -1), (1, 1.1))
    assert point.location.abs().max() < 1e-12
    assert point.kind == "undecided"
    (point,) = fixed_points(planar(turned), (-1, -1), (1, 1.1))
    assert torch.allclose(point.location, torch.tensor([0.08, 0.06]).double(), atol=2e-16 ** (1 / power))
    assert point.kind == "undecided"


def test_a_place_is_judged_by_the_field_around_it():
    def judge(velocity, places, high):
        low, high = torch.tensor([0.0, -1.0]).double(), torch.tensor(high).double()
        field = planar(velocity)
        return are_zeros(lambda y: field(0, y), places, low, high, 2, torch.finfo(torch.float64).eps).tolist()

    # e⁻²⁵ is small beside the other direction's slopes and the field at x = 0, but it only goes on falling.
    def decay(x, y):
        return 0.6 * y - 0.8 * torch.exp(-x), 0.8 * y + 0.6 * torch.exp(-x)

    assert judge(decay, torch.tensor([[25.0, 0.0]]).double(), [30.0, 1.0]) == [False]

    # A line of zeros; at most of these places f is not 0 but rounding.
    def line(x, y):
        return 0.3 * (0.3 * x + 0.7 * y), 0.7 * (0.3 * x + 0.7 * y)

    places = torch.linspace(0.1, 0.9, 9).double()[:, None] * torch.tensor([0.7, -0.3]).double()
    assert torch.stack(line(*places.unbind(1))).any()
    assert judge(line, places, [1.0, 1.0]) == [True] * 9


def test_newton_goes_to_the_end_of_a_slow_sequence_at_once():
    start = torch.tensor([[0.7]], dtype=torch.float64)
    end = newton(lambda y: y**9, start, torch.ones(1, dtype=torch.float64), iterations=10)
    assert end.abs().item() < 1e-14  # ten plain steps reach 0.7·(8/9)¹⁰ = 0.2


def test_a_jacobian_that_is_only_rounding_names_nothing():
    # (z − 0.3)² multiplied out, z = x + iy: the Jacobian at the zero vanishes, next to it is a spiral or a star.
    f = planar(lambda x, y: (x**2 - y**2 - 0.6 * x + 0.09, 2 * x * y - 0.6 * y))
    (point,) = fixed_points(f, (-1, -1), (1, 1.1))
    assert point.jacobian.any()
    assert point.kind == "undecided"


def test_a_box_of_one_number_is_the_line():
    def f(t, y):
        return y**2 * (1 - y)

    on_the_line, in_a_box = fixed_points(f, -0.5, 1.3), fixed_points(f, [-0.5], [1.3])
    assert [p.kind for p in on_the_line] == ["half-stable", "stable"]
    assert [(p.location, p.kind) for p in in_a_box] == [(p.location, p.kind) for p in on_the_line]
    shapes = []
    fixed_points(lambda t, y: shapes.append(y.shape) or y, [0.0], [1.0])
    assert all(shape[1:] == (1,) for shape in shapes)


def test_networks_in_single_precision_are_searched_in_it():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

    def f(t, y):
        return network(y) - 0.8 * y

    found = fixed_points(f, (-3, -3), (3, 3.1))
    double = network.double()  # in place: the same weights with more digits
    expected = fixed_points(lambda t, y: double(y) - 0.8 * y, (-3, -3), (3, 3.1))
    assert len(found) == len(expected) >= 1
    for p, q in zip(found, expected, strict=True):
        assert torch.allclose(p.location, q.location, atol=1e-4)
        assert p.kind == q.kind


def test_an_error_of_the_field_is_shown_as_it_is():
    with pytest.raises(RuntimeError, match="size of tensor"):
        fixed_points(lambda t, y: y + torch.ones(7, dtype=torch.float64), (0, 0), (1, 1))


@pytest.mark.parametrize(("f", "returned"), [(lambda t, y: y[:, 0], r"\(2,\)"), (lambda t, y: 1.0, "a float")])
def test_a_field_of_another_shape_is_refused(f, returned):
    with pytest.raises(ValueError, match=rf"shape of y, \(2, 2\); it returned {returned}"):
        fixed_points(f, (0, 0), (1, 1))


def test_damped_pendulum():
    def f(t, y):
        q, v = y.unbind(-1)
        return torch.stack([v, -torch.sin(q) - 0.2 * v], dim=-1)

    points = fixed_points(f, (-4, -2), (7, 2))
    assert [p.location[0].item() / math.pi for p in points] == pytest.approx([-1, 0, 1, 2], abs=1e-10)
    assert [p.kind for p in points] == ["saddle", "stable spiral", "saddle", "stable spiral"]
    expected = torch.tensor([-0.1 - math.sqrt(0.99) * 1j, -0.1 + math.sqrt(0.99) * 1j])
    assert torch.allclose(torch.view_as_real(points[1].eigenvalues).abs(), torch.view_as_real(expected).abs().double())


def test_three_dimensions_and_a_frozen_time():
    def lorenz(t, y):
        x, y, z = y.unbind(-1)
        return torch.stack([10 * (y - x), x * (t - z) - y, x * y - 8 / 3 * z], dim=-1)

    points = fixed_points(lorenz, (-20, -20, -5), (20, 20, 40), t=28.0)
    c = math.sqrt(8 / 3 * 27)
    expected = torch.tensor([[-c, -c, 27.0], [0.0, 0.0, 0.0], [c, c, 27.0]], dtype=torch.float64)
    assert torch.allclose(torch.stack([p.location for p in points]), expected, atol=1e-8)
    assert [p.kind for p in points] == ["saddle", "saddle", "saddle"]


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (2, 1), ((0, 0), (1, 0)), ((0, 0), (1, 1, 1)), (0, (1, 1)), ((), ()), (0, math.nan)]
)
def test_an_empty_region_is_refused(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        fixed_points(lambda t, y: y, low, high)


@pytest.mark.parametrize(("low", "high"), [(-math.inf, math.inf), (0, math.inf), ((0, -math.inf), (1, 1))])
def test_an_infinite_region_is_refused(low, high):
    with pytest.raises(ValueError, match="low and high must be finite"):
        fixed_points(lambda t, y: y, low, high)


@pytest.mark.parametrize("resolution", [-1, 0, 1])
@pytest.mark.parametrize(("low", "high"), [(-1, 1), ((-1, -1), (1, 1))])
def test_a_grid_needs_two_points(low, high, resolution):
    with pytest.raises(ValueError, match=f"resolution must be at least 2 .* got {resolution}"):
        fixed_points(lambda t, y: y, low, high, resolution=resolution)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_slopes_are_found_where_gradients_are_switched_off(off):
    with off():
        points = fixed_points(lambda t, x: torch.sin(x), -1, 1.1)
    assert [p.jacobian.item() for p in points] == [pytest.approx(1.0)]


@pytest.mark.parametrize("unit", [1.0, 1e6, 1e-6])
def test_the_kind_of_a_point_does_not_depend_on_the_units_of_the_state(unit):
    """Lotka and Volterra's model, with the predators counted in another unit."""

    def f(t, y):
        prey, predators = y.unbind(-1)
        return torch.stack([prey * (1 - predators / unit), predators * (prey - 1)], dim=-1)

    points = fixed_points(f, (-1.0, -unit), (2.0, 2 * unit))
    assert [p.kind for p in points] == ["saddle", "center"]
