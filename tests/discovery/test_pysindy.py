"""The same words give the same coefficients in PySINDy 2.1, whose numbers are frozen in a file."""

import json

import numpy as np
import pytest

import ndelib.discovery
from tests.discovery.pysindy_numbers import NUMBERS, cases

THEIRS = json.loads(NUMBERS.read_text(encoding="utf-8"))["models"]


@pytest.fixture(scope="module")
def ours():
    return cases(ndelib.discovery)


def test_every_case_has_numbers(ours):
    assert ours.keys() == THEIRS.keys()


@pytest.mark.parametrize("name", THEIRS)
def test_terms_and_coefficients_are_those_of_pysindy(ours, name):
    theirs = np.array(THEIRS[name]["coefficients"])
    assert ours[name].get_feature_names() == THEIRS[name]["terms"]
    assert ((ours[name].coefficients() != 0) == (theirs != 0)).all()
    # Both solve the same problem, theirs by normal equations: what is left is rounding times the condition number.
    assert np.abs(ours[name].coefficients() - theirs).max() <= 1e-9 * np.abs(theirs).max()
