"""What a test receives from a notebook: functions that cannot reach the test's data, and dictionaries with plain keys.

A test computes what is right from the data that it calls a function with, before the call or after it. A function that
overwrote these data would choose its own right answer. So it gets copies, and what it did to them is only noted.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.forward_ad import unpack_dual


class Receiver:
    """Makes of a notebook's variables what one run of a test may have."""

    def __init__(self) -> None:
        self._given: list[tuple[Any, Any]] = []
        self._originals: dict[int, tuple[Any, Any]] = {}

    @property
    def changed(self) -> bool:
        """Whether a function has changed what it was called with, then or in a later call."""
        return not all(_same(given, before) for given, before in self._given)

    def receive(self, value: Any) -> Any:
        """Return ``value`` with its functions called on copies."""
        if isinstance(value, (torch.Tensor, np.ndarray)):
            return value
        if type(value) in (list, tuple):
            parts = [self.receive(part) for part in value]
            same = all(map(_is, parts, value))
            return value if same else type(value)(parts)
        if type(value) is dict:
            pairs = {key: self.receive(part) for key, part in value.items()}
            return value if all(map(_is, pairs.values(), value.values())) else pairs
        return self._on_copies(value) if callable(value) else value

    def _on_copies(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function, updated=())
        def called(*args: Any, **kwargs: Any) -> Any:
            given, named = self._copy(list(args)), self._copy(kwargs)
            self._given.append(((list(given), named), (self._copy(list(args)), self._copy(kwargs))))
            return self.receive(function(*given, **named))

        self._originals[id(called)] = called, function
        return called

    def _copy(self, value: Any) -> Any:
        """Return a copy of plain data; what takes part in a gradient and what is no data stays as it is."""
        if isinstance(value, torch.Tensor):
            return value.clone() if _plain(value) else value
        if type(value) is np.ndarray:
            return value.copy()
        if type(value) in (list, tuple, set):
            return type(value)(map(self._copy, value))
        if type(value) is dict:
            return {key: self._copy(part) for key, part in value.items()}
        called, function = self._originals.get(id(value), (None, None))
        return function if called is value else value  # a function that goes back to the notebook is itself


def with_plain_keys(value: Any) -> Any:
    """Return a dictionary's copy in which a number is one key, however it is written; anything else as it is.

    Two tensors are two keys even if they hold the same number, so one fact would count as often as it is written.
    """
    if type(value) is not dict:
        return value
    return {
        key.item() if isinstance(key, (torch.Tensor, np.generic)) and _is_a_number(key) else key: part
        for key, part in value.items()
    }


def _is_a_number(key: "torch.Tensor | np.generic") -> bool:
    return isinstance(key, np.generic) or (key.ndim == 0 and _plain(key) and key.device.type != "meta")


def _plain(tensor: torch.Tensor) -> bool:
    """Whether nobody differentiates through ``tensor``, so that a copy is as good as itself."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or tensor.layout is not torch.strided:
        return False
    return not tensor.requires_grad and unpack_dual(tensor).tangent is None


def _is(first: Any, second: Any) -> bool:
    return first is second


def _same(first: Any, second: Any) -> bool:
    """Whether two values are equal to the last bit that counts; nan is equal to nan."""
    if first is second:
        return True
    if isinstance(first, (torch.Tensor, np.ndarray)):
        if type(first) is not type(second) or first.dtype != second.dtype or first.shape != second.shape:
            return False
        equal: Any = (first == second) | ((first != first) & (second != second))
        return bool(equal.all())
    if type(first) is not type(second):
        return False
    if type(first) in (list, tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if type(first) is dict:
        return first.keys() == second.keys() and all(_same(part, second[key]) for key, part in first.items())
    return bool(first == second or (first != first and second != second))
