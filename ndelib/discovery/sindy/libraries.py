"""Libraries of candidate terms: what a right-hand side may be made of, as columns Θ(x).

Names, parameters and the order of the terms are those of PySINDy (de Silva et al., Journal of Open Source Software
5:49, 2020), whose polynomials have the order of scikit-learn's ``PolynomialFeatures``.
"""

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations, combinations_with_replacement
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ndelib.discovery.data import like, numbers
from ndelib.discovery.estimator import Estimator


class FeatureLibrary(Estimator):
    """A library Θ of terms. One of your own says what its columns are and how they are called.

    A subclass has ``columns(x)``, which turns the variables, (d, *), into the terms, (p, *), and ``names(inputs)``,
    which turns the names of the variables into those of the terms; ``latex(inputs)`` if these differ in LaTeX.
    """

    n_features_in_: int
    n_output_features_: int

    def columns(self, x: Tensor) -> Tensor:
        """Return the terms of the variables ``x``, (d, *) -> (p, *)."""
        raise NotImplementedError

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return the names of the terms for variables of these names."""
        raise NotImplementedError

    def latex(self, inputs: Sequence[str]) -> list[str]:
        """Return the terms in LaTeX for variables that are written ``inputs`` there."""
        return self.names(inputs)

    def fit(self, x: Any, y: Any = None) -> Self:
        """Learn from ``x``, (*, d), how many variables there are; returns the library."""
        self.n_features_in_ = int(x.shape[-1])
        self.n_output_features_ = len(self.names(default_names(self.n_features_in_)))
        return self

    def transform(self, x: Any) -> Any:
        """Return Θ(x), (*, d) -> (*, p), as a tensor for a tensor and else as an array."""
        self._check_fitted("n_features_in_")
        variables = x if isinstance(x, Tensor) else numbers(x, "x")
        if variables.shape[-1] != self.n_features_in_:
            raise ValueError(f"x has {variables.shape[-1]} variables; the library was fitted to {self.n_features_in_}")
        return like(self.columns(variables.movedim(-1, 0)).movedim(0, -1), x)

    def fit_transform(self, x: Any, y: Any = None) -> Any:
        """Return ``fit(x).transform(x)``."""
        return self.fit(x).transform(x)

    def get_feature_names(self, input_features: Sequence[str] | None = None) -> list[str]:
        """Return the names of the terms, of variables called ``input_features`` or x0, x1, …"""
        self._check_fitted("n_features_in_")
        return self.names(self._inputs(input_features))

    def get_latex_names(self, input_features: Sequence[str]) -> list[str]:
        """Return the terms in LaTeX, of variables written ``input_features``."""
        self._check_fitted("n_features_in_")
        return self.latex(self._inputs(input_features))

    def _inputs(self, names: Sequence[str] | None) -> list[str]:
        names = default_names(self.n_features_in_) if names is None else list(names)
        if len(names) != self.n_features_in_:
            raise ValueError(f"input_features must be {self.n_features_in_} names, got {len(names)}")
        return names

    def __add__(self, other: "FeatureLibrary") -> "ConcatLibrary":
        return ConcatLibrary([self, other])


def default_names(d: int) -> list[str]:
    """Return x0, x1, …, the names of variables that were given none."""
    return [f"x{i}" for i in range(d)]


class PolynomialLibrary(FeatureLibrary):
    """All monomials up to a degree, in scikit-learn's order: 1, x0, x1, x0^2, x0 x1, x1^2, …

    d variables have C(d + degree, degree) of them, 10 for d = 3 and degree 2, 56 for degree 5.

    Args:
        degree: the largest sum of exponents.
        include_interaction: whether there are products of different variables.
        interaction_only: whether there are only products of different variables, no powers.
        include_bias: whether the constant 1 is a term.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import PolynomialLibrary
        >>> library = PolynomialLibrary(degree=2).fit(np.zeros((5, 2)))
        >>> library.get_feature_names(["x", "y"])
        ['1', 'x', 'y', 'x^2', 'x y', 'y^2']
        >>> library.transform(np.array([[2.0, 3.0]]))
        array([[1., 2., 3., 4., 6., 9.]])
    """

    def __init__(
        self,
        degree: int = 2,
        include_interaction: bool = True,
        interaction_only: bool = False,
        include_bias: bool = True,
    ) -> None:
        if not isinstance(degree, int) or degree < 0:
            raise ValueError(f"degree must be a whole number, 0 or more, got {degree!r}")
        if interaction_only and not include_interaction:
            raise ValueError("interaction_only needs include_interaction=True")
        self.degree = degree
        self.include_interaction = include_interaction
        self.interaction_only = interaction_only
        self.include_bias = include_bias

    def columns(self, x: Tensor) -> Tensor:
        """Return the monomials: each is one of a degree less, times its last variable."""
        block = torch.ones_like(x[:1])
        blocks = [block] if self.include_bias else []
        for first, last in _factors(len(x), self.degree, self.include_interaction, self.interaction_only):
            block = block.index_select(0, first.to(x.device)) * x.index_select(0, last.to(x.device))
            blocks.append(block)
        return torch.cat(blocks) if blocks else x[:0]

    @property
    def powers_(self) -> np.ndarray:
        """The exponents, (p, d)."""
        self._check_fitted("n_features_in_")
        d = self.n_features_in_
        rows = [[m.count(i) for i in range(d)] for m in self._all(d)]
        return np.array(rows, dtype=int).reshape(-1, d)

    def _all(self, d: int) -> list[tuple[int, ...]]:
        degrees = range(0 if self.include_bias else 1, self.degree + 1)
        return [m for k in degrees for m in _monomials(d, k, self.include_interaction, self.interaction_only)]

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return 1, x0, …, x0^2, x0 x1, …"""
        return self._written(inputs, "{}^{}")

    def latex(self, inputs: Sequence[str]) -> list[str]:
        """Return the same with exponents in braces."""
        return self._written(inputs, "{}^{{{}}}")

    def _written(self, inputs: Sequence[str], power: str) -> list[str]:
        found = []
        for monomial in self._all(len(inputs)):
            factors = [(inputs[i], monomial.count(i)) for i in sorted(set(monomial))]
            found.append(" ".join(name if k == 1 else power.format(name, k) for name, k in factors) or "1")
        return found


