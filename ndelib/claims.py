"""Claims: sentences of the book that are measured where they stand.

A chapter states a sentence, computes the number and calls :func:`claim`. The reader sees the sentence with what was
expected and what was measured; when it does not hold the cell raises, so a wrong number stops the book like a crash.
"""

import html
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MIME_TYPE = "application/vnd.ndelib.claim+json"
"""The mime type under which a notebook's output keeps a claim; the page *What this book claims* reads it."""

Number = complex | Tensor | Sequence[complex]


class ClaimFailed(AssertionError):
    """A sentence of the book did not hold when it was measured."""


class Claim:
    """A claim that held: IPython shows it as a box, the book collects it. ``sentence``, ``expected``, ``measured``."""

    def __init__(self, sentence: str, expected: str, measured: str, source: str) -> None:
        self.sentence = sentence
        self.expected = expected
        self.measured = measured
        self.source = source

    def __repr__(self) -> str:
        """Return the claim as one line of text."""
        return f"✓ Claim: {self.sentence} (expected {self.expected}; measured {self.measured})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return the box, the line of text, and the claim as data (IPython's protocol for rich output)."""
        data = {
            "sentence": self.sentence,
            "expected": self.expected,
            "measured": self.measured,
            "holds": True,
            "source": self.source,
        }
        source = f" · {html.escape(self.source)}" if self.source else ""
        # Inline styles serve notebook services, which know nothing of the book's style sheet; currentColor suits
        # light and dark.
        box = (
            '<div class="nde-claim" style="border-left:4px solid #009E73;padding:.4em .8em;margin:.4em 0">'
            f"<strong>✓ Claim.</strong> {html.escape(self.sentence)}<br>"
            f'<span class="nde-claim-numbers">expected {html.escape(self.expected)} · '
            f"measured {html.escape(self.measured)}{source}</span></div>"
        )
        return {"text/html": box, "text/plain": repr(self), MIME_TYPE: data}


def claim(
    sentence: str,
    measured: Number,
    *,
    equals: Number | None = None,
    within: float | None = None,
    below: float | None = None,
    above: float | None = None,
    source: str = "",
) -> None:
    """Check a sentence of the book against what was measured; show it with its numbers, or raise.

    Args:
        sentence: what is claimed, in words and plain Unicode, readable on its own.
        measured: a number, or a sequence or tensor of numbers that must all satisfy the bounds. Complex numbers can
            be compared with ``equals`` only, by the modulus of the difference.
        equals: the expected value(s); a sequence must be as long as ``measured``.
        within: the largest absolute difference from ``equals`` that still counts as equal; zero if missing.
        below: a strict upper bound.
        above: a strict lower bound.
        source: where the expected value comes from, e.g. "theorem 3" or "Euler (1768)".

    Raises:
        ClaimFailed: the sentence does not hold for what was measured (a NaN never holds).
        ValueError: nothing is expected (``equals``, ``below`` and ``above`` are all missing), lengths differ,
            ``within`` is negative or stands without ``equals``, or a bound is set on complex numbers.
    """
    result = _checked(sentence, measured, equals, within, below, above, source)
    if "IPython" in sys.modules:
        from IPython.display import display

        display(result)
    else:
        print(result)


def _checked(
    sentence: str,
    measured: Number,
    equals: Number | None,
    within: float | None,
    below: float | None,
    above: float | None,
    source: str,
) -> Claim:
    """Return the claim if it holds; arguments and errors are those of :func:`claim`."""
    if equals is None and below is None and above is None:
        raise ValueError("claim() needs something to expect: give equals=…, below=… or above=…")
    if within is not None and (equals is None or not within >= 0):
        raise ValueError(f"within = {within} must be a distance from equals=…, at least 0; equals is {equals}")
    values = _as_vector(measured)
    target = None if equals is None else _as_vector(equals)
    if values.is_complex() and (below is not None or above is not None):
        raise ValueError("complex numbers are neither below nor above anything: measure .real, .imag or .abs()")
    if target is not None and target.numel() not in (1, values.numel()):
        raise ValueError(f"equals has {target.numel()} values, measured has {values.numel()}")
    holds = _holds(values, target, within or 0.0, below, above)
    result = Claim(sentence, *_in_words(values, target, within or 0.0, below, above, holds), source)
    if values.numel() == 0 or not bool(holds.all()):
        raise ClaimFailed(f"claim does not hold: {sentence} (expected {result.expected}; measured {result.measured})")
    return result


