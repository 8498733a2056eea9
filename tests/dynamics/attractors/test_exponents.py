"""Lyapunov exponents: in closed form, from published tables, and the sums that volumes dictate."""

import math

import pytest
import torch
from torch import nn

from ndelib import odeint
from ndelib.dynamics import (
    CircleMap,
    Duffing,
    HenonMap,
    LogisticMap,
    Lorenz,
    LyapunovSpectrum,
    Rossler,
    StandardMap,
    StepMap,
    TentMap,
    VanDerPol,
    lyapunov_spectrum,
    map_lyapunov_spectrum,
)
from ndelib.solvers import NonFiniteState

# Published: Sprott, Chaos and Time-Series Analysis (2003), appendix A.
HENON, LORENZ, ROSSLER = (0.41922, -1.62319), (0.9056, 0.0, -14.5723), (0.0714, 0.0, -5.3943)


def numbers(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def errors_off(spectrum, *expected):
    """Return by how many of its standard errors the spectrum is off."""
    return (spectrum.exponents - torch.tensor(expected, dtype=torch.float64)).abs() / spectrum.standard_error


def test_the_logistic_map_at_four_has_ln_2():
    spectrum = map_lyapunov_spectrum(LogisticMap(4.0), numbers(50), 4000)
    assert errors_off(spectrum, math.log(2)).max() < 4
    assert spectrum.standard_error.max() < 3e-3
    pooled = spectrum.over_starts()
    assert errors_off(pooled, math.log(2)).max() < 4
    assert pooled.standard_error.max() < spectrum.standard_error.mean()


def test_cycles_of_the_logistic_map_have_the_exponents_of_their_multipliers():
    r = torch.tensor([2.0, 2.5, 3.2, 3.4], dtype=torch.float64)
    spectrum = map_lyapunov_spectrum(LogisticMap(r), 0.3, 200)  # in each block whole cycles
    expected = [math.log(0.5)] + [math.log(abs(4 + 2 * s - s * s)) / 2 for s in (3.2, 3.4)]
    assert spectrum.exponents[1:, 0].tolist() == pytest.approx(expected, abs=1e-12)
    assert spectrum.exponents[0] < -36  # f′ = 2 − r is 0 at r = 2: what is left is the rounding of x
    assert map_lyapunov_spectrum(LogisticMap(2.0), 0.5, 100).exponents.item() == -math.inf
    assert spectrum.standard_error[1:].max() < 1e-12


def test_maps_of_constant_slope_have_its_logarithm():
    assert map_lyapunov_spectrum(TentMap(1.9), numbers(3), 100).exponents.sub(math.log(1.9)).abs().max() < 1e-14
    assert map_lyapunov_spectrum(StepMap(a=0.8), numbers(3), 100).exponents.sub(math.log(0.8)).abs().max() < 1e-14
    assert map_lyapunov_spectrum(CircleMap(k=0.0), numbers(3), 100).exponents.abs().max() == 0


def test_the_tent_map_at_two_has_ln_2_though_its_orbit_has_collapsed():
    x0 = 0.3
    assert map_lyapunov_spectrum(TentMap(2.0), x0, 1000).exponents.item() == pytest.approx(math.log(2), abs=1e-14)


def test_henon_as_published_and_the_sum_is_ln_b():
    spectrum = map_lyapunov_spectrum(HenonMap(), 0.1 * numbers(60, 2), 1000)
    assert (spectrum.exponents.sum(-1) - math.log(0.3)).abs().max() < 1e-14
    pooled = spectrum.over_starts()
    assert errors_off(pooled, *HENON).max() < 4
    assert pooled.standard_error.max() < 3e-3
    assert pooled.kaplan_yorke.item() == pytest.approx(1.25827, abs=5e-3)


def test_areas_that_stay_give_a_sum_of_zero():
    spectrum = map_lyapunov_spectrum(StandardMap(k=torch.tensor([0.5, 6.0]).double()), 1 + numbers(2, 2), 500)
    assert spectrum.exponents.sum(-1).abs().max() < 1e-14
    assert spectrum.exponents[1, 0].item() == pytest.approx(math.log(3), abs=0.1)  # ln(K/2) for large K: Chirikov


def test_a_part_of_the_spectrum_is_the_first_of_the_whole():
    start = 0.1 * numbers(3, 2)
    whole, part = (map_lyapunov_spectrum(HenonMap(), start, 100, count=count).exponents for count in (None, 1))
    assert torch.allclose(whole[:, :1], part, atol=1e-13)
    start = numbers(2, 3)
    whole = lyapunov_spectrum(Lorenz(), start, 2.0).exponents
    for count in (1, 2):
        part = lyapunov_spectrum(Lorenz(), start, 2.0, count=count).exponents
        assert part.shape == (2, count)
        assert torch.allclose(whole[:, :count], part, atol=1e-12)


def test_lorenz_as_published():
    start = torch.tensor([20.0, 20.0, 40.0]) * (numbers(80, 3) - torch.tensor([0.5, 0.5, 0.0]))
    spectrum = lyapunov_spectrum(Lorenz(), start, 15.0, transient=10.0, step_size=0.02, interval=0.2)
    pooled = spectrum.over_starts()
    assert errors_off(pooled, *LORENZ).max() < 4
    assert pooled.standard_error.max() < 0.03
    assert pooled.kaplan_yorke.item() == pytest.approx(2.06215, abs=5e-3)


def test_the_sum_is_the_divergence_to_the_accuracy_of_the_step():
    """In one step det Q is wrong by O(h⁵), so halving h leaves a sixteenth of the error."""
    errors = []
    for h in (0.02, 0.01):
        spectrum = lyapunov_spectrum(Lorenz(), torch.ones(3, dtype=torch.float64), 5.0, transient=5.0, step_size=h)
        errors.append(spectrum.exponents.sum().item() + 10 + 1 + 8 / 3)
    assert abs(errors[1]) < 1e-3
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


def test_rossler_as_published():
    angle, radius = 2 * math.pi * numbers(60), 4 + 4 * numbers(60).flip(0)  # all phases: they hardly mix
    start = torch.stack([radius * angle.cos(), radius * angle.sin(), 0 * angle], dim=-1)
    spectrum = lyapunov_spectrum(Rossler(), start, 40.0, transient=40.0, step_size=0.05, interval=0.5)
    pooled = spectrum.over_starts()
    assert errors_off(pooled, *ROSSLER).max() < 4
    assert pooled.standard_error.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.05)
    assert pooled.standard_error[0] < 0.01


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_linear_flow_has_the_real_parts_of_its_eigenvalues(batch):
    V = torch.linalg.qr(numbers(4, 4))[0]
    A = torch.tensor([[0.3, -2, 0, 0], [2, 0.3, 0, 0], [0, 0, -1, 0], [0, 0, 0, -1.7]], dtype=torch.float64)
    A = V @ A @ V.T
    spectrum = lyapunov_spectrum(
        lambda t, y: y @ A.T, numbers(*batch, 4), 4.0, transient=30.0, step_size=0.05, interval=0.5
    )
    expected = torch.linalg.eigvals(A).real.sort(descending=True).values
    assert torch.allclose(spectrum.exponents, expected.expand(*batch, 4), atol=1e-5)
    assert spectrum.exponents.shape == (*batch, 4)


