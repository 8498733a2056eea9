"""Imports of what is not here: a student's notebook ran where there was a package more, or a file beside it."""

import ast
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

PLAIN = (ast.Import, ast.ImportFrom)


class Missing:
    """Stands for what an import would have given.

    While the notebook runs, it lets itself be called and asked for parts, so that ``drive.mount("/content/drive")``,
    ``seaborn.color_palette()[0]`` or ``for name in files.upload()`` does not stop the cell that the answers stand in.
    It is empty, a class made of it is a plain one, and a function that it decorates stays what it is. Afterwards, who
    uses it is told what is not here.
    """

    running = True

    def __init__(self, error: ImportError):
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return this again, or the function that it decorates, or say what is not here."""
        if not Missing.running:
            raise self._error
        return args[0] if len(args) == 1 and isinstance(args[0], FunctionType) and not kwargs else self

    def __getitem__(self, key: Any) -> Any:
        return self()

    def __iter__(self) -> Iterator[Any]:
        self()
        return iter(())

    def __len__(self) -> int:
        return 0

    def __enter__(self) -> Any:
        return self()

    def __exit__(self, *args: Any) -> None:
        pass

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __repr__(self) -> str:
        return f"what is missing: {self._error}"


def one_by_one(statements: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Return the statements of a cell in groups: each thing that is imported alone, and what stands between."""
    group: list[ast.stmt] = []
    for statement in statements:
        if isinstance(statement, ast.Import):
            parts: list[ast.stmt] = [ast.Import([name]) for name in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            parts = [ast.ImportFrom(statement.module, [name], statement.level) for name in statement.names]
        else:
            group.append(statement)
            continue
        if group:
            yield group
        group = []
        yield from ([ast.copy_location(part, statement)] for part in parts)
    if group:
        yield group


def stand_in(group: list[ast.stmt], error: BaseException | None, names: dict[str, Any]) -> bool:
    """If ``error`` is that of an import alone, give the name that it would have set a stand-in; return whether."""
    (statement, *_) = group
    if not isinstance(statement, PLAIN) or not isinstance(error, ImportError):
        return False
    (alias,) = statement.names
    name = alias.asname or (alias.name.split(".")[0] if isinstance(statement, ast.Import) else alias.name)
    if name != "*":
        names.setdefault(name, Missing(error))
    return True


def unanswered(times: int = 10) -> Callable[..., str]:
    """Return what stands for ``input``, as there is nobody to ask: so often nothing is typed, then there is no more."""
    answers = iter([""] * times)

    def ask(*args: Any, **kwargs: Any) -> str:
        for answer in answers:
            return answer
        raise EOFError("there is nobody to ask")

    return ask
