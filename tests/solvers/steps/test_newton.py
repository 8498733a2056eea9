"""Newton's method of the implicit solvers: its Jacobians, what it uses again, what it refuses, and its gradients."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ndelib import odeint, solve_ivp
from ndelib.solvers.field import CheckedField
from ndelib.solvers.steps.implicit import METHODS
from ndelib.solvers.steps.jacobian import jacobian_by_jvp
from ndelib.solvers.steps.newton import SimplifiedNewton
from ndelib.solvers.steps.step import Statistics, Step, StepRejected, VectorField

TIGHT = {"rtol": 1e-13, "atol": 1e-13}
vector = partial(torch.tensor, dtype=torch.float64)


def march(
    name: str, f: VectorField, y: Tensor, times: list[float], statistics: Statistics | None = None, **options
) -> Step:
    """Make one step from each of ``times`` to the next; return the last."""
    statistics = statistics or Statistics()
    options = {"rtol": 1e-6, "atol": 1e-8} | options
    step = METHODS[name].start(CheckedField(f, y, statistics), statistics, **options)
    f0 = None
    for t, t1 in pairwise(times):
        made = step(t, y, t1, f0)
        y, f0 = made.y1, made.f1
    return made


def van_der_pol(mu: Tensor, t: Tensor, y: Tensor) -> Tensor:
    position, speed = y.unbind(-1)
    return torch.stack([speed, mu * (1 - position**2) * speed - position * torch.cos(t)], -1)


def final_state(name: str, mu: Tensor, y0: Tensor) -> Tensor:
    return march(name, partial(van_der_pol, mu), y0, [0.0, 0.1, 0.2], **TIGHT).y1


MU, START = vector(5.0), vector([1.5, -0.3])


@pytest.mark.parametrize("shape", [(2,), (4, 2), (3, 4, 2)])
def test_the_jacobian_of_a_batch_is_that_of_each_of_its_systems(shape: tuple[int, ...]):
    y = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mu = torch.arange(1.0, y[..., 0].numel() + 1, dtype=torch.float64).reshape(shape[:-1])  # one parameter a system
    position, speed = y.unbind(-1)
    expected = torch.stack(
        [
            torch.stack([torch.zeros_like(mu), torch.ones_like(mu)], -1),
            torch.stack([-2 * mu * position * speed - math.cos(0.7), mu * (1 - position**2)], -1),
        ],
        -2,
    )
    assert torch.allclose(jacobian_by_jvp(partial(van_der_pol, mu, vector(0.7)), y), expected, rtol=1e-14)


def test_the_jacobian_of_a_scalar_is_a_matrix_of_one_number():
    assert jacobian_by_jvp(torch.sin, vector(0.5)) == vector([[math.cos(0.5)]])


@pytest.mark.parametrize("name", METHODS)
def test_a_jacobian_of_the_user_is_used_and_saves_no_accuracy(name: str):
    def jacobian(t: Tensor, y: Tensor) -> Tensor:
        calls.append(t)
        return torch.func.jacrev(partial(van_der_pol, MU, t))(y)

    calls: list[Tensor] = []
    by_user, by_jvp = Statistics(), Statistics()
    y = march(name, partial(van_der_pol, MU), START, [0.0, 0.1, 0.2], by_user, jacobian=jacobian, **TIGHT).y1
    assert torch.allclose(y, final_state(name, MU, START), rtol=1e-11)
    march(name, partial(van_der_pol, MU), START, [0.0, 0.1, 0.2], by_jvp, **TIGHT)
    assert len(calls) == by_user.jacobians == by_jvp.jacobians > 0
    assert by_user.nfe == by_jvp.nfe  # the derivatives of f are not counted as evaluations of f


def test_a_jacobian_of_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"jacobian\(t, y\) must return a tensor of shape \(2, 2\)"):
        march("kvaerno3", lambda t, y: -y, START, [0.0, 0.1], jacobian=lambda t, y: -torch.ones(2))


@pytest.mark.parametrize("options", [{"step_size": 0.1}, {}, {"jacobian": lambda t, y: -torch.eye(2).double()}])
def test_a_result_that_is_kept_and_filled_again_is_named(options: dict):
    kept = torch.zeros(2, dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        kept.copy_(-y)
        return kept

    with pytest.raises(ValueError, match="has written into the tensor that it returned before"):
        odeint(f, START, [0.0, 1.0], method="kvaerno3", **options)


def test_another_error_of_f_is_not_taken_for_that():
    def f(t: Tensor, y: Tensor) -> Tensor:
        if torch._C._functorch.is_functorch_wrapped_tensor(y):
            raise RuntimeError("no derivatives of this")
        return -y

    with pytest.raises(RuntimeError, match="no derivatives of this"):
        odeint(f, START, [0.0, 1.0], method="kvaerno3", step_size=0.1)


def test_systems_that_depend_on_each_other_are_not_taken_for_a_batch():
    laplace = vector([[-2.0, 1.0, 0.0], [1.0, -2.0, 1.0], [0.0, 1.0, -2.0]])
    grid = torch.ones(3, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="couples them"):
        march("kvaerno3", lambda t, y: laplace @ y + y @ laplace, grid, [0.0, 0.1])


@pytest.mark.parametrize("name", METHODS)
def test_a_linear_system_needs_one_jacobian_and_one_decomposition_however_many_steps(name: str):
    statistics = Statistics()
    f = lambda t, y: y @ vector([[-1.0, 2.0], [0.0, -50.0]])  # noqa: E731
    march(name, f, START, [0.1 * i for i in range(51)], statistics)
    assert (statistics.jacobians, statistics.factorizations) == (1, 1)


def test_steps_that_differ_little_share_a_decomposition_and_others_do_not():
    for growth, expected in ((1.001, 1), (1.5, 20)):
        statistics, times = Statistics(), [0.0]
        for i in range(20):
            times.append(times[-1] + 1e-3 * growth**i)
        march("esdirk54", lambda t, y: -30 * y, START, times, statistics)
        assert (statistics.jacobians, statistics.factorizations) == (1, expected)


@pytest.mark.parametrize("stiffness", [1e-6, 1e8])
def test_the_matrix_of_a_step_nine_percent_shorter_leaves_a_twentieth_of_the_error(stiffness: float):
    y, statistics = vector([1.0]), Statistics()
    newton = SimplifiedNewton(lambda t, y: -stiffness * y, statistics, 1e-6, 1e-6, None, 4)
    newton.prepare(0.0, y, 1.0)
    newton.prepare(0.0, y, 1.09)
    assert statistics.factorizations == 1
    z = -1.09 * stiffness / (1 + 1.09 * stiffness)  # solves z = −1.09 λ (1 + z)
    first = newton.increment(0.0, y, vector([0.0])).item()
    # Of slow and of stiff components alike: |1 − 1.09| / (1 + 1.09).
    assert abs(first / z - 1) == pytest.approx(0.09 / 2.09, rel=1e-4)


def test_a_jacobian_that_no_longer_fits_is_renewed_and_one_that_does_is_kept():
    statistics = Statistics()
    # The eigenvalue −y changes a hundredfold while the solution y = 100/(1 + 100 t) decays.
    y = march("esdirk54", lambda t, y: -(y**2), vector([100.0]), [(i / 100) ** 2 for i in range(101)], statistics).y1
    assert y.item() == pytest.approx(100 / 101, rel=1e-6)
    assert 3 <= statistics.jacobians <= 30


@pytest.mark.parametrize("method", ["esdirk54", "kvaerno3"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_rounding_is_not_taken_for_an_old_jacobian(method: str, tolerance: float):
    """Of a linear system one Jacobian is exact for ever. What its iterations leave is rounding, multiplied by hγJ."""
    A, force = torch.tensor([[-1e6, 1e3], [0.0, -1.0]]), torch.ones(2)
    y0, options = torch.tensor([1.0, 2.0]), {"method": method, "rtol": tolerance, "atol": tolerance}
    solution = solve_ivp(lambda t, y: A @ y + torch.sin(t) * force, (0.0, 10.0), y0, **options)
    assert solution.steps > 10
    assert solution.jacobians == 1


@pytest.mark.parametrize(("off", "expected"), [(0.5, 2), (0.0, 1)])
def test_a_jacobian_that_served_short_steps_is_not_trusted_in_long_ones(off: float, expected: int):
    """If it is off by E, an iteration leaves hγ|E| of the error: little in short steps, whatever E is."""
    statistics = Statistics()
    rough = vector([[-3.0 * (1 - off)]])
    newton = SimplifiedNewton(lambda t, y: -3 * y, statistics, 1e-12, 1e-12, lambda t, y: rough, 4)
    for h_gamma in (1e-3, 2e-3):
        y = vector([1.0])
        newton.prepare(0.0, y, h_gamma)
        newton.solve(0.0, y, vector([0.0]))
    assert statistics.jacobians == 1
    newton.prepare(0.0, vector([1.0]), 0.2)
    assert statistics.jacobians == expected


def test_newtons_method_takes_few_iterations():
    statistics = Statistics()
    march("esdirk54", partial(van_der_pol, MU), START, [0.02 * i for i in range(51)], statistics)
    assert statistics.nfe <= 1 + 50 * 6 * 2.5  # six implicit stages


@pytest.mark.parametrize("name", METHODS)
def test_an_equation_without_a_solution_rejects_the_step(name: str):
    # y = 1 + hγ (1 + y²) has no real solution for hγ > (√2 − 1)/2.
    with pytest.raises(StepRejected, match=r"Newton.s method"):
        march(name, lambda t, y: 1 + y**2, vector([1.0]), [0.0, 3.0])


def test_a_rejected_step_leaves_nothing_behind_that_hurts_the_next():
    statistics = Statistics()
    field = CheckedField(lambda t, y: torch.log(y) - y, vector([0.05]), statistics)
    step = METHODS["esdirk54"].start(field, statistics, **TIGHT)
    with pytest.raises(StepRejected):
        step(0.0, vector([0.05]), 50.0, None)  # a stage is negative: its logarithm is NaN, as its Jacobian is
    again = step(0.0, vector([0.05]), 1e-3, None)
    assert torch.equal(
        again.y1, march("esdirk54", lambda t, y: torch.log(y) - y, vector([0.05]), [0.0, 1e-3], **TIGHT).y1
    )


@pytest.mark.parametrize("name", METHODS)
def test_first_and_second_derivatives_are_those_of_finite_differences(name: str):
    mu, y0 = MU.clone().requires_grad_(), START.clone().requires_grad_()
    assert torch.autograd.gradcheck(partial(final_state, name), (mu, y0))
    assert torch.autograd.gradgradcheck(partial(final_state, name), (mu, y0))


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_that_of_the_linear_solves_that_a_step_amounts_to(name: str):
    def solve(A: Tensor) -> Tensor:
        """For y' = A y a step is y1 = R(hA) y, with linear solves that PyTorch can differentiate."""
        k = [A @ START]
        for row in table.a[1:]:
            known = START + sum(0.2 * w * slope for w, slope in zip(row[:-1], k, strict=True))
            k.append(torch.linalg.solve(torch.eye(2).double() - 0.2 * row[-1] * A, A @ known))
        return START + sum(0.2 * w * slope for w, slope in zip(table.b, k, strict=True))

    table = METHODS[name].start.args[0]
    A = vector([[-1.0, 3.0], [0.5, -400.0]])
    expected = torch.autograd.functional.jacobian(solve, A)
    by_method = torch.autograd.functional.jacobian(
        lambda A: march(name, lambda t, y: A @ y, START, [0.0, 0.2], **TIGHT).y1, A
    )
    assert torch.allclose(by_method, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_asking_for_a_gradient_changes_no_value_and_not_asking_costs_none(name: str):
    counts, values = [], []
    for wanted in (False, True):
        statistics, mu = Statistics(), MU.clone().requires_grad_(wanted)
        step = march(name, partial(van_der_pol, mu), START, [0.0, 0.1, 0.2], statistics, **TIGHT)
        counts.append(statistics.jacobians)
        values.append(step.y1.detach())
        assert step.y1.requires_grad == wanted
        assert not step.error.requires_grad
    assert torch.equal(*values)
    assert counts[1] == counts[0] + 2 * (len(METHODS[name].start.args[0].a) - 1)  # one for every implicit stage


def test_a_parameter_that_acts_only_later_has_its_gradient():
    def final(rate: Tensor) -> Tensor:
        f = lambda t, y: -y * rate if t > 0.5 else -y  # noqa: E731
        return march("esdirk54", f, vector([1.0]), [0.0, 0.25, 0.5, 0.75, 1.0], **TIGHT).y1

    assert torch.autograd.gradcheck(final, vector(2.0).requires_grad_())


@pytest.mark.parametrize("name", METHODS)
def test_vmap_and_the_derivatives_of_torch_func_agree_with_autograd(name: str):
    mus = vector([0.5, 5.0, 10.0])
    one_by_one = torch.stack([final_state(name, mu, START) for mu in mus])
    together = torch.func.vmap(lambda mu: final_state(name, mu, START))(mus)
    assert torch.allclose(together, one_by_one, rtol=1e-11)
    gradients = torch.stack(
        [torch.autograd.functional.jacobian(lambda mu: final_state(name, mu, START), m) for m in mus]
    )
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        # Two levels of vmap, of which one batches the matrices.
        by_transform = torch.func.vmap(transform(lambda mu: final_state(name, mu, START)))(mus)
        assert torch.allclose(by_transform, gradients, rtol=1e-9, atol=1e-13)
        by_start = torch.func.vmap(lambda mu, t=transform: t(lambda y: final_state(name, mu, y))(START))(mus)
        assert torch.allclose(by_start[1], torch.func.jacrev(partial(final_state, name, mus[1]))(START), rtol=1e-9)


# Steps of fixed size: no tolerance, all digits


def tilted_rotation(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], -y[0]]) * (1 + 0.5 * torch.sin(3 * t))


