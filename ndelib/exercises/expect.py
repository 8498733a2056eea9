"""Comparisons for the tests of an assignment, whose failure says what was expected and what came.

They raise ``AssertionError``: the student's checker shows its text, and so does Otter when a class is graded.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch


def expect_close(got: Any, want: Any, what: str, *, rtol: float = 1e-5, atol: float = 1e-9) -> None:
    """Raise ``AssertionError`` unless ``got`` has the shape and, within the tolerances, the values of ``want``.

    Both may be numbers, nested sequences of numbers, arrays or tensors. Infinities must match; nan never does, and
    neither do no numbers at all: a test that compares nothing would be passed by everybody.

    Example:
        >>> from ndelib.exercises import expect_close
        >>> expect_close([0.5, 0.25], (1 / 2, 1 / 4), "the states")
        >>> expect_close(0.7, 2 / 3, "the limit")
        Traceback (most recent call last):
            ...
        AssertionError: the limit should be 0.666667, but it is 0.7.
    """
    _expect_a_value(got, what)
    wanted = _as_tensor(want)
    try:
        given = _as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        kind = "a number" if wanted.ndim == 0 else "numbers"
        raise AssertionError(f"{what} should be {kind}, but it is {_show(got)}.") from None
    if given.shape != wanted.shape:
        raise AssertionError(
            f"{what} should have the shape {tuple(wanted.shape)}, but it has {tuple(given.shape)}:"
            f" expected {_show(wanted)}, got {_show(given)}."
        )
    if not wanted.numel():
        raise AssertionError(f"{what}: there are no numbers to compare.")
    if not torch.allclose(given, wanted, rtol=rtol, atol=atol):
        raise AssertionError(f"{what} should be {_show(wanted)}, but it is {_show(given)}.")


def expect_equal(got: Any, want: Any, what: str) -> None:
    """Raise ``AssertionError`` unless ``got == want``.

    Example:
        >>> from ndelib.exercises import expect_equal
        >>> expect_equal("node", "saddle", "the kind")
        Traceback (most recent call last):
            ...
        AssertionError: the kind should be 'saddle', but it is 'node'.
    """
    _expect_a_value(got, what)
    if got != want:
        raise AssertionError(f"{what} should be {_cut(repr(want), 1000)}, but it is {_cut(repr(got), 1000)}.")


def expect_pair(got: Any, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``got`` if it is a pair of tensors; raise ``AssertionError`` otherwise.

    Example:
        >>> import torch
        >>> from ndelib.exercises import expect_pair
        >>> given = torch.arange(3), torch.ones(3, 2)
        >>> times, states = expect_pair(given, "euler")
        >>> states.shape
        torch.Size([3, 2])
    """
    _expect_a_value(got, what)
    if not (isinstance(got, Sequence) and len(got) == 2 and all(torch.is_tensor(part) for part in got)):
        raise AssertionError(f"{what} should return two tensors, but it returned {_show(got)}.")
    return got[0], got[1]


def _expect_a_value(got: Any, what: str) -> None:
    if got is None or got is ...:
        raise AssertionError(f"{what} gave no value: is every `...` filled in, and is there a `return`?")


def _as_tensor(value: Any) -> torch.Tensor:
    """Return ``value`` as a float64 tensor without a graph; sequences may hold 0-dimensional tensors."""
    if isinstance(value, (list, tuple)):
        return torch.stack([_as_tensor(part) for part in value]) if value else torch.empty(0, dtype=torch.float64)
    if isinstance(value, str):
        raise TypeError("text is not a number")
    # By way of NumPy, since PyTorch would take a Python number as float32 and lose half its digits.
    tensor = value.detach().cpu() if torch.is_tensor(value) else torch.as_tensor(np.asarray(value))
    if tensor.is_complex():
        raise TypeError("a complex number is not a real one")
    return tensor.to(torch.float64)


def _show(value: Any) -> str:
    """Write a value as short text: numbers with six digits, anything long cut off."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > 160:  # a tensor may have millions of numbers
            break
    return _cut(text, 160)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 10]} …"


def _pieces(value: Any) -> Iterator[str]:
    """Write a value piece by piece, so that who shows its beginning makes no more of it."""
    if torch.is_tensor(value) and value.ndim == 0:
        value = value.item()
    if isinstance(value, float):
        yield f"{value:.6g}"
    elif isinstance(value, (list, tuple)) or torch.is_tensor(value):
        yield "(" if isinstance(value, tuple) else "["
        for index in range(len(value)):
            yield from itertools.chain([", "] if index else [], _pieces(value[index]))
        yield ")" if isinstance(value, tuple) else "]"
    else:
        yield repr(value)
