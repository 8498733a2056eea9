"""A claim shows what holds and stops what does not."""

import html
import json
import math
import re
import subprocess
import sys

import IPython.display
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ndelib.claims import MIME_TYPE, ClaimFailed, _checked, claim


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
        "numbers": {"measured": ["3.141592653589793"], "equals": ["3.142857142857143"], "within": ["0.002"]},
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


@pytest.mark.filterwarnings("error")
def test_numbers_from_a_training_leave_no_warning_on_the_page():
    loss = torch.tensor(2.0, requires_grad=True) * 3
    claim("the loss", [loss, loss / 2], below=7.0)
    claim("the loss", loss, equals=6.0, within=0.1)


def test_without_a_notebook_the_claim_is_printed():
    code = "from ndelib.claims import claim; claim('one is less than two', 1, below=2)"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, encoding="utf-8")
    assert shown == "✓ Claim: one is less than two (expected < 2; measured 1)\n"


def test_long_lists_are_shown_as_a_range(shown):
    assert shown("the sentence", torch.arange(9.0), below=9).measured == "9 values from 0 to 8"


def test_as_many_digits_are_shown_as_the_tolerance_is_about(shown):
    result = shown("the sentence", 0.123456789, equals=0.1234567, within=1e-6)
    assert (result.expected, result.measured) == ("0.123457 ± 10⁻⁶", "0.123457")


@pytest.mark.parametrize(
    ("measured", "expectation", "words"),
    [
        (0.99999, {"below": 1}, ("< 1", "0.99999")),
        (1.00000000001, {"above": 1}, ("> 1", "1.00000000001")),
        (0.1234567, {"below": 0.12345678}, ("< 0.12345678", "0.1234567")),
        ([0.5, 0.99999], {"above": 0, "below": 1}, ("> 0 and < 1", "0.5, 0.99999")),
        (10.3104, {"equals": 10, "within": 0.3105}, ("10 ± 0.3105", "10.3104")),
        (math.nextafter(2, 1), {"below": 2}, ("< 2", "1.9999999999999998")),
        (0.5, {"below": 1}, ("< 1", "0.5")),
        (2 / 3, {"equals": 0.67, "within": 0.01}, ("0.67 ± 0.01", "0.6667")),
        (2 / 3, {"equals": 2 / 3}, ("0.6667", "0.6667")),
        (torch.linspace(0, 0.999999, 9), {"below": 1}, ("< 1", "9 values from 0 to 0.999999")),
        (1 + 2j, {"equals": 1 + 2j}, ("1 + 2i", "1 + 2i")),
        ([1j, 2], {"equals": [1j, 2.01], "within": 0.1}, ("0 + 1i, 2.01 + 0i ± 0.1", "0 + 1i, 2 + 0i")),
        ([3j] * 9, {"equals": 3j}, ("0 + 3i", "9 complex values of modulus 3 to 3")),
    ],
)
def test_what_is_printed_holds_and_has_no_more_digits_than_it_takes(shown, measured, expectation, words):
    result = shown("the sentence", measured, **expectation)
    assert (result.expected, result.measured) == words


@pytest.mark.parametrize(
    ("measured", "expectation", "words"),
    [
        (-1.2e-5, {"equals": -1.2e-5, "within": 1e-7}, ("−1.2·10⁻⁵ ± 10⁻⁷", "−1.2·10⁻⁵")),
        (-3, {"above": -4, "below": -2.5}, ("> −4 and < −2.5", "−3")),
        (1e-5, {"below": 2.5e-5}, ("< 2.5·10⁻⁵", "10⁻⁵")),
        (-1e-10, {"above": -1e-5}, ("> −10⁻⁵", "−10⁻¹⁰")),
        ([-4.3586017e-21, 1.25], {"equals": [0, 1.25], "within": 1e-9}, ("0, 1.25 ± 10⁻⁹", "−4.359·10⁻²¹, 1.25")),
        (6.02214e23, {"equals": 6e23, "within": 1e22}, ("6·10²³ ± 10²²", "6.022·10²³")),
        (0.25, {"equals": 0.25}, ("0.25", "0.25")),
        (12, {"above": 0.0001}, ("> 0.0001", "12")),
        (-0.0, {"equals": 0}, ("0", "0")),
        (math.inf, {"above": -math.inf}, ("> −∞", "∞")),
        (torch.linspace(-1e-6, 0, 9), {"below": 1}, ("< 1", "9 values from −10⁻⁶ to 0")),
        (-1 - 1e-7j, {"equals": -1 - 1e-7j}, ("−1 − 10⁻⁷ i", "−1 − 10⁻⁷ i")),
    ],
)
def test_numbers_are_written_as_on_paper(shown, measured, expectation, words):
    claimed = shown("the sentence", measured, **expectation)
    assert (claimed.expected, claimed.measured) == words
    bundle = claimed._repr_mimebundle_()
    assert f"(expected {words[0]}; measured {words[1]})" in bundle["text/plain"]
    assert html.escape(words[0]) in bundle["text/html"]
    assert f"measured {words[1]}" in bundle["text/html"]


