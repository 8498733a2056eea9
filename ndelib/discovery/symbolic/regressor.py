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

from torch import Tensor

from ndelib.discovery.data import like, matrix, whole_number
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.symbolic.evolution import Archive, Breeder, Once, luby
from ndelib.discovery.symbolic.expressions import Expression, constants, with_constants, write
from ndelib.discovery.symbolic.forest import Forest
from ndelib.discovery.symbolic.operators import OPERATORS
from ndelib.discovery.symbolic.simplify import simplify, with_scale
from ndelib.discovery.symbolic.tuning import losses, scales, tune
from ndelib.progress import progress_bar

EXACT = 1e-20
"""A loss below this share of the variance of y is rounding."""

GENERATIONS = 10
"""of the shortest start"""


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

    Expressions are bred from the best of each complexity; the constants of each are tuned by least squares. The result
    is a list, ``equations_``: the best expression of each complexity, where it is better than all simpler ones. Its
    columns are PySR's: ``pandas.DataFrame(model.equations_)`` is PySR's table, and ``print(model)`` shows it.

    The search starts afresh again and again, for longer and longer, every other time with half of the unary operators
    if these are four or more.

    No operator is protected by a substitute: an expression that has no value on one of the samples is dropped, and
    ``predict`` returns NaN where the formula has none.

    Args:
        niterations: generations at most.
        binary_operators: of ``+ - * / ^``.
        unary_operators: of ``neg square cube exp log sqrt abs sin cos tan tanh``. A few that make sense for the data
            find more, and faster: sines, above all, imitate everything.
        maxsize: the most operators, variables and constants of an expression.
        population_size: children in each generation.
        model_selection: which expression ``predict`` uses: ``"best"`` has the highest score among those whose loss is
            at most 1.5 times the smallest; ``"accuracy"`` has the smallest loss; ``"score"`` the highest score.
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
        >>> model.fit(x, y, variable_names=["x"]).get_best().complexity
        7
        >>> bool(np.abs(model.predict(x) - y).max() < 1e-6)
        True
    """

    equations_: list[Equation]
    """The front, from simple to accurate."""

    def __init__(
        self,
        niterations: int = 50,
        binary_operators: Sequence[str] = ("+", "-", "*", "/"),
        unary_operators: Sequence[str] = ("exp", "log", "sqrt", "sin"),
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
            raise ValueError(
                f"variable_names must be {d} names, one for each column of X, got {len(self.feature_names_)}"
            )
        best = self._search(samples.T.contiguous(), target)
        self.equations_ = self._front(best, samples.T.contiguous(), target)
        return self

    def _search(self, X: Tensor, y: Tensor) -> list[Expression]:
        """Breed, and return the best expressions of each length, up to a scale and an offset."""
        rng = random.Random(self.random_state)
        operators = [*self.binary_operators, *self.unary_operators]
        typical = X.square().mean(dim=1).sqrt().tolist()
        breeder = Breeder(operators, typical, self.maxsize, rng)
        variance = y.var(correction=0).item()
        until = math.inf if self.timeout_in_seconds is None else time.monotonic() + self.timeout_in_seconds
        hall = Archive(3)  # the best of all starts
        start, ends, more = 0, 0, None
        with progress_bar(self.niterations, self.progress) as bar:
            for generation in range(self.niterations):
                if generation == ends:
                    start += 1
                    ends = generation + GENERATIONS * luby(start)
                    archive, once = Archive(12), Once()
                    breeder.start_afresh(some=start % 2 == 0)
                    for i in range(len(X)):
                        archive.add((i,), variance)  # no better than a constant, until it is tried
                children = self._children(breeder, archive, once)
                for expression, missed in _promising(children, X, y):
                    if missed < variance and archive.add(expression, missed):
                        hall.add(expression, missed)
                lowest = min((entry[0] for entry in hall.best()), default=variance)
                bar.update()
                bar.set_postfix(unexplained=f"{lowest / variance:.1e}")
                if lowest <= self.early_stop_condition * variance:
                    more = 2 if more is None else more - 1  # the first is seldom the shortest
                    ends = max(ends, generation + 2)
                if more == 0 or time.monotonic() > until:
                    break
        return [expression for level in hall.levels.values() for _, expression in level]

    def _children(self, breeder: Breeder, archive: Archive, once: Once) -> list[Expression]:
        """Breed a generation, or fewer where children that are new are hard to find."""
        children: list[Expression] = []
        for _ in range(10 * self.population_size):
            child = breeder.child(archive.draw)
            if child is not None and once(child):
                children.append(child)
            if len(children) == self.population_size:
                break
        return children

    def _front(self, found: list[Expression], X: Tensor, y: Tensor) -> list[Equation]:
        """Return what is better than all that is simpler, each with the scale and the offset that it is worth."""
        found, _ = tune(found, X, y, 30)
        F = Forest(found, X)
        values = F.values(F.evaluate(F.constants))
        a, b, _ = scales(values, y)
        along = (values @ y) / values.square().sum(dim=1)
        mean = (y - values).mean(dim=1)
        candidates: list[Expression] = [(y.mean().item(),)]
        for i, expression in enumerate(found):
            for offset, scale in ((0.0, 1.0), (mean[i], 1.0), (0.0, along[i]), (a[i], b[i])):
                scaled = with_scale(expression, float(offset), float(scale))
                candidates += [scaled, *_rounded(scaled)]
        known = {str(expression): expression for expression in candidates if len(expression) <= self.maxsize}
        listed = [known[text] for text in sorted(known)]
        whole = Forest(listed, X)
        missed = losses(y - whole.values(whole.evaluate(whole.constants))).clamp(min=EXACT * y.var(correction=0).item())
        rows = zip(missed.tolist(), listed, strict=True)
        front: list[Equation] = []
        for loss, expression in sorted(rows, key=lambda row: (len(row[1]), row[0])):
            size = len(expression)
            if math.isfinite(loss) and (not front or (loss < front[-1].loss and size > front[-1].complexity)):
                score = math.log(front[-1].loss / loss) / (size - front[-1].complexity) if front else 0.0
                front.append(Equation(size, loss, score, write(expression, self.feature_names_), expression))
        return front

    # What was found

    def get_best(self) -> Equation:
        """Return the row of ``equations_`` that ``model_selection`` chooses."""
        self._check_fitted("equations_")
        if self.model_selection == "accuracy":
            return self.equations_[-1]
        good = self.equations_
        if self.model_selection == "best":
            good = [row for row in good if row.loss <= 1.5 * good[-1].loss]
        return max(good, key=lambda row: row.score)

    def predict(self, X: Any, index: int | None = None) -> Any:
        """Return the values of an expression, the chosen one or row ``index`` of ``equations_``, at samples ``X``."""
        samples = matrix(X, "X")
        expression = self._row(index).expression
        if samples.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {samples.shape[1]} columns; the model was fitted to {self.n_features_in_}")
        forest = Forest([expression], samples.T.contiguous())
        return like(forest.values(forest.evaluate(forest.constants))[0].clone(), X)

    def score(self, X: Any, y: Any) -> float:
        """Return R² of the prediction: 1 is perfect, 0 what the mean of y reaches."""
        samples, target = _checked(X, y)
        missed = (target - self.predict(samples)).square().mean()
        return float(1 - missed / target.var(correction=0))

    def sympy(self, index: int | None = None) -> Any:
        """Return an expression, the chosen one or row ``index``, as SymPy's."""
        import sympy

        return sympy.sympify(self._row(index).equation, locals=self._symbols())

    def latex(self, index: int | None = None, precision: int = 3) -> str:
        """Return an expression, the chosen one or row ``index``, in LaTeX, with ``precision`` digits."""
        import sympy

        text = write(self._row(index).expression, self.feature_names_, precision)
        written: str = sympy.latex(sympy.sympify(text, locals=self._symbols()))
        return written

    def _symbols(self) -> dict[str, Any]:
        import sympy

        return {name: sympy.Symbol(name) for name in self.feature_names_}

    def _row(self, index: int | None) -> Equation:
        self._check_fitted("equations_")
        return self.get_best() if index is None else self.equations_[index]

    def __str__(self) -> str:
        if not hasattr(self, "equations_"):
            return repr(self)
        chosen = self.get_best()
        lines = ["   complexity  loss      score   equation"]
        for row in self.equations_:
            mark = ">>" if row is chosen else "  "
            lines.append(f"{mark} {row.complexity:>10}  {row.loss:<8.2e}  {row.score:<6.2f}  {row.equation}")
        return "\n".join(lines)

    def _check_parameters(self) -> None:
        """Raise ``ValueError`` for parameters that make no sense, by their name."""
        for name, arguments in (("binary_operators", 2), ("unary_operators", 1)):
            value = getattr(self, name)
            known = [operator.name for operator in OPERATORS.values() if operator.arity == arguments]
            if isinstance(value, str) or not set(value) <= set(known):
                raise ValueError(f"{name} must be a list of some of {', '.join(known)}; got {value!r}")
        if not self.binary_operators and not self.unary_operators:
            raise ValueError("binary_operators and unary_operators are both empty: give at least one operator")
        for name in ("niterations", "maxsize", "population_size"):
            whole_number(getattr(self, name), name)
        if self.model_selection not in ("best", "accuracy", "score"):
            raise ValueError(f'model_selection must be "best", "accuracy" or "score", got {self.model_selection!r}')
        if not self.early_stop_condition >= 0:
            raise ValueError(f"early_stop_condition must be a share, 0 or more, got {self.early_stop_condition!r}")


