"""The training loop: it goes downhill, goes on to the same digits, stops when told, and says what is wrong."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from ndelib.models import MLP, NeuralODE
from ndelib.training import TrainingDiverged, evaluate, fit, supervised

SQUARES = supervised(mse_loss)


def line(n=64):
    x = torch.linspace(-1, 1, n)[:, None]
    return x, 2 * x + 1


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_step_is_pytorchs_own():
    ours, theirs, data = network(), network(), line()
    history = fit(ours, SQUARES, data, steps=20, lr=0.01, progress=False)
    optimizer, losses = torch.optim.Adam(theirs.parameters(), lr=0.01), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = mse_loss(theirs(data[0]), data[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert same(ours, theirs)
    assert history.loss == losses


def test_the_line_is_found():
    model = nn.Linear(1, 1)
    fit(model, SQUARES, line(), steps=300, lr=0.1, progress=False)
    assert model.weight.item() == pytest.approx(2, abs=1e-3)
    assert model.bias.item() == pytest.approx(1, abs=1e-3)


def test_a_loss_of_the_model_alone_needs_no_labels():
    x = 3 + 2 * torch.randn(4096, generator=torch.Generator().manual_seed(0))

    class Normal(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.log_scale = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

        def log_prob(self, x):
            return torch.distributions.Normal(self.mean, self.log_scale.exp()).log_prob(x)

    model = Normal()
    fit(model, lambda model, x: -model.log_prob(x).mean(), x, steps=400, lr=0.05, progress=False)
    assert model.mean.item() == pytest.approx(x.mean().item(), abs=1e-2)
    assert model.log_scale.exp().item() == pytest.approx(x.std().item(), abs=1e-2)


def test_every_sample_is_taken_once_before_one_is_taken_again():
    seen = []

    def loss(model, x, rows):
        seen.append(rows)
        return model(x).square().mean()

    x, rows = torch.zeros(12, 1), torch.arange(12)
    fit(nn.Linear(1, 1), loss, (x, rows), steps=6, lr=0.1, batch_size=4, progress=False)
    assert all(len(batch) == 4 for batch in seen)
    epochs = [torch.cat(seen[:3]), torch.cat(seen[3:])]
    assert all(epoch.sort()[0].equal(rows) for epoch in epochs)
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("schedule", [None, "cosine", "onecycle"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_resumed_training_gives_the_same_digits(tmp_path, schedule, optimizer):
    how = {"steps": 30, "lr": 0.05, "batch_size": 8, "schedule": schedule, "optimizer": optimizer, "every": 5}
    how |= {"clip": 1.0, "validation": line(10), "seed": 3, "progress": False}
    whole, file = network(0.5), tmp_path / "run.pt"
    history = fit(whole, SQUARES, line(), **how)

    class PowerCut(Exception):
        pass

    left = [17]

    def until_the_cut(model, x, y):
        left[0] -= 1 if model.training else 0
        if left[0] < 0:
            raise PowerCut
        return SQUARES(model, x, y)

    with pytest.raises(PowerCut):
        fit(network(0.5), until_the_cut, line(), checkpoint=file, **how)
    torch.manual_seed(99)  # what happens outside does not matter
    again = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1))
    resumed = fit(again, SQUARES, line(), checkpoint=file, **how)
    assert same(whole, again)
    assert (resumed.loss, resumed.validation) == (history.loss, history.validation)


def test_a_training_that_has_ended_is_not_made_again_and_can_go_on(tmp_path):
    file, how = tmp_path / "run.pt", {"lr": 0.05, "batch_size": 8, "every": 5, "progress": False}
    first, longer, whole = network(), network(), network()
    fit(first, SQUARES, line(), steps=20, checkpoint=file, **how)
    written = file.stat().st_mtime_ns
    assert len(fit(network(), SQUARES, line(), steps=20, checkpoint=file, **how).loss) == 20
    assert file.stat().st_mtime_ns == written
    fit(longer, SQUARES, line(), steps=30, checkpoint=file, **how)
    fit(whole, SQUARES, line(), steps=30, **how)
    assert same(longer, whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    file, how = tmp_path / "run.pt", {"steps": 2, "progress": False}
    fit(network(), SQUARES, line(), lr=0.05, checkpoint=file, **how)
    with pytest.raises(ValueError, match=r"run\.pt' is of another model: "):
        fit(nn.Linear(1, 1), SQUARES, line(), lr=0.05, checkpoint=file, **how)
    with pytest.raises(ValueError, match=r"was made with lr=0.05, and this call has lr=0.1: name another file"):
        fit(network(), SQUARES, line(), lr=0.1, checkpoint=file, **how)
    with pytest.raises(ValueError, match=r"was made with optimizer='Adam', and this call has optimizer='SGD'"):
        fit(network(), SQUARES, line(), lr=0.05, optimizer=torch.optim.SGD, checkpoint=file, **how)


def test_a_seed_decides_and_nothing_outside_is_touched():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    how = {"steps": 10, "lr": 0.05, "batch_size": 8, "progress": False}
    models = [network(0.5) for _ in range(3)]
    torch.set_rng_state(before)
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit(model, SQUARES, line(), seed=seed, **how)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_patience_ends_it_with_the_best_weights():
    """The validation data ask for another slope, so the loss on them falls and then rises."""
    model, x = nn.Linear(1, 1, bias=False), torch.linspace(-1, 1, 64)[:, None]
    nn.init.zeros_(model.weight)
    history = fit(
        model, SQUARES, (x, 2 * x), steps=400, lr=0.01, validation=(x, x), patience=3, every=10, progress=False
    )
    steps, losses = zip(*history.validation, strict=True)
    assert history.stopped_early
    assert len(history.loss) == steps[-1] < 400
    assert losses.index(min(losses)) == len(losses) - 4
    assert evaluate(model, SQUARES, (x, x)) == min(losses)


def test_validation_is_in_eval_mode_and_without_a_graph():
    modes = []

    def loss(model, x, y):
        modes.append((model.training, torch.is_grad_enabled()))
        return SQUARES(model, x, y)

    fit(network(0.5), loss, line(), steps=2, lr=0.1, validation=line(), every=2, progress=False)
    assert modes == [(True, True), (True, True), (False, False)]


def test_clipping_bounds_the_step():
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    far = (torch.full((4, 1), 100.0), torch.full((4, 1), 1e4))
    fit(model, SQUARES, far, steps=1, lr=0.5, optimizer=torch.optim.SGD, clip=0.1, progress=False)
    assert abs(model.weight.item() - start) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("schedule", "first"), [("cosine", 1.0), ("onecycle", 0.04)])
def test_schedules_end_near_zero(schedule, first):
    rates, optimizers = [], []

    def optimizer(parameters, lr):
        optimizers.append(torch.optim.SGD(parameters, lr=lr))
        return optimizers[0]

    def loss(model, x, y):
        rates.append(optimizers[0].param_groups[0]["lr"])
        return SQUARES(model, x, y)

    how = {"steps": 40, "lr": 1e-3, "optimizer": optimizer, "schedule": schedule}
    fit(network(), loss, line(), progress=False, **how)
    assert rates[0] == pytest.approx(first * 1e-3)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 1e-5


def test_the_history_knows_the_evaluations_of_a_neural_ode():
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    model = NeuralODE(MLP(2, 8), decoder=nn.Linear(2, 2), method="rk4", step_size=0.25)
    loss = supervised(cross_entropy)
    history = fit(model, loss, (x, (x[:, 0] > 0).long()), steps=30, lr=0.02, progress=False)
    assert history.nfe == [16] * 30
    assert history.loss[-1] < history.loss[0]
    assert history.seconds > 0
    assert fit(network(), SQUARES, line(), steps=1, lr=0.1, progress=False).nfe == []


def test_a_loss_that_is_no_number_says_when_and_what_to_try():
    with pytest.raises(TrainingDiverged, match=r"the loss is nan at step 0, .* the labels or the loss: look for NaN"):
        fit(network(), SQUARES, (line()[0], torch.full((64, 1), math.nan)), steps=3, lr=0.1, progress=False)
    how = {"optimizer": torch.optim.SGD, "lr": 1e6, "progress": False}
    with pytest.raises(
        TrainingDiverged, match=r"at step [1-9]\d*, with lr=1e\+06; the losses before were .* smaller lr"
    ):
        fit(network(), SQUARES, line(), steps=100, **how)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (line()[0], ValueError, r"this loss needs labels: data must be \(x, y\), two tensors; it has 1"),
        ((line()[0], line(3)[1]), ValueError, r"as many rows in every tensor.* \(64, 1\), \(3, 1\)"),
        ((torch.zeros(0, 1), torch.zeros(0, 1)), ValueError, "at least one"),
        (([1.0], [2.0]), TypeError, r"data must be a tensor or several, such as \(x, y\).* got list, list"),
    ],
)
def test_wrong_data_is_named(data, kind, message):
    with pytest.raises(kind, match=message):
        fit(network(), SQUARES, data, steps=3, lr=0.1, progress=False)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be a number of gradient steps, at least 1, got 0"),
        ({"lr": -1.0}, ValueError, "lr must be positive"),
        ({"batch_size": 65}, ValueError, "batch_size must be between 1 and the 64 samples of data, got 65"),
        ({"schedule": "linear"}, ValueError, "schedule must be None, 'cosine' or 'onecycle'"),
        ({"patience": 3}, ValueError, "patience=3 counts measurements on validation data"),
        ({"loss": mse_loss}, TypeError, r"loss is called as loss\(model, \*batch\): write loss=supervised"),
        ({"loss": nn.MSELoss()}, TypeError, r"loss is called as loss\(model, \*batch\): write loss=supervised"),
        ({"loss": lambda model, x, y: model(x)}, TypeError, r"one number .* returned a tensor of the shape \(64, 1\)"),
        ({"loss": lambda model, x, y: 1.0}, TypeError, "one number .* returned float"),
        ({"validation": [1.0]}, TypeError, "validation must be a tensor or several"),
    ],
)
def test_wrong_arguments_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        fit(
            **{
                "model": network(),
                "loss": SQUARES,
                "data": line(),
                "steps": 2,
                "lr": 0.1,
                "progress": False,
                **arguments,
            }
        )


def test_the_bar_shows_and_goes_and_is_not_there_in_the_books_build(monkeypatch, capsys):
    monkeypatch.delenv("NDELIB_STATIC", raising=False)
    fit(network(), SQUARES, line(), steps=2, lr=0.1)
    shown = capsys.readouterr().err
    assert "0/2" in shown
    assert shown.rsplit("\r", 1)[-1].strip() == ""
    monkeypatch.setenv("NDELIB_STATIC", "1")
    fit(network(), SQUARES, line(), steps=2, lr=0.1)
    fit(network(), SQUARES, line(), steps=2, lr=0.1, progress=False)
    assert capsys.readouterr().err == ""
