"""The rivals of neural CDEs have the equations of their papers, and padding changes nothing."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from ndelib import odeint
from ndelib.models import GRU, GRUD, ODERNN, NeuralCDE, resample
from ndelib.training import Ensemble, fit

F64 = torch.float64
NAN = math.nan
KINDS = {
    "gru": lambda **how: GRU(2, 4, 3, **how),
    "gru, time and mask": lambda **how: GRU(2, 4, 3, time=True, mask=True, **how),
    "gru-d": lambda **how: GRUD(2, 4, 3, **how),
    "ode-rnn": lambda **how: ODERNN(2, 4, 3, width=5, **how),
}


def make(name, seed=0, **how):
    torch.manual_seed(seed)
    return KINDS[name](**how).double()


def data(batch=3, rows=9, channels=2, seed=1, gaps=0.0):
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(batch, rows, generator=generator, dtype=F64).add(0.2).cumsum(1) / rows
    x = torch.randn(batch, rows, channels, generator=generator, dtype=F64)
    return t, x.masked_fill(torch.rand(batch, rows, channels, generator=generator) < gaps, NAN)


def close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def sigmoid(x):
    return 1 / (1 + (-x).exp())


# The equations


@pytest.mark.parametrize(("time", "mask"), [(False, False), (True, True)])
def test_the_gru_is_torch_s_number_by_number(time, mask):
    t, x = data()
    model = GRU(2, 4, 3, time=time, mask=mask).double()
    theirs = torch.nn.GRU(2 + time + 2 * mask, 4, batch_first=True).double()
    with torch.no_grad():
        for name, layer in (("ih", model.cell.of_input), ("hh", model.cell.of_state)):
            getattr(theirs, f"weight_{name}_l0").copy_(layer.weight)
            getattr(theirs, f"bias_{name}_l0").copy_(layer.bias)
    gap = torch.cat([torch.zeros(3, 1, dtype=F64), t.diff(dim=1)], 1)[..., None]
    inputs = torch.cat([x, *([gap] if time else []), *([torch.ones_like(x)] if mask else [])], -1)
    states, last = theirs(inputs)
    close(model.trajectory(t, x), states)
    close(model(t, x), model.readout(last[0]))


def test_its_first_weights_are_drawn_as_torch_s():
    torch.manual_seed(0)
    weight = GRU(20, 100, 1).cell.of_state.weight
    assert weight.abs().max() <= 0.1
    assert weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.01)  # 30000 numbers


def test_what_the_gru_sees_of_gaps():
    t = torch.tensor([0.0, 1.0, 3.0, 3.5, 6.0], dtype=F64)
    x = torch.tensor([[NAN, 5.0], [NAN, NAN], [1.0, NAN], [NAN, NAN], [NAN, 6.0]], dtype=F64)[None]
    model = GRU(2, 4, 3, time=True, mask=True, mean=torch.tensor([0.5, -0.5])).double()
    # by hand: rows 1 and 3 are skipped; the last value, or the mean before there was one; time since the last row seen
    seen = [[0.5, 5, 0, 0, 1], [1, 5, 3, 1, 0], [1, 6, 3, 0, 1]]
    h = torch.zeros(1, 4, dtype=F64)
    for row in seen:
        h = model.cell(model.cell.of_input(torch.tensor([row], dtype=F64)), h)
    close(model(t, x), model.readout(h))


def test_gru_d_has_the_equations_of_che_et_al():
    t, x = data(1, 7, gaps=0.4)
    x[0, 4] = NAN  # a row without any observation is no row of theirs
    mean = torch.tensor([0.25, -0.75], dtype=F64)
    model = make("gru-d", mean=mean)
    with torch.no_grad():
        model.decay_x.copy_(torch.tensor([1.3, 0.4]))
        model.decay_x_bias.copy_(torch.tensor([0.1, -0.2]))
    W, V = model.of_data.weight[:, :2], model.of_data.weight[:, 2:]
    (W_z, W_r, W_h), (V_z, V_r, V_h) = W.chunk(3), V.chunk(3)
    b_z, b_r, b_h = model.of_data.bias.chunk(3)
    (U_z, U_r), U_h = model.gates.weight.chunk(2), model.candidate.weight
    keep = [i for i in range(7) if not x[0, i].isnan().all()]
    s, delta, last, h = None, torch.zeros(2, dtype=F64), mean.clone(), torch.zeros(4, dtype=F64)
    m_before = torch.ones(2, dtype=F64)
    for i in keep:
        m = (~x[0, i].isnan()).double()
        if s is not None:  # equation (1)
            delta = torch.where(m_before == 1, t[0, i] - s, t[0, i] - s + delta)
        gamma_x = (-(model.decay_x * delta + model.decay_x_bias).clamp(min=0)).exp()  # (10)
        gamma_h = (-(model.decay_h.weight @ delta + model.decay_h.bias).clamp(min=0)).exp()
        value = x[0, i].nan_to_num()
        x_hat = m * value + (1 - m) * (gamma_x * last + (1 - gamma_x) * mean)  # (11)
        h = gamma_h * h  # (12)
        z = sigmoid(W_z @ x_hat + U_z @ h + V_z @ m + b_z)
        r = sigmoid(W_r @ x_hat + U_r @ h + V_r @ m + b_r)
        h = (1 - z) * h + z * (W_h @ x_hat + U_h @ (r * h) + V_h @ m + b_h).tanh()
        last, s, m_before = torch.where(m == 1, value, last), t[0, i], m
    close(model.trajectory(t, x)[0, keep[-1]], h)


def test_gru_d_with_nothing_missing_has_one_decay_of_the_state_left():
    t, x = data()
    model = make("gru-d")
    first = model(t, x)
    with torch.no_grad():
        model.decay_x += 1.0
        model.mean += 1.0
    assert torch.equal(model(t, x), first)  # nothing to fill
    assert not torch.allclose(model(t**2, x), first, atol=1e-4)  # the state decays with time
    with torch.no_grad():
        model.decay_h.weight.zero_()
    close(model(t**2, x), model(t, x))  # and then no more
    # With the reset gate open both papers' gates are one, and what is left is a GRU that sees the mask
    gru = GRU(2, 4, 3, mask=True).double()
    with torch.no_grad():
        model.decay_h.bias.fill_(-1.0)
        for layer in (gru.cell.of_input, gru.cell.of_state):
            layer.bias.zero_()
        # (z, r, n) there, (r, z, n) here; h' = (1 − z) h + z n there, (1 − z) n + z h here
        (z, r, n), (bz, _, bn) = model.of_data.weight.chunk(3), model.of_data.bias.chunk(3)
        gru.cell.of_input.weight.copy_(torch.cat([r, -z, n]))
        gru.cell.of_input.bias.copy_(torch.cat([torch.full((4,), 50.0), -bz, bn]))
        model.of_data.bias[4:8] = 50.0
        (uz, ur), un = model.gates.weight.chunk(2), model.candidate.weight
        gru.cell.of_state.weight.copy_(torch.cat([ur, -uz, un]))
        gru.readout.load_state_dict(model.readout.state_dict())
    close(gru(t, x), model(t, x))


def test_the_ode_rnn_flows_between_observations():
    t, x = data(1, 6, gaps=0.3)
    x[0, 0], x[0, 3] = 1.0, NAN  # a row that is skipped: the flow goes on to the next
    model = make("ode-rnn", method="dopri5", rtol=1e-10, atol=1e-12)
    h, before = torch.zeros(4, dtype=F64), None
    for i in (0, 1, 2, 4, 5):
        if before is not None:
            h = odeint(model.field, h, [t[0, before].item(), t[0, i].item()], rtol=1e-10, atol=1e-12)[-1]
        m = ~x[0, i].isnan()
        if not m.any():
            continue
        h = model.cell(model.cell.of_input(torch.cat([x[0, i].nan_to_num(), m.double()])), h)
        before = i
    close(model(t, x)[0], model.readout(h), atol=1e-8)
    errors = [(make("ode-rnn", steps=n)(t, x) - model(t, x)).abs().max().item() for n in (4, 8)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)  # midpoint has order 2


# What all of them share


@pytest.mark.parametrize("name", KINDS)
def test_rows_without_observations_around_a_sample_change_nothing(name):
    model = make(name)
    t, x = data(1, 9, gaps=0.3)
    x[0, 0], x[0, -1] = 1.0, 1.0
    t_more = torch.cat([t, torch.tensor([[-5.0, NAN, 3.0]], dtype=F64)], 1)
    x_more = torch.cat([x, torch.full((1, 3, 2), NAN, dtype=F64)], 1)
    close(model(t_more, x_more), model(t, x))
    close(model(t_more.roll(3, 1), x_more.roll(3, 1)), model(t, x))
    longer = data(1, 12, seed=5)
    both = model(torch.cat([t_more, longer[0]]), torch.cat([x_more, longer[1]]))
    close(both, torch.cat([model(t, x), model(*longer)]))


@pytest.mark.parametrize("name", KINDS)
def test_a_row_of_nan_amid_a_sample_is_as_if_it_were_not_there(name):
    # an ODE-RNN goes over the gap with one step more or less: let it be exact
    how = {"method": "dopri5", "rtol": 1e-11, "atol": 1e-13} if name == "ode-rnn" else {}
    model = make(name, **how)
    t, x = data(2, 9)
    keep = [0, 1, 2, 5, 6, 8]
    dropped = x.clone()
    dropped[:, [3, 4, 7]] = NAN
    close(model(t, dropped), model(t[:, keep], x[:, keep]), atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_later_observations_never_change_earlier_outputs(name):
    model = make(name)
    t, x = data(2, 9, gaps=0.3)
    x[:, 0] = 0.0
    other = x.clone()
    other[:, 5:] = 2.0
    apart = (model.online(t, x) - model.online(t, other)).abs().amax((0, -1))
    assert apart[:5].max() == 0
    assert apart[5:].min() > 0
    assert model.online(t, x).shape == (2, 9, 3)
    close(model.online(t, x)[:, -1], model(t, x))


@pytest.mark.parametrize("name", KINDS)
def test_a_channel_that_is_never_there_has_its_mean(name):
    t, x = data(2, 6)
    x[1, :, 0] = NAN
    assert make(name)(t, x).isfinite().all()
    single = make(name)(t[:, :1], x[:, :1])  # one row is enough
    assert single.shape == (2, 3)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_finite_differences(name):
    model = make(name)
    t, x = data(2, 5, gaps=0.3)
    seen = ~x.isnan()
    names = [name for name, _ in model.named_parameters()]

    def through(values, times, *parameters):
        given = torch.full_like(x, NAN)
        given[seen] = values
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (times, given))

    inputs = (x[seen].clone(), t.clone(), *(p.detach().clone() for p in model.parameters()))
    assert gradcheck(through, tuple(part.requires_grad_() for part in inputs), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", KINDS)
def test_several_seeds_at_once_are_each_alone(name):
    t, x = data(gaps=0.3)
    model = Ensemble(lambda: make(name, seed=torch.initial_seed()), seeds=3)
    for member, output in zip(model, model(t, x), strict=True):
        close(output, member(t, x))
    loss = model.each(lambda m, t, x: m(t, x).square().mean())
    history = fit(model, loss, (t, x), steps=20, lr=0.02, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]


@pytest.mark.parametrize("name", KINDS)
def test_single_precision_and_one_calling_convention(name):
    t, x = data(gaps=0.3)
    model, mask = make(name), ~x.isnan()
    exact = model(t, x)
    close(model(t, x.nan_to_num(3.0), mask), exact)
    torch.testing.assert_close(model.float()(t.float(), x.float()).double(), exact, rtol=0, atol=1e-5)


# Another grid


def test_resampling_is_numpy_s_interpolation():
    np = pytest.importorskip("numpy")
    t, x = data(4, 11, gaps=0.4)
    x[2, :, 1] = NAN
    x[3, 8:] = NAN
    grid = torch.linspace(-0.1, 1.4, 31, dtype=F64)
    times, values = resample(t, x, grid)
    assert times is grid
    assert values[2, :, 1].isnan().all()
    for sample in range(4):
        for channel in range(2):
            seen = ~x[sample, :, channel].isnan()
            if seen.any():
                there = np.interp(grid.numpy(), t[sample, seen].numpy(), x[sample, seen, channel].numpy())
                close(values[sample, :, channel], torch.from_numpy(there))


def test_an_even_grid_goes_from_a_sample_s_beginning_to_its_end():
    t, x = data(3, 9)
    x[1, 5:] = NAN
    x[2, :2] = NAN
    times, values = resample(t, x, 7)
    close(times[:, 0], torch.stack([t[0, 0], t[1, 0], t[2, 2]]))
    close(times[:, -1], torch.stack([t[0, 8], t[1, 4], t[2, 8]]))
    close(times.diff(dim=1), (times[:, -1:] - times[:, :1]).expand(-1, 6) / 6)
    close(values[:, 0], torch.stack([x[0, 0], x[1, 0], x[2, 2]]))
    assert make("gru")(times, values).shape == (3, 3)


def test_a_cde_on_lines_does_not_see_the_resampling():
    t, x = data(2, 5)
    torch.manual_seed(0)
    model = NeuralCDE(2, 4, 3, method="dopri5", rtol=1e-10, atol=1e-12).double()
    grid = torch.linspace(0, 1, 13, dtype=F64)
    both = torch.cat([t[0], grid[(grid > t[0, 0]) & (grid < t[0, -1])]]).sort().values  # a refinement of the knots
    close(model(*resample(t[:1], x[:1], both)), model(t[:1], x[:1]), atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GRU(2, 0, 3), "hidden must be a whole number, at least 1, got 0"),
        (lambda: GRUD(2, 4, 3, mean=torch.zeros(3)), "mean must be a number, or one for each of the 2 channels"),
        (lambda: GRU(2, 4, 3, mean=NAN), "mean must be a number, or one for each of the 2 channels"),
        (lambda: ODERNN(2, 4, 3, steps=0), "steps must be a whole number, at least 1, got 0"),
        (lambda: ODERNN(2, 4, 3, method="rk5"), "rk4"),
        (lambda: make("gru")(*data(channels=3)), "x has 3 channels and the model 2"),
        (lambda: make("gru")(data()[0].flip(1), data()[1]), "t must be strictly increasing"),
        (lambda: resample(*data(), 0), "grid must be a number of times, at least 1, or the times"),
        (lambda: resample(*data(), torch.tensor([NAN])), r"grid must hold finite times, \(n,\)"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
