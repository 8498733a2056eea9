"""Answers that are known before the inputs are drawn: by the number of the call, or from an argument seen before.

Inputs that a class's secret draws do not help where the right answers stay the same, or where a test calls a function
with what another one has to return. :func:`known` learns such a script from a few secrets and tries it on others.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ndelib.exercises.engine import Test, needed_names, run_test
from ndelib.exercises.seeds import set_secret
from tests.exercises.trivial import LONGEST_S, Values
from tools.grading.judging.worker.limits import TimeLimit, time_limit

Function = Callable[..., Any]
Place = tuple[int, ...]
LEARNT = ("first", "second", "third")
TRIED = ("fourth", "fifth", "sixth")
MOST_CALLS = 200
MOST_PARTS = 16
FUNCTION = object()  # in the place of a function that was returned


class Script:
    """What the functions of one run were called with, and what they returned, in the order of the calls."""

    def __init__(self) -> None:
        self.seen: dict[Place, Any] = {}
        self.calls: dict[str, list[tuple[int, Any]]] = {}
        self._count = itertools.count()

    def of(self, name: str, answer: Function) -> Function:
        """Return a function that does the same and is written down."""

        def written(*args: Any, **kwargs: Any) -> Any:
            number = self.see(args, kwargs)
            result = answer(*args, **kwargs)
            kept, given = self._kept(name, result)
            self.calls.setdefault(name, []).append((number, kept))
            return given

        return written

    def see(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Take down the arguments of a call and their parts; return the number of the call."""
        number = next(self._count)
        if number < MOST_CALLS:
            for place, value in _parts((*args, *kwargs.values())):
                self.seen[number, *place] = _copied(value)
        return number

    def _kept(self, name: str, result: Any) -> tuple[Any, Any]:
        if isinstance(result, torch.Tensor) or not isinstance(result, (tuple, list, Iterator)):
            return (FUNCTION, self.of(f"{name}()", result)) if callable(result) else (_copied(result), result)
        if isinstance(result, Iterator):
            values = Values()
            return values, values.of(result)
        pairs = [self._kept(name, part) for part in result]
        kept, given = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return (tuple(kept), tuple(given)) if isinstance(result, tuple) else (kept, given)


def _parts(values: Any, depth: int = 0) -> Iterator[tuple[Place, Any]]:
    """Yield the parts of arguments, and the parts of these, each with its place."""
    for number, value in enumerate(values):
        yield (number,), value
        rows = isinstance(value, (list, tuple)) or (isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim)
        if rows and depth < 2 and not _wrapped(value) and len(value) <= MOST_PARTS:
            for place, part in _parts(value, depth + 1):
                yield (number, *place), part


def _wrapped(value: Any) -> bool:
    """Tell whether a tensor lives only while ``torch.func`` differentiates."""
    return isinstance(value, torch.Tensor) and bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def _copied(value: Any) -> Any:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if _wrapped(value):
            return None
        return value.detach().clone() if isinstance(value, torch.Tensor) else value.copy()
    return type(value)(_copied(part) for part in value) if type(value) in (list, tuple) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:
        return type(one) is type(other) and bool(one == other)
    try:
        left, right = (np.asarray(value, dtype=complex) for value in (one, other))
    except (TypeError, ValueError, RuntimeError):
        return False
    return left.shape == right.shape and np.allclose(left, right, rtol=1e-5, atol=1e-9, equal_nan=True)


def _learnt(scripts: list[Script], name: str) -> list[tuple[Place | None, Any]]:
    """Return for each call of a function where its result was seen in all runs, if anywhere, and that of the first."""
    steps: list[tuple[Place | None, Any]] = []
    for calls in zip(*(script.calls.get(name, []) for script in scripts), strict=False):
        (number, first), place = calls[0], None
        if not all(_same(first, result) for _, result in calls):
            for there in (there for there in scripts[0].seen if there[0] <= number):
                if all(_same(script.seen.get(there), call[1]) for script, call in zip(scripts, calls, strict=True)):
                    place = there
                    break
        steps.append((place, first))
    return steps


def _played(script: Script, name: str, scripts: list[Script]) -> Function:
    """Return a function that says what it has learnt, and knows nothing of the question."""
    steps, calls = _learnt(scripts, name), itertools.count()
    inner: list[Function] = []

    def given(kept: Any) -> Any:
        if kept is FUNCTION:
            inner[:] = inner or [_played(script, f"{name}()", scripts)]
            return inner[0]
        if isinstance(kept, Values):
            return iter(kept)
        return type(kept)(given(part) for part in kept) if type(kept) in (list, tuple) else _copied(kept)

    def scripted(*args: Any, **kwargs: Any) -> Any:
        script.see(args, kwargs)
        place, first = steps[min(next(calls), len(steps) - 1)]
        return given(script.seen.get(place, first) if place is not None else first)

    return scripted


def known(test: Test, question: str, solution: dict[str, Any]) -> list[str]:
    """Return the functions of a test with drawn inputs that a script can stand in for, the others being right."""
    names = [name for name in needed_names(test) if callable(solution[name])]
    scripts = []
    for secret in LEARNT:
        set_secret(secret)
        scripts.append(script := Script())
        run_test(test, question, {**solution, **{name: script.of(name, solution[name]) for name in names}})
    return [
        name
        for name in names
        if all(script.calls.get(name) for script in scripts)
        and all(_passes(test, question, solution, name, scripts, secret) for secret in TRIED)
    ]


def _passes(test: Test, question: str, solution: dict[str, Any], name: str, scripts: list[Script], secret: str) -> bool:
    set_secret(secret)
    script = Script()
    right = {other: script.of(other, solution[other]) for other in needed_names(test) if callable(solution[other])}
    try:
        with time_limit(LONGEST_S):
            return run_test(test, question, {**solution, **right, name: _played(script, name, scripts)}).passed
    except TimeLimit:
        return False
