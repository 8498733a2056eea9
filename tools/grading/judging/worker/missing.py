"""Imports of what is not here: a student's notebook ran where there was a package more, or a file beside it."""

import ast
from collections.abc import Iterator
from typing import Any

PLAIN = (ast.Import, ast.ImportFrom)


class Missing:
    """Stands for what an import would have given.

    While the notebook runs, it lets itself be called and asked for parts, so that ``drive.mount("/content/drive")`` or
    ``seaborn.set_theme()`` does not stop the cell that the answers stand in. Afterwards, who uses it is told what is
    not here.
    """

    running = True

    def __init__(self, error: ImportError):
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return this again, or say what is not here."""
        if not Missing.running:
            raise self._error
        return self

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
