"""Right-hand sides that are fractions: an enzyme, predators that are full, and polynomials, which are fractions too."""

import numpy as np
import pytest
import torch

from ndelib import odeint
from ndelib.discovery import (
    STLSQ,
    FiniteDifference,
    ImplicitSINDy,
    Lasso,
    PolynomialLibrary,
    SINDy,
    SmoothedFiniteDifference,
)


def solved(f, starts, end, n):
    t = torch.linspace(0, end, n, dtype=torch.float64)
    start = torch.tensor(starts, dtype=torch.float64)
    x = odeint(f, start, t, method="dopri8", rtol=1e-12, atol=1e-12).numpy()
    return list(x.transpose(1, 0, 2)), t.numpy()


def enzyme(t, x):
    """Michaelis and Menten: 0.6 comes in, an enzyme takes away."""
    return 0.6 - 1.5 * x / (0.3 + x)


def full_predators(t, z):
    """Rosenzweig and MacArthur."""
    x, y = z.unbind(-1)
    eaten = x * y / (1 + x)
    return torch.stack([x * (1 - x / 3) - eaten, eaten - 0.4 * y], dim=-1)


ENZYME = solved(enzyme, [[0.05], [0.5], [2.0]], 4.0, 401)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_enzyme_is_found_also_in_libraries_that_have_multiples_of_it(degree):
    xs, t = ENZYME
    model = ImplicitSINDy(PolynomialLibrary(degree), differentiation_method=FiniteDifference(4)).fit(xs, t)
    assert model.equations(3) == ["(0.600 - 3.000 x0) / (1.000 + 3.333 x0)"]
    assert model.score(xs, t) > 1 - 1e-10
    assert model.complexity == 4


@pytest.mark.parametrize(("degree", "noise", "bias"), [(2, 1e-3, 0.03), (3, 3e-3, 0.12)])
def test_noise_of_a_few_thousandths_leaves_the_terms_and_moves_the_coefficients(degree, noise, bias):
    xs, t = ENZYME
    method = SmoothedFiniteDifference(51, 3)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        noisy = [x + noise * rng.normal(size=x.shape) for x in xs]
        N, D = ImplicitSINDy(PolynomialLibrary(degree), differentiation_method=method).fit(noisy, t).coefficients()
        assert (N[0] != 0).nonzero()[0].tolist() == (D[0] != 0).nonzero()[0].tolist() == [0, 1]
        assert N[0, :2] == pytest.approx([0.6, -3.0], rel=bias)
        assert D[0, :2] == pytest.approx([1.0, 10 / 3], rel=bias)


def test_no_polynomial_of_that_degree_does_it():
    xs, t = ENZYME
    assert SINDy(PolynomialLibrary(2)).fit(xs, t).score(xs, t) < 0.999


def test_two_fractions_with_the_same_denominator():
    xs, t = solved(full_predators, [[0.5, 0.5], [2.0, 1.0], [1.0, 2.0]], 20.0, 2001)
    method = FiniteDifference(4)
    model = ImplicitSINDy(PolynomialLibrary(3), differentiation_method=method, feature_names=["x", "y"]).fit(xs, t)
    assert model.equations(2) == [
        "(1.00 x + 0.67 x^2 - 1.00 x y - 0.33 x^3) / (1.00 + 1.00 x)",
        "(-0.40 y + 0.60 x y) / (1.00 + 1.00 x)",
    ]
    assert r"\dot{y} &= \frac{-0.40 y + 0.60 x y}{1.00 + 1.00 x}" in model.latex(2)
    again = model.simulate(xs[0][0], t[:501])
    assert np.abs(again - xs[0][:501]).max() < 1e-4
    y = torch.tensor(xs[1][::200])
    assert torch.allclose(model.field(0.0, y), full_predators(0.0, y), atol=1e-5)


def test_polynomials_are_fractions_without_a_denominator():
    xs, t = solved(
        lambda t, y: torch.stack([y[..., 1], -y[..., 0]], dim=-1) - 0.1 * y, [[0.5, 0.5], [2.0, 1.0]], 10.0, 1001
    )
    model = ImplicitSINDy(PolynomialLibrary(2), differentiation_method=FiniteDifference(4)).fit(xs, t)
    assert model.equations(2) == ["-0.10 x0 + 1.00 x1", "-1.00 x0 - 0.10 x1"]


def test_a_variable_that_stays_is_an_input():
    x = np.stack([np.linspace(0, 1, 50), np.ones(50)], axis=1)
    with pytest.raises(ValueError, match="x1 does not change: give it to u"), pytest.warns(UserWarning, match="depend"):
        ImplicitSINDy(PolynomialLibrary(1)).fit(x, 0.02)


def test_it_needs_a_regression_of_this_library_and_a_relation():
    with pytest.raises(TypeError, match="optimizer must be a sparse regression"):
        ImplicitSINDy(optimizer=type("Mine", (), {"fit": lambda self, X, y: self})())
    assert isinstance(ImplicitSINDy(optimizer=Lasso(1e-3)).optimizer, Lasso)
    x = np.linspace(0.0, 1.0, 50)
    with (
        pytest.raises(ValueError, match=r"no fraction was found for x0: .*take a smaller threshold"),
        pytest.warns(UserWarning, match="above every coefficient"),
    ):
        ImplicitSINDy(PolynomialLibrary(1), STLSQ(threshold=1e6)).fit(x - 0.5, x_dot=np.sin(9 * x))
