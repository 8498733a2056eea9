"""Gradients through stochastic solves: which agree to rounding, which converge, and what each keeps."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ndelib import BrownianMotion, sde_methods, sdeint, sdeint_adjoint, to_stratonovich
from ndelib.adjoints import AdjointError, AdjointWarning
from ndelib.solvers.options import Options
from ndelib.solvers.stochastic.methods import SDE_METHODS
from ndelib.solvers.stochastic.problem import StochasticProblem
from tests.conftest import full
from tests.solvers.stochastic.sde_problems import Equation, slope

DOUBLE = torch.float64


class Network(nn.Module):
    """A drift and a diffusion with parameters, of any noise type."""

    def __init__(self, noise_type: str, sde_type: str, dtype: torch.dtype = DOUBLE) -> None:
        super().__init__()
        self.noise_type, self.sde_type = noise_type, sde_type
        generator = torch.Generator().manual_seed(1)
        draw = lambda *shape: nn.Parameter(0.5 * torch.randn(*shape, generator=generator, dtype=dtype))  # noqa: E731
        self.A, self.b, self.C = draw(2, 2), draw(2), draw(2, 3)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.A + self.b) - t * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        if self.noise_type == "additive":
            return (torch.sin(self.C) * (1 + t)).expand(*y.shape[:-1], 2, 3)
        diagonal = torch.sin(self.b * y + t) + 0.5
        if self.noise_type == "diagonal":
            return diagonal
        if self.noise_type == "scalar":
            return torch.tanh(y @ self.A)[..., None]
        return torch.tanh((y @ self.A)[..., None] * self.C)

    @property
    def channels(self) -> int:
        return {"diagonal": 2, "scalar": 1}.get(self.noise_type, 3)


def path(
    model: Network, cells: int = 8, dtype: torch.dtype = DOUBLE, batch: int = 4, method: str = ""
) -> BrownianMotion:
    area: Any = SDE_METHODS[method].area_for(model.noise_type) if method else "none"
    return BrownianMotion(0, 1, (batch, model.channels), dtype, dt=1 / cells, levy_area_approximation=area, entropy=1)


def gradients(model: Network, ts: tuple[float, ...] = (0.0, 0.3, 1.0), **options: Any) -> list[Tensor]:
    """Return the gradients of a loss that looks at all states, with respect to y0 and the parameters."""
    y0 = torch.linspace(-1, 1, 8, dtype=model.A.dtype).reshape(4, 2).requires_grad_()
    options = {"bm": path(model, dtype=model.A.dtype, method=options["method"]), "dt": 1 / 8} | options
    ys = sdeint(model, y0, list(ts), **options)
    loss = (ys[1:] ** 2 * torch.tensor([[1.0, 2.0]], dtype=ys.dtype)).sum() + ys[0].sum()
    found = torch.autograd.grad(loss, [y0, *model.parameters()], allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, [y0, *model.parameters()], strict=True)]


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference relative to the largest component."""
    size = max(x.abs().max().item() for x in other)
    return max((x - y).abs().max().item() for x, y in zip(one, other, strict=True)) / size


# To the steps commutative noise is general noise without areas.
EVERY = [
    (m.name, noise, calculus)
    for m in sde_methods()
    for noise in m.strong
    for calculus in m.calculus
    if noise != "commutative"
]


@pytest.mark.parametrize(("method", "noise", "calculus"), EVERY)
def test_backprop_is_the_derivative_of_the_numbers_that_were_computed(method: str, noise: str, calculus: str) -> None:
    model = Network(noise, calculus)
    found = gradients(model, method=method)
    generator, h = torch.Generator().manual_seed(2), 1e-6
    with torch.no_grad():
        direction = [torch.randn(p.shape, generator=generator, dtype=DOUBLE) for p in model.parameters()]

        def loss(sign: float) -> float:
            for p, d in zip(model.parameters(), direction, strict=True):
                p.add_(d, alpha=sign * h)
            y0 = torch.linspace(-1, 1, 8, dtype=DOUBLE).reshape(4, 2)
            ys = sdeint(model, y0, [0.0, 0.3, 1.0], path(model, method=method), method, 1 / 8)
            for p, d in zip(model.parameters(), direction, strict=True):
                p.sub_(d, alpha=sign * h)
            return (ys[1:] ** 2 * torch.tensor([[1.0, 2.0]], dtype=DOUBLE)).sum().item()

        difference_quotient = (loss(1.0) - loss(-1.0)) / (2 * h)
        exact = sum((g * d).sum().item() for g, d in zip(found[1:], direction, strict=True))
    assert exact == pytest.approx(difference_quotient, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("method", "noise", "calculus"), EVERY)