PHASE = 2 + 0.5 * (1 - math.cos(6.0)) / 3
ROTATED = vector([math.cos(PHASE), -math.sin(PHASE)])


@pytest.mark.parametrize("name", METHODS)
def test_fixed_steps_keep_their_order_down_to_rounding(name: str):
    """The error is C h^p until rounding, about ε a step, whatever the default of rtol."""
    errors, order = [], METHODS[name].order
    sizes = (0.05, 0.025, 0.0125)
    for h in sizes:
        y = odeint(tilted_rotation, vector([1.0, 0.0]), [0.0, 2.0], method=name, step_size=h)[-1]
        errors.append((y - ROTATED).abs().max().item())
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


def test_fixed_steps_of_a_stiff_problem_are_solved_to_rounding():
    # Prothero–Robinson: y = cos t. At hλ = −10⁵ each stage is, but for O(1/hλ), the solution at its node.
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype)
        for name in METHODS:
            f = lambda t, y: -1e6 * (y - torch.cos(t)) - torch.sin(t)  # noqa: E731
            y = odeint(f, one, [0.0, 2.0], method=name, step_size=0.1)[-1].item()
            assert abs(y - math.cos(2.0)) < max(1e-7, 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_every_stage_of_a_fixed_step_satisfies_its_equation_to_rounding(name: str, dtype: torch.dtype):
    """kᵢ = f(t + cᵢ h, y + h Σ aᵢⱼ kⱼ) for each system of a batch, one of which is a million times smaller."""
    y = START.to(dtype) * torch.tensor([[1.0], [1e-6], [3.0]], dtype=dtype)
    mu = torch.tensor([5.0, 1.0, 0.0], dtype=dtype)
    step = METHODS[name].start(CheckedField(partial(van_der_pol, mu), y, Statistics()), Statistics())
    made = step(0.0, y, 0.1, None)
    table = METHODS[name].start.args[0]
    for i, (c, row) in enumerate(zip(table.c, table.a, strict=True)):
        stage = y + 0.1 * sum(w * k for w, k in zip(row, made.k[: i + 1], strict=True)) if row else y
        residual = 0.1 * (made.k[i] - van_der_pol(mu, torch.tensor(c * 0.1, dtype=dtype), stage))
        # ROUNDING = 4 in the state, what the rounding of y and of the sum adds, and the factor of the Jacobian (≤ 16)
        assert (residual.abs() / stage.abs().amax(-1, keepdim=True)).max() < 40 * torch.finfo(dtype).eps


def test_a_tolerance_that_is_given_with_fixed_steps_is_kept_and_saves_evaluations():
    counts = {}
    for rtol in (1e-3, 1e-10, None):
        options = {} if rtol is None else {"rtol": rtol, "atol": rtol}
        solution = solve_ivp(tilted_rotation, (0, 2), vector([1.0, 0.0]), method="esdirk54", step_size=0.05, **options)
        counts[rtol] = solution.nfe
    assert counts[1e-3] < counts[1e-10] < counts[None]


def test_a_linear_system_takes_two_iterations_a_stage_to_rounding():
    f = lambda t, y: y @ vector([[-1.0, 2.0], [0.0, -50.0]])  # noqa: E731
    solution = solve_ivp(f, (0, 1), START, method="esdirk54", step_size=0.02)
    assert solution.nfe <= 1 + 50 * 6 * 2


@pytest.mark.parametrize("name", METHODS)
def test_noise_in_f_is_no_failure_of_fixed_steps(name: str):
    """A field whose digits end at 10⁻⁶ or so, in a solve that has sixteen."""
    rough = lambda t, y: -((1e10 + y) - 1e10) * (1 + y)  # noqa: E731
    y = odeint(rough, vector([1.0, 0.5]), [0.0, 1.0], method=name, step_size=1 / 64)[-1]
    smooth = odeint(lambda t, y: -y * (1 + y), vector([1.0, 0.5]), [0.0, 1.0], method=name, step_size=1 / 64)[-1]
    assert (y - smooth).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_fixed_steps_from_rest_and_from_zero_have_a_scale(name: str):
    zero = vector([0.0, 0.0])
    assert torch.equal(odeint(lambda t, y: 0 * y, zero, [0.0, 1.0], method=name, step_size=0.1)[-1], zero)
    y = odeint(lambda t, y: torch.stack([1 + 0 * y[0], y[0]]), zero, [0.0, 1.0], method=name, step_size=0.1)[-1]
    assert y[0].item() == pytest.approx(1.0, rel=1e-14)
