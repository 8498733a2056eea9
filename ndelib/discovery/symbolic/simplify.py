"""Simpler expressions of the same value: constants are folded and moved to the front, and arguments are sorted.

The rules keep the value wherever the expression has one; x − x = 0 and x/x = 1 also where it has none.
"""

import math
from collections.abc import Callable

from ndelib.discovery.symbolic.expressions import Expression, Token, parts, value
from ndelib.discovery.symbolic.operators import OPERATORS


def simplify(expression: Expression) -> Expression:
    """Return an expression of the same value that is not longer, the same for many ways to write one."""
    head = expression[0]
    if not isinstance(head, str):
        return expression
    return _combined(head, [simplify(part) for part in parts(expression)])


def _combined(head: str, arguments: list[Expression]) -> Expression:
    """Apply the rules to an operator whose arguments are simple already."""
    whole: Expression = (head, *(token for part in arguments for token in part))
    if all(_is_constant(part) for part in arguments):
        folded = value(whole)
        return (folded,) if math.isfinite(folded) else whole
    rule = RULES.get(head)
    found = None if rule is None else rule(*arguments)
    if found is not None:
        return found
    if OPERATORS[head].commutes and _key(arguments[0]) > _key(arguments[1]):
        return (head, *arguments[1], *arguments[0])
    return whole


def _is_constant(expression: Expression) -> bool:
    return len(expression) == 1 and isinstance(expression[0], float)


def _same(x: Expression, y: Expression) -> bool:
    """Tell whether two expressions are the same; Python's == takes the variable 1 for the constant 1.0."""
    return x == y and str(x) == str(y)


def _leading(expression: Expression, operator: str) -> tuple[float, Expression] | None:
    """Return c and x of an expression ``operator c x``; c + x and c x are written so."""
    if expression[0] == operator and isinstance(expression[1], float):
        return expression[1], expression[2:]
    return None


def _key(expression: Expression) -> tuple[bool, int, str]:
    """Order arguments: constants first, then short ones."""
    return not _is_constant(expression), len(expression), str(expression)


def _sum(x: Expression, y: Expression) -> Expression | None:
    if _is_constant(y):
        x, y = y, x
    if _is_constant(x):
        c = float(x[0])
        if c == 0:
            return y
        if inner := _leading(y, "+"):
            return _combined("+", [(c + inner[0],), inner[1]])
        if inner := _leading(y, "-"):
            return _combined("-", [(c + inner[0],), inner[1]])
        return None
    if inner := _leading(x, "+"):  # (c + x) + y
        return _combined("+", [(inner[0],), _combined("+", [inner[1], y])])
    if inner := _leading(y, "+"):
        return _combined("+", [(inner[0],), _combined("+", [x, inner[1]])])
    if inner := _leading(x, "-"):  # (c − x) + y
        return _combined("+", [(inner[0],), _combined("-", [y, inner[1]])])
    if inner := _leading(y, "-"):
        return _combined("+", [(inner[0],), _combined("-", [x, inner[1]])])
    return None


def _difference(x: Expression, y: Expression) -> Expression | None:
    if _same(x, y):
        return (0.0,)
    if _is_constant(y):
        return _combined("+", [(-float(y[0]),), x])
    if _is_constant(x):
        if inner := _leading(y, "+"):  # c − (k + y)
            return _combined("-", [(float(x[0]) - inner[0],), inner[1]])
        if inner := _leading(y, "-"):
            return _combined("+", [(float(x[0]) - inner[0],), inner[1]])
        return None
    if inner := _leading(x, "+"):
        return _combined("+", [(inner[0],), _combined("-", [inner[1], y])])
    if inner := _leading(y, "+"):
        return _combined("+", [(-inner[0],), _combined("-", [x, inner[1]])])
    if inner := _leading(y, "-"):  # x − (c − y)
        return _combined("+", [(-inner[0],), _combined("+", [x, inner[1]])])
    return None


def _product(x: Expression, y: Expression) -> Expression | None:
    if _is_constant(y):
        x, y = y, x
    if _is_constant(x):
        c = float(x[0])
        if c in (0.0, 1.0):
            return y if c else (0.0,)
        if inner := _leading(y, "*"):
            return _combined("*", [(c * inner[0],), inner[1]])
        if inner := _leading(y, "/"):
            return _combined("/", [(c * inner[0],), inner[1]])
        return None
    if inner := _leading(x, "*"):
        return _combined("*", [(inner[0],), _combined("*", [inner[1], y])])
    if inner := _leading(y, "*"):
        return _combined("*", [(inner[0],), _combined("*", [x, inner[1]])])
    return None


def _ratio(x: Expression, y: Expression) -> Expression | None:
    if _same(x, y):
        return (1.0,)
    if _is_constant(y) and y[0] != 0:
        return _combined("*", [(1 / float(y[0]),), x])
    if _is_constant(x):
        if (inner := _leading(y, "*")) and inner[0] != 0:
            return _combined("/", [(float(x[0]) / inner[0],), inner[1]])
        if (inner := _leading(y, "/")) and inner[0] != 0:
            return _combined("*", [(float(x[0]) / inner[0],), inner[1]])
        return None
    if inner := _leading(x, "*"):
        return _combined("*", [(inner[0],), _combined("/", [inner[1], y])])
    if (inner := _leading(y, "*")) and inner[0] != 0:
        return _combined("*", [(1 / inner[0],), _combined("/", [x, inner[1]])])
    return None


def _negative(x: Expression) -> Expression | None:
    return x[1:] if x[0] == "neg" else None


def _exponential(x: Expression) -> Expression | None:
    inner = _leading(x, "+")
    if inner and inner[0] < 700:  # e^c is finite
        return _combined("*", [(math.exp(inner[0]),), ("exp", *inner[1])])
    return None


def _logarithm(x: Expression) -> Expression | None:
    return x[1:] if x[0] == "exp" else None


RULES: dict[str, Callable[..., Expression | None]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _ratio,
    "neg": _negative,
    "exp": _exponential,
    "log": _logarithm,
}


def without_scale(expression: Expression) -> Expression:
    """Return f of an expression a + b f: what is left where a scale and an offset are fitted anyway."""
    while True:
        found = _leading(expression, "+") or _leading(expression, "*") or _leading(expression, "-")
        if found is None and expression[0] == "neg":
            found = 0.0, expression[1:]
        if found is None:
            return expression
        expression = found[1]


def with_scale(expression: Expression, offset: float, scale: float) -> Expression:
    """Return a + b f, simplified."""
    token: Token = float(scale)
    return simplify(("+", float(offset), "*", token, *expression))