def test_checkpointing_gives_the_gradient_of_backpropagation(method: str, noise: str, calculus: str) -> None:
    model = Network(noise, calculus)
    exact = gradients(model, method=method)
    # Every state kept, or made again from three: both ways with every method in the long form
    ways = full([None, 3], [None if EVERY.index((method, noise, calculus)) % 2 else 3])
    for checkpoints in ways:
        found = gradients(model, method=method, gradient="checkpoint", checkpoints=checkpoints)
        assert difference(found, exact) < 1e-13


@pytest.mark.parametrize("checkpoints", [None, "log", 1])
def test_checkpointing_adaptive_steps(checkpoints: Any) -> None:
    model = Network("diagonal", "ito")
    options: dict[str, Any] = {"method": "milstein", "adaptive": True, "rtol": 1e-2, "atol": 1e-2}
    exact = gradients(model, **options)
    assert difference(gradients(model, **options, gradient="checkpoint", checkpoints=checkpoints), exact) < 1e-13


@pytest.mark.parametrize("noise", ["additive", "diagonal", "scalar", "general"])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
def test_reversible_heun_gives_the_gradient_of_backpropagation(noise: str, dtype: torch.dtype, rounding: float) -> None:
    model = Network(noise, "stratonovich", dtype)
    exact = gradients(model, method="reversible_heun")
    assert difference(gradients(model, method="reversible_heun", gradient="reversible"), exact) < rounding


@torch.no_grad()
@pytest.mark.parametrize("noise", ["additive", "diagonal", "scalar", "general"])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_reversible_heun_walks_back_to_where_it_began(noise: str, dtype: torch.dtype, rounding: float) -> None:
    model, n = Network(noise, "stratonovich", dtype), 100
    y0 = torch.linspace(-1, 1, 8, dtype=dtype).reshape(4, 2)
    problem = StochasticProblem(
        model, y0, [0.0, 1.0], "reversible_heun", path(model, n, dtype), Options(step_size=1 / n)
    )
    steps = list(problem.steps([0.0, 1.0]))
    assert len(steps) == n
    undo = problem.method.reverse(problem.field, problem.statistics, **problem.options_of_method())  # type: ignore[misc]
    step = steps[-1]._replace(t=1.0, t1=0.0, y=steps[-1].y1)
    for made in reversed(steps):
        step = undo(made.t1, step.y1, made.t, None, step)
    assert (step.y1 - y0).abs().max().item() < rounding
    # The second state swings about the first, and adds up the rounding errors of both.
    assert (step.memory[0] - y0).abs().max().item() < 5 * rounding


