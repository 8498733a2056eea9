"""Steps of implicit methods: their order, what they do to stiff problems, their error estimate and dense output."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ndelib.solvers.field import CheckedField
from ndelib.solvers.steps import dense
from ndelib.solvers.steps.implicit import METHODS
from ndelib.solvers.steps.step import Statistics, Step, StepRejected, VectorField
from tests.conftest import full

TIGHT = {"rtol": 1e-13, "atol": 1e-13}  # so that what Newton's method leaves does not show
vector = partial(torch.tensor, dtype=torch.float64)


def march(
    name: str, f: VectorField, y: Tensor, times: Sequence[float], statistics: Statistics | None = None, **options
) -> list[Step]:
    """Make one step from each of ``times`` to the next."""
    statistics = statistics or Statistics()
    step = METHODS[name].start(CheckedField(f, y, statistics), statistics, **options)
    steps: list[Step] = []
    f0 = None
    for t, t1 in pairwise(times):
        steps.append(step(t, y, t1, f0))
        y, f0 = steps[-1].y1, steps[-1].f1
    return steps


def adapt(
    name: str, f: VectorField, y: Tensor, end: float, tolerance: float, look: Callable[[CheckedField, Step], None]
) -> tuple[Tensor, Statistics]:
    """Integrate from 0 to ``end`` with the simplest step control, and show every accepted step to ``look``."""
    method, statistics = METHODS[name], Statistics()
    field = CheckedField(f, y, statistics)
    make_step = method.start(field, statistics, rtol=tolerance, atol=tolerance)
    t, f0, h = 0.0, None, 1e-3 * end
    while t < end:
        try:
            step = make_step(t, y, min(t + h, end), f0)
        except StepRejected as refusal:
            h *= refusal.factor
            continue
        scale = tolerance * (1 + torch.maximum(y.abs(), step.y1.abs()))
        error = (step.error / scale).square().mean().sqrt().item()
        h = step.h * min(5.0, max(0.2, 0.9 * (error + 1e-10) ** (-1 / (method.error_order + 1))))
        if error <= 1:
            statistics.steps += 1
            look(field, step)
            t, y, f0 = step.t1, step.y1, step.f1
    return y, statistics


def rotation(t: Tensor, y: Tensor) -> Tensor:
    """A rotation at the rate 2t: its eigenvectors do not move, its eigenvalues do."""
    return 2 * t * torch.stack([-y[..., 1], y[..., 0]], -1)


def on_circle(t: float) -> Tensor:
    return vector([math.cos(t**2 + 0.3), math.sin(t**2 + 0.3)])


def forced(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) * y**2


def forced_solution(t: float) -> Tensor:
    return vector(1 / (2 - math.sin(t)))


def prothero_robinson(stiffness: float) -> VectorField:
    """y' = −λ (y − cos t) − sin t, whose solution cos t does not know of λ."""
    return lambda t, y: -stiffness * (y - torch.cos(t)) - torch.sin(t)


SMOOTH = {"rotation": (rotation, on_circle), "forced scalar": (forced, forced_solution)}


def slope_of_error(name: str, f: VectorField, solution: Callable[[float], Tensor], end: float, steps: int) -> float:
    """The power of h with which the error at ``end`` falls from ``steps`` to twice as many."""
    errors = []
    for n in (steps, 2 * steps):
        grid = [end * i / n for i in range(n + 1)]
        errors.append((march(name, f, solution(0.0), grid, **TIGHT)[-1].y1 - solution(end)).abs().max().item())
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("problem", SMOOTH)
@pytest.mark.parametrize("name", METHODS)
def test_the_error_falls_with_the_order_of_the_method(name: str, problem: str):
    f, solution = SMOOTH[problem]
    steps = 40 if METHODS[name].order > 3 else full(160, 80)
    assert slope_of_error(name, f, solution, 2.0, steps) == pytest.approx(METHODS[name].order, abs=0.15)


