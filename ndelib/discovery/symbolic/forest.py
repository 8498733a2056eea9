"""Many expressions evaluated together: all parts of one height with one operator are one row operation.

Their derivatives with respect to each constant come from one sweep backwards. In a tree every part has one parent, so
the sweep writes where reverse differentiation of a graph would have to add (Griewank & Walther, *Evaluating
Derivatives*, 2008, chapter 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.discovery.symbolic.expressions import Expression, Token, arity
from ndelib.discovery.symbolic.operators import OPERATORS


class Forest:
    """Expressions over the same samples.

    Args:
        expressions: P of them.
        X: the samples of the variables, (d, n).
    """

    def __init__(self, expressions: Sequence[Expression], X: Tensor) -> None:
        self.X = X
        groups: dict[tuple[int, str], list[tuple[int, ...]]] = {}  # parts by height and operator: their arguments
        leaves: list[float] = []
        roots: list[tuple[Token, int, int]] = []
        owned: list[list[int]] = []
        for expression in expressions:
            stack: list[tuple[int, str, int]] = []  # height, operator, and number among those
            mine: list[int] = []
            for token in reversed(expression):
                if isinstance(token, str):
                    arguments = [stack.pop() for _ in range(arity(token))]
                    height = 1 + max(argument[0] for argument in arguments)
                    group = groups.setdefault((height, token), [])
                    stack.append((height, token, len(group)))
                    group.append(tuple(arguments))  # type: ignore[arg-type]
                elif isinstance(token, int):
                    stack.append((0, "variable", token))
                else:
                    mine.append(len(leaves))
                    stack.append((0, "constant", len(leaves)))
                    leaves.append(token)
            roots.append(stack[0])
            owned.append(mine[::-1])
        d, self.count = len(X), len(leaves)
        first: dict[tuple[int, str], int] = {(0, "variable"): 0, (0, "constant"): d}
        rows = d + self.count
        for key in sorted(groups):
            first[key] = rows
            rows += len(groups[key])

        def row(part: tuple[int, str, int]) -> int:
            return first[part[:2]] + part[2]

        self.operations = []
        for key in sorted(groups):
            where = torch.tensor([[row(a) for a in arguments] for arguments in groups[key]], device=X.device).T  # type: ignore[arg-type]
            self.operations.append((OPERATORS[key[1]], where, slice(first[key], first[key] + len(groups[key]))))
        self.roots = torch.tensor([row(root) for root in roots], device=X.device)  # type: ignore[arg-type]
        self.rows, self.d = rows, d
        self.constants = torch.tensor(leaves, dtype=X.dtype, device=X.device)
        most = max(map(len, owned), default=0)
        padded = [mine + [self.count] * (most - len(mine)) for mine in owned]
        self.owned = torch.tensor(padded, device=X.device).reshape(len(owned), most)
        """Which constants an expression has, (P, K), filled with the number of constants."""

    def evaluate(self, constants: Tensor) -> Tensor:
        """Return the values of all parts, (rows, n), for the next two methods."""
        V = self.X.new_empty(self.rows, self.X.shape[1])
        V[: self.d] = self.X
        V[self.d : self.d + self.count] = constants[:, None]
        for operator, where, here in self.operations:
            V[here] = operator.value(*(V[row] for row in where))
        return V

    def values(self, V: Tensor) -> Tensor:
        """Return the values of the expressions, (P, n)."""
        return V[self.roots]

    def slopes(self, V: Tensor) -> Tensor:
        """Return their derivatives with respect to their constants, (P, K, n), with zeros where it has fewer than K."""
        G = torch.zeros_like(V)
        G[self.roots] = 1.0
        for operator, where, here in reversed(self.operations):
            found = operator.slopes(V[here], *(V[row] for row in where))
            for row, slope in zip(where, found, strict=True):
                G[row] = G[here] * slope  # rows of variables get something too, and nobody reads it
        ours = torch.cat([G[self.d : self.d + self.count], G.new_zeros(1, G.shape[1])])
        return ours[self.owned]
