"""What of a cell has run when it stopped with an error: the part that belongs into the file that is handed in."""

import ast
from itertools import islice
from typing import Any

_WITH_BODY = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def what_ran(source: str, error: BaseException, namespace: dict[str, Any]) -> str:
    """Return a cell such that it does again what it did, and does not stop; empty if it did nothing.

    The statements above the one that stopped stay. That one and those below become comments. But a loop, or another
    statement with a body, may have done a part of its work: it goes into a ``try``, unless it was the student who
    stopped it, since then it may have no end.

    Args:
        source: the cell, as Python.
        error: what it stopped with, as its code raised it.
        namespace: the global variables of the cell.
    """
    place = _place(error, namespace)
    if place is None:
        return source  # it was not the cell's own code that stopped
    statement = [node for node in ast.parse(source).body if _start(node) <= place][-1]
    line, column = _start(statement)
    rows = source.rstrip("\n").split("\n")
    head = rows[line - 1].encode()[:column].decode()
    above = [*rows[: line - 1], *([head.rstrip()] if head.strip() else [])]
    kind = type(error).__name__
    if isinstance(statement, _WITH_BODY) and isinstance(error, Exception):
        end, inside = statement.end_lineno or line, _inside_texts(statement)
        body = [rows[n - 1] if n in inside else f"    {rows[n - 1]}" for n in range(line, end + 1)]
        kept = [
            *above,
            f"try:  # it stopped with {kind}",
            *body,
            "except Exception:",
            "    pass",
            *_comments(rows[end:]),
        ]
    elif any(row.strip() and not row.lstrip().startswith("#") for row in above):
        kept = [
            *above,
            f"# Here the cell stopped with {kind}.",
            *_comments([rows[line - 1][len(head) :], *rows[line:]]),
        ]
    else:
        return ""
    return "\n".join(kept)


def _place(error: BaseException, namespace: dict[str, Any]) -> tuple[int, int] | None:
    """Return the line, and the column in bytes, where the cell's own code was; None if none of it was running."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is not namespace:
        trace = trace.tb_next
    if trace is None:
        return None
    line, _, column, _ = next(islice(trace.tb_frame.f_code.co_positions(), trace.tb_lasti // 2, None))
    return line or trace.tb_lineno, column or 0


def _start(statement: ast.stmt) -> tuple[int, int]:
    """Return line and column of a statement, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)]), statement.col_offset


def _inside_texts(statement: ast.stmt) -> set[int]:
    """Return the lines that begin inside of a text, so that a space before them would change it."""
    texts = [node for node in ast.walk(statement) if isinstance(node, (ast.Constant, ast.JoinedStr))]
    return {line for text in texts for line in range(text.lineno + 1, (text.end_lineno or text.lineno) + 1)}


def _comments(rows: list[str]) -> list[str]:
    return [f"# {row}".rstrip() for row in rows]
