"""Members that are trained together are, to rounding, those that are trained alone."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from ndelib.models import MLP, NeuralODE, perceptron
from ndelib.training import Ensemble, fit, supervised

X = torch.linspace(-1, 1, 24, dtype=torch.float64)[:, None]
Y = (3 * X).sin()


def make():
    return perceptron(1, 1, width=6).double()


def alone(member_seed, **options):
    with torch.random.fork_rng():
        torch.manual_seed(member_seed)
        member = make()
    fit(member, supervised(mse_loss), (X, Y), progress=False, **options)
    return member


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.02},
        {"lr": 0.02, "optimizer": torch.optim.AdamW, "schedule": "onecycle"},
        {"lr": 0.1, "optimizer": torch.optim.SGD},
        {"lr": 0.02, "batch_size": 7, "seed": 3},
        {"lr": 0.1, "optimizer": torch.optim.SGD, "clip": 0.05},
    ],
)
def test_together_is_as_alone(options):
    model = Ensemble(make, seeds=(0, 4, 1))
    before = model(X)
    fit(model, model.each(supervised(mse_loss)), (X, Y), steps=20, progress=False, **options)
    for seed, outputs, first, member in zip((0, 4, 1), model(X), before, model, strict=True):
        one = alone(seed, steps=20, **options)
        assert torch.allclose(outputs, one(X), atol=1e-12)
        assert torch.allclose(member(X), one(X), atol=1e-12)
        assert not torch.allclose(outputs, first, atol=1e-3)


def test_seeds_are_those_of_torch_and_leave_it_alone():
    before = torch.get_rng_state()
    model = Ensemble(make, seeds=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.allclose(model(X)[1], make()(X), atol=1e-14)
    assert not torch.allclose(model(X)[0], model(X)[1])


def test_members_are_copies():
    model = Ensemble(make, seeds=2)
    first = model(X).detach()
    with torch.no_grad():
        model[0][0].weight += 1
    assert torch.equal(model(X), first)
    assert len(list(model)) == len(model) == 2
    assert torch.allclose(model[-1](X), first[1], atol=1e-14)


def test_a_loss_may_call_any_method_of_a_member():
    model = Ensemble(lambda: NeuralODE(MLP(1, 4).double(), method="rk4", step_size=0.25), seeds=3)
    ends = model.measure(lambda member, x: member.trajectory(x, [0.0, 0.5, 1.0]), X)
    assert ends.shape == (3, 3, 24, 1)
    for k, member in enumerate(model):
        assert torch.allclose(ends[k], member.trajectory(X, [0.0, 0.5, 1.0]), atol=1e-14)


def test_it_is_saved_and_moved_like_a_module(tmp_path):
    model, other = Ensemble(make, seeds=3), Ensemble(make, seeds=[7, 8, 9])
    torch.save(model.state_dict(), tmp_path / "five.pt")
    other.load_state_dict(torch.load(tmp_path / "five.pt", weights_only=True))
    assert torch.equal(other(X), model(X))
    assert model.float()(X.float()).dtype == torch.float32
    assert sum(p.numel() for p in model.parameters()) == 3 * sum(p.numel() for p in make().parameters())


def test_a_checkpoint_goes_on(tmp_path):
    options = {"steps": 12, "lr": 0.02, "every": 6, "progress": False}
    through = Ensemble(make, seeds=3)
    fit(through, through.each(supervised(mse_loss)), (X, Y), **options)
    for steps in (6, 12):
        model = Ensemble(make, seeds=3)
        loss = model.each(supervised(mse_loss))
        fit(model, loss, (X, Y), checkpoint=tmp_path / "c.pt", **options | {"steps": steps})
    assert torch.equal(model(X), through(X))


def test_frozen_parameters_and_buffers_stay():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make()
            self.net[0].weight.requires_grad_(False)
            self.register_buffer("scale", torch.rand(1).double())

        def forward(self, x):
            return self.net(x) * self.scale

    model = Ensemble(Scaled, seeds=2)
    weight, scale = (model[1].net[0].weight.clone(), model[1].scale.clone())
    assert not torch.equal(scale, model[0].scale)
    fit(model, model.each(supervised(mse_loss)), (X, Y), steps=3, lr=0.1, progress=False)
    assert torch.equal(model[1].net[0].weight, weight)
    assert torch.equal(model[1].scale, scale)
    assert torch.allclose(model(X)[1], model[1](X), atol=1e-14)


def test_noise_differs_between_members():
    model = Ensemble(lambda: nn.Sequential(nn.Linear(1, 50), nn.Dropout(0.5)), seeds=[0, 1])
    zeros = model(torch.ones(1, 1)) == 0
    assert not torch.equal(zeros[0], zeros[1])
    model.eval()
    assert (model(torch.ones(1, 1)) != 0).all()
    assert not model[0].training


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Ensemble(make, seeds=0), ValueError, "seeds must be a number of members, at least 1"),
        (lambda: Ensemble(make, seeds=(1, 1)), ValueError, "different seeds; got"),
        (lambda: Ensemble(lambda: 3.0), TypeError, "make must make a module with parameters, it made float"),
        (lambda: Ensemble(cache(make)), ValueError, "make must make a new module at each call"),
        (lambda: Ensemble(make)[5], IndexError, "the ensemble has 5 members, there is no number 5"),
        (lambda: Ensemble(make).each(supervised(mse_loss))(make(), X, Y), ValueError, "loss of this ensemble"),
    ],
)
def test_what_makes_no_ensemble_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
