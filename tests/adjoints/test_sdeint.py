"""``sdeint``: what it accepts, what it returns, calculi, adaptive steps, and what it says of wrong input."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from ndelib import BrownianMotion, odeint, sde_methods, sdeint, to_ito, to_stratonovich
from ndelib.solvers import NonFiniteState, StepSizeTooSmall
from ndelib.solvers.stochastic.methods import SDE_METHODS
from tests.solvers.stochastic.sde_problems import (
    ADDITIVE,
    COMMUTING,
    CUBIC,
    EXACT_PROBLEMS,
    LINEAR,
    LOGISTIC,
    NON_COMMUTING,
    SCALAR,
    WAVE,
    Equation,
    ExactProblem,
    slope,
)

DOUBLE = torch.float64


def path(problem: ExactProblem, paths: int, cells: int = 64, area: str = "none", T: float = 1.0) -> BrownianMotion:
    return BrownianMotion(
        0.0, T, (paths, problem.channels), DOUBLE, entropy=3, dt=T / cells, levy_area_approximation=area
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [m.name for m in sde_methods()])
def test_without_noise_every_method_solves_the_ordinary_equation(method: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(y) + t

    calculus = SDE_METHODS[method].calculus[0]
    equation = Equation(f, lambda t, y: torch.zeros_like(y), "diagonal", calculus)
    y0 = torch.tensor([[0.5, 1.0]], dtype=DOUBLE)
    exact = odeint(f, y0, [0.0, 1.0], rtol=1e-10, atol=1e-10)[-1]
    errors = [
        (sdeint(equation, y0, [0.0, 1.0], method=method, dt=1 / n)[-1] - exact).norm().item() for n in (20, 40, 80)
    ]
    assert slope([1 / 20, 1 / 40, 1 / 80], errors) > 0.9


@pytest.mark.parametrize("method", [m.name for m in sde_methods()])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_batch_of_states(method: str, batch: tuple[int, ...], dtype: torch.dtype) -> None:
    """A batch gives what each sample gives on its own part of the noise."""
    g = torch.tensor([[0.3, 0.1, 0.0], [0.2, -0.2, 0.4]], dtype=dtype)
    info = SDE_METHODS[method]
    noise_type = "general" if "general" in info.strong else "additive"  # type: ignore[operator]
    shift = 0.0 if noise_type == "additive" else 1.0

    def diffusion(t: Tensor, y: Tensor) -> Tensor:
        return g * (1 + shift * torch.sin(y))[..., None]

    equation = Equation(lambda t, y: -y, diffusion, noise_type, info.calculus[0])
    y0 = torch.rand((*batch, 2), dtype=dtype)
    bm = BrownianMotion(0, 1, (*batch, 3), dtype, dt=0.125, levy_area_approximation="area", entropy=1)
    ys = sdeint(equation, y0, [0.0, 0.5, 1.0], bm, method, 0.125)
    assert ys.shape == (3, *batch, 2)
    assert ys.dtype == dtype
    assert torch.equal(ys[0], y0)
    if batch:
        index = (0,) * len(batch)

        def part(s: float, t: float, **flags: bool) -> object:
            answer = bm(s, t, **flags)
            return tuple(x[index] for x in answer) if flags else answer[index]

        alone = sdeint(equation, y0[index], [0.0, 0.5, 1.0], part, method, 0.125)
        torch.testing.assert_close(alone, ys[(slice(None), *index)])


@pytest.mark.parametrize("problem", EXACT_PROBLEMS, ids=lambda p: p.name)
def test_a_converted_equation_is_that_of_the_other_calculus(problem: ExactProblem) -> None:
    y, t = problem.start(20) + 0.1 * torch.randn(20, len(problem.y0), dtype=DOUBLE), torch.tensor(0.3, dtype=DOUBLE)
    ito, stratonovich = problem.equation("ito"), problem.equation("stratonovich")
    torch.testing.assert_close(to_stratonovich(ito).f(t, y), stratonovich.f(t, y))
    torch.testing.assert_close(to_ito(stratonovich).f(t, y), ito.f(t, y))
    assert to_ito(stratonovich).sde_type == "ito"
    back = to_ito(to_stratonovich(ito))
    torch.testing.assert_close(back.f(t, y), ito.f(t, y))
    assert torch.equal(back.g(t, y), ito.g(t, y))


@torch.no_grad()
def test_the_two_calculi_differ_by_the_exact_correction() -> None:
    """dy = b y dW and dy = b y ∘ dW on one path: the second solution is the first times exp(b² T / 2)."""
    b, paths = 0.8, 2000
    bm = BrownianMotion(0.0, 1.0, (paths, 1), DOUBLE, entropy=4, dt=1 / 256)
    y0 = torch.ones(paths, 1, dtype=DOUBLE)
    one, other = (
        sdeint(
            Equation(lambda t, y: 0 * y, lambda t, y: b * y, "diagonal", c), y0, [0.0, 1.0], bm, "milstein", 1 / 256
        )[-1]
        for c in ("ito", "stratonovich")
    )
    torch.testing.assert_close((other / one).log().mean().item(), b * b / 2, rtol=0, atol=5e-3)
    assert one.mean().item() == pytest.approx(1.0, abs=4 * math.sqrt((math.exp(b * b) - 1) / paths))


@torch.no_grad()
@pytest.mark.parametrize("method", ["midpoint", "heun", "euler_heun", "reversible_heun", "milstein"])
def test_a_method_for_stratonovich_solves_a_converted_ito_equation(method: str) -> None:
    bm, y0 = path(LINEAR, 500, 256), LINEAR.start(500)
    y = sdeint(to_stratonovich(LINEAR.equation("ito")), y0, [0.0, 1.0], bm, method, 1 / 256)[-1]
    assert (y - LINEAR.exact(y0, 1.0, bm)).square().mean().sqrt().item() < 0.01


@torch.no_grad()
def test_ornstein_and_uhlenbecks_process_is_normal_with_its_mean_and_variance() -> None:
    theta, sigma, T = 1.5, 0.7, 1.0
    equation = Equation(lambda t, y: -theta * y, lambda t, y: torch.full_like(y, sigma)[..., None], "additive", "ito")
    y0 = torch.ones(4000, 1, dtype=DOUBLE)
    torch.manual_seed(0)
    y = sdeint(equation, y0, [0.0, T], dt=0.02)[-1]
    variance = sigma**2 * (1 - math.exp(-2 * theta * T)) / (2 * theta)
    assert kstest(((y - math.exp(-theta * T)) / math.sqrt(variance)).flatten().numpy(), "norm").pvalue > 1e-3


@torch.no_grad()
def test_tamed_euler_holds_where_euler_explodes() -> None:
    """dy = −y³ dt + dW from a large state: Euler's steps overshoot zero further and further (Hutzenthaler et al.)."""
    equation = Equation(lambda t, y: -(y**3), lambda t, y: torch.ones_like(y)[..., None], "additive", "ito")
    y0 = torch.full((200, 1), 20.0, dtype=DOUBLE)
    bm = BrownianMotion(0.0, 2.0, (200, 1), DOUBLE, entropy=1, dt=0.02)
    with pytest.raises(NonFiniteState):
        sdeint(equation, y0, [0.0, 2.0], bm, "euler", 0.02)
    coarse, middle, fine = (sdeint(equation, y0, [0.0, 2.0], bm, "tamed_euler", 0.02 / n)[-1] for n in (1, 8, 32))
    assert coarse.abs().max().item() < 4
    # Of order 1 for additive noise: the middle one is eight times as good, but for what the fine one lacks.
    assert (middle - fine).square().mean() < ((coarse - fine) / 4).square().mean()