def test_the_data_keep_all_digits_and_are_strict_json(shown):
    data = shown("s", [1 / 3, math.inf], above=-1e-300)._repr_mimebundle_()[MIME_TYPE]
    assert data["numbers"] == {"measured": ["0.3333333333333333", "inf"], "above": ["-1e-300"]}
    json.dumps(data, allow_nan=False)
    many = shown("s", torch.arange(9, dtype=torch.float64) / 3, below=np.float64(3)).numbers
    assert many == {"measured": ["0.0", "2.6666666666666665"], "below": ["3.0"]}
    assert complex(*shown("s", 1j / 3, equals=1j / 3).numbers["measured"]) == 1j / 3


def as_number(text: str) -> float:
    """Read a number that is written as on paper."""
    power = re.search("·?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$", text)
    if power is None:
        return float(text.replace("−", "-"))
    mantissa = text[: power.start()].replace("−", "-")
    exponent = power[1].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(f"{mantissa if mantissa.strip('-') else mantissa + '1'}e{exponent}")


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_the_printed_relation_is_the_measured_one(measured, bound):
    try:
        result = _checked("the sentence", measured, None, None, bound, None, "")
        expected, digits = result.expected, result.measured
    except ClaimFailed as failure:
        expected, digits = re.search(r"expected (.*); measured (.*)\)$", str(failure)).groups()
    assert (as_number(digits) < as_number(expected.removeprefix("< "))) == (measured < bound)


def test_a_failure_does_not_look_like_a_success():
    with pytest.raises(ClaimFailed, match=r"expected 1; measured 1\.000000001\)"):
        claim("the sentence", 1 + 1e-9, equals=1)


def test_imaginary_parts_count():
    for measured in (1 + 0.5j, torch.tensor([1 + 0.5j]), np.array([1 + 0.5j]), [np.complex128(1 + 0.5j)]):
        with pytest.raises(ClaimFailed):
            claim("the sentence", measured, equals=1, within=0.1)
        with pytest.raises(ClaimFailed):
            claim("the sentence", 1, equals=measured, within=0.1)
        with pytest.raises(ValueError, match="complex numbers are neither below nor above"):
            claim("the sentence", measured, below=2)
    claim("the sentence", torch.tensor([1 + 0j]), below=2)  # as real as any other


@pytest.mark.parametrize("expectation", [{"below": 2, "within": 0.1}, {"above": 0, "within": 0.0}])
def test_a_tolerance_needs_something_to_be_equal_to(expectation):
    with pytest.raises(ValueError, match=r"within = .* must be a distance from equals"):
        claim("the sentence", 1.0, **expectation)


@pytest.mark.parametrize("within", [-1.0, math.nan])
def test_a_tolerance_is_a_distance(within):
    with pytest.raises(ValueError, match="at least 0"):
        claim("the sentence", 1.0, equals=1.0, within=within)


def test_the_line_of_text_is_exact(shown):
    claimed = shown("π is less than 22/7", math.pi, above=3, below=22 / 7, source="Archimedes")
    assert repr(claimed) == "✓ Claim: π is less than 22/7 (expected > 3 and < 3.14286; measured 3.142)"
    assert shown("a sentence", [1, 2], equals=[1, 2])._repr_mimebundle_()["text/html"] == (
        '<div class="nde-claim" style="border-left:4px solid #009E73;padding:.4em .8em;margin:.4em 0">'
        "<strong>✓ Claim.</strong> a sentence<br>"
        '<span class="nde-claim-numbers">expected 1, 2 · measured 1, 2</span></div>'
    )


def test_html_is_escaped(shown):
    box = shown("1 < 2 & 3", 1.0, below=2.0)._repr_mimebundle_()["text/html"]
    assert "1 &lt; 2 &amp; 3" in box


def test_a_claim_must_expect_something():
    with pytest.raises(ValueError, match="needs something to expect"):
        claim("the sentence", 1.0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="equals has 2 values, measured has 3"):
        claim("the sentence", [1.0, 2.0, 3.0], equals=[1.0, 2.0])