def _monomials(d: int, degree: int, products: bool, products_only: bool) -> list[tuple[int, ...]]:
    """Return the monomials of one degree, each as the variables that are multiplied: (0, 0, 1) is x0^2 x1."""
    if not products:
        return [(i,) * degree for i in range(d)] if degree else [()]
    choose = combinations if products_only else combinations_with_replacement
    return list(choose(range(d), degree))


@lru_cache
def _factors(d: int, degree: int, products: bool, products_only: bool) -> list[tuple[Tensor, Tensor]]:
    """Return for the monomials of each degree from 1 which one of a degree less, times which variable, each is."""
    found: list[tuple[Tensor, Tensor]] = []
    before: dict[tuple[int, ...], int] = {(): 0}
    for k in range(1, degree + 1):
        these = _monomials(d, k, products, products_only)
        first, last = [before[m[:-1]] for m in these], [m[-1] for m in these]
        with torch.inference_mode(False):  # kept for later calls, which may be differentiated
            found.append((torch.tensor(first, dtype=torch.long), torch.tensor(last, dtype=torch.long)))
        before = {m: i for i, m in enumerate(these)}
    return found


class FourierLibrary(FeatureLibrary):
    """Sines and cosines of whole multiples of each variable: sin(1 x0), cos(1 x0), …, sin(2 x0), …

    Args:
        n_frequencies: the largest multiple.
        include_sin: whether sines are terms.
        include_cos: whether cosines are terms.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import FourierLibrary
        >>> library = FourierLibrary(2, include_cos=False)
        >>> library.fit(np.zeros((5, 1))).get_feature_names()
        ['sin(1 x0)', 'sin(2 x0)']
    """

    def __init__(self, n_frequencies: int = 1, include_sin: bool = True, include_cos: bool = True) -> None:
        if not isinstance(n_frequencies, int) or n_frequencies < 1:
            raise ValueError(f"n_frequencies must be a positive whole number, got {n_frequencies!r}")
        if not (include_sin or include_cos):
            raise ValueError("include_sin and include_cos are both False: such a library has no terms")
        self.n_frequencies = n_frequencies
        self.include_sin = include_sin
        self.include_cos = include_cos

    def _functions(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        sine, cosine = [("sin", torch.sin)] * self.include_sin, [("cos", torch.cos)] * self.include_cos
        return [*sine, *cosine]

    def columns(self, x: Tensor) -> Tensor:
        """Return the terms, variable by variable within each multiple."""
        multiples = range(1, self.n_frequencies + 1)
        return torch.stack([function(k * row) for k in multiples for row in x for _, function in self._functions()])

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return sin(1 x0), cos(1 x0), …"""
        multiples = range(1, self.n_frequencies + 1)
        return [f"{name}({k} {x})" for k in multiples for x in inputs for name, _ in self._functions()]

    def latex(self, inputs: Sequence[str]) -> list[str]:
        r"""Return \\sin(x_{0}), \\cos(x_{0}), …"""
        multiples = ["", *(f"{k} " for k in range(2, self.n_frequencies + 1))]
        return [rf"\{name}({k}{x})" for k in multiples for x in inputs for name, _ in self._functions()]


class CustomLibrary(FeatureLibrary):
    """Functions of your own. One of a single argument is a term for each variable, one of two for each pair, …

    A function gets columns of samples and returns one; it may be written with NumPy, or with torch, in which case the
    model can be differentiated (:meth:`SINDy.field`).

    Args:
        library_functions: the functions.
        function_names: for each function one that turns the names of its arguments into that of the term; f0(x0),
            f1(x0,x1), … without it.
        interaction_only: whether the arguments of one term are all different.
        include_bias: whether the constant 1 is a term, the first.

    Example:
        >>> import torch
        >>> from ndelib.discovery import CustomLibrary
        >>> functions = [torch.exp, lambda x, y: torch.sin(x - y)]
        >>> names = [lambda x: f"exp({x})", lambda x, y: f"sin({x}-{y})"]
        >>> library = CustomLibrary(functions, names).fit(torch.zeros(5, 2))
        >>> library.get_feature_names()
        ['exp(x0)', 'exp(x1)', 'sin(x0-x1)']
    """

    def __init__(
        self,
        library_functions: Sequence[Callable[..., Any]],
        function_names: Sequence[Callable[..., str]] | None = None,
        interaction_only: bool = True,
        include_bias: bool = False,
    ) -> None:
        if function_names is not None and len(function_names) != len(library_functions):
            raise ValueError(
                f"function_names must be one for each function: got {len(function_names)} for {len(library_functions)}"
            )
        self.library_functions = library_functions
        self.function_names = function_names
        self.interaction_only = interaction_only
        self.include_bias = include_bias

    def _terms(self, d: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return for every term its function and the variables that this takes."""
        choose = combinations if self.interaction_only else combinations_with_replacement
        counts = [arguments_of(function) for function in self.library_functions]
        return [(i, chosen) for i, count in enumerate(counts) for chosen in choose(range(d), count)]

    def columns(self, x: Tensor) -> Tensor:
        """Return the value of each function for each choice of variables."""
        found = [torch.ones_like(x[0])] if self.include_bias else []
        for i, chosen in self._terms(len(x)):
            value = _value(self.library_functions[i], [x[j] for j in chosen])
            if value.ndim and value.shape != x[0].shape:
                raise ValueError(
                    f"library_functions[{i}] must return one number for each sample, {tuple(x[0].shape)}; "
                    f"it returned {tuple(value.shape)}"
                )
            found.append(value.to(x).expand(x[0].shape))
        return torch.stack(found) if found else x[:0]

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return what ``function_names`` say, or f0(x0), …"""
        found = ["1"] if self.include_bias else []
        for i, chosen in self._terms(len(inputs)):
            arguments = [inputs[j] for j in chosen]
            if self.function_names is None:
                found.append(f"f{i}({','.join(arguments)})")
            else:
                found.append(self.function_names[i](*arguments))
        return found


def arguments_of(function: Callable[..., Any]) -> int:
    """Return how many arguments a function must be given."""
    if isinstance(function, np.ufunc):
        return function.nin
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, it does not say: torch.exp, …
        return 1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in taken)


def _value(function: Callable[..., Any], columns: list[Tensor]) -> Tensor:
    """Call a function that may be written with NumPy, which takes tensors but warns of how it gives them back."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array_wrap__", category=DeprecationWarning)
        return torch.as_tensor(function(*columns))


class ConcatLibrary(FeatureLibrary):
    """The terms of several libraries, one after the other; ``library_a + library_b`` makes it.

    Args:
        libraries: the libraries.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import FourierLibrary, PolynomialLibrary
        >>> library = PolynomialLibrary(degree=1) + FourierLibrary()
        >>> library.fit(np.zeros((5, 1))).get_feature_names()
        ['1', 'x0', 'sin(1 x0)', 'cos(1 x0)']
    """

    def __init__(self, libraries: Sequence[FeatureLibrary]) -> None:
        self.libraries = libraries

    def columns(self, x: Tensor) -> Tensor:
        """Return the terms of all libraries."""
        return torch.cat([library.columns(x) for library in self.libraries])

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return their names."""
        return [name for library in self.libraries for name in library.names(inputs)]

    def latex(self, inputs: Sequence[str]) -> list[str]:
        """Return them in LaTeX."""
        return [name for library in self.libraries for name in library.latex(inputs)]

    def __add__(self, other: FeatureLibrary) -> "ConcatLibrary":
        return ConcatLibrary([*self.libraries, other])
