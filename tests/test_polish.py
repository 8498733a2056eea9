"""L-BFGS at the end of a training: quick on quadratics, for members at once, and careful where losses blow up."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ndelib.models import MLP
from ndelib.solvers.errors import NonFiniteState
from ndelib.training import Ensemble, fit, polish

pytestmark = pytest.mark.usefixtures("double")


class Point(nn.Module):
    """A point as a model."""

    def __init__(self, *start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start) if start else 3 * torch.randn(6))


def quadratic(model, scales):
    return (scales * model.x.square()).sum()


def rosenbrock(model, a):
    x, y = model.x
    return (1 - x) ** 2 + a * (y - x**2) ** 2


def mean_square(model, x, y):
    return (model(0.0, x) - y).square().mean()


def test_a_quadratic_of_condition_ten_thousand_is_minimised_in_a_few_steps():
    model = Point()
    losses = polish(model, quadratic, torch.logspace(0, 4, 6), steps=60, progress=False)
    assert losses[-1] < 1e-16
    assert all(later <= earlier for earlier, later in pairwise(losses))


def test_rosenbrocks_valley_is_followed_to_its_end():
    model = Point(-1.2, 1.0)
    losses = polish(model, rosenbrock, torch.tensor(100.0), steps=100, progress=False)
    assert losses[0] == pytest.approx(24.2)
    torch.testing.assert_close(model.x.detach(), torch.ones(2), rtol=0, atol=1e-6)


def test_the_losses_are_those_of_the_model_at_the_start_and_at_the_end():
    model, scales = Point(), torch.logspace(0, 2, 6)
    before = quadratic(model, scales).item()
    losses = polish(model, quadratic, scales, steps=5, progress=False)
    assert losses[0] == before
    assert losses[-1] == pytest.approx(quadratic(model, scales).item())
    assert len(losses) == 6


def test_members_move_as_if_they_were_alone():
    x = torch.linspace(-2, 2, 30)[:, None]
    data = (x, x.sin())
    ensemble = Ensemble(lambda: MLP(1, 8), seeds=3)
    alone = [ensemble[i] for i in range(3)]
    losses = polish(ensemble, mean_square, data, steps=15, progress=False)
    for member, own in zip(alone, ensemble, strict=True):
        single = polish(member, mean_square, data, steps=15, progress=False)
        assert mean_square(own, *data).item() == pytest.approx(single[-1], rel=1e-4)
    assert losses[-1] < 0.01 * losses[0]


def test_it_finishes_what_adam_began():
    x = torch.linspace(-2, 2, 50)[:, None]
    model = MLP(1, 16)
    history = fit(model, mean_square, (x, x.sin()), steps=200, lr=1e-2, schedule="cosine", progress=False)
    losses = polish(model, mean_square, (x, x.sin()), steps=200, progress=False)
    assert losses[-1] < 0.05 * history.loss[-1]


@pytest.mark.parametrize("wall", ["infinite", "error"])
def test_steps_into_a_wall_are_made_shorter(wall):
    def loss(model, scale):
        x = model.x.sum()
        if x > 1.5:
            beyond.append(x.item())
            if wall == "error":
                raise NonFiniteState("too far", t=0.0, h=0.1)
        return torch.where(x > 1.5, torch.inf, (1 + (x - 1) ** 2).sqrt() - scale)

    model, beyond = Point(-3.0), []
    losses = polish(model, loss, torch.tensor(1.0), steps=30, progress=False)
    assert losses[-1] < 1e-12
    assert beyond  # the curvature far from the minimum is small, so the second step goes far


def test_one_member_at_a_minimum_does_not_hold_the_others():
    ensemble = Ensemble(Point, seeds=2)
    with torch.no_grad():
        next(ensemble.parameters())[0] = 0.0
    losses = polish(ensemble, quadratic, torch.logspace(0, 2, 6), steps=40, progress=False)
    assert losses[-1] < 1e-16
    assert (next(ensemble.parameters())[0] == 0).all()


def test_parameters_that_are_frozen_or_unused_stay():
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    model.spare = nn.Parameter(torch.ones(2))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    polish(model, lambda m, x: (m[1](m[0](x)) - 1).square().mean(), torch.randn(9, 1), steps=10, progress=False)
    assert (model[0].weight == before).all()
    assert (model.spare == 1).all()


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, got 0"):
        polish(Point(), quadratic, torch.ones(6), steps=0)
    with pytest.raises(ValueError, match=r"the loss is \[nan\] before the first step"):
        polish(Point(), quadratic, torch.full((6,), torch.nan), progress=False)
    with pytest.raises(ValueError, match="one number"):
        polish(Ensemble(Point, 2), lambda m, s: m.x * s, torch.ones(6), progress=False)


def test_each_member_has_its_own_step_where_one_of_them_meets_a_wall():
    def loss(model, scale):
        x = model.x.sum()
        return torch.where(x > 1.5, torch.inf, (1 + (x - 1) ** 2).sqrt() - scale)

    ensemble = Ensemble(lambda: Point(0.0), seeds=3)
    starts = torch.tensor([[0.9], [-3.0], [-1.5]])
    with torch.no_grad():
        next(ensemble.parameters()).copy_(starts)
    polish(ensemble, loss, torch.tensor(1.0), steps=3, progress=False)
    for start, found in zip(starts, next(ensemble.parameters()), strict=True):
        alone = Point(*start.tolist())
        polish(alone, loss, torch.tensor(1.0), steps=3, progress=False)
        torch.testing.assert_close(found.detach(), alone.x.detach())


def test_where_no_step_leads_down_the_parameters_stay_what_they_were():
    model = Point(1.0, 2.0)

    def loss(model, scale):  # its gradient has the wrong sign
        value = scale * model.x.square().sum()
        return 2 * value.detach() - value

    assert polish(model, loss, torch.tensor(1.0), steps=3, progress=False) == [5.0]
    assert model.x.tolist() == [1.0, 2.0]
