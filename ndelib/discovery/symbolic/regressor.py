"""Symbolic regression: expressions bred until they fit, and the best of each complexity to choose from.

Sources: Koza, *Genetic Programming* (1992); Schmidt & Lipson, Science 324 (2009) 81, for the front of accuracy against
complexity; names are those of PySR (Cranmer, arXiv:2305.01582).
"""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ndelib.discovery.data import like, matrix, numbers
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.symbolic.evolution import Archive, Breeder, Once
from ndelib.discovery.symbolic.expressions import Expression, with_constants, write
from ndelib.discovery.symbolic.forest import Forest
from ndelib.discovery.symbolic.operators import OPERATORS
from ndelib.discovery.symbolic.simplify import simplify, with_scale
from ndelib.discovery.symbolic.tuning import losses, scales, tune
from ndelib.progress import progress_bar

EXACT = 1e-20
"""A loss below this share of the variance of y is rounding."""


@dataclass(frozen=True)
class Equation:
    """One row of ``equations_``."""

    complexity: int
    """How many operators, variables and constants it has."""
    loss: float
    """The mean squared error."""
    score: float
    """By how much the logarithm of the loss falls, from the row above, for each unit of complexity."""
    equation: str
    """The expression as text, as Python and SymPy read it."""
    expression: Expression
    """The expression as tokens."""