def test_the_largest_comes_first_where_directions_do_not_mix():
    def f(t, y):
        return y * torch.tensor([-1.0, 0.5], dtype=y.dtype)

    start = torch.zeros(2, dtype=torch.float64)
    spectrum = lyapunov_spectrum(f, start, 4.0, transient=20.0, count=1, step_size=0.05)
    assert spectrum.exponents.item() == pytest.approx(0.5, abs=1e-7)


def test_time_goes_on_in_a_field_that_depends_on_it():
    # The mean of cos t − 1 over a quarter turn that begins at π is (sin 3π/2 − sin π)/(π/2) − 1.
    quarter = math.pi / 2
    spectrum = lyapunov_spectrum(
        lambda t, y: (torch.cos(t) - 1) * y, torch.ones(1, dtype=torch.float64), quarter, transient=math.pi
    )
    assert spectrum.exponents.item() == pytest.approx(-1 / quarter - 1, abs=1e-8)


def test_the_driven_beam_loses_area_at_its_damping():
    spectrum = lyapunov_spectrum(Duffing(), numbers(5, 2), 4.0)
    assert torch.allclose(spectrum.exponents.sum(-1), torch.tensor(-0.3).double(), atol=1e-7)


def test_on_a_limit_cycle_one_exponent_is_zero_and_the_other_the_mean_divergence():
    # The period of van der Pol's cycle at μ = 1 is 6.6632868593.
    period, flow, start = 6.6632868593, VanDerPol(), torch.tensor([2.0, 0.0], dtype=torch.float64)
    spectrum = lyapunov_spectrum(flow, start, period, transient=30.0, step_size=0.02, interval=0.5)
    assert abs(spectrum.exponents[0]) < 1e-5
    t = torch.linspace(0, period, 401, dtype=torch.float64)
    x = odeint(flow, odeint(flow, start, [0.0, 30.0], rtol=1e-9)[-1], t, rtol=1e-9)[:, 0]
    assert spectrum.exponents[1].item() == pytest.approx((1 - x[:-1] ** 2).mean().item(), abs=1e-5)