def _promising(children: list[Expression], X: Tensor, y: Tensor) -> list[tuple[Expression, float]]:
    """Tune all a little, the better half of those with constants more, and return these and all without constants."""
    plain = [child for child in children if not constants(child)]
    others = [child for child in children if constants(child)]
    found = []
    if plain:
        found += list(zip(plain, tune(plain, X, y, 0)[1].tolist(), strict=True))
    if others:
        others, loss = tune(others, X, y, 2)
        half = [others[i] for i in loss.argsort()[: max(len(others) // 2, 1)].tolist()]
        tuned, loss = tune(half, X, y, 8)
        found += list(zip(tuned, loss.tolist(), strict=True))
    return found


def _rounded(expression: Expression) -> list[Expression]:
    """Return the expression with its constants rounded to 3, 6 and 10 digits; fitted zeros are rounded to zero, too."""
    values = constants(expression)
    found = []
    for digits in (3, 6, 10):
        near = [float(f"{value:.{digits}g}") if abs(value) > 10.0**-digits else 0.0 for value in values]
        rounded = simplify(with_constants(expression, near))
        found.append(rounded)
    return found


def _checked(X: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return samples, (n, d), and what they should give, (n,), in float64."""
    samples = matrix(X, "X")
    target = matrix(y, "y").to(samples.device)
    if target.shape[1] != 1:
        raise ValueError(f"y has {target.shape[1]} columns: an expression gives one number; fit one for each column")
    if len(target) != len(samples):
        raise ValueError(f"y has {len(target)} values and X has {len(samples)} rows: give one value for each row")
    if len(samples) < 5:
        raise ValueError(f"X has {len(samples)} rows: give at least 5, and many more than a formula has constants")
    if target.std(correction=0) <= 1e-12 * target.abs().max():
        raise ValueError(f"y is constant ({target[0].item():g}): there is no formula to find")
    constant = (samples == samples[0]).all(dim=0)
    if constant.any():
        column = int(constant.nonzero()[0])
        raise ValueError(
            f"X is constant in column {column}: a formula cannot tell it from a number; leave the column out"
        )
    return samples, target[:, 0]
