"""Expressions as flat tuples of tokens in Polish notation: an operator stands before its arguments.

A token is the name of an operator, the number of a variable (int), or a constant (float): ``("*", 2.5, "sin", 0)`` is
2.5 sin x0. The notation needs no brackets, a part of an expression is a slice, and of every list of tokens that has one
argument too few for its operators exactly one rotation is an expression (the cycle lemma of Dvoretzky & Motzkin, Duke
Mathematical Journal 14 (1947) 305), which is how :func:`random_shape` draws each shape with the same chance.
"""

import random
from collections.abc import Sequence

import torch

from ndelib.discovery.symbolic.operators import OPERATORS

Token = str | int | float
Expression = tuple[Token, ...]


def arity(token: Token) -> int:
    """Return how many arguments follow: 0 for variables and constants."""
    return OPERATORS[token].arity if isinstance(token, str) else 0


def end_of(expression: Sequence[Token], start: int) -> int:
    """Return where the part that begins at ``start`` ends; 0 where the tokens stop before it is whole."""
    open_arguments = 1
    for i in range(start, len(expression)):
        open_arguments += arity(expression[i]) - 1
        if open_arguments == 0:
            return i + 1
    return 0


def is_expression(tokens: Sequence[Token]) -> bool:
    """Tell whether these tokens are one whole expression."""
    return len(tokens) > 0 and end_of(tokens, 0) == len(tokens)


def parts(expression: Expression) -> list[Expression]:
    """Return the arguments of the first token."""
    found, start = [], 1
    for _ in range(arity(expression[0])):
        end = end_of(expression, start)
        found.append(expression[start:end])
        start = end
    return found


def structure(expression: Expression) -> Expression:
    """Return the expression with all constants alike."""
    return tuple("constant" if isinstance(token, float) else token for token in expression)


def constants(expression: Expression) -> list[float]:
    """Return its constants from left to right."""
    return [token for token in expression if isinstance(token, float)]


def with_constants(expression: Expression, values: Sequence[float]) -> Expression:
    """Return the expression with other constants, from left to right."""
    left = iter(values)
    return tuple(next(left) if isinstance(token, float) else token for token in expression)


def value(expression: Expression) -> float:
    """Return the value of an expression without variables."""
    head, *arguments = expression[0], *parts(expression)
    if not isinstance(head, str):
        return float(head)
    inner = [torch.tensor(value(part), dtype=torch.float64) for part in arguments]
    return float(OPERATORS[head].value(*inner))


def random_shape(unary: int, binary: int, rng: random.Random) -> list[int]:
    """Draw the numbers of arguments of an expression with so many operators, each shape with the same chance."""
    arities = [1] * unary + [2] * binary + [0] * (binary + 1)
    rng.shuffle(arities)
    # The rotation that is an expression begins after the first place where the running sum of 1 − arity is largest.
    height, top, start = 0, 0, 0
    for i, count in enumerate(arities):
        height += 1 - count
        if height > top:
            top, start = height, i + 1
    return arities[start:] + arities[:start]


# As text

SYMBOLS = {"+": (" + ", 1), "-": (" - ", 1), "*": ("*", 2), "/": ("/", 2), "^": ("**", 4)}  # and how tightly they bind
FUNCTIONS = {"square": "**2", "cube": "**3"}


def write(expression: Expression, names: Sequence[str], precision: int = 6) -> str:
    """Write an expression as Python and SymPy read it, with ``precision`` digits."""
    return _written(expression, names, precision)[0]


def _written(expression: Expression, names: Sequence[str], precision: int) -> tuple[str, int]:
    """Return the text and how tightly its last operation binds."""
    head = expression[0]
    if isinstance(head, float):
        text = f"{head:.{precision}g}"
        return text, 5 if head >= 0 else 1
    if isinstance(head, int):
        return names[head], 5
    inner = [_written(part, names, precision) for part in parts(expression)]
    if head in FUNCTIONS:
        return _bracketed(*inner[0], 5) + FUNCTIONS[head], 4
    if head == "neg":
        return "-" + _bracketed(*inner[0], 2), 1
    if head not in SYMBOLS:
        return f"{head}({inner[0][0]})", 5
    symbol, strength = SYMBOLS[head]
    (left, left_strength), (right, right_strength) = inner
    closer = strength if head in ("+", "*") and not right.startswith("-") else strength + 1
    left_closer = strength + 1 if head == "^" else strength
    return _bracketed(left, left_strength, left_closer) + symbol + _bracketed(right, right_strength, closer), strength


def _bracketed(text: str, strength: int, least: int) -> str:
    return text if strength >= least else f"({text})"
