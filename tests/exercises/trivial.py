"""Answers that need no knowledge: constants, arguments, zeros of the right shape, public values, overwritten data,
and what was kept from earlier calls.

An answer may know the shape of what is right, which the docstring of its stub says, and which is taken here from a run
of the solution: :class:`Record` keeps what a function returned, call by call.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ndelib.exercises.engine import Test, needed_names, run_test
from tools.grading.judging.worker.limits import TimeLimit, time_limit

Function = Callable[..., Any]
MOST_PUBLIC = 6
LONGEST_S = 10.0


class Record:
    """What a function of the solution was called with at first, and what it returned, call by call.

    In the place of a function or a generator that it returned stands the record of that.
    """

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()
        self.results: list[Any] = []

    def of(self, function: Function) -> Function:
        """Return a function that does the same and is recorded."""

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.args = self.args or args
            return self._kept(function(*args, **kwargs))

        return recorded

    def _kept(self, result: Any) -> Any:
        if callable(result):
            self.results.append(inner := Record())
            return inner.of(result)
        if isinstance(result, Iterator):
            self.results.append(values := Values())
            return values.of(result)
        self.results.append(result)
        return result

    def places(self, *kinds: type) -> list[int]:
        """Return which arguments are of a kind."""
        return [place for place, value in enumerate(self.args) if isinstance(value, kinds)]

    def __call__(self, number: int) -> Any:
        return self.results[min(number, len(self.results) - 1)] if self.results else 0.0


class Values(list[Any]):
    """What a generator of the solution gave."""

    def of(self, values: Iterator[Any]) -> Iterator[Any]:
        for value in values:
            self.append(value)
            yield value


def filled(shape: Any, number: Any) -> Any:
    """Return something of the shape of a result, all of whose numbers are ``number``, or a tensor spread over it."""
    if isinstance(shape, Record):
        calls = itertools.count()
        return lambda *args, **kwargs: filled(shape(next(calls)), number)
    if isinstance(shape, Values):
        return iter([filled(part, number) for part in shape])
    if isinstance(shape, torch.Tensor):
        spread = torch.as_tensor(number)
        finite = shape.dtype.is_floating_point or shape.dtype.is_complex or bool(spread.isfinite().all())
        return spread.detach().to(shape.dtype if finite else torch.float64).expand(shape.shape).clone()
    if isinstance(shape, dict):
        return {key: filled(part, number) for key, part in shape.items()}
    if isinstance(shape, (list, tuple)):
        return type(shape)(filled(part, number) for part in shape)
    one = float(number) if not isinstance(number, torch.Tensor) else float(number.reshape(-1)[0])
    if isinstance(shape, (bool, int, complex)):
        return type(shape)(one) if math.isfinite(one) else one
    return str(one) if isinstance(shape, str) else one


CONSTANTS: dict[str, Any] = {
    **{repr(value): value for value in (None, (), [], {}, "", 0.0, 1.0, -1.0, math.nan, math.inf, True, False)},
    **{"an empty tensor": torch.zeros(0), "the tensor 0": torch.zeros(()), "the tensor 1": torch.ones(())},
    "two empty tensors": (torch.zeros(0), torch.zeros(0)),
}
NUMBERS = {"zeros": 0.0, "ones": 1.0, "nan": math.nan, "infinities": math.inf}


def _zeros(value: torch.Tensor) -> None:
    value.zero_()


def _last(value: torch.Tensor) -> None:
    if value.ndim:
        value.copy_(value[-1].clone().expand_as(value))


def _nan(value: torch.Tensor) -> None:
    value.fill_(math.nan if value.dtype.is_floating_point else 0)


OVERWRITES = {"": None, "zeros": _zeros, "its last entry": _last, "nan": _nan}


def overwrite(write: Callable[[torch.Tensor], None] | None, args: tuple[Any, ...]) -> None:
    for value in args if write is not None else ():
        if isinstance(value, torch.Tensor) and value.numel() and not _differentiated(value):
            write(value)
        elif isinstance(value, (list, dict, set)):
            value.clear()


def _differentiated(value: torch.Tensor) -> bool:
    return bool(value.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(value))


def answers(record: Record) -> Iterator[tuple[str, Callable[[], Function]]]:
    """Return trivial functions in the place of the one with that record, each by what it does and how it is made."""

    def constant(value: Any) -> Callable[[], Function]:
        return lambda: lambda *args, **kwargs: value

    def raising(error: type[Exception]) -> Callable[[], Function]:
        def make() -> Function:
            def function(*args: Any, **kwargs: Any) -> Any:
                raise error("no")

            return function

        return make

    def with_shape(write: Any, number: Callable[[tuple[Any, ...]], Any]) -> Callable[[], Function]:
        def make() -> Function:
            calls = itertools.count()

            def function(*args: Any, **kwargs: Any) -> Any:
                overwrite(write, args)
                return filled(record(next(calls)), number(args))

            return function

        return make

    def argument(write: Any, *places: int) -> Callable[[], Function]:
        def make() -> Function:
            def function(*args: Any, **kwargs: Any) -> Any:
                overwrite(write, args)
                chosen = tuple(args[place] for place in places)
                return chosen if len(chosen) > 1 else chosen[0]

            return function

        return make

    def keeping(write: Any, number: Callable[[tuple[Any, ...]], Any]) -> Callable[[], Function]:
        """What it was called with before it keeps; that it overwrites, and returns the number that it makes of it."""

        def make() -> Function:
            calls, kept = itertools.count(), []

            def function(*args: Any, **kwargs: Any) -> Any:
                for before in kept:
                    overwrite(write, before)
                kept.append(args)
                return filled(record(next(calls)), number(kept[-2] if len(kept) > 1 else args))

            return function

        return make

    def one_object(step: float) -> Callable[[], Function]:
        """What it returned before it changes."""

        def make() -> Function:
            result = filled(record(0), 0.0)

            def function(*args: Any, **kwargs: Any) -> Any:
                for part in result if isinstance(result, (list, tuple)) else [result]:
                    if isinstance(part, torch.Tensor):
                        part.add_(torch.tensor(step).to(part.dtype))
                return result

            return function

        return make

    for name, value in CONSTANTS.items():
        yield f"returns {name}", constant(value)
    for step in (0.0, 1.0, -1.0):
        yield f"returns the same object each time, {step} larger", one_object(step)
    for error in (ValueError, RuntimeError):
        yield f"raises {error.__name__}", raising(error)
    for place in record.places(torch.Tensor, int, float, complex):
        yield f"returns argument {place} of the call before", keeping(None, lambda args, place=place: args[place])
    own = record.places(torch.Tensor, list, dict, set)
    for how, write in OVERWRITES.items() if own else ():
        yield f"overwrites what it was called with before with {how}, returns ones", keeping(write, lambda args: 1.0)
    for how, write in OVERWRITES.items() if own else [("", None)]:
        before = f"overwrites its arguments with {how}, " if how else ""
        for name, number in NUMBERS.items():
            yield f"{before}returns {name} of the right shape", with_shape(write, lambda args, x=number: x)
        for place in range(len(record.args)):
            yield f"{before}returns its argument {place}", argument(write, place)
        for place in record.places(torch.Tensor, int, float, complex):
            yield (
                f"{before}returns its argument {place} in the right shape",
                with_shape(write, lambda args, place=place: args[place]),
            )
        for pair in itertools.permutations(record.places(torch.Tensor), 2) if not how else ():
            yield f"returns its arguments {pair}", argument(write, *pair)


def values(right: Any) -> Iterator[tuple[str, Any]]:
    """Return trivial values in the place of ``right``, a variable that is no function."""
    yield from CONSTANTS.items()
    for name, number in NUMBERS.items():
        yield f"{name} of the right shape", filled(right, number)
    if isinstance(right, dict):
        parts = [True, False, *right.values()]
        for part in parts:
            yield f"{part!r} for each key", dict.fromkeys(right, part)
        for key, part in right.items():
            if isinstance(key, (int, float)):
                copies = {torch.tensor(key): part for _ in right}
                yield f"{key!r}: {part!r} as often as there are keys", copies


def gains(tests: list[Any], question: str, solution: dict[str, Any]) -> list[tuple[str, str]]:
    """Return which tests of a question a trivial answer passes: their names and one such answer each.

    The answer stands for all the names that the test takes. What the public tests show, a table of their values passes
    them with, whatever they are; so constant public values are tried on hidden tests alone.
    """
    found = []
    public: dict[str, list[Any]] = {}
    for test in sorted(tests, key=lambda test: test["hidden"]):
        names = needed_names(test)
        records = {name: Record() for name in names if callable(solution[name])}
        right = {name: records[name].of(solution[name]) if name in records else solution[name] for name in names}
        run_test(test, question, right)
        for name, record in records.items():
            if not test["hidden"]:
                public.setdefault(name, []).extend(r for r in record.results if not isinstance(r, (Record, Values)))
        for what, namespace in _namespaces(names, records, solution, public if test["hidden"] else {}):
            if _passes(test, question, namespace):
                found.append((test["name"], what))
                break
    return found


def _namespaces(
    names: list[str], records: dict[str, Record], solution: dict[str, Any], public: dict[str, list[Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    functions = [answers(records[name]) for name in names if name in records]
    # Functions that take as many arguments give the same answers in the same order, others give some pairs of answers.
    for choices in zip(*functions, strict=False) if functions else ():
        made = {name: make() for name, (_, make) in zip(records, choices, strict=True)}
        yield choices[0][0], {**solution, **made}
    for name in names:
        if name not in records:
            for what, value in values(solution[name]):
                yield what, {**solution, name: value}
        for value in public.get(name, [])[:MOST_PUBLIC]:
            yield (
                f"returns the public value {value!r}",
                {**solution, name: lambda *args, value=value, **kwargs: value},
            )


def _passes(test: Test, question: str, namespace: dict[str, Any]) -> bool:
    try:
        with time_limit(LONGEST_S):
            return run_test(test, question, namespace).passed
    except TimeLimit:
        return False