@pytest.mark.parametrize(("method", "gradient"), [("reversible_heun", "reversible"), ("heun", "adjoint")])
def test_what_is_kept_does_not_grow_with_the_number_of_steps(method: str, gradient: Any) -> None:
    kept: dict[int, int] = {}
    for steps in (16, 64):
        sizes: list[int] = []
        model = Network("diagonal", "stratonovich")
        y0 = torch.ones(4, 2, dtype=DOUBLE, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            sdeint(model, y0, [0.0, 1.0], path(model, 64), method, 1 / steps, gradient=gradient)
        kept[steps] = sum(sizes)
    assert kept[16] == kept[64]
    assert kept[16] < 200  # with what a look at f and g holds for a moment; backpropagation keeps more for two steps


@pytest.mark.parametrize("method", ["heun", "midpoint", "euler_heun"])
@pytest.mark.parametrize("noise", ["additive", "diagonal", "scalar"])
def test_the_stochastic_adjoint_converges_to_the_gradient(method: str, noise: str) -> None:
    """With order 1, that of the steps for commutative noise; compared with backpropagation on the same steps."""
    model, counts, errors = Network(noise, "stratonovich"), (8, 16, 32), []
    bm = path(model, 32, batch=200)
    y0 = torch.linspace(-1, 1, 400, dtype=DOUBLE).reshape(200, 2).requires_grad_()
    for n in counts:

        def differentiate(gradient: Any, n: int = n) -> list[Tensor]:
            ys = sdeint(model, y0, [0.0, 0.25, 1.0], bm, method, 1 / n, gradient=gradient, deviation="ignore")
            return list(torch.autograd.grad(ys[1:].square().sum(), [y0, *model.parameters()], allow_unused=True))

        one, other = differentiate("adjoint"), differentiate("backprop")
        errors.append((one[0] - other[0]).norm().item())
        for x, y in zip(one[1:], other[1:], strict=True):
            assert (x is None) == (y is None)
    assert slope([1 / n for n in counts], errors) > 0.8
    assert errors[-1] < 0.05 * other[0].norm().item()
    known = [(x, y) for x, y in zip(one[1:], other[1:], strict=True) if y is not None]
    assert difference([x for x, _ in known], [y for _, y in known]) < 0.05


def test_the_stochastic_adjoint_of_a_converted_ito_equation() -> None:
    """For dy = a y dt + b y dW, y(T) = y0 exp((a − b²/2) T + b W): ∂y/∂y0 = y/y0, ∂y/∂a = T y, ∂y/∂b = (W − b T) y."""

    class Geometric(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (
                nn.Parameter(torch.tensor(0.3, dtype=DOUBLE)),
                nn.Parameter(torch.tensor(0.4, dtype=DOUBLE)),
            )

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return self.a * y

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return self.b * y

    model, n = Geometric(), 256
    y0 = torch.full((10, 1), 1.5, dtype=DOUBLE, requires_grad=True)
    bm = BrownianMotion(0, 1, (10, 1), DOUBLE, dt=1 / n, entropy=2)
    W = bm(0, 1)
    y = y0.detach() * torch.exp(0.3 - 0.08 + 0.4 * W)
    exact = [y / 1.5, y.sum(), ((W - 0.4) * y).sum()]
    converted = to_stratonovich(model)
    for gradient in ("adjoint", "checkpoint", "backprop"):
        ys = sdeint(converted, y0, [0.0, 1.0], bm, "heun", 1 / n, gradient=gradient)  # type: ignore[arg-type]
        found = torch.autograd.grad(ys[-1].sum(), [y0, model.a, model.b])
        for one, other in zip(found, exact, strict=True):
            torch.testing.assert_close(one, other, rtol=0.01, atol=0.01)


def test_sdeint_adjoint_is_the_familiar_spelling() -> None:
    a = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    equation = Equation(lambda t, y: a * y, lambda t, y: 0.1 * y, "diagonal", "stratonovich")
    y0 = torch.ones(3, 1, dtype=DOUBLE)
    bm = BrownianMotion(0, 1, (3, 1), DOUBLE, dt=0.01, entropy=2)
    y = sdeint_adjoint(equation, y0, [0.0, 1.0], bm, "heun", 0.01, adjoint_params=[a])[-1]
    (found,) = torch.autograd.grad(y.sum(), a)
    assert found.item() == pytest.approx(y.sum().item(), rel=1e-3)


def test_a_lost_state_is_noticed() -> None:
    """dy = −40 y dt forgets where it came from; back over one unit of time an error grows like e⁴⁰."""
    equation = Equation(lambda t, y: -40 * y, lambda t, y: torch.ones_like(y)[..., None], "additive", "stratonovich")
    y0 = torch.ones(3, 1, dtype=DOUBLE, requires_grad=True)
    bm = BrownianMotion(0, 1, (3, 1), DOUBLE, dt=0.01, entropy=2)
    y = sdeint(equation, y0, [0.0, 1.0], bm, "heun", 0.01, gradient="adjoint")[-1]
    with pytest.raises(AdjointError, match="left the forward solution"):
        y.sum().backward()


def test_forgotten_parameters_are_named() -> None:
    a = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    equation = Equation(lambda t, y: -y, lambda t, y: a * y, "diagonal", "stratonovich")
    y0 = torch.ones(3, 1, dtype=DOUBLE)
    for gradient, method in (("checkpoint", "heun"), ("reversible", "reversible_heun"), ("adjoint", "heun")):
        with pytest.raises(ValueError, match="pass them as params"):
            sdeint(equation, y0, [0.0, 1.0], method=method, dt=0.1, gradient=gradient)  # type: ignore[arg-type]
        y = sdeint(equation, y0, [0.0, 1.0], method=method, dt=0.1, gradient=gradient, params=[a])  # type: ignore[arg-type]
        assert y.requires_grad


def test_a_second_derivative_needs_backpropagation() -> None:
    model = Network("diagonal", "stratonovich")
    y0 = torch.ones(4, 2, dtype=DOUBLE, requires_grad=True)
    ys = sdeint(model, y0, [0.0, 1.0], path(model), "heun", 1 / 8, gradient="checkpoint")
    (first,) = torch.autograd.grad(ys[-1].square().sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        first.sum().backward()
    ys = sdeint(model, y0, [0.0, 1.0], path(model), "milstein", 1 / 8)
    (first,) = torch.autograd.grad(ys[-1].square().sum(), y0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y0)
    assert second.isfinite().all()
    assert math.isfinite(second.abs().max().item())


def test_nothing_to_differentiate_keeps_nothing() -> None:
    model = Network("diagonal", "stratonovich").requires_grad_(False)
    y0 = torch.ones(4, 2, dtype=DOUBLE)
    for gradient, method in (("checkpoint", "heun"), ("reversible", "reversible_heun"), ("adjoint", "heun")):
        assert not sdeint(model, y0, [0.0, 1.0], path(model), method, 1 / 8, gradient=gradient).requires_grad  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "noise", "calculus"), EVERY)
def test_a_solve_without_parameters_leaves_no_graph_behind(method: str, noise: str, calculus: str) -> None:
    """Methods that differentiate g for their own use keep nothing of it, though gradients are enabled."""
    model = Network(noise, calculus).requires_grad_(False)
    y0 = torch.ones(4, 2, dtype=DOUBLE)
    assert not sdeint(model, y0, [0.0, 1.0], path(model, method=method), method, 1 / 8).requires_grad


@pytest.mark.parametrize("method", ["milstein", "milstein_derivative_free"])
def test_a_diffusion_that_is_itself_a_parameter_gets_its_gradient(method: str) -> None:
    """dy = p dW: ∂y/∂p = W, and no operation stands between g and its leaf."""
    p = torch.full((4, 2), 0.5, dtype=DOUBLE, requires_grad=True)
    model = Network("diagonal", "ito").requires_grad_(False)
    model.f, model.g = lambda t, y: 0 * y, lambda t, y: p  # type: ignore[method-assign]
    bm = path(model, method=method)
    y = sdeint(model, torch.ones(4, 2, dtype=DOUBLE), [0.0, 1.0], bm, method, 1 / 8)[-1]
    assert torch.allclose(torch.autograd.grad(y.sum(), p)[0], bm(0.0, 1.0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("noise", ["diagonal", "scalar", "general"])
def test_parameters_get_the_same_gradient_whether_the_initial_state_needs_one(noise: str) -> None:
    model = Network(noise, "ito")
    found = []
    for needs in (True, False):
        y0 = torch.ones(4, 2, dtype=DOUBLE, requires_grad=needs)
        y = sdeint(model, y0, [0.0, 1.0], path(model, method="milstein"), "milstein", 1 / 8)[-1]
        parameters = [p for p in model.parameters() if noise == "general" or p is not model.C]
        found.append(list(torch.autograd.grad((y**2).sum(), parameters)))
    assert difference(*found) < 1e-14


def test_every_reversible_method_is_tested_here() -> None:
    assert [name for name, m in SDE_METHODS.items() if m.reverse is not None] == ["reversible_heun"]
    assert issubclass(AdjointWarning, UserWarning)
