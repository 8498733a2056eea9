"""Shooting's loss is zero at the true field; one segment is single shooting; gaps and masks count as they should."""

import math

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from ndelib.models import MLP, Autonomous, MultipleShooting, SegmentFailed, segments, shooting_loss
from ndelib.training import fit

F64 = torch.float64
A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=F64)
T = torch.linspace(0, 6, 61, dtype=F64)
Y = torch.stack([torch.matrix_exp(t * A) @ torch.tensor([1.0, 0.5], dtype=F64) for t in T])
TIGHT = {"method": "dopri5", "rtol": 1e-10, "atol": 1e-10}


def spiral(t, y):
    return y @ A.T


def network(seed=0):
    torch.manual_seed(seed)
    return MLP(2, 8).double()


@pytest.mark.parametrize("length", [None, 7, 20, 60])
def test_the_loss_at_the_true_field_is_zero_to_the_solvers_accuracy(length):
    assert shooting_loss(spiral, *segments(T, Y, length), **TIGHT) < 1e-17
    for starts in ("data", "learned"):
        assert MultipleShooting(spiral, T, Y, length, starts=starts, **TIGHT)() < 1e-17


def test_the_error_of_the_loss_is_that_of_the_method():
    value = shooting_loss(spiral, T, Y)  # rk4, one step an interval: a relative error of (h|λ|)⁵/120 in each
    n = torch.arange(1, 61, dtype=F64)
    error = n * (0.1 * 2.0025) ** 5 / 120 * Y[1:].norm(dim=1)
    assert value.item() == pytest.approx(error.square().mean().item() / 2, rel=0.05)


def test_one_segment_is_single_shooting():
    field = network()
    single = shooting_loss(field, T, Y)
    multiple = MultipleShooting(field, T, Y, 60, starts="data")()
    assert torch.equal(single, multiple)
    assert shooting_loss(field, T, Y, starts=Y[:1]).item() == pytest.approx(single.item() * 60 / 61, rel=1e-12)


def test_several_trajectories_are_the_mean_of_each():
    field, other = network(), Y.flip(1)
    both = shooting_loss(field, T, torch.stack([Y, other]))
    assert both.item() == pytest.approx((shooting_loss(field, T, Y) + shooting_loss(field, T, other)).item() / 2)


def test_the_gradient_is_that_of_finite_differences():
    shooting = MultipleShooting(network(), T, Y + 0.1 * torch.sin(7 * Y), 20, continuity=3.0)
    shooting.multipliers += 0.3
    names = [name for name, _ in shooting.named_parameters()]

    def value(*parameters):
        return functional_call(shooting, dict(zip(names, parameters, strict=True)), ())

    assert "starts" in names
    assert torch.autograd.gradcheck(value, tuple(shooting.parameters()))


def test_the_loss_is_misfit_and_gaps_and_multipliers():
    shooting = MultipleShooting(network(), T, Y, 25, continuity=2.0)  # the last segment begins at 35, inside the second
    assert shooting.t[:, 0].tolist() == pytest.approx([0.0, 2.5, 3.5])
    states = shooting.states()
    gaps = torch.stack([states[0, 25] - shooting.starts[1], states[1, 10] - shooting.starts[2]])
    assert torch.allclose(shooting.gaps(), gaps)
    misfit = (states - shooting.y).square().mean()
    assert shooting().item() == pytest.approx((misfit + 2 * gaps.square().mean()).item())
    shooting.tighten(3.0)
    assert torch.allclose(shooting.multipliers, 4 * gaps)
    assert shooting.continuity == 6.0
    assert shooting().item() == pytest.approx((misfit + (6 + 4) * gaps.square().mean()).item())


def test_a_batch_of_segments_has_their_part_of_the_loss():
    shooting = MultipleShooting(network(), T, Y, 20, continuity=0.0)
    parts = [MultipleShooting.loss(shooting, shooting.rows[i : i + 1]).item() for i in range(3)]
    assert shooting().item() == pytest.approx(sum(parts) / 3)
    shooting.continuity = 1.0
    alone = shooting(torch.tensor([1]))
    assert alone.item() == pytest.approx(parts[1] + shooting.gaps()[1].square().mean().item())


def test_the_augmented_constraint_closes_the_gaps_at_a_small_weight():
    torch.manual_seed(0)
    noisy = Y + 0.1 * torch.randn_like(Y)

    def trained(rounds):
        field = Autonomous(torch.nn.Linear(2, 2, bias=False).double())
        with torch.no_grad():
            field.net.weight.copy_(A)
        shooting = MultipleShooting(field, T, noisy, 20, continuity=0.3)
        for _ in range(rounds):
            to_the_minimum(shooting)
            shooting.tighten(1.0)
        return shooting.gaps().abs().max().item()

    assert trained(6) < 0.05 * trained(1)


