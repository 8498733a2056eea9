"""A claim shows what holds and stops what does not."""

import math
import subprocess
import sys

import IPython.display
import pytest
import torch

from ndelib.claims import MIME_TYPE, ClaimFailed, claim


@pytest.fixture
def shown(monkeypatch):
    """Make a claim and return what its reader is shown."""
    displayed = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)

    def make(*arguments, **expectation):
        assert claim(*arguments, **expectation) is None  # a value would be shown a second time by the notebook
        return displayed.pop()

    return make


def test_a_claim_that_holds_carries_sentence_expected_and_measured(shown):
    bundle = shown("π is close to 22/7", math.pi, equals=22 / 7, within=0.002, source="Archimedes")._repr_mimebundle_()
    assert bundle[MIME_TYPE] == {
        "sentence": "π is close to 22/7",
        "expected": "3.143 ± 0.002",
        "measured": "3.142",
        "holds": True,
        "source": "Archimedes",
    }
    assert "π is close to 22/7" in bundle["text/plain"]
    assert "Archimedes" in bundle["text/html"]


@pytest.mark.parametrize(
    ("measured", "expectation"),
    [
        (1.1, {"equals": 1.0, "within": 0.05}),
        (1.0 + 1e-9, {"equals": 1.0}),
        (2.0, {"below": 2.0}),
        (2.0, {"above": 2.0}),
        (math.nan, {"equals": math.nan, "within": 1.0}),
        (math.nan, {"below": 1.0}),
        (math.inf, {"equals": math.inf, "within": 1.0}),
        ([1.0, 2.0, 9.0], {"below": 5.0}),
        ([1.0, 2.0], {"equals": [1.0, 2.1], "within": 0.01}),
        ([], {"below": 5.0}),
        (3.0, {"above": 1.0, "below": 2.0}),
    ],
)
def test_a_claim_that_does_not_hold_raises(measured, expectation):
    with pytest.raises(ClaimFailed, match=r"does not hold: the sentence .expected .*; measured"):
        claim("the sentence", measured, **expectation)


@pytest.mark.parametrize(
    ("measured", "expectation"),
    [
        (torch.tensor([1.0, 2.0], requires_grad=True), {"equals": [1, 2]}),
        (torch.tensor(3), {"above": 2, "below": 4}),
        ([1.0, 1.01], {"equals": 1.0, "within": 0.02}),
        (True, {"equals": 1}),
    ],
)
def test_numbers_of_every_kind_are_measured(measured, expectation):
    claim("the sentence", measured, **expectation)


def test_without_a_notebook_the_claim_is_printed():
    code = "from ndelib.claims import claim; claim('one is less than two', 1, below=2)"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, encoding="utf-8")
    assert shown == "✓ Claim: one is less than two (expected < 2; measured 1)\n"


def test_long_lists_are_shown_as_a_range(shown):
    assert shown("the sentence", torch.arange(9.0), below=9).measured == "9 values from 0 to 8"


def test_as_many_digits_are_shown_as_the_tolerance_is_about(shown):
    result = shown("the sentence", 0.123456789, equals=0.1234567, within=1e-6)
    assert (result.expected, result.measured) == ("0.123457 ± 1e-06", "0.123457")


def test_html_is_escaped(shown):
    box = shown("1 < 2 & 3", 1.0, below=2.0)._repr_mimebundle_()["text/html"]
    assert "1 &lt; 2 &amp; 3" in box


def test_a_claim_must_expect_something():
    with pytest.raises(ValueError, match="needs something to expect"):
        claim("the sentence", 1.0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="equals has 2 values, measured has 3"):
        claim("the sentence", [1.0, 2.0, 3.0], equals=[1.0, 2.0])
