"""Libraries: values, names and order against scikit-learn and formulas; functions of NumPy and of torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.preprocessing import PolynomialFeatures

from ndelib.discovery import STLSQ, ConcatLibrary, CustomLibrary, FourierLibrary, PolynomialLibrary, SINDy

X = np.random.default_rng(0).normal(size=(20, 3))


@settings(max_examples=20, deadline=None)
@given(d=st.integers(1, 4), degree=st.integers(0, 5), only=st.booleans(), bias=st.booleans())
def test_polynomials_are_those_of_scikit_learn_in_its_order(d, degree, only, bias):
    if degree == 0 and not bias:
        return
    theirs = PolynomialFeatures(degree, interaction_only=only, include_bias=bias).fit(
        X[:, :d] if d < 4 else X[:, [0] * 4]
    )
    x = np.random.default_rng(d).normal(size=(7, d))
    ours = PolynomialLibrary(degree, interaction_only=only, include_bias=bias)
    assert np.allclose(ours.fit_transform(x), theirs.transform(x), rtol=1e-13)
    assert (ours.powers_ == theirs.powers_).all()
    assert ours.get_feature_names() == list(theirs.get_feature_names_out())
    assert ours.n_output_features_ == theirs.n_output_features_


def test_powers_without_products():
    library = PolynomialLibrary(3, include_interaction=False).fit(X[:, :2])
    assert library.get_feature_names() == ["1", "x0", "x1", "x0^2", "x1^2", "x0^3", "x1^3"]
    assert np.allclose(library.transform(X[:, :2])[:, 5], X[:, 0] ** 3)


def test_fourier_terms():
    library = FourierLibrary(2).fit(X)
    names = library.get_feature_names(["a", "b", "c"])
    assert names[:2] == ["sin(1 a)", "cos(1 a)"]
    values = library.transform(X)
    assert np.allclose(values[:, names.index("cos(2 c)")], np.cos(2 * X[:, 2]))
    assert np.allclose(values[:, names.index("sin(2 b)")], np.sin(2 * X[:, 1]))
    assert values.shape == (20, 12)


def test_functions_may_be_written_with_numpy_or_torch_and_give_a_number():
    functions = [np.exp, torch.exp, lambda x, y: np.where(x > y, x, y), lambda x: 3.0, np.arctan2]
    library = CustomLibrary(functions).fit(X[:, :2])
    values = library.transform(X[:, :2])
    expected = [np.exp(X[:, 0]), np.exp(X[:, 1])] * 2 + [X[:, :2].max(1), 3.0, 3.0, np.arctan2(X[:, 0], X[:, 1])]
    assert library.get_feature_names() == [
        "f0(x0)",
        "f0(x1)",
        "f1(x0)",
        "f1(x1)",
        "f2(x0,x1)",
        "f3(x0)",
        "f3(x1)",
        "f4(x0,x1)",
    ]
    for column, value in zip(values.T, expected, strict=True):
        assert np.allclose(column, value, rtol=1e-14)


def test_arguments_of_a_function_may_be_the_same_variable_if_asked_for():
    library = CustomLibrary([lambda x, y: x * y], [lambda x, y: f"{x}*{y}"], interaction_only=False, include_bias=True)
    assert library.fit(X[:, :2]).get_feature_names() == ["1", "x0*x0", "x0*x1", "x1*x1"]


def test_libraries_are_joined_in_order_and_keep_their_names():
    parts = [PolynomialLibrary(1), FourierLibrary(), CustomLibrary([torch.tanh])]
    joined = parts[0] + parts[1] + parts[2]
    assert isinstance(joined, ConcatLibrary)
    assert len(joined.libraries) == 3
    assert np.array_equal(joined.fit_transform(X), np.hstack([part.fit_transform(X) for part in parts]))
    assert joined.get_feature_names() == [name for part in parts for name in part.get_feature_names()]


def test_terms_can_be_differentiated_also_at_zero():
    x = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    library = PolynomialLibrary(3).fit(x)
    jacobian = torch.autograd.functional.jacobian(lambda x: library.transform(x)[0], x)[:, 0]
    expected = torch.zeros(10, 2, dtype=torch.float64)
    expected[1, 0] = expected[2, 1] = 1.0
    assert torch.equal(jacobian, expected)


def test_a_library_that_was_first_used_for_inference_can_be_differentiated_later():
    with torch.inference_mode():
        PolynomialLibrary(4).fit_transform(torch.ones(2, 5))
    x = torch.ones(2, 5, requires_grad=True)
    PolynomialLibrary(4).fit_transform(x).sum().backward()
    assert x.grad.shape == (2, 5)


def test_tensors_give_tensors_of_their_kind():
    values = PolynomialLibrary(2).fit_transform(torch.tensor(X, dtype=torch.float32))
    assert isinstance(values, torch.Tensor)
    assert values.dtype == torch.float32


def test_parts_are_estimators_of_scikit_learn():
    model = SINDy(PolynomialLibrary(3), STLSQ(threshold=0.2))
    copy = clone(model.set_params(optimizer__threshold=0.3, feature_library__degree=4))
    assert copy.get_params()["optimizer__threshold"] == 0.3
    assert copy.feature_library is not model.feature_library
    assert copy.feature_library.degree == 4
    assert repr(copy).startswith("SINDy(feature_library=PolynomialLibrary(degree=4), optimizer=STLSQ(threshold=0.3)")
    with pytest.raises(ValueError, match="has no parameter 'limit'; it has threshold, alpha"):
        model.optimizer.set_params(limit=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolynomialLibrary(-1), "degree"),
        (lambda: PolynomialLibrary(2.0), "degree"),
        (lambda: PolynomialLibrary(2, include_interaction=False, interaction_only=True), "include_interaction"),
        (lambda: FourierLibrary(0), "n_frequencies"),
        (lambda: FourierLibrary(1, include_sin=False, include_cos=False), "no terms"),
        (lambda: CustomLibrary([np.sin], []), "function_names"),
        (lambda: PolynomialLibrary().transform(X), "call fit first"),
        (lambda: PolynomialLibrary().fit(X).transform(X[:, :2]), "2 variables; the library was fitted to 3"),
        (lambda: PolynomialLibrary().fit(X).get_feature_names(["a"]), "3 names, got 1"),
        (lambda: CustomLibrary([lambda x: x[:3]]).fit_transform(X), r"library_functions\[0\] must return one number"),
    ],
)
def test_bad_libraries_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