@pytest.mark.parametrize("name", METHODS)
def test_in_stiff_problems_only_the_order_of_the_stages_is_seen(name: str):
    # Prothero and Robinson (1974): with h|λ| large the error of a stiffly accurate method is C h^q / |λ|, where q is
    # the order of its stages: 1 for backward Euler, 2 for the others (Hairer & Wanner II, section IV.15).
    slope = slope_of_error(name, prothero_robinson(1e6), lambda t: vector(math.cos(t)), 2.0, 20)
    assert slope == pytest.approx(1 if name == "backward_euler" else 2, abs=0.3)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_backward_in_time_has_the_same_order(name: str):
    f, solution = SMOOTH["rotation"]
    errors = []
    for n in (40, 80):
        grid = [2.0 - i / n for i in range(n + 1)]
        errors.append((march(name, f, solution(2.0), grid, **TIGHT)[-1].y1 - solution(1.0)).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(METHODS[name].order, abs=0.2)


@pytest.mark.parametrize("name", METHODS)
def test_a_transient_a_million_times_faster_than_the_step_dies_at_once(name: str):
    steps = march(name, prothero_robinson(1e7), vector(5.0), [0.0, 0.1, 0.2])
    distances = [abs(step.y1.item() - math.cos(step.t1)) for step in steps]
    if name == "trapezoid":  # A-stable, not L-stable: what is fast stays, and alternates
        assert distances == pytest.approx([4.0, 4.0], rel=1e-2)
    else:
        assert max(distances) < 1e-2


@pytest.mark.parametrize("name", METHODS)
def test_the_last_slope_is_that_of_the_new_state_without_a_call_of_the_field(name: str):
    # −λ times the error of y1 would be 1e6 times larger than the error of y1 itself.
    (step,) = march(name, prothero_robinson(1e6), vector(1.0), [0.0, 0.1], rtol=1e-6, atol=1e-6)
    assert step.f1.item() == pytest.approx(-math.sin(0.1), abs=0.06)
    assert step.f1 is step.k[-1]


@pytest.mark.parametrize("name", METHODS)
def test_the_error_estimate_is_that_of_the_step_or_larger(name: str):
    ratios = []
    for h in (0.04, 0.02):
        step = march(name, rotation, on_circle(1.0), [1.0, 1.0 + h], **TIGHT)[0]
        error = (step.y1 - on_circle(1.0 + h)).norm()
        ratios.append((step.error.norm() / error).item())
    method = METHODS[name]
    if method.error_order == method.order:  # an estimate of the error of the method itself
        assert ratios[-1] == pytest.approx(1.0, abs=0.15)
    else:  # of a less accurate one: larger, by a factor that grows as h falls
        assert ratios[1] / ratios[0] == pytest.approx(2.0, rel=0.25)
        assert ratios[0] > 1


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("kvaerno3", 1e-4), ("kvaerno3", 1e-7)]
    + [(name, tolerance) for name in ("esdirk54",) for tolerance in (1e-4, 1e-7, 1e-10)],
)
def test_solution_and_dense_output_stay_near_the_tolerance(name: str, tolerance: float):
    worst_within, worst_at_steps = 0.0, 0.0

    def look(field: CheckedField, step: Step) -> None:
        nonlocal worst_within, worst_at_steps
        curve = dense.interpolate(METHODS[name], field, step)
        worst_at_steps = max(worst_at_steps, (step.y1 - on_circle(step.t1)).abs().max().item())
        for theta in (0.25, 0.5, 0.75):
            within = (curve(theta) - on_circle(step.t + theta * step.h)).abs().max().item()
            worst_within = max(worst_within, within)

    adapt(name, rotation, on_circle(0.0), 1.0, tolerance, look)
    assert worst_at_steps < 50 * tolerance
    assert worst_within < 100 * tolerance


@pytest.mark.parametrize("name", ["esdirk54"])
def test_dense_output_of_order_four_meets_the_ends_of_a_step(name: str):
    errors = []
    for h in (0.2, 0.1):
        (step,) = march(name, rotation, on_circle(1.0), [1.0, 1.0 + h], **TIGHT)
        curve = METHODS[name].interpolate(None, step)
        assert torch.equal(curve(0.0), step.y)
        assert torch.allclose(curve(1.0), step.y1, rtol=0, atol=1e-13)
        errors.append((curve(0.4) - on_circle(1.0 + 0.4 * h)).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_solved_as_its_systems_are_one_by_one(name: str):
    rate = vector([1.0, 30.0, 300.0])

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -rate.unsqueeze(-1) * (y**3 - torch.cos(t)) if y.ndim > 1 else -own * (y**3 - torch.cos(t))

    y0 = torch.linspace(0.7, 1.2, 6, dtype=torch.float64).reshape(3, 2)
    together = march(name, f, y0, [0.0, 0.005, 0.01], **TIGHT)[-1]
    for i, own in enumerate(rate.tolist()):  # noqa: B007  f reads it
        alone = march(name, f, y0[i], [0.0, 0.005, 0.01], **TIGHT)[-1]
        assert torch.allclose(together.y1[i], alone.y1, rtol=1e-11)
        # The filter of the estimate is a matrix that the batch may have renewed at another step.
        assert torch.allclose(together.error[i], alone.error, rtol=0.1, atol=1e-13)


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_converges_to_single_precision(name: str):
    y = march(name, forced, torch.tensor(0.5), [0.0, 0.05, 0.1], rtol=1e-6, atol=1e-6)[-1].y1
    assert y.dtype == torch.float32
    exact = march(name, forced, vector(0.5), [0.0, 0.05, 0.1], **TIGHT)[-1].y1
    assert y.item() == pytest.approx(exact.item(), rel=3e-7)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_ends_on_the_very_time_it_is_asked_for(name: str):
    times = []

    def f(t: Tensor, y: Tensor) -> Tensor:
        times.append(t.item())
        return -y

    march(name, f, vector([1.0]), [0.1, 0.3])  # 0.1 + (0.3 − 0.1) is not 0.3
    assert 0.3 in times
    assert max(times) == 0.3


@pytest.mark.parametrize("name", METHODS)
def test_complex_states_are_refused_with_a_way_out(name: str):
    with pytest.raises(TypeError, match="view_as_real"):
        march(name, lambda t, y: 1j * y, torch.ones(2, dtype=torch.complex128), [0.0, 0.1])