# Adaptive steps.


@torch.no_grad()
@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("milstein", WAVE),
        ("heun", LINEAR),
        ("srk", CUBIC),
        ("srk", ADDITIVE),
        ("midpoint", SCALAR),
        ("milstein_derivative_free", COMMUTING),
        ("milstein_derivative_free", LINEAR),
        ("euler", LOGISTIC),
    ],
    ids=lambda x: x.name if isinstance(x, ExactProblem) else x,
)
def test_adaptive_steps_converge_to_the_solution_on_the_same_path(method: str, problem: ExactProblem) -> None:
    paths = 20
    calculus = SDE_METHODS[method].calculus[0]
    y0 = problem.start(paths)
    cells = None if problem.cells == 1 else 1 / problem.cells
    bm = BrownianMotion(
        0.0, 1.0, (paths, problem.channels), DOUBLE, entropy=2, dt=cells, levy_area_approximation="space-time"
    )
    exact, errors = problem.exact(y0, 1.0, bm), []
    for tol in (1e-2, 1e-3, 1e-4):
        ys = sdeint(problem.equation(calculus), y0, [0.0, 0.5, 1.0], bm, method, 0.1, True, tol, tol)
        errors.append((ys[-1] - exact).square().mean().sqrt().item())
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02


@torch.no_grad()
def test_adaptive_steps_are_short_where_the_noise_is_loud_and_use_one_path() -> None:
    def g(t: Tensor, y: Tensor) -> Tensor:
        return y * (2.0 if t > 0.5 else 0.05)

    equation = Equation(lambda t, y: torch.zeros_like(y), g, "diagonal", "ito")
    asked: list[float] = []
    bm = BrownianMotion(0.0, 1.0, (50, 1), DOUBLE, entropy=1)

    def listening(s: float, t: float) -> Tensor:
        asked.append(t)
        return bm(s, t)

    y0 = torch.ones(50, 1, dtype=DOUBLE)
    y = sdeint(equation, y0, [0.0, 0.5, 1.0], listening, "milstein", 0.1, True, 1e-3, 1e-3)[-1]
    assert len({t for t in asked if t > 0.5}) > 5 * len({t for t in asked if t <= 0.5})
    exact = torch.exp(0.05 * bm(0, 0.5) + 2.0 * bm(0.5, 1.0) - (0.05**2 + 4.0) * 0.5 / 2)
    assert (y - exact).square().mean().sqrt().item() < 0.05
    assert all(float(t * 2**30).is_integer() for t in asked)  # halves of halves


