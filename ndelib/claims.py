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

Number = float | Tensor | Sequence[float]


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
    within: float = 0.0,
    below: float | None = None,
    above: float | None = None,
    source: str = "",
) -> None:
    """Check a sentence of the book against what was measured; show it with its numbers, or raise.

    Args:
        sentence: what is claimed, in words and plain Unicode, readable on its own.
        measured: a number, or a sequence or tensor of numbers that must all satisfy the bounds.
        equals: the expected value(s); a sequence must be as long as ``measured``.
        within: the largest absolute difference from ``equals`` that still counts as equal.
        below: a strict upper bound.
        above: a strict lower bound.
        source: where the expected value comes from, e.g. "theorem 3" or "Euler (1768)".

    Raises:
        ClaimFailed: the sentence does not hold for what was measured (a NaN never holds).
        ValueError: nothing is expected (``equals``, ``below`` and ``above`` are all missing), or lengths differ.
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
    within: float,
    below: float | None,
    above: float | None,
    source: str,
) -> Claim:
    """Return the claim if it holds; arguments and errors are those of :func:`claim`."""
    if equals is None and below is None and above is None:
        raise ValueError("claim() needs something to expect: give equals=…, below=… or above=…")
    values = _as_vector(measured)
    holds = torch.ones_like(values, dtype=torch.bool)
    expected = []
    if equals is not None:
        target = _as_vector(equals)
        if target.numel() not in (1, values.numel()):
            raise ValueError(f"equals has {target.numel()} values, measured has {values.numel()}")
        holds &= (values - target).abs() <= within
        expected.append(_in_words(target, within) + (f" ± {within:.2g}" if within else ""))
    if above is not None:
        holds &= values > above
        expected.append(f"> {above:.6g}")
    if below is not None:
        holds &= values < below
        expected.append(f"< {below:.6g}")
    result = Claim(sentence, " and ".join(expected), _in_words(values, within), source)
    if values.numel() == 0 or not bool(holds.all()):
        raise ClaimFailed(f"claim does not hold: {sentence} (expected {result.expected}; measured {result.measured})")
    return result


def _as_vector(numbers: Number) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float64, device="cpu").detach().reshape(-1)


def _in_words(values: Tensor, within: float) -> str:
    """Return one number, a short list, or the range of a long one, with the digits that a tolerance is about."""
    if values.numel() == 0:
        return "nothing"
    largest = values.abs().max().item()
    digits = 4
    if within > 0 and math.isfinite(largest) and largest > within:
        digits = min(max(digits, math.ceil(math.log10(largest / within))), 8)
    if values.numel() > 8:
        return f"{values.numel()} values from {values.min():.{digits}g} to {values.max():.{digits}g}"
    return ", ".join(f"{value:.{digits}g}" for value in values.tolist())
