"""SINDy finds systems that are known: terms, coefficients as exact as the derivative, noise, inputs; and says them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

from ndelib import odeint
from ndelib.discovery import (
    STLSQ,
    CustomLibrary,
    FiniteDifference,
    FourierLibrary,
    PolynomialLibrary,
    SINDy,
    SmoothedFiniteDifference,
)
from tests.discovery import lorenz


@pytest.mark.parametrize("order", [2, 4, 6])
def test_lorenz_is_found_with_its_terms_and_with_coefficients_as_exact_as_the_derivative(order):
    errors = []
    for h in (0.008, 0.004, 0.002):
        t, x = lorenz.trajectory(h)
        model = SINDy(PolynomialLibrary(2), STLSQ(0.1), FiniteDifference(order)).fit(x, t)
        assert lorenz.is_exact(model)
        errors.append(lorenz.error(model))
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([order, order], abs=0.3)


@pytest.mark.parametrize("degree", [3, 4, 5])
def test_a_larger_library_changes_nothing_on_exact_data(degree):
    t, x = lorenz.trajectory()
    model = SINDy(PolynomialLibrary(degree)).fit(x, t)
    kept = model.coefficients() != 0
    assert (kept[:, :10] == (lorenz.TRUE != 0)).all()
    assert not kept[:, 10:].any()


def test_terms_are_exact_up_to_noise_of_size_one_in_the_derivatives():
    t, x = lorenz.trajectory()
    exact = lorenz.field(0, torch.tensor(x)).numpy()

    def share(noise):
        """In how many of ten draws the terms are those of the system."""
        draws = [exact + noise * np.random.default_rng(seed).normal(size=x.shape) for seed in range(10)]
        return sum(lorenz.is_exact(SINDy(optimizer=STLSQ(0.1)).fit(x, t, x_dot=x_dot)) for x_dot in draws)

    assert share(1.0) == 10
    assert share(10.0) == 0


def test_noise_of_size_one_in_the_states_breaks_differences_and_smoothing_mends_most_of_it():
    def median(method):
        models = [SINDy(differentiation_method=method) for _ in range(5)]
        data = [lorenz.trajectory(noise=1.0, seed=seed) for seed in range(5)]
        return np.median([lorenz.error(m.fit(x, t)) / lorenz.RHO for m, (t, x) in zip(models, data, strict=True)])

    assert median(FiniteDifference(2)) > 0.3
    assert median(SmoothedFiniteDifference(25, 4)) < 0.1


def test_uneven_times_need_no_resampling():
    rng = np.random.default_rng(0)
    t, x = lorenz.trajectory()
    rows = np.sort(rng.choice(len(t), 3 * len(t) // 4, replace=False))
    assert lorenz.is_exact(SINDy(differentiation_method=FiniteDifference(4)).fit(x[rows], t[rows]))


def test_trajectories_of_different_lengths_are_fitted_together_and_not_joined():
    t, x = lorenz.trajectory()
    pieces, times = [x[:900], x[2000:2100], x[-1:1500:-1][::-1]], [t[:900], t[2000:2100], t[1501:]]
    model = SINDy(differentiation_method=FiniteDifference(4)).fit(pieces, times)
    assert lorenz.is_exact(model)
    assert lorenz.error(model) < 1e-4
    joined = SINDy(differentiation_method=FiniteDifference(4)).fit(np.concatenate(pieces), 0.002)
    assert lorenz.error(joined) > 1.0  # the jumps from one to the next are taken for derivatives
    one_step = SINDy(differentiation_method=FiniteDifference(4)).fit(pieces, 0.002)
    assert np.allclose(one_step.coefficients(), model.coefficients(), rtol=1e-8)


def test_arrays_and_tensors_of_any_precision_give_the_same_model_in_their_kind():
    t, x = lorenz.trajectory(0.004, 4.0)
    arrays = SINDy().fit(x, t)
    tensors = SINDy().fit(torch.tensor(x), torch.tensor(t))
    assert isinstance(arrays.coefficients(), np.ndarray)
    assert isinstance(tensors.coefficients(), torch.Tensor)
    assert np.allclose(arrays.coefficients(), tensors.coefficients().numpy(), rtol=1e-11)
    single = SINDy().fit(torch.tensor(x, dtype=torch.float32), torch.tensor(t, dtype=torch.float32))
    assert single.coefficients().dtype == torch.float64
    assert lorenz.is_exact(single)


def driven(t, u, n=2):
    """x' = v, v' = −x − 0.2 v + 0.5 u, from several starts."""

    def f(time, y):
        return torch.stack([y[..., 1], -y[..., 0] - 0.2 * y[..., 1] + 0.5 * u(time)], dim=-1)

    start = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)[:n]
    return odeint(f, start, torch.tensor(t), method="dopri8", rtol=1e-11, atol=1e-11).numpy()


def test_inputs_are_recovered_and_drive_the_simulation():
    t = np.linspace(0, 8, 401)
    xs = driven(t, lambda time: torch.sin(3 * time) + torch.cos(time))
    u = np.sin(3 * t) + np.cos(t)
    model = SINDy(PolynomialLibrary(2), differentiation_method=FiniteDifference(4), feature_names=["x", "v", "f"])
    model.fit([xs[:, 0], xs[:, 1]], t=t, u=[u, u])
    assert model.equations(3) == ["1.000 v", "-1.000 x - 0.200 v + 0.500 f"]
    free = model.simulate([1.0, 0.0], t, u=lambda time: torch.sin(3 * time) + torch.cos(time))
    assert np.abs(free - xs[:, 0]).max() < 1e-5
    sampled = model.simulate([1.0, 0.0], t, u=u)
    assert np.abs(sampled - xs[:, 0]).max() < 1e-3  # the input is taken as linear between samples: O(h²)
    assert np.allclose(model.predict(xs[:, 0], u=u), model.predict([xs[:, 0]], u=[u])[0])
    assert model.score(xs[:, 0], t, u=u) > 1 - 1e-9


def test_without_the_input_the_model_is_wrong():
    t = np.linspace(0, 8, 1601)
    x = driven(t, lambda time: torch.sin(3 * time) + torch.cos(time))[:, 0]
    assert SINDy(PolynomialLibrary(2)).fit(x, t).score(x, t) < 0.999


def test_a_pendulum_needs_a_sine_and_finds_it_among_other_terms():
    t = np.linspace(0, 10, 1001)

    def f(time, y):
        return torch.stack([y[..., 1], -4 * torch.sin(y[..., 0]) - 0.1 * y[..., 1]], dim=-1)

    start = torch.tensor([[2.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    x = odeint(f, start, torch.tensor(t), method="dopri8", rtol=1e-11, atol=1e-11).numpy()
    library = PolynomialLibrary(2) + FourierLibrary(1)
    model = SINDy(library, STLSQ(0.05), FiniteDifference(6), feature_names=["theta", "omega"])
    model.fit([x[:, 0], x[:, 1]], t)
    assert model.equations(2) == ["1.00 omega", "-0.10 omega - 4.00 sin(1 theta)"]
    assert model.latex(2).splitlines()[1:3] == [
        r"\dot{\theta} &= 1.00 \omega \\",
        r"\dot{\omega} &= -0.10 \omega - 4.00 \sin(\theta)",
    ]


def test_a_simulation_follows_the_data_and_the_field_goes_into_the_solvers():
    t, x = lorenz.trajectory()
    model = SINDy(differentiation_method=FiniteDifference(6)).fit(x, t)
    short = t[:1001:50]  # two time units, in which errors of 1e-9 grow by e^(0.9 · 2)
    assert np.abs(model.simulate(x[0], short) - x[:1001:50]).max() < 1e-6
    both = model.simulate(x[[0, 100]], short[:11])
    assert both.shape == (11, 2, 3)
    assert np.allclose(both[:, 0], model.simulate(x[0], short[:11]), atol=1e-8)
    start = torch.tensor(x[0], requires_grad=True)
    end = odeint(model.field, start, torch.tensor([0.0, 0.1]), rtol=1e-9, atol=1e-9)[-1]
    (gradient,) = torch.autograd.grad(end[0], start)
    truth = odeint(lorenz.field, start, torch.tensor([0.0, 0.1]), rtol=1e-9, atol=1e-9)[-1]
    assert torch.allclose(gradient, torch.autograd.grad(truth[0], start)[0], rtol=1e-5)


def test_score_is_r_squared_of_the_derivatives():
    t, x = lorenz.trajectory(noise=0.1)
    model = SINDy().fit(x, t)
    slopes = FiniteDifference()(x, t)
    assert model.score(x, t) == pytest.approx(r2_score(slopes, model.predict(x)), abs=1e-12)
    expected = mean_squared_error(slopes, model.predict(x))
    assert model.score(x, t, metric=mean_squared_error) == pytest.approx(expected)
    assert model.score(x, x_dot=model.predict(x)) == 1.0
    assert model.score(x, x_dot=np.ones_like(x)) == 0.0  # a constant is missed


def test_a_derivative_method_of_ones_own_is_a_function():
    t, x = lorenz.trajectory(0.004, 4.0)
    model = SINDy(differentiation_method=lambda x, t: np.gradient(x, t, axis=0, edge_order=2)).fit(x, t)
    assert np.allclose(model.coefficients(), SINDy().fit(x, t).coefficients(), rtol=1e-9)


def test_equations_are_written_for_people(capsys):
    t, x = lorenz.trajectory()
    model = SINDy(differentiation_method=FiniteDifference(4), feature_names=["x", "y", "z"]).fit(x, t)
    model.print(precision=2)
    assert capsys.readouterr().out.splitlines() == [
        "x' = -10.00 x + 10.00 y",
        "y' = 28.00 x - 1.00 y - 1.00 x z",
        "z' = -2.67 z + 1.00 x y",
    ]
    model.print(lhs=["a", "b", "c"], precision=0)
    assert capsys.readouterr().out.splitlines()[0] == "a = -10 x + 10 y"
    assert model.complexity == 7
    assert model.get_feature_names()[:5] == ["1", "x", "y", "z", "x^2"]


def test_small_coefficients_and_constants_are_not_hidden():
    x = np.linspace(1, 2, 50)
    model = SINDy(PolynomialLibrary(2), STLSQ(1e-8, alpha=0.0)).fit(x, x_dot=3.0 - 2.5e-5 * x**2)
    assert model.equations(3) == ["3.000 - 2.5e-05 x0^2"]
    assert model.latex(3).splitlines()[1] == r"\dot{x}_{0} &= 3.000 - 2.5\cdot 10^{-5} x_{0}^{2}"
    with pytest.warns(UserWarning, match="above every coefficient"):
        nothing = SINDy(PolynomialLibrary(1)).fit(x, x_dot=0 * x + 1e-3)
    assert nothing.equations(2) == ["0.00"]


def test_terms_that_the_data_does_not_tell_apart_are_named():
    """On a circle sin² + cos² = 1; with another radius in the data as well it is none."""
    t = np.linspace(0, 6, 601)
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    with pytest.warns(UserWarning, match=r"depend on each other .*\(x1\^2 = 1.000 - 1.000 x0\^2\)"):
        SINDy(PolynomialLibrary(2)).fit(circle, t)
    SINDy(PolynomialLibrary(2)).fit([circle, 2 * circle], [t, t])
    twice = PolynomialLibrary(1) + CustomLibrary([lambda x: 2 * x], [lambda x: f"2{x}"])
    with pytest.warns(UserWarning, match=r"2x0 = 2.000 x0; 2x1 = 2.000 x1"):
        SINDy(twice).fit([circle, 2 * circle], [t, t])


@pytest.mark.filterwarnings("ignore:threshold=")
def test_too_many_terms_for_the_samples_are_told():
    t, x = lorenz.trajectory()
    with pytest.warns(UserWarning, match="20 samples for the 56 terms"):
        SINDy(PolynomialLibrary(5)).fit(x[:20], t[:20])
