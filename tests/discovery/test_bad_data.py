"""Bad input is refused by errors that name the argument, where it is wrong, and what to do."""

import numpy as np
import pytest
import torch

from ndelib.discovery import (
    STLSQ,
    CustomLibrary,
    EnsembleOptimizer,
    FiniteDifference,
    PolynomialLibrary,
    SINDy,
    WeakSINDy,
)

T = np.linspace(0, 1, 50)
X = np.stack([np.exp(-T), np.exp(2 * T)], axis=1)


def spoiled(value):
    x = X.copy()
    x[17, 1] = value
    return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": spoiled(np.nan)}, r"x has a value that is not finite \(nan\) in row 17, column 1: drop such rows"),
        ({"x": spoiled(np.inf)}, r"x has a value that is not finite \(inf\)"),
        ({"x": [X, spoiled(np.nan)], "t": [T, T]}, r"x\[1\] has a value that is not finite"),
        ({"x": X[:2], "t": T[:2]}, "x has 2 rows, and FiniteDifference.. needs at least 3"),
        ({"x": [X, X[:2]], "t": [T, T[:2]]}, r"trajectory \[1\]: x has 2 rows"),
        ({"x": np.empty((0, 2))}, "x is empty"),
        ({"x": []}, "x is an empty list"),
        ({"x": np.zeros((2, 3, 4))}, "several trajectories are a list"),
        ({"t": T[:-1]}, r"t has the shape \(49,\) and x has 50 rows"),
        ({"t": T[::-1]}, r"t must increase: t\[1\] = 0.979592 comes after 1; sort"),
        ({"t": np.concatenate([T[:7], T[6:-1]])}, r"t must increase: t\[7\]"),
        ({"t": np.concatenate([T[:7], [np.nan], T[8:]])}, "t has a value that is not finite in row 7"),
        ({"t": 0.0}, "t as a step between samples must be positive"),
        ({"t": None}, "t is missing"),
        ({"x": [X, X], "t": [T, T[::-1]]}, r"t\[1\] must increase"),
        ({"x": [X, X], "t": [T]}, "x is a list of 2 trajectories, so t must be a list of 2"),
        ({"t": [T, T]}, "t is a list of 2 arrays, but x is one trajectory"),
        ({"x": [X, X[:, :1]], "t": [T, T]}, "same number of variables in every trajectory"),
        ({"x_dot": X[:-1]}, "x_dot has 49 rows and x has 50"),
        ({"x_dot": X[:, :1]}, "x_dot has 1 columns and x has 2"),
        ({"x": [X, X], "t": [T, T], "x_dot": X}, "x_dot must be a list of 2, got one ndarray"),
        ({"u": T[:-1]}, "u has 49 rows and x has 50"),
        ({"u": spoiled(np.nan)}, "u has a value that is not finite"),
        ({"x": [X, X], "t": [T, T], "u": T}, "u must be a list of 2"),
        ({"feature_names": ["a"]}, "feature_names must be 2 names of variables and 0 of inputs, got 1"),
    ],
)
def test_a_fit_to_bad_data_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SINDy(PolynomialLibrary(1)).fit(**({"x": X, "t": T} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "data.csv"}, "x must be an array of numbers"),
        ({"x": X + 1j}, "x is complex"),
        ({"t": "now"}, "t must be a step or an array of times"),
    ],
)
def test_what_is_no_data_is_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        SINDy(PolynomialLibrary(1)).fit(**({"x": X, "t": T} | arguments))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"feature_library": PolynomialLibrary}, r"feature_library .* got the class PolynomialLibrary: write Polynom"),
        ({"feature_library": 2}, "feature_library must be a library such as"),
        ({"optimizer": STLSQ}, r"optimizer .* write STLSQ\(\)"),
        ({"optimizer": 0.1}, "optimizer must be an object with fit"),
        ({"differentiation_method": FiniteDifference}, r"write FiniteDifference\(\)"),
        ({"differentiation_method": "smoothed"}, "differentiation_method must be a function"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(parts, message):
    with pytest.raises(TypeError, match=message):
        SINDy(**parts)


def test_a_term_that_is_not_finite_is_named_with_its_sample():
    library = PolynomialLibrary(1) + CustomLibrary([lambda x: torch.log(x - 0.5)], [lambda x: f"log({x}-0.5)"])
    with pytest.raises(ValueError, match=r"the term log\(x0-0.5\) of feature_library is not finite in row 34"):
        SINDy(library).fit(X, T)


def test_a_model_that_is_not_fitted_says_so():
    for ask in ("coefficients", "equations", "latex", "print", "get_feature_names"):
        with pytest.raises(ValueError, match="this SINDy is not fitted yet: call fit first"):
            getattr(SINDy(), ask)()


def test_use_that_does_not_fit_the_model_is_refused():
    model = SINDy(PolynomialLibrary(1)).fit(X, T)
    with pytest.raises(ValueError, match="x has 1 variables; the model was fitted to 2"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="u has 1 columns; the model was fitted with 0 inputs"):
        model.predict(X, u=T)
    with pytest.raises(ValueError, match="the model was fitted without inputs"):
        model.simulate(X[0], T, u=T)
    with pytest.raises(ValueError, match=r"x0 must be \(2,\)"):
        model.simulate([1.0], T)
    with pytest.raises(ValueError, match="t must be the times"):
        model.simulate(X[0], 0.1)
    with pytest.raises(ValueError, match="lhs must be 2"):
        model.print(lhs=["a"])
    with_input = SINDy(PolynomialLibrary(1)).fit(X, T, u=np.sin(5 * T))
    with pytest.raises(TypeError, match="u is missing"):
        with_input.simulate(X[0], T)
    with pytest.raises(ValueError, match=r"u must be a function of t, or samples \(50, 1\)"):
        with_input.simulate(X[0], T, u=T[:-1])
    with pytest.raises(ValueError, match="fitted with 1 inputs"):
        with_input.predict(X)


def test_a_derivative_method_must_return_one_for_each_sample():
    with pytest.raises(ValueError, match=r"differentiation_method must return \(50, 2\)"):
        SINDy(differentiation_method=lambda x, t: x[1:] - x[:-1]).fit(X, T)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"K": 0}, {}, "K must be"),
        ({"H_xt": -1.0}, {}, "H_xt must be positive"),
        ({"p": 0}, {}, "p must be"),
        ({"H_xt": 0.6}, {}, "are longer than t, which spans 1: take a smaller H_xt"),
        ({"H_xt": 0.02}, {}, r"has \d samples inside, and p=4 needs 6: take a larger H_xt"),
        ({"H_xt": 0.2}, {"t": None}, "t is missing"),
        ({"H_xt": 0.2}, {"x_dot": X}, "x_dot has no place in the weak form"),
    ],
)
def test_windows_that_do_not_fit_the_data_are_refused(options, arguments, message):
    with pytest.raises(ValueError, match=message):
        WeakSINDy(PolynomialLibrary(1), **options).fit(**({"x": X, "t": T} | arguments))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "bagging and library_ensemble are both off"),
        ({"bagging": True, "n_models": 0}, "n_models"),
        ({"bagging": True, "n_subset": 0}, "n_subset"),
        ({"bagging": True, "replace": False, "n_subset": 51}, "n_subset=51 is more than the 50 samples"),
        ({"library_ensemble": True, "n_candidates_to_drop": 0}, "n_candidates_to_drop"),
        ({"library_ensemble": True, "n_candidates_to_drop": 3}, "leaves none of the library's 3 terms"),
    ],
)
def test_ensembles_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SINDy(PolynomialLibrary(1), EnsembleOptimizer(STLSQ(), **options)).fit(X, T)
    with pytest.raises(TypeError, match="opt must be a sparse regression"):
        EnsembleOptimizer(STLSQ, bagging=True)