def to_the_minimum(shooting):
    optimizer = torch.optim.LBFGS(shooting.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = shooting()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_what_is_masked_plays_no_part():
    mask = torch.ones(61, 2, dtype=torch.bool)
    mask[6:50:3, 1] = False
    hidden = torch.where(mask, Y, math.nan)
    assert MultipleShooting(spiral, T, hidden, 20, mask=mask, **TIGHT)() < 1e-15
    field = network()
    value = shooting_loss(field, *segments(T, hidden, 60, mask=mask))
    seen = (MultipleShooting(field, T, Y, 60, starts="data").states() - Y)[:, 1:][:, mask[1:]]
    assert value.item() == pytest.approx(seen.square().mean().item())
    value.backward()
    assert all(p.grad.isfinite().all() for p in field.parameters())


def test_a_learned_start_finds_what_is_not_observed():
    first = lambda y: y[..., :1]  # noqa: E731
    starts = torch.tensor([1.0, 0.0], dtype=F64)
    shooting = MultipleShooting(spiral, T, Y[:, :1], 20, observe=first, starts=starts)
    to_the_minimum(shooting)
    assert (shooting.starts - Y[[0, 20, 40]]).abs().max() < 1e-3


def test_fit_trains_it_with_batches_of_segments():
    torch.manual_seed(0)
    field = Autonomous(torch.nn.Linear(2, 2, bias=False).double())
    fit(field, shooting_loss, segments(T, Y, 10), steps=200, lr=0.1, batch_size=3, schedule="cosine", progress=False)
    assert (field.net.weight - A).abs().max() < 1e-3
    shooting = MultipleShooting(Autonomous(torch.nn.Linear(2, 2, bias=False).double()), T, Y, 10)
    history = fit(shooting, MultipleShooting.loss, shooting.rows, steps=200, lr=0.05, schedule="cosine", progress=False)
    assert history.loss[-1] < 0.05 * history.loss[0]


@pytest.mark.parametrize("power", [1.0, 1.3], ids=["even", "uneven"])
def test_fields_of_several_seeds_are_trained_together(power):
    fields = [network(seed) for seed in range(3)]
    t = 6 * (T / 6) ** power
    data = segments(t, Y, 20)
    stacked, _ = stack_module_state(fields)

    def loss(parameters):
        return shooting_loss(lambda t, y: functional_call(fields[0], parameters, (t, y)), *data)

    together = vmap(loss)(stacked)
    alone = torch.stack([shooting_loss(field, *data) for field in fields])
    assert torch.allclose(together, alone, rtol=1e-12)


def test_long_single_shooting_has_many_valleys_where_multiple_shooting_has_one():
    t = torch.linspace(0, 20, 201, dtype=F64)
    y = torch.stack([t.cos(), -t.sin()], -1)
    pieces = segments(t, y, 10)
    omegas = torch.linspace(0.2, 2.0, 61, dtype=F64)

    def valleys(*data):
        def loss(w):
            return shooting_loss(lambda t, y: w * torch.stack([y[..., 1], -y[..., 0]], -1), *data)

        value = torch.stack([loss(w) for w in omegas])
        return int(((value[1:-1] < value[:-2]) & (value[1:-1] < value[2:])).sum())

    assert valleys(*pieces) == 1
    assert valleys(t, y) > 3


def test_a_blow_up_says_which_segment():
    with pytest.raises(SegmentFailed, match=r"segment 0 of 3, from t = 0 to 2"):
        MultipleShooting(lambda t, y: 50 * y**3, T, Y, 20)()


def wrong_calls():
    hidden = torch.ones(61, 2, dtype=torch.bool)
    hidden[20] = False
    first = lambda y: y[..., :1]  # noqa: E731
    yield lambda: shooting_loss(spiral, T[:5], Y), r"t must be \(61,\) or \(1, 61\)"
    yield lambda: shooting_loss(spiral, T, Y[:, 0]), r"y must be \(T, d\) or \(N, T, d\)"
    yield lambda: shooting_loss(spiral, T, Y, ~hidden), r"mask is False at the first point of row 0"
    yield lambda: shooting_loss(spiral, T, Y, observe=first), r"starts must be given with observe="
    yield lambda: shooting_loss(spiral, T, Y[:, :1], starts=Y[:1]), r"are \(1, 61, 2\), and y is \(1, 61, 1\)"
    yield lambda: shooting_loss(spiral, T, Y, torch.ones(61, 2)), r"mask must hold True and False"
    yield lambda: MultipleShooting(spiral, T, Y, 20, starts="data", mask=hidden), r"first point of segment 1, at t = 2:"
    yield lambda: MultipleShooting(spiral, T, Y[:, :1], 20, observe=first), r"starts must be a tensor with observe="
    yield lambda: MultipleShooting(spiral, T, Y, 20, starts="guess"), r'starts must be "data", "learned" or a tensor'
    yield lambda: MultipleShooting(spiral, T, Y, 20, starts=Y[:2]), r"starts must be \(3, state\) or \(state,\)"
    yield lambda: MultipleShooting(spiral, T, Y, 20, continuity=-1), r"continuity must be a number, 0 or more"
    yield lambda: MultipleShooting(spiral, T, Y, 20).tighten(0.5), r"factor must be at least 1"


@pytest.mark.parametrize(("call", "message"), list(wrong_calls()))
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
