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

LONGEST_LIST = 8
"""Of more values than these a claim shows the smallest and the largest."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Number = complex | Tensor | Sequence[complex]


class ClaimFailed(AssertionError):
    """A sentence of the book did not hold when it was measured."""


class Claim:
    """A claim that held: IPython shows it as a box, the book collects it.

    ``sentence``, ``expected`` and ``measured`` are texts, numbers in them as on paper (−1.2·10⁻⁵). ``numbers`` has them
    with all their digits, as lists of texts that ``float`` or ``complex`` reads.
    """

    def __init__(self, sentence: str, expected: str, measured: str, source: str, numbers: dict[str, list[str]]) -> None:
        self.sentence = sentence
        self.expected = expected
        self.measured = measured
        self.source = source
        self.numbers = numbers

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
            "numbers": self.numbers,
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

    Example:
        >>> import math
        >>> from ndelib.claims import claim
        >>> claim("π is close to 22/7", math.pi, equals=22 / 7, within=0.002)
        ✓ Claim: π is close to 22/7 (expected 3.143 ± 0.002; measured 3.142)
        >>> claim("rounding stays small", 0.1 + 0.2 - 0.3, below=1e-15)
        ✓ Claim: rounding stays small (expected < 10⁻¹⁵; measured 5.551·10⁻¹⁷)
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
    words = _in_words(values, target, within or 0.0, below, above, holds)
    exact = {"measured": values, "equals": target, "within": within, "below": below, "above": above}
    numbers = {name: _exactly(value) for name, value in exact.items() if value is not None}
    result = Claim(sentence, *words, source, numbers)
    if values.numel() == 0 or not bool(holds.all()):
        raise ClaimFailed(f"claim does not hold: {sentence} (expected {result.expected}; measured {result.measured})")
    return result


def _as_vector(numbers: Number) -> Tensor:
    # By way of complex numbers, because PyTorch and NumPy drop imaginary parts on the way to real ones.
    plain: Any = numbers
    if isinstance(numbers, (list, tuple)):  # of numbers from a training, too, without a warning on the page
        plain = [x.detach() if isinstance(x, Tensor) else x for x in numbers]
    vector = torch.as_tensor(plain, dtype=torch.complex128, device="cpu").detach().reshape(-1)
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
        tolerance, bound = min(2 + more, 17), min(6 + more, 17)
        if target is not None:
            plus_minus = f" ± {_on_paper(within, tolerance)}" if within else ""
            expected.append(_list(target, within, more) + plus_minus)
        expected += [f"> {_on_paper(above, bound)}"] if above is not None else []
        expected += [f"< {_on_paper(below, bound)}"] if below is not None else []
        printed = _holds(
            _as_printed(values, within, more),
            None if target is None else _as_printed(target, within, more),
            _rounded(within, tolerance),
            None if below is None else _rounded(below, bound),
            None if above is None else _rounded(above, bound),
        )
        if torch.equal(printed, holds):
            break
    return " and ".join(expected), _list(values, within, more)


def _digits(value: complex, within: float, more: int) -> int:
    """Return with how many digits to print: four, or those that a tolerance is about; and ``more``."""
    digits, size = 4, abs(value)
    if within > 0 and math.isfinite(size) and size > within:
        digits = min(max(digits, math.ceil(math.log10(size / within))), 8)
    return min(digits + more, 17)


def _as_printed(values: Tensor, within: float, more: int) -> Tensor:
    """Return ``values`` (n,) as a reader of their digits sees them."""
    printed = []
    for value in values.tolist():
        digits = _digits(value, within, more)
        rounded = (_rounded(part, digits) for part in (value.real, value.imag))
        printed.append(complex(*rounded) if isinstance(value, complex) else next(rounded))
    return torch.tensor(printed, dtype=values.dtype)


def _rounded(value: float, digits: int) -> float:
    """Return ``value`` as a reader of its ``digits`` significant digits sees it."""
    return float(f"{value:.{digits}g}")


def _list(values: Tensor, within: float, more: int) -> str:
    """Return one number, a short list, or the range of a long one (of the moduli, if it is complex)."""
    if values.numel() == 0:
        return "nothing"
    many = values.numel() > LONGEST_LIST
    numbers = _ends(values) if many else values
    texts = [_on_paper(value, _digits(value, within, more)) for value in numbers.tolist()]
    if many:
        of = "complex values of modulus" if values.is_complex() else "values from"
        return f"{values.numel()} {of} {texts[0]} to {texts[1]}"
    return ", ".join(texts)


def _ends(values: Tensor) -> Tensor:
    """Return the smallest and the largest of ``values`` (n,), of their moduli if they are complex: (2,)."""
    sizes = values.abs() if values.is_complex() else values
    return torch.stack([sizes.min(), sizes.max()])


def _exactly(value: Tensor | float) -> list[str]:
    """Return one number, a short list, or the ends of a long one (of the moduli, if it is complex), to all digits."""
    if not isinstance(value, Tensor):
        return [repr(float(value))]
    return [repr(number) for number in (_ends(value) if value.numel() > LONGEST_LIST else value).tolist()]


def _on_paper(value: complex, digits: int) -> str:
    """Write a number as a printed book does, with so many significant digits at most: −1.2·10⁻⁵."""
    if isinstance(value, complex):
        return _complex_on_paper(value, digits)
    number, _, exponent = f"{value:.{digits}g}".partition("e")
    number = "0" if number == "-0" else number.replace("-", "−").replace("inf", "∞").replace("nan", "NaN")
    if not exponent:
        return number
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return {"1": power, "−1": f"−{power}"}.get(number, f"{number}·{power}")


def _complex_on_paper(value: complex, digits: int) -> str:
    real, imaginary = _on_paper(value.real, digits), _on_paper(value.imag, digits)
    sign, size = ("−", imaginary[1:]) if imaginary.startswith("−") else ("+", imaginary)
    return f"{real} {sign} {size}{'' if size[-1].isascii() else ' '}i"