def test_autograd_stands_in_for_a_jacobian():
    henon, lorenz, logistic = HenonMap(), Lorenz(), LogisticMap(torch.tensor([3.7, 4.0]).double())
    start = 0.1 * numbers(3, 2)
    assert torch.allclose(
        map_lyapunov_spectrum(lambda x: henon(x), start, 40, transient=20, dimension=2).exponents,
        map_lyapunov_spectrum(henon, start, 40, transient=20).exponents,
        atol=1e-12,
    )
    assert torch.allclose(
        map_lyapunov_spectrum(lambda x: logistic(x), 0.3, 40, transient=20).exponents,
        map_lyapunov_spectrum(logistic, 0.3, 40, transient=20).exponents,
        atol=1e-12,
    )
    start = numbers(3, 3)
    assert torch.allclose(
        lyapunov_spectrum(lambda t, y: lorenz(t, y), start, 2.0).exponents,
        lyapunov_spectrum(lorenz, start, 2.0).exponents,
        atol=1e-10,
    )


def test_a_network_has_a_spectrum():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    spectrum = lyapunov_spectrum(lambda t, y: net(y) - 3 * y, torch.randn(4, 2), 2.0, transient=1.0, step_size=0.05)
    assert spectrum.exponents.dtype == torch.float32
    assert (spectrum.exponents < 0).all()
    assert not spectrum.exponents.requires_grad


def test_starts_do_not_touch_each_other():
    start = numbers(3, 3)
    together = lyapunov_spectrum(Lorenz(), start, 2.0).exponents
    assert torch.allclose(together[1], lyapunov_spectrum(Lorenz(), start[1], 2.0).exponents, atol=1e-11)


def test_starts_broadcast_with_the_parameters_of_a_field():
    rho, start = torch.tensor([0.5, 28.0], dtype=torch.float64), numbers(3)
    both = lyapunov_spectrum(Lorenz(rho=rho), start, 2.0).exponents
    assert torch.allclose(both[0], lyapunov_spectrum(Lorenz(rho=0.5), start, 2.0).exponents, atol=1e-11)
    assert both.shape == (2, 3)
    with pytest.raises(ValueError, match=r"f must return states of y0's shape, \(3,\).*\(2,\)"):
        lyapunov_spectrum(lambda t, y: y[:2], start, 2.0)


