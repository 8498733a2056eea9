"""Many expressions evaluated together: all parts of one height with one operator are one row operation.

Their derivatives with respect to each constant come from one sweep backwards. In a tree every part has one parent, so
the sweep writes where reverse differentiation of a graph would have to add (Griewank & Walther, *Evaluating
Derivatives*, 2008, chapter 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.discovery.symbolic.expressions import Expression, arity
from ndelib.discovery.symbolic.operators import OPERATORS

Group = tuple[int, str, bool]
"""What is computed together: the height of a part, its operator, and whether it depends on constants."""
Part = tuple[Group, int]
"""One part of one expression: its group, and its number there."""
VARIABLE: Group = (0, "variable", False)
CONSTANT: Group = (0, "constant", True)


class Forest:
    """Expressions over the same samples.

    Args:
        expressions: P of them.
        X: the samples of the variables, (d, n).
    """

    def __init__(self, expressions: Sequence[Expression], X: Tensor) -> None:
        self.X = X
        groups: dict[Group, list[list[Part]]] = {}  # the arguments of each part
        leaves: list[float] = []
        roots: list[Part] = []
        owned: list[list[int]] = []
        for expression in expressions:
            stack: list[Part] = []
            mine: list[int] = []
            for token in reversed(expression):
                if isinstance(token, str):
                    arguments = [stack.pop() for _ in range(arity(token))]
                    height = 1 + max(group[0] for group, _ in arguments)
                    key = height, token, any(group[2] for group, _ in arguments)
                    group = groups.setdefault(key, [])
                    stack.append((key, len(group)))
                    group.append(arguments)
                elif isinstance(token, int):
                    stack.append((VARIABLE, token))
                else:
                    mine.append(len(leaves))
                    stack.append((CONSTANT, len(leaves)))
                    leaves.append(token)
            roots.append(stack[0])
            owned.append(mine[::-1])
        d, self.count = len(X), len(leaves)
        first = {VARIABLE: 0, CONSTANT: d}
        rows = d + self.count
        for key in sorted(groups):
            first[key] = rows
            rows += len(groups[key])
        self.operations = []
        for key in sorted(groups):
            rows_of = [[first[group] + number for group, number in part] for part in groups[key]]
            where = torch.tensor(rows_of, device=X.device).T
            here = slice(first[key], first[key] + len(rows_of))
            self.operations.append((OPERATORS[key[1]], where, here, key[2]))
        self.roots = torch.tensor([first[group] + number for group, number in roots], device=X.device)
        self.rows, self.d = rows, d
        self.constants = torch.tensor(leaves, dtype=X.dtype, device=X.device)
        most = max(map(len, owned), default=0)
        padded = [mine + [self.count] * (most - len(mine)) for mine in owned]
        self.owned = torch.tensor(padded, dtype=torch.long, device=X.device).reshape(len(owned), most)
        """Which constants an expression has, (P, K), filled with the number of constants."""

    def evaluate(self, constants: Tensor) -> Tensor:
        """Return the values of all parts, (rows, n), for the next two methods."""
        V = self.X.new_empty(self.rows, self.X.shape[1])
        V[: self.d] = self.X
        V[self.d : self.d + self.count] = constants[:, None]
        for operator, where, here, _ in self.operations:
            V[here] = operator.value(*(V[row] for row in where))
        return V

    def values(self, V: Tensor) -> Tensor:
        """Return the values of the expressions, (P, n)."""
        return V[self.roots]

    def slopes(self, V: Tensor) -> Tensor:
        """Return their derivatives with respect to their constants, (P, K, n), with zeros where it has fewer than K."""
        G = torch.zeros_like(V)
        G[self.roots] = 1.0
        for operator, where, here, depends in reversed(self.operations):
            if not depends:
                continue  # no constant below
            found = operator.slopes(V[here], *(V[row] for row in where))
            for row, slope in zip(where, found, strict=True):
                G[row] = G[here] * slope  # rows of variables get something too, and nobody reads it
        ours = torch.cat([G[self.d : self.d + self.count], G.new_zeros(1, G.shape[1])])
        return ours[self.owned]
