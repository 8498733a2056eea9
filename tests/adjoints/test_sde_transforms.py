"""``sdeint`` inside the transforms of ``torch.func``: all samples on one path, or an error that says what to do."""

import pytest
import torch
from torch import Tensor

from ndelib import BrownianMotion, sdeint
from tests.solvers.stochastic.sde_problems import LINEAR, NON_COMMUTING, ExactProblem

Y = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
CASES = [
    (LINEAR, "euler"),
    (LINEAR, "milstein"),
    (LINEAR, "srk"),
    (NON_COMMUTING, "milstein"),
    (NON_COMMUTING, "euler"),
]


def solve(problem: ExactProblem, method: str, y0: Tensor, new: bool = False) -> Tensor:
    area = "area" if problem is NON_COMMUTING else "space-time"
    bm = BrownianMotion(0.0, 1.0, (2,), torch.float64, entropy=3, dt=0.01, levy_area_approximation=area)  # type: ignore[arg-type]
    return sdeint(problem.equation("ito"), y0, [0.0, 1.0], None if new else bm, method, 0.1)[-1]


@pytest.mark.parametrize(("problem", "method"), CASES)
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_samples_share_the_path_that_is_given(problem: ExactProblem, method: str, randomness: str) -> None:
    found = torch.func.vmap(lambda y: solve(problem, method, y), randomness=randomness)(Y)
    torch.testing.assert_close(found, torch.stack([solve(problem, method, y) for y in Y]))


@pytest.mark.parametrize(("problem", "method"), CASES)
def test_derivatives_are_those_of_backpropagation(problem: ExactProblem, method: str) -> None:
    y0 = Y[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(solve(problem, method, y0).sum(), y0)
    torch.testing.assert_close(torch.func.grad(lambda y: solve(problem, method, y).sum())(Y[0]), expected)
    rows = torch.func.vmap(torch.func.grad(lambda y: solve(problem, method, y).sum()))(Y)
    torch.testing.assert_close(rows[0], expected)


def test_a_new_path_is_one_path_or_an_error() -> None:
    torch.manual_seed(0)
    same = torch.func.vmap(lambda y: solve(LINEAR, "euler", y, True), randomness="same")(Y)
    torch.testing.assert_close(same / Y, (same / Y)[:1].expand(5, 2))  # linear in y0: all have the same factor
    with pytest.raises(ValueError, match=r"randomness='different' each sample would need a path.*without vmap.*as bm"):
        torch.func.vmap(lambda y: solve(LINEAR, "euler", y, True), randomness="different")(Y)
    assert torch.func.grad(lambda y: solve(LINEAR, "euler", y, True).sum())(Y[0]).isfinite().all()