def test_a_start_that_escapes_has_no_exponent_and_spoils_no_other():
    r = torch.tensor([3.7, 4.5, 3.9], dtype=torch.float64)
    spectrum = map_lyapunov_spectrum(LogisticMap(r), 0.3, 100).exponents[:, 0]
    assert spectrum.isnan().tolist() == [False, True, False]
    start = torch.tensor([[0.1, 0.1], [5.0, 5.0]], dtype=torch.float64)
    spectrum = map_lyapunov_spectrum(HenonMap(), start, 100).exponents
    assert spectrum.isnan().tolist() == [[False, False], [True, True]]
    with pytest.raises(NonFiniteState):
        lyapunov_spectrum(lambda t, y: y**3, torch.tensor([1.0, 2.0]).double(), 5.0)


def test_the_error_bar_is_that_of_the_mean_of_twenty_blocks():
    # A map without memory: log f′ is the logarithm of a uniform number, with mean −1 and variance 1.
    class Noise:
        dimension = 1
        generator = torch.Generator().manual_seed(3)

        def __call__(self, x):
            return torch.rand(x.shape, dtype=x.dtype, generator=self.generator)

        def jacobian(self, x):
            return x

    spectrum = map_lyapunov_spectrum(Noise(), numbers(400), 2000, transient=1)
    assert spectrum.standard_error.mean().item() == pytest.approx(1 / math.sqrt(2000), rel=0.05)
    assert (errors_off(spectrum, -1.0) < 2.093).double().mean().item() == pytest.approx(0.95, abs=0.04)  # Student, 19


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ((-1.0, -2.0), 0.0),
        ((0.0, -1.0), 1.0),
        ((0.5, -1.0), 1.5),
        ((-14.5723, 0.0, 0.9056), 2 + 0.9056 / 14.5723),
        ((0.2, 0.1, -0.1, -0.4), 3.5),
        ((0.3, -0.1), math.nan),
        ((0.3, -math.inf), 1.0),
    ],
)
def test_the_dimension_of_kaplan_and_yorke(exponents, dimension):
    exponents = torch.tensor([exponents, exponents], dtype=torch.float64)
    measured = LyapunovSpectrum(exponents, exponents).kaplan_yorke
    assert measured.tolist() == pytest.approx([dimension] * 2, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: lyapunov_spectrum(Lorenz(), y[0], 1.0), "y0 must be a start"),
        (lambda y: lyapunov_spectrum(Lorenz(), y, 0.0), "duration and interval must be positive"),
        (lambda y: lyapunov_spectrum(Lorenz(), y, 1.0, interval=-1.0), "duration and interval must be positive"),
        (lambda y: lyapunov_spectrum(Lorenz(), y, 1.0, transient=-1.0), "transient not negative"),
        (lambda y: lyapunov_spectrum(Lorenz(), y, 1.0, count=4), "count must be between 1 and the dimension, 3; got 4"),
        (lambda y: lyapunov_spectrum(Lorenz(), y[:2], 1.0), r"a state of Lorenz is \(\*, 3\)"),
        (lambda y: lyapunov_spectrum(Lorenz(), y, 1.0).over_starts(), "only one start"),
        (lambda y: map_lyapunov_spectrum(LogisticMap(), 0.3, 19), "steps must be at least 20"),
        (lambda y: map_lyapunov_spectrum(LogisticMap(), 0.3, 100, transient=-1), "transient not negative"),
        (
            lambda y: map_lyapunov_spectrum(LogisticMap(), 0.3, 100, count=2),
            "count must be between 1 and the dimension",
        ),
        (lambda y: map_lyapunov_spectrum(HenonMap(), y, 100), r"x0 must be states \(\*, 2\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(3, dtype=torch.float64))


def test_any_method_of_odeint_will_do():
    start = torch.ones(3, dtype=torch.float64)
    reference = lyapunov_spectrum(Lorenz(), start, 2.0, step_size=0.002).exponents
    adaptive = lyapunov_spectrum(Lorenz(), start, 2.0, method="dopri5", rtol=1e-9, atol=1e-9).exponents
    assert torch.allclose(reference, adaptive, atol=1e-6)
    assert torch.allclose(
        reference, lyapunov_spectrum(Lorenz(), start, 2.0, rtol=1e-3).exponents, atol=1e-4
    )  # rk4: steps of 0.01
