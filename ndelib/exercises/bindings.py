"""Which cell of a notebook gave a name its value: for the names of answers, and for the globals that answers use.

A test takes the values that names have after the last cell. A scratch cell that sets ``limit = 3`` further down undoes
an answer, and so do ``%reset`` and a loop over ``sum``; who knows which cell it was can say so.
"""

import builtins
import dis
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

_GONE = object()


@dataclass(frozen=True)
class Change:
    """``name`` was set again, or ``removed``, after the cell ``first``: in the cell ``last``.

    It is the name of the answer, or of a global variable that the function of that name uses.
    """

    answer: str
    name: str
    first: Any
    last: Any
    removed: bool


@dataclass
class _Binding:
    value: Any = _GONE
    first: Any = None
    last: Any = None


class Bindings:
    """Follows names from cell to cell: which cell was the first and which the last to change what they mean."""

    def __init__(self) -> None:
        self._found: dict[str, _Binding] = {}

    def follow(self, names: Iterable[str]) -> None:
        """Follow ``names``, and with a function of the notebook the globals that it uses."""
        for name in names:
            self._found.setdefault(name, _Binding())

    def after(self, cell: Any, namespace: dict[str, Any]) -> None:
        """Take note of what ``cell``, a number or a text, has changed in ``namespace``."""
        waiting = list(self._found)
        while waiting:
            name = waiting.pop()
            binding, value = self._found[name], namespace.get(name, _GONE)
            if value is binding.value:
                continue
            binding.value, binding.last = value, cell
            if binding.first is None:
                binding.first = cell
            for other in _globals_of(value, namespace):
                if other not in self._found:
                    # What is built in has been there from the beginning: a cell that sets its name hides it.
                    self._found[other] = _Binding(first=cell if hasattr(builtins, other) else None)
                    waiting.append(other)

    def changes(self, answer: str, namespace: dict[str, Any]) -> list[Change]:
        """Return what happened to ``answer`` and to what it uses after the cells that were the first to set them."""
        found, seen = [], [answer]
        for name in seen:  # grows meanwhile
            binding = self._found.get(name)
            if binding is None:
                continue
            removed = binding.value is _GONE
            if binding.last != binding.first and not (removed and hasattr(builtins, name)):
                found.append(Change(answer, name, binding.first, binding.last, removed))
            seen += sorted(_globals_of(binding.value, namespace).difference(seen))
        return found


def _globals_of(value: Any, namespace: dict[str, Any]) -> set[str]:
    """Return the global names in the code of a function that was made in ``namespace``; of anything else, none."""
    if type(value) is not FunctionType or value.__globals__ is not namespace:
        return set()
    return {
        step.argval
        for code in _codes(value.__code__)
        for step in dis.get_instructions(code)
        if step.opname == "LOAD_GLOBAL"
    }


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _codes(part)


def first_line(source: str) -> str:
    """Return the first line of a cell, cut short."""
    lines = source.strip()[:80].splitlines()  # few: a cell may have a million
    return lines[0] if lines else ""


def in_words(changes: Iterable[Change], beginning: Callable[[Any], str]) -> list[str]:
    """Return a sentence for each cell that undid an answer; ``beginning`` gives the first line of a cell.

    A cell that begins like the first one is taken for its new version, and nothing is said of it.
    """
    cells: dict[tuple[str, bool], dict[str, list[str]]] = {}
    for change in changes:
        line = beginning(change.last)
        if line != beginning(change.first):
            users = cells.setdefault((line, change.removed), {}).setdefault(f"`{change.name}`", [])
            users += [f"`{change.answer}`"] if change.name != change.answer else []
    return [
        _sentence([_used(name, users) for name, users in names.items()], line, removed)
        for (line, removed), names in cells.items()
    ]


def _used(name: str, users: list[str]) -> str:
    """Return a name with the answers that use it in a bracket, three at most."""
    shown = users if len(users) <= 3 else [*users[:2], f"{len(users) - 2} others"]
    return f"{name} (which {' and '.join(shown)} use{'s' if len(users) == 1 else ''})" if users else name


def _sentence(names: list[str], line: str, removed: bool) -> str:
    few = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"]
    who = few[0] if len(few) == 1 else f"{', '.join(few[:-1])} and {few[-1]}"
    what = "removed" if removed else "set again"
    return f"{who} {'was' if len(few) == 1 else 'were'} {what} in the cell that begins with `{line}`"