def test_adaptive_steps_that_become_too_short_say_so() -> None:
    with pytest.raises(StepSizeTooSmall, match="min_step"):
        sdeint(
            LINEAR.equation("ito"),
            LINEAR.start(10),
            [0.0, 1.0],
            path(LINEAR, 10),
            "milstein",
            0.1,
            True,
            1e-6,
            1e-6,
            1e-2,
        )


# What users of torchsde write.


class Model(nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.1))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.rate * y

    def prior(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.2 * y


def test_the_call_of_torchsde() -> None:
    model, y0, ts = Model(), torch.ones(4, 3), torch.linspace(0, 1, 5)
    bm = BrownianMotion(t0=ts[0], t1=ts[-1], size=(4, 3), dt=0.05, levy_area_approximation="space-time")
    ys = sdeint(model, y0, ts, bm=bm, method="srk", dt=0.05)
    assert ys.shape == (5, 4, 3)
    assert torch.equal(ys, sdeint(model, y0, ts, bm, "srk", 0.05))
    other = sdeint(model, y0, ts, bm=bm, method="srk", dt=0.05, names={"drift": "prior"})
    assert (other[-1] < ys[-1]).all()


def test_the_default_path_is_seeded_by_pytorch_and_its_cells_are_the_steps() -> None:
    y0, ts = torch.ones(4, 3), [0.0, 0.3, 1.0]
    torch.manual_seed(1)
    first = sdeint(Model(), y0, ts, dt=0.1)
    torch.manual_seed(1)
    assert torch.equal(first, sdeint(Model(), y0, ts, dt=0.1))
    assert not torch.equal(first, sdeint(Model(), y0, ts, dt=0.1))


@torch.no_grad()
def test_a_stratonovich_equation_can_be_solved_backwards() -> None:
    bm, y0 = path(WAVE, 50, 512), WAVE.start(50)
    equation = WAVE.equation("stratonovich")
    there = sdeint(equation, y0, [0.0, 1.0], bm, "heun", 1 / 512)
    back = sdeint(equation, there[-1], [1.0, 0.0], bm, "heun", 1 / 512)
    assert (back[-1] - y0).abs().max().item() < 5e-3


def test_every_method_says_what_it_can_do() -> None:
    for info in sde_methods():
        assert info.calculus
        assert info.strong
        assert info.source
        assert info.weak >= 1


# Wrong input.


def call(problem: ExactProblem = LINEAR, sde_type: str = "ito", **changed: object) -> Tensor:
    arguments = {"sde": problem.equation(sde_type), "y0": problem.start(2), "ts": [0.0, 1.0], "dt": 0.1} | changed
    return sdeint(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("problem", "sde_type", "method", "message"),
    [
        (LINEAR, "ito", "heun", "sde_type 'stratonovich' only.*choose euler, tamed_euler, milstein.*to_stratonovich"),
        (LINEAR, "stratonovich", "srk", "choose milstein, .*midpoint, heun, euler_heun, reversible_heun.*to_ito"),
        (NON_COMMUTING, "ito", "srk", "needs noise_type 'additive' or 'diagonal' or 'scalar'.*noise_type='general'"),
        (LINEAR, "ito", "milstien", "did you mean 'milstein'"),
        (LINEAR, "ito", "sra1", "closest to it is, 'srk'"),
    ],
)
def test_a_method_that_does_not_fit_names_those_that_do(
    problem: ExactProblem, sde_type: str, method: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(problem, sde_type, method=method)


def test_additive_noise_takes_methods_of_both_calculi() -> None:
    for calculus in ("ito", "stratonovich"):
        for method in ("euler", "heun", "srk"):
            assert call(ADDITIVE, calculus, method=method).isfinite().all()


@pytest.mark.parametrize(
    ("noise_type", "shape"),
    [("diagonal", (2, 2, 1)), ("scalar", (2, 2, 2)), ("scalar", (2, 2)), ("general", (2, 3)), ("additive", (3, 2, 2))],
)
def test_g_of_the_wrong_shape(noise_type: str, shape: tuple[int, ...]) -> None:
    equation = Equation(lambda t, y: y, lambda t, y: torch.zeros(shape, dtype=DOUBLE), noise_type, "ito")
    with pytest.raises(ValueError, match=rf"g\(t, y\) must return.*noise_type='{noise_type}'"):
        call(sde=equation)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"dt": 2.0}, ValueError, "dt = 2 is longer than the whole interval, from 0 to 1"),
        ({"dt": 0.0}, ValueError, "dt must be a positive number"),
        ({"dt": "0.1"}, TypeError, "dt must be a number"),
        ({"ts": [0.0, 2.0], "bm": path(LINEAR, 2)}, ValueError, "outside the path bm, 0 to 1"),
        ({"ts": [0.0, 0.5, 0.5]}, ValueError, "strictly increasing"),
        ({"ts": [1.0, 0.0]}, ValueError, "Itô equation has no solution backwards"),
        ({"y0": torch.ones((), dtype=DOUBLE)}, ValueError, r"real tensor \(\*, d\)"),
        ({"y0": torch.ones(2, 2, dtype=torch.complex128)}, ValueError, "real tensor"),
        ({"y0": torch.ones(2, 2, dtype=torch.int64)}, TypeError, "floating-point"),
        ({"y0": torch.full((2, 2), math.nan, dtype=DOUBLE)}, ValueError, "infinity or NaN"),
        ({"bm": path(LINEAR, 3)}, ValueError, r"bm has size \(3, 2\); y0 and g need \(2, 2\)"),
        (
            {"bm": path(LINEAR, 2), "method": "srk"},
            ValueError,
            "needs a path with levy_area_approximation='space-time'",
        ),
        ({"bm": BrownianMotion(0, 1, (2, 2))}, ValueError, "bm is torch.float32"),
        ({"bm": 3}, TypeError, "bm must be"),
        ({"bm": lambda s, t: torch.ones(3), "method": "euler"}, ValueError, r"bm\(s, t\) must return"),
        ({"gradient": "adjiont"}, ValueError, "did you mean 'adjoint'"),
        ({"gradient": "adjoint"}, ValueError, "only a Stratonovich equation"),
        ({"gradient": "reversible"}, ValueError, "choose 'reversible_heun'"),
        ({"checkpoints": 3}, ValueError, "no use for checkpoints"),
        ({"checkpoints": 0, "gradient": "checkpoint"}, ValueError, "at least 1"),
        ({"adaptive": True, "method": "euler"}, ValueError, "strong order 0.5 for diagonal noise"),
        ({"names": {"drfit": "f"}}, ValueError, "names may hold"),
        ({"names": {"drift": "h"}}, AttributeError, "has no h"),
        ({"sde": Equation(lambda t, y: y, lambda t, y: y, "digaonal", "ito")}, ValueError, "did you mean 'diagonal'"),
        ({"sde": Equation(lambda t, y: y, lambda t, y: y, "diagonal", "Ito")}, ValueError, "did you mean 'ito'"),
        ({"sde": object()}, AttributeError, "this object has no f"),
        (
            {"sde": Equation(lambda t, y: y[:1], lambda t, y: y, "diagonal", "ito")},
            ValueError,
            r"f\(t, y\) must return the shape",
        ),
        (
            {"sde": Equation(lambda t, y: y, lambda t, y: 1.0, "diagonal", "ito")},
            TypeError,
            r"g\(t, y\) must return a tensor",
        ),
        ({"sde": Equation(lambda t, y: y, lambda t, y: y.float(), "diagonal", "ito")}, TypeError, "dtype of y"),
        (
            {"sde": Equation(lambda t, y: y, lambda t, y: y.mul_(2), "diagonal", "ito")},
            ValueError,
            "has written into y",
        ),
    ],
)
def test_wrong_input(changed: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(**changed)  # type: ignore[arg-type]


def test_reversible_heun_does_not_adapt() -> None:
    with pytest.raises(ValueError, match="keeps a second state"):
        call(WAVE, "stratonovich", method="reversible_heun", adaptive=True)
