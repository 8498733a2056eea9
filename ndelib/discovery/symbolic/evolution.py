"""How expressions are bred: an archive of the best of each length, and children of what is in it.

Genetic programming is Koza's (1992). The archive takes the place of a penalty on length: an expression competes only
with those of its own length (as in MAP-Elites, Mouret & Clune, arXiv:1504.04909), so short and long ones are always
parents, and nothing grows without bound.
"""

import bisect
import math
import random
from collections.abc import Callable, Sequence

from ndelib.discovery.symbolic.expressions import Expression, Token, arity, end_of, random_shape, structure
from ndelib.discovery.symbolic.operators import OPERATORS
from ndelib.discovery.symbolic.simplify import simplify, without_scale


class Archive:
    """The best expressions of each length.

    Args:
        size: how many of each length.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.levels: dict[int, list[tuple[float, Expression]]] = {}

    def add(self, expression: Expression, loss: float) -> bool:
        """Keep an expression if it is among the best, and tell whether it was kept.

        Two of a length with the same loss, to six digits, are taken for two ways to write one.
        """
        level = self.levels.setdefault(len(expression), [])
        place = bisect.bisect_left(level, loss, key=lambda entry: entry[0])
        if place >= self.size:
            return False
        near = level[max(place - 1, 0) : place + 1]
        if any(math.isclose(loss, other, rel_tol=1e-6) for other, _ in near):
            return False
        level.insert(place, (loss, expression))
        del level[self.size :]
        return True

    def draw(self, rng: random.Random) -> Expression:
        """Draw a parent: half of the time one of the front, else a length and then the better of two of that length."""
        if rng.random() < 0.5:
            return rng.choice(self.front())
        lengths = list(self.levels)
        level = self.levels[min(rng.choice(lengths), rng.choice(lengths))]  # rather a short one
        return level[min(rng.randrange(len(level)), rng.randrange(len(level)))][1]

    def front(self) -> list[Expression]:
        """Return the best of each length that are better than all shorter ones."""
        found, lowest = [], math.inf
        for loss, expression in self.best():
            if loss < lowest:
                found.append(expression)
                lowest = loss
        return found

    def best(self) -> list[tuple[float, Expression]]:
        """Return the best of each length, with its loss."""
        return [level[0] for _, level in sorted(self.levels.items()) if level]


class Breeder:
    """Draws new expressions, and children of others.

    Args:
        operators: the names of the operators.
        sizes: the typical size of each variable: constants are of the order of 1, of one of these, or of its inverse.
        maxsize: the most tokens of an expression.
        rng: where chance comes from.
    """

    def __init__(self, operators: Sequence[str], sizes: Sequence[float], maxsize: int, rng: random.Random) -> None:
        self.unary = [name for name in operators if OPERATORS[name].arity == 1]
        self.binary = [name for name in operators if OPERATORS[name].arity == 2]
        self.all_unary = self.unary
        self.sizes, self.maxsize, self.rng = list(sizes), maxsize, rng

    def start_afresh(self, some: bool) -> None:
        """Draw which unary operators to use from now on: about half of them, if they are many, or all."""
        few = len(self.all_unary) // 2
        self.unary = self.rng.sample(self.all_unary, few) if some and few > 1 else self.all_unary

    def leaf(self) -> Token:
        """Draw a variable, or a constant."""
        if self.rng.random() < 0.65:
            return self.rng.randrange(len(self.sizes))
        size = math.exp(self.rng.gauss(0, 1.2)) * self.rng.choice((1, 1, 1, -1))
        return size * self.rng.choice(self.sizes) ** self.rng.choice((-1, 0, 1))

    def operator(self, arguments: int) -> str:
        """Draw an operator with so many arguments."""
        return self.rng.choice(self.unary if arguments == 1 else self.binary)

    def new(self, largest: int) -> Expression:
        """Draw an expression with at most so many tokens."""
        size = self.rng.randint(1, max(largest, 1))
        binary = self.rng.randint(0, (size - 1) // 2) if self.binary else 0
        unary = min(size - 1 - 2 * binary, 3) if self.unary else 0
        shape = random_shape(unary, binary, self.rng)
        return tuple(self.operator(count) if count else self.leaf() for count in shape)

    def child(self, draw: Callable[[random.Random], Expression]) -> Expression | None:
        """Draw a child of what ``draw`` returns, simplified and without its scale; None where it is too long."""
        way = self.rng.random()
        if way < 0.15:
            made = self.new(min(9, self.maxsize))
        elif way < 0.45:
            made = self.crossed(draw(self.rng), draw(self.rng))
        else:
            made = draw(self.rng)
            for _ in range(1 if self.rng.random() < 0.7 else 2):
                made = self.mutated(made)
        if len(made) > 2 * self.maxsize:
            return None
        made = without_scale(simplify(made))
        has_variables = any(isinstance(token, int) for token in made)
        return made if has_variables and len(made) <= self.maxsize and not is_nested(made) else None

    def part(self, expression: Expression) -> tuple[int, int]:
        """Draw a part of an expression: where it begins and ends."""
        start = self.rng.randrange(len(expression))
        return start, end_of(expression, start)

    def crossed(self, mother: Expression, father: Expression) -> Expression:
        """Put a part of one in the place of a part of the other."""
        start, end = self.part(mother)
        first, last = self.part(father)
        return mother[:start] + father[first:last] + mother[end:]

    def mutated(self, expression: Expression) -> Expression:
        """Change one thing."""
        start, end = self.part(expression)
        head = expression[start]
        way = self.rng.random()
        if way < 0.3:  # another token of the same kind
            other: Token = self.operator(arity(head)) if isinstance(head, str) else self.leaf()
            return (*expression[:start], other, *expression[start + 1 :])
        if way < 0.5:  # an operator around a part
            if self.rng.random() < 0.5:
                start, end = 0, len(expression)
            part = expression[start:end]
            if self.unary and (not self.binary or self.rng.random() < 0.4):
                return (*expression[:start], self.operator(1), *part, *expression[end:])
            sides: list[Expression] = [part, (self.leaf(),)]
            self.rng.shuffle(sides)
            return (*expression[:start], self.operator(2), *sides[0], *sides[1], *expression[end:])
        if way < 0.7 and isinstance(head, str):  # an argument in the place of its operator
            first = start + 1
            if arity(head) == 2 and self.rng.random() < 0.5:
                first = end_of(expression, first)
            return expression[:start] + expression[first : end_of(expression, first)] + expression[end:]
        return expression[:start] + self.new(5) + expression[end:]  # a new part


FAMILIES = [{"sin", "cos", "tan"}, {"exp", "tanh"}, {"log"}, {"sqrt", "abs"}, {"square", "cube"}]


def is_nested(expression: Expression) -> bool:
    """Tell whether a function stands inside of one of its own family: sin(cos x), that fits anything."""
    for i, token in enumerate(expression):
        for family in FAMILIES:
            if token in family and not family.isdisjoint(expression[i + 1 : end_of(expression, i)]):
                return True
    return False


def luby(i: int) -> int:
    """Return the i-th number of 1 1 2 1 1 2 4 1 1 2 1 1 2 4 8 …, i = 1, 2, …

    How long to search before starting afresh, when a search may be lucky soon or never: no plan that does not know the
    chances is better by more than a logarithm. Luby, Sinclair & Zuckerman, Inf. Process. Lett. 47 (1993).
    """
    k = i.bit_length()
    return 1 << (k - 1) if i == (1 << k) - 1 else luby(i - (1 << (k - 1)) + 1)


class Once:
    """Tells whether a structure is worth another try: each is, so often as it has constants, and once more."""

    def __init__(self) -> None:
        self.tried: dict[Expression, int] = {}

    def __call__(self, expression: Expression) -> bool:
        """Count this try, and tell whether it is worth it."""
        what = structure(expression)
        tries = self.tried.get(what, 0)
        if tries > 2 * what.count("constant"):
            return False
        self.tried[what] = tries + 1
        return True
