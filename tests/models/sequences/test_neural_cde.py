"""A neural CDE depends on the curve through the observations, and on nothing else; and it is solved right."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from ndelib import CubicSpline, LinearInterpolation, cdeint, log_ode_field, natural_cubic_coeffs, odeint
from ndelib.models import NeuralCDE, NeuralRDE
from ndelib.models.sequences.paths import INTERPOLATIONS
from ndelib.solvers import (
    hermite_cubic_coefficients_with_backward_differences,
    linear_interpolation_coeffs,
    logsig_windows,
)
from ndelib.training import Ensemble, fit

F64 = torch.float64
NAN = math.nan
KINDS = list(INTERPOLATIONS)
CURVE = torch.linspace(0, 1, 15, dtype=F64)


def make(channels=2, hidden=4, outputs=3, seed=0, kind=NeuralCDE, **options):
    torch.manual_seed(seed)
    return kind(channels, hidden, outputs, width=8, **options).double()


def data(batch=3, rows=9, channels=2, seed=1, gaps=0.0):
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(batch, rows, generator=generator, dtype=F64).add(0.2).cumsum(1) / rows
    x = torch.randn(batch, rows, channels, generator=generator, dtype=F64)
    missing = torch.rand(batch, rows, channels, generator=generator) < gaps
    missing[:, 0] = False
    return t, x.masked_fill(missing, NAN)


def curve(t):
    return torch.stack([(3 * t).sin(), (2 * t).cos() * t], -1)


def close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


# What it solves


def test_along_a_smooth_path_it_is_the_ode_with_the_path_s_derivative():
    model = make(interpolation="cubic", method="dopri5", rtol=1e-10, atol=1e-12)
    t = torch.linspace(0, 1, 401, dtype=F64)

    def slope(time, z):
        dX = torch.stack([torch.ones_like(time), 3 * (3 * time).cos(), (2 * time).cos() - 2 * time * (2 * time).sin()])
        return (model.field(time, z) * dX).sum(-1)

    z0 = model.initial(torch.cat([t[:1], curve(t[0])]))
    exact = odeint(slope, z0, [0.0, 1.0], rtol=1e-11, atol=1e-13)[-1]
    # the natural spline is off by O(h²) at its ends, in a boundary layer of length O(h): h = 1/400
    close(model(t, curve(t)[None])[0], model.readout(exact), atol=1e-5)


def test_more_observations_of_a_curve_change_less_and_less():
    model = make(method="dopri5", rtol=1e-9, atol=1e-11)
    few, more, most = (model(t, curve(t)[None]) for t in (torch.linspace(0, 1, n, dtype=F64) for n in (21, 41, 81)))
    # lines are off by O(h²) in place, and z depends on place: the differences shrink by 4
    ratio = ((few - more).norm() / (more - most).norm()).item()
    assert ratio == pytest.approx(4, rel=0.15)


def test_without_a_time_channel_speed_does_not_matter():
    model = make(time=False, method="dopri5", rtol=1e-9, atol=1e-11)
    close(model(CURVE, curve(CURVE)[None]), model(CURVE**2 / 2, curve(CURVE)[None]), atol=1e-8)
    close(make(time=False)(CURVE, curve(CURVE)[None]), make(time=False)(CURVE**2 / 2, curve(CURVE)[None]))


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_time_channel_speed_matters(kind):
    model = make(interpolation=kind)
    assert (model(CURVE, curve(CURVE)[None]) - model(CURVE**2 / 2, curve(CURVE)[None])).abs().max() > 0.05


def test_a_curve_passed_twice_as_fast_by_its_middle_is_the_same_without_time():
    model = make(interpolation="cubic", time=False, method="dopri5", rtol=1e-10, atol=1e-12)
    t = torch.linspace(0, 1, 301, dtype=F64)
    clock = (t + 0.3 * t * (1 - t)) ** 2  # sampled densely, both splines are the curve itself
    close(model(t, curve(t)[None]), model(t, curve(clock / clock[-1])[None]), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fixed_step_solve_converges_to_the_adaptive_one(kind):
    t, x = data(gaps=0.2)
    exact = make(interpolation=kind, method="dopri5", rtol=1e-10, atol=1e-12)(t, x)
    errors = [(make(interpolation=kind, steps=n)(t, x) - exact).abs().max().item() for n in (4, 8, 16)]
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.3)  # midpoint has order 2
    assert errors[0] > errors[1]


def test_the_field_is_bounded_by_one():
    model, z = make(), 100 * torch.randn(50, 4, dtype=F64)
    matrix = model.field(0.0, z)
    assert matrix.shape == (50, 4, 3)
    assert 0.9 < matrix.abs().max() <= 1
    t, x = data()
    path = torch.cat([t[..., None], x], -1)
    # so no component of the state moves farther than all channels together
    moves = model.trajectory(t, x).diff(dim=1).abs().amax(-1)
    assert (moves <= path.diff(dim=1).abs().sum(-1) + 1e-12).all()


# Its paths are those of ndelib


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_paths_of_full_samples_are_those_of_the_solvers(rows):
    t, x = data(1, rows)
    t, x = t[0], torch.cat([t[..., None], x], -1)[0]
    at = torch.linspace(0, rows - 1, 8 * rows, dtype=F64)
    i = at.long().clamp(max=rows - 2)
    times = t[i] + (at - i) * t.diff()[i]
    theirs = {
        "linear": LinearInterpolation(linear_interpolation_coeffs(x, t), t),
        "cubic": CubicSpline(natural_cubic_coeffs(x, t), t),
        "hermite": CubicSpline(hermite_cubic_coefficients_with_backward_differences(x, t), t),
    }
    for kind, path in theirs.items():
        ours = make(interpolation=kind).path(t, x[None, :, 1:])
        close(ours.evaluate(at)[0], path.evaluate(times))
        close(ours.derivative(at[1:-1])[0], path.derivative(times[1:-1]) * t.diff()[i[1:-1], None], atol=1e-10)
    knots = linear_interpolation_coeffs(x, rectilinear=0)
    ours = make(interpolation="rectilinear").path(t, x[None, :, 1:])
    close(ours.evaluate(ours.grid_points)[0], knots)


def test_cubic_paths_with_gaps_are_splines_of_what_is_there():
    t = torch.tensor([0.0, 0.3, 0.4, 0.9, 1.1, 2.0, 2.1], dtype=F64)
    x = torch.tensor([NAN, 1.0, NAN, 4.0, 2.0, 7.0, NAN], dtype=F64)[None, :, None]
    x = torch.cat([x, torch.ones(1, 7, 1, dtype=F64)], -1)  # a channel that is always there
    path = make(interpolation="cubic").path(t, x)
    spline = CubicSpline(natural_cubic_coeffs(x[0, [1, 3, 4, 5], :1], t[[1, 3, 4, 5]]), t[[1, 3, 4, 5]])
    at = torch.linspace(1, 5, 33, dtype=F64)
    i = at.long().clamp(max=5)
    close(path.evaluate(at)[0, :, 1:2], spline.evaluate((t[i] + (at - i) * t.diff()[i]).clamp(max=2.0)))
    close(path.evaluate(torch.linspace(0, 1, 9, dtype=F64))[0, :, 1], torch.ones(9, dtype=F64))
    close(path.evaluate(torch.linspace(5, 6, 9, dtype=F64))[0, :, 1], torch.full((9,), 7.0, dtype=F64))


@pytest.mark.parametrize("kind", ["linear", "cubic", "hermite"])
def test_a_channel_observed_once_is_constant(kind):
    t, x = data(1)
    x[0, 3, 1], x[0, :3, 1], x[0, 4:, 1] = 5.0, NAN, NAN
    path = make(interpolation=kind).path(t.requires_grad_(), x.requires_grad_())
    values = path.evaluate(torch.linspace(0, 8, 33, dtype=F64))
    assert (values[0, :, 2] == 5).all()
    values.sum().backward()
    assert x.grad.isfinite().all()
    assert t.grad.isfinite().all()


def test_points_on_a_straight_line_may_be_dropped():
    t = torch.linspace(0, 1, 11, dtype=F64)
    x = torch.stack([2 * t - 1, 3 - t], -1)[None]
    model = make(method="dopri5", rtol=1e-9, atol=1e-11)
    dropped = x.clone()
    dropped[0, 3:6], dropped[0, 8, 1] = NAN, NAN
    close(model(t, dropped), model(t, x), atol=1e-9)
    close(model(t[[0, 10]], x[:, [0, 10]]), model(t, x), atol=1e-8)
    for kind in ("cubic", "hermite"):
        other = make(interpolation=kind, method="dopri5", rtol=1e-9, atol=1e-11)
        close(other(t, dropped), other(t, x), atol=1e-8)


# Samples of unequal lengths


@pytest.mark.parametrize("kind", [*KINDS, "rde"])
@pytest.mark.parametrize("steps", [1, 3])
def test_what_pads_a_sample_changes_nothing(kind, steps):
    model = make(kind=NeuralRDE, window=4, steps=steps) if kind == "rde" else make(interpolation=kind, steps=steps)
    t, x = data(1, 9, gaps=0.2)
    alone = model(t, x)
    padded_t = torch.cat(
        [t, torch.tensor([[-5.0, NAN, 3.0]], dtype=F64)], 1
    )  # times after the end do not matter either
    padded_x = torch.cat([x, torch.full((1, 3, 2), NAN, dtype=F64)], 1)
    close(model(padded_t, padded_x), alone)
    if kind != "rde":
        close(model.trajectory(padded_t, padded_x)[:, 9:], model.trajectory(t, x)[:, -1:].expand(-1, 3, -1))
        before_t, before_x = padded_t.roll(3, 1), padded_x.roll(3, 1)
        close(model(before_t, before_x), alone)
    # a batch of both is a batch, in either order of arguments
    longer = data(1, 12, seed=5)
    both = model(torch.cat([padded_t, longer[0]]), torch.cat([padded_x, longer[1]]))
    close(both, torch.cat([alone, model(*longer)]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_rests_leaves_the_state_alone_exactly(kind):
    t, x = data(2, 12)
    x[0, 7:] = NAN
    states = make(interpolation=kind).trajectory(t, x)
    assert torch.equal(states[0, 6:], states[0, 6:7].expand(6, -1))
    assert not torch.equal(states[1, 6], states[1, 7])


def test_mask_lengths_and_nan_say_the_same():
    t, x = data(3, 9)
    model, observed = make(), torch.rand(3, 9, 2) < 0.7
    observed[:, 0] = True
    close(model(t, x, observed), model(t, x.masked_fill(~observed, NAN)))
    rows = observed.all(-1)
    close(model(t, x, rows), model(t, x.masked_fill(~rows[..., None], NAN)))
    lengths = torch.tensor([9, 4, 2])
    after = torch.arange(9) >= lengths[:, None]
    close(model(t, x, lengths), model(t, x.masked_fill(after[..., None], NAN)))
    close(model(t[0], x), model(t[0].expand(3, -1), x))
    close(model(t[0].tolist(), x), model(t[0], x))


# What was known when


def moved(model, later, rows=8, gaps=0.0):
    """Return how far outputs in every row move when the observation in row ``later`` is another one."""
    t, x = data(1, rows, gaps=gaps)
    other = x.clone()
    other[0, later] += 1
    states = (model.trajectory(t, part) for part in (x, other))
    return (next(states) - next(states))[0].abs().amax(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_later_observations_and_earlier_states(kind):
    apart = moved(make(interpolation=kind, steps=4), later=5)
    assert apart[5:].min() > 1e-3
    if kind == "cubic":
        assert apart[1:5].min() > 1e-6  # every piece depends on every observation
    else:
        assert apart[:5].max() == 0


@pytest.mark.parametrize(("kind", "causal"), [("linear", False), ("hermite", False), ("rectilinear", True)])
def test_with_missing_values_only_rectilinear_paths_are_causal(kind, causal):
    t, x = data(1, 8)
    x[0, 3:5, 1] = NAN
    other = x.clone()
    other[0, 5, 1] += 1
    model = make(interpolation=kind)
    apart = (model.trajectory(t, x) - model.trajectory(t, other))[0, :5].abs().max()
    assert (apart == 0) == causal


def test_online_outputs_are_those_of_the_observations_so_far():
    t, x = data(2, 9, gaps=0.3)
    for model in (make(interpolation="rectilinear"), make(interpolation="rectilinear", intensity=True)):
        outputs = model.online(t, x)
        assert outputs.shape == (2, 9, 3)
        for n in range(2, 10):
            row = ~x[:, n - 1].isnan().all(-1)  # where the sample has an observation there, it ends there
            close(outputs[row, n - 1], model(t[:, :n], x[:, :n])[row])
    t, x = data(2, 9)
    for kind in ("linear", "hermite"):
        model = make(interpolation=kind)
        close(model.online(t, x)[:, 4], model(t[:, :5], x[:, :5]))


def test_online_refuses_what_is_not_causal():
    t, x = data(2, 9)
    with pytest.raises(ValueError, match="every piece of a natural cubic spline depends on all observations"):
        make(interpolation="cubic").online(t, x)
    x[1, 4, 0] = NAN
    for kind in ("linear", "hermite"):
        with pytest.raises(ValueError, match=r"channel 0 of x\[1\] is missing in row 4.*next observation. Use 'rect"):
            make(interpolation=kind).online(t, x)


# Channels


def test_counts_of_observations_are_channels():
    t, x = data(2, 6, gaps=0.4)
    x[:, -1] = 1.0
    path = make(intensity=True).path(t, x)
    knots = path.evaluate(path.grid_points)
    close(knots[..., 3:], (~x.isnan()).cumsum(1).double())
    close(knots[..., 0], t)
    assert knots.shape == (2, 6, 5)


def test_a_channel_that_is_never_there_has_the_fill():
    t, x = data(2, 6)
    x[1, :, 0] = NAN
    with pytest.raises(ValueError, match=r"channel 0 of x\[1\] holds NaN only: give fill=0.0"):
        make()(t, x)
    filled = torch.where(x.isnan(), 0.5, x)
    for kind in KINDS:
        close(make(interpolation=kind, fill=0.5)(t, x), make(interpolation=kind)(t, filled))


def test_a_late_first_observation():
    t, x = data(2, 6)
    x[1, :2, 0] = NAN
    close(make()(t, x), make()(t, torch.where(x.isnan(), x[1, 2, 0], x)))  # a line may begin with it
    with pytest.raises(
        ValueError, match=r"channel 0 of x\[1\] has no value in the sample's first row, and with 'rectil"
    ):
        make(interpolation="rectilinear")(t, x)
    close(
        make(interpolation="rectilinear", fill=0.5)(t, x),
        make(interpolation="rectilinear")(t, torch.where(x.isnan(), 0.5, x)),
    )


# The log-ODE method


def area_field(hidden=3):
    """Return the field of dz₁ = dx, dz₂ = dy, dz₃ = (z₁ dy − z₂ dx)/2, the area; linear in z, its brackets constant."""

    def field(t, z):
        zero, one = torch.zeros_like(z[..., 0]), torch.ones_like(z[..., 0])
        rows = [[one, zero], [zero, one], [-z[..., 1] / 2, z[..., 0] / 2]]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    return field


@pytest.mark.parametrize("window", [3, 5, 20])
def test_the_log_ode_of_depth_two_is_exact_for_the_area(window):
    _, x = data(2, 21)
    z0 = torch.zeros(2, 3, dtype=F64)
    exact = cdeint(LinearInterpolation(x), area_field(), z0, method="rk4")[:, -1]
    v = x - x[:, :1]
    close(
        exact[:, 2], 0.5 * (v[:, :-1, 0] * v[:, 1:, 1] - v[:, :-1, 1] * v[:, 1:, 0]).sum(-1)
    )  # by the shoelace formula
    ends = [
        cdeint(LinearInterpolation(logsig_windows(x, n, window)), log_ode_field(area_field(), n), z0, method="rk4")[
            :, -1
        ]
        for n in (1, 2)
    ]
    close(ends[1], exact)
    assert (ends[0] - exact)[:, 2].abs().max() > 1  # depth 1 sees no area inside a window


def test_a_neural_rde_can_be_the_area():
    # An affine map of the state in place of the perceptron: f's columns and their bracket, set by hand
    model = make(channels=2, hidden=3, kind=NeuralRDE, window=5, time=False, method="rk4")
    matrix = torch.zeros(9, 3, dtype=F64)  # (channels, hidden) of f from z: columns x, y and [x, y]
    bias = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=F64).reshape(9)
    matrix[2, 1], matrix[5, 0] = -0.5, 0.5

    class Affine(nn.Module):
        def forward(self, t, z):
            return (z @ matrix.T + bias).unflatten(-1, (3, 3)).mT

    model.field, model.readout = Affine(), nn.Identity()
    nn.init.zeros_(model.initial.weight)
    nn.init.zeros_(model.initial.bias)
    _, x = data(2, 21)
    v = x - x[:, :1]
    area = 0.5 * (v[:, :-1, 0] * v[:, 1:, 1] - v[:, :-1, 1] * v[:, 1:, 0]).sum(-1)
    close(model(torch.arange(21.0), x)[:, 2], area)
    assert model.nfe == 4 * 4
    close(model.trajectory(torch.arange(21.0), x)[:, 2, :2], x[:, 10] - x[:, 0])  # after the second window


def test_windows_of_one_row_are_the_cde():
    t, x = data(gaps=0.2)
    rde, cde = make(kind=NeuralRDE, window=1, logsig_depth=1), make()
    close(rde(t, x), cde(t, x))


def test_calibration_makes_every_entry_of_size_one():
    t, x = data(20, 40, gaps=0.1)
    x = 10 * x
    x[0, 17:] = NAN
    model = make(kind=NeuralRDE, window=8).calibrate(t, x)
    path = model.path(t, x)
    moves = path.evaluate(path.grid_points).diff(dim=1)
    close(moves[(moves != 0).any(-1)].square().mean(0), torch.ones(6, dtype=F64))
    start = path.evaluate(0.0)
    close(start[:, 1:3], x[:, 0])  # where the data begins
    assert "scale" in model.state_dict()
    assert torch.equal(make(kind=NeuralRDE, window=8, logsig_depth=1).calibrate(t, x).scale, model.scale[:3])


# Gradients, several seeds, use


@pytest.mark.parametrize("kind", [*KINDS, "rde"])
def test_gradients_are_those_of_finite_differences(kind):
    model = make(kind=NeuralRDE, window=3) if kind == "rde" else make(interpolation=kind)
    t, x = data(2, 5, gaps=0.25)
    x[1, 4] = NAN
    seen = ~x.isnan()

    def through(*parts):
        given = torch.full_like(x, NAN)
        given[seen] = parts[0]
        return torch.func.functional_call(model, dict(zip(names, parts[1:], strict=True)), (t, given))

    names = [name for name, _ in model.named_parameters()]
    inputs = (x[seen].clone().requires_grad_(), *(p.detach().clone().requires_grad_() for p in model.parameters()))
    assert gradcheck(through, inputs, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_other_gradients_agree(gradient):
    t, x = data()
    wanted, found = (make(method="rk4", steps=16, gradient=name) for name in ("backprop", gradient))
    for model in (wanted, found):
        model(t, x).square().sum().backward()
    for p, q in zip(wanted.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-4 if gradient == "adjoint" else 1e-10, atol=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, "rde"])
def test_several_seeds_at_once_are_each_alone(kind):
    def one():
        options = {"kind": NeuralRDE, "window": 4} if kind == "rde" else {"interpolation": kind}
        return make(seed=torch.initial_seed(), **options)

    t, x = data(gaps=0.2)
    model = Ensemble(one, seeds=3)
    outputs = model(t, x)
    assert outputs.shape == (3, 3, 3)
    for member, output in zip(model, outputs, strict=True):
        close(output, member(t, x))
    loss = model.each(lambda m, x: m(t[0], x).square().mean())
    history = fit(model, loss, x, steps=20, lr=0.01, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]


def test_batches_of_training_are_rows():
    t, x = data(8, 9, gaps=0.2)
    model = make()
    history = fit(
        model, lambda m, t, x: m(t, x).square().mean(), (t, x), steps=5, lr=0.01, batch_size=4, progress=False
    )
    assert len(history.loss) == 5
    assert history.nfe == [16] * 5


def test_single_precision():
    t, x = data(gaps=0.2)
    for kind in KINDS:
        model = make(interpolation=kind)
        exact = model(t, x)
        torch.testing.assert_close(model.float()(t.float(), x.float()).double(), exact, rtol=0, atol=1e-4)


def test_it_says_how_it_works():
    assert "interpolation='hermite', method='midpoint'" in repr(make(interpolation="hermite"))


# What is wrong is named

T, X = data()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make()(T[:, :5], X),
            ValueError,
            r"a time for each of the 9 rows of x, \(9,\), or for each of every sam",
        ),
        (lambda: make()(T[:2], X), ValueError, r"t must hold a time .* \(3, 9\); got the shape \(2, 9\)"),
        (lambda: make()(T.flip(1), X), ValueError, r"t must be strictly increasing; in sample 0, t\[0\] ="),
        (lambda: make()(torch.ones(9), X), ValueError, r"t\[0\] = 1 is followed by t\[1\] = 1"),
        (lambda: make()(T.log() / 0, X), ValueError, "times must be finite"),
        (lambda: make()(T, X[0]), ValueError, r"got \(9, 2\); write x\[None\] for a single sample"),
        (lambda: make()(T, X.long()), TypeError, "x must be a tensor .* real floating-point dtype, got torch.int64"),
        (lambda: make()(T, X.tolist()), TypeError, "real floating-point dtype, got list"),
        (lambda: make()(T, X[..., :1]), ValueError, "x has 1 channels and the model 2"),
        (lambda: make()(T, X / 0), ValueError, "x holds an infinity"),
        (
            lambda: make()(T, X.where(X[:1] == X, NAN)),
            ValueError,
            r"x\[1\] holds no observation: all its 9 rows are NaN",
        ),
        (lambda: make()(T[:, :1], X[:, :1]), ValueError, "x has a single row, and a path needs two"),
        (lambda: make()(T, X, X), TypeError, "mask must be a tensor of bool, or the lengths .* write mask > 0"),
        (lambda: make()(T, X, X[:, :4] > 0), ValueError, r"mask must have the shape of x, \(3, 9, 2\), or \(3, 9\)"),
        (lambda: make()(T, X, torch.tensor([3, 0, 9])), ValueError, r"length of each sample, \(3,\), from 1 to 9; got"),
        (lambda: make(channels=0), ValueError, "channels must be a whole number, at least 1, got 0"),
        (lambda: make(interpolation="linera"), ValueError, "interpolation 'linera' is unknown: .*linear"),
        (lambda: make(interpolation="rectilinear", time=False), ValueError, "it needs time=True"),
        (lambda: make(steps=0), ValueError, "steps must be a whole number, at least 1, got 0"),
        (lambda: make(gradient="back"), ValueError, "gradient 'back' is unknown"),
        (lambda: make(method="midpoit"), ValueError, "midpoint"),
        (
            lambda: make(kind=NeuralRDE, window=0),
            ValueError,
            "window must be a whole number of rows, at least 1, got 0",
        ),
        (lambda: make(kind=NeuralRDE, logsig_depth=4), ValueError, "logsig_depth must be 1, 2 or 3, got 4"),
        (lambda: make(kind=NeuralRDE, interpolation="cubic"), TypeError, "interpolation is not an option of NeuralRDE"),
    ],
)
def test_what_is_wrong_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
