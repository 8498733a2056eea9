"""A g that is not of its noise type is noticed in the first step, and one that is gives no alarm."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ndelib import BrownianMotion, sde_methods, sdeint
from ndelib.solvers.stochastic.methods import SDE_METHODS
from tests.solvers.stochastic.sde_problems import EXACT_PROBLEMS, NON_COMMUTING, Equation, ExactProblem

Diffusion = Callable[[Tensor, Tensor], Tensor]


def solve(g: Diffusion, noise_type: str, y0: Tensor, method: str = "milstein", **options: object) -> Tensor:
    calculus = SDE_METHODS[method].calculus[0]
    equation = Equation(lambda t, y: -y, g, noise_type, calculus)
    torch.manual_seed(0)
    return sdeint(equation, y0, [0.0, 0.5, 1.0], method=method, dt=0.1, **options)  # type: ignore[arg-type]


def start(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(0.2, 1.0, torch.Size(shape).numel(), dtype=dtype).reshape(shape)


def heston(t: Tensor, y: Tensor) -> Tensor:
    """√v S and 0.3 √v: the first one changes with the second component."""
    root = y[..., 1].abs().sqrt()
    return torch.stack((root * y[..., 0], 0.3 * root), -1)


def coupled(t: Tensor, y: Tensor) -> Tensor:
    """Component 1 changes with component 2 at the rate 0.25, and only so."""
    return torch.stack((y[..., 0], 0.25 * y[..., 2], 1 + 0 * y[..., 2]), -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_diagonal_noise_that_is_none_names_the_two_components(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    with pytest.warns(UserWarning, match=r"'diagonal'.*component 0 of g changes with component 1 of y.*diag_embed"):
        solve(heston, "diagonal", start(*batch, 2, dtype=dtype))
    with pytest.warns(UserWarning, match=r"∂g_1/∂y_2 = 0.25\).*'general'.*lower order than 1,") as said:
        solve(coupled, "diagonal", start(*batch, 3, dtype=dtype))
    assert len(said) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["milstein", "milstein_derivative_free", "heun", "midpoint"])
def test_columns_that_do_not_commute_are_named_with_their_bracket(method: str, dtype: torch.dtype) -> None:
    """Of g⁰ = (1, 0, 0), g¹ = (0, 1, 0), g² = (0, 0.5 y₀, 0): (∂g²/∂y) g⁰ − (∂g⁰/∂y) g² = (0, 0.5, 0)."""

    def g(t: Tensor, y: Tensor) -> Tensor:
        one, zero = torch.ones_like(y[..., 0]), torch.zeros_like(y[..., 0])
        columns = [(one, zero, zero), (zero, one, zero), (zero, 0.5 * y[..., 0], zero)]
        return torch.stack([torch.stack(column, -1) for column in columns], -1)

    with pytest.warns(
        UserWarning, match=r"columns 0 and 2 of g do not commute: .* differ by up to 0.5, and are up to 0.5 large"
    ) as said:
        solve(g, "commutative", start(4, 3, dtype=dtype), method)
    assert len(said) == 1


def test_it_is_noticed_also_where_the_solve_starts_at_a_special_point() -> None:
    """At y = 0 all of the bracket of two fields that begin with squares is zero."""
    A = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)

    def g(t: Tensor, y: Tensor) -> Tensor:
        bump = torch.stack((1 + 0 * y[..., 0], 0 * y[..., 0]), -1)
        return torch.stack((bump + (y @ A.T) ** 2, bump.flip(-1) + (y @ A) ** 2), -1)

    with pytest.warns(UserWarning, match="do not commute"):
        solve(g, "commutative", torch.zeros(4, 2, dtype=torch.float64))


def test_additive_noise_that_changes_with_y() -> None:
    with pytest.warns(UserWarning, match=r"'additive'.*changes with y.*along component 1 of y.*'general'"):
        solve(lambda t, y: (1 + y[..., 1:] ** 2)[..., None].expand(*y.shape, 1), "additive", start(3, 2), "srk")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("problem", EXACT_PROBLEMS, ids=lambda p: p.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equations_of_their_type_give_no_alarm(problem: ExactProblem, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    for info in sde_methods():
        for calculus in ("ito", "stratonovich"):
            if SDE_METHODS[info.name].supports(problem.noise_type, calculus):
                f, g = problem.drift[calculus], problem.g
                equation = Equation(
                    lambda t, y, f=f: f(t.double(), y.double()).to(dtype),
                    lambda t, y, g=g: g(t.double(), y.double()).to(dtype),
                    problem.noise_type,
                    calculus,
                )
                sdeint(equation, problem.start(5).to(dtype), [0.0, 0.2], method=info.name, dt=0.1)


class Net(nn.Module):
    """A network for each component, by itself or as columns that commute; or one matrix for all states."""

    def __init__(self, noise_type: str, width: int = 64) -> None:
        super().__init__()
        self.noise_type, self.sde_type = noise_type, "ito"
        torch.manual_seed(2)
        self.one, self.two = nn.Linear(1, width), nn.Linear(width, 1)
        self.matrix = nn.Parameter(torch.randn(6, 4))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        if self.noise_type == "additive":
            return self.matrix.expand(*y.shape, 4) * (1 + t)
        each = self.two(torch.tanh(self.one(y[..., None])))[..., 0]
        return each if self.noise_type == "diagonal" else torch.diag_embed(each)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise_type", ["additive", "diagonal", "commutative"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_of_their_type_give_no_alarm(noise_type: str, dtype: torch.dtype) -> None:
    model = Net(noise_type).to(dtype)
    for seed in range(10):
        torch.manual_seed(seed)
        sdeint(model, torch.randn(32, 6, dtype=dtype), [0.0, 0.1], method="milstein", dt=0.05)


@pytest.mark.filterwarnings("error")
def test_nothing_is_looked_at_where_it_does_not_matter_or_cannot_be() -> None:
    solve(heston, "diagonal", start(3, 2), "euler")  # of order ½ for all noises
    solve(lambda t, y: heston(t, y.detach()), "diagonal", start(3, 2), "srk")
    solve(lambda t, y: (y * y[..., :1]).abs().sqrt(), "diagonal", torch.zeros(3, 2), "srk")  # 0/0 at y = 0
    with torch.inference_mode():
        solve(lambda t, y: torch.sin(y), "diagonal", start(3, 2), "srk")
    bm = BrownianMotion(0.0, 1.0, (2,), torch.float64, entropy=1, dt=0.1)
    torch.func.vmap(lambda y: solve(heston, "diagonal", y, bm=bm))(start(3, 2))
    for noise_type, shape in (("diagonal", (0, 2)), ("commutative", (0, 2, 3))):
        solve(lambda t, y, shape=shape: torch.zeros(shape, dtype=y.dtype) + 0 * y.sum(), noise_type, start(0, 2))


def test_it_leaves_no_trace() -> None:
    """The same numbers of PyTorch's generator are drawn after it, and the same solution comes out, with a graph."""
    y0 = start(3, 2).requires_grad_()
    with pytest.warns(UserWarning, match="diagonal"):
        y = solve(heston, "diagonal", y0)[-1]
    first = torch.rand(1)
    y.sum().backward()
    assert y0.grad is not None
    with pytest.warns(UserWarning, match="diagonal"), torch.no_grad():
        assert torch.equal(solve(heston, "diagonal", y0)[-1], y)
    assert torch.equal(torch.rand(1), first)


def test_hooks_on_saved_tensors_do_not_see_it() -> None:
    seen: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.append(x) or x, lambda x: x):
        solve(lambda t, y: torch.sin(y), "diagonal", start(3, 2), "srk")
    assert not seen  # nothing needs a gradient


@pytest.mark.parametrize("adaptive", [False, True])
def test_non_commuting_noise_is_noticed_by_adaptive_steps_too(adaptive: bool) -> None:
    equation = Equation(NON_COMMUTING.drift["ito"], NON_COMMUTING.g, "commutative", "ito")
    with pytest.warns(UserWarning, match="columns 0 and 1 of g do not commute"):
        sdeint(equation, NON_COMMUTING.start(5), [0.0, 1.0], None, "milstein", 0.1, adaptive, 1e-2, 1e-2)