class SymbolicRegressor(Estimator):
    """Find y = f(x) as a formula, built of operators, variables and constants.

    Expressions are bred from the best of each complexity; the constants of each are tuned by least squares. The result is
    a list, ``equations_``: the best expression of each complexity that is better than all simpler ones. Its columns
    are PySR's: ``pandas.DataFrame(model.equations_)`` is PySR's table.

    No operator is protected by a substitute: an expression that has no value on one of the samples is dropped, and
    ``predict`` returns NaN where the formula has none.

    Args:
        niterations: generations at most.
        binary_operators: of ``+ - * / ^``.
        unary_operators: of ``neg square cube exp log sqrt abs sin cos tan tanh``. A small set that makes sense for the data
            finds more, and faster.
        maxsize: the most operators, variables and constants of an expression.
        population_size: children in each generation.
        model_selection: which expression ``predict`` uses: ``"best"`` has the highest score among those whose loss is at
            most 1.5 times the smallest; ``"accuracy"`` has the smallest loss; ``"score"`` the highest score.
        early_stop_condition: stop where the share of the variance of y that is unexplained is below this.
        timeout_in_seconds: stop after this much time.
        random_state: the seed.
        progress: whether to show a progress bar.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import SymbolicRegressor
        >>> x = np.linspace(0.1, 5, 60)
        >>> y = 2.5 * x / (0.7 + x)  # Michaelis and Menten's law
        >>> model = SymbolicRegressor(unary_operators=["exp", "sqrt"])
        >>> print(model.fit(x[:, None], y))  # doctest: +SKIP
    """

    equations_: list[Equation]
    """The front, from simple to accurate."""

    def __init__(
        self,
        niterations: int = 100,
        binary_operators: Sequence[str] = ("+", "-", "*", "/"),
        unary_operators: Sequence[str] = ("exp", "log", "sqrt", "sin", "cos"),
        maxsize: int = 20,
        population_size: int = 400,
        model_selection: str = "best",
        early_stop_condition: float = 1e-12,
        timeout_in_seconds: float | None = None,
        random_state: int = 0,
        progress: bool = False,
    ) -> None:
        self.niterations = niterations
        self.binary_operators = binary_operators
        self.unary_operators = unary_operators
        self.maxsize = maxsize
        self.population_size = population_size
        self.model_selection = model_selection
        self.early_stop_condition = early_stop_condition
        self.timeout_in_seconds = timeout_in_seconds
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: Any, variable_names: Sequence[str] | None = None) -> Self:
        """Search for expressions of the columns of ``X``, (n, d), that give ``y``, (n,)."""
        self._check_parameters()
        samples, target = _checked(X, y)
        d = samples.shape[1]
        self.n_features_in_ = d
        self.feature_names_ = [f"x{i}" for i in range(d)] if variable_names is None else list(variable_names)
        if len(self.feature_names_) != d:
            raise ValueError(f"variable_names must be {d} names, one for each column of X, got {len(self.feature_names_)}")
        best = self._search(samples.T.contiguous(), target)
        self.equations_ = self._front(best, samples.T.contiguous(), target)
        return self

    def _search(self, X: Tensor, y: Tensor) -> list[Expression]:
        """Breed, and return the best expressions of each length, up to a scale and an offset."""
        rng = random.Random(self.random_state)
        operators = [*self.binary_operators, *self.unary_operators]
        typical = X.square().mean(dim=1).sqrt().tolist()
        breeder = Breeder(operators, typical, self.maxsize, rng)
        archive, once = Archive(12), Once()
        variance = y.var(correction=0).item()
        until = math.inf if self.timeout_in_seconds is None else time.monotonic() + self.timeout_in_seconds
        for i in range(len(X)):
            archive.add((i,), variance)
        left = None
        with progress_bar(self.niterations, self.progress) as bar:
            for _ in range(self.niterations):
                children = []
                for _ in range(10 * self.population_size):
                    child = breeder.child(archive.draw)
                    if child is not None and once(child):
                        children.append(child)
                    if len(children) == self.population_size:
                        break
                if not children:
                    break
                tuned, loss = tune(children, X, y, 6)
                for expression, found in zip(tuned, loss.tolist(), strict=True):
                    if found < variance:
                        archive.add(expression, found)
                lowest = min(entry[0] for entry in archive.best())
                bar.update()
                bar.set_postfix(unexplained=f"{lowest / variance:.1e}")
                if lowest <= self.early_stop_condition * variance:
                    left = 3 if left is None else left - 1  # a few more, since the first is seldom the shortest
                if left == 0 or time.monotonic() > until:
                    break
        entries = [level[:3] for level in archive.levels.values()]
        return [expression for level in entries for _, expression in level]

    def _front(self, found: list[Expression], X: Tensor, y: Tensor) -> list[Equation]:
        """Return what is better than all that is simpler, each with the scale and the offset that it is worth."""
        found, _ = tune(found, X, y, 30)
        F = Forest(found, X)
        values = F.values(F.evaluate(F.constants))
        a, b, _ = scales(values, y)
        along = (values @ y) / values.square().sum(dim=1)
        mean = (y - values).mean(dim=1)
        candidates: set[Expression] = {(y.mean().item(),)}
        for i, expression in enumerate(found):
            for offset, scale in ((0.0, 1.0), (mean[i], 1.0), (0.0, along[i]), (a[i], b[i])):
                whole = with_scale(expression, float(offset), float(scale))
                candidates |= {whole, *_rounded(whole)}
        listed = sorted(candidates, key=lambda e: (len(e), str(e)))
        whole = Forest(listed, X)
        loss = losses(y - whole.values(whole.evaluate(whole.constants))).tolist()
        variance = y.var(correction=0).item()
        front: list[Equation] = []
        for size, missed, expression in sorted(
            (len(e), max(l, EXACT * variance), e) for e, l in zip(listed, loss, strict=True) if math.isfinite(l) and len(e) <= self.maxsize
        ):
            if not front or (missed < front[-1].loss and size > front[-1].complexity):
                score = 0.0 if not front else math.log(front[-1].loss / missed) / (size - front[-1].complexity)
                front.append(Equation(size, missed, score, write(expression, self.feature_names_), expression))
        return front

    def _check_parameters(self) -> None:
        for name, value in (("binary_operators", self.binary_operators), ("unary_operators", self.unary_operators)):
            want = 1 if name.startswith("unary") else 2
            known = [operator.name for operator in OPERATORS.values() if operator.arity == want]
            if isinstance(value, str) or not set(value) <= set(known):
                raise ValueError(f"{name} must be a list of some of {' '.join(known)}, got {value!r}")


def _rounded(expression: Expression) -> list[Expression]:
    """Return the expression with constants rounded to few digits, where that changes them little."""
    return []


def _checked(X: Any, y: Any) -> tuple[Tensor, Tensor]:
    samples = matrix(X, "X")
    target = numbers(y, "y")
    return samples, target