def _as_vector(numbers: Number) -> Tensor:
    # By way of complex numbers, because PyTorch and NumPy drop imaginary parts on the way to real ones.
    vector = torch.as_tensor(numbers, dtype=torch.complex128, device="cpu").detach().reshape(-1)
    return vector.real if bool((vector.imag == 0).all()) else vector


def _holds(values: Tensor, target: Tensor | None, within: float, below: float | None, above: float | None) -> Tensor:
    """Say for each of ``values`` (n,) whether it is as expected: (n,), of bool."""
    holds = torch.ones_like(values, dtype=torch.bool)
    if target is not None:
        holds &= (values - target).abs() <= within
    if above is not None:
        holds &= values > above
    if below is not None:
        holds &= values < below
    return holds


def _in_words(
    values: Tensor, target: Tensor | None, within: float, below: float | None, above: float | None, holds: Tensor
) -> tuple[str, str]:
    """Return what was expected and what was measured, with digits enough that what is printed holds if the claim does.

    A value that rounds onto its bound would else read "0.99999 is below 1: measured 1".
    """
    for more in range(16):  # with 17 digits every float64 is printed exactly
        expected = []
        if target is not None:
            tolerance = f"{within:.{min(2 + more, 17)}g}"
            expected.append(_list(target, _digits(target, within, more)) + (f" ± {tolerance}" if within else ""))
        bounds = {sign: f"{b:.{min(6 + more, 17)}g}" for sign, b in ((">", above), ("<", below)) if b is not None}
        expected += [f"{sign} {bound}" for sign, bound in bounds.items()]
        digits = _digits(values, within, more)
        printed = _holds(
            _as_printed(values, digits),
            None if target is None else _as_printed(target, _digits(target, within, more)),
            float(tolerance) if target is not None else 0.0,
            float(bounds["<"]) if "<" in bounds else None,
            float(bounds[">"]) if ">" in bounds else None,
        )
        if torch.equal(printed, holds):
            break
    return " and ".join(expected), _list(values, digits)


def _digits(values: Tensor, within: float, more: int) -> int:
    """Return with how many digits to print: four, or those that a tolerance is about; and ``more``."""
    digits = 4
    largest = values.abs().max().item() if values.numel() else 0.0
    if within > 0 and math.isfinite(largest) and largest > within:
        digits = min(max(digits, math.ceil(math.log10(largest / within))), 8)
    return min(digits + more, 17)


def _as_printed(values: Tensor, digits: int) -> Tensor:
    """Return ``values`` (n,) as a reader of their digits sees them."""
    if values.is_complex():
        return torch.complex(_as_printed(values.real, digits), _as_printed(values.imag, digits))
    return torch.tensor([float(f"{value:.{digits}g}") for value in values.tolist()], dtype=torch.float64)


def _list(values: Tensor, digits: int) -> str:
    """Return one number, a short list, or the range of a long one (of the moduli, if it is complex)."""
    if values.numel() == 0:
        return "nothing"
    if values.numel() > 8:
        size, of = (values.abs(), "complex values of modulus") if values.is_complex() else (values, "values from")
        return f"{values.numel()} {of} {size.min():.{digits}g} to {size.max():.{digits}g}"
    return ", ".join(f"{value:.{digits}g}" for value in values.tolist())
