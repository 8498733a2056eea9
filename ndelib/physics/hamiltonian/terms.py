"""Libraries of terms with their slopes, and energies that are sparse sums of them.

Source: DiPietro, Xiong & Zhu, Sparse symplectically integrated neural networks, NeurIPS 2020.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.checks import check_count

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Terms(nn.Module):
    """Functions φ₁, …, φ_K of n variables, with their slopes. ``a + b`` has the terms of both."""

    def __init__(self, n: int, names: Sequence[str]) -> None:
        super().__init__()
        self.n, self.patterns = n, tuple(names)
        if not self.patterns:
            raise ValueError("a library needs at least one term")
        if len(set(self.patterns)) < len(self.patterns):
            twice = next(name for name in self.patterns if self.patterns.count(name) > 1)
            raise ValueError(f"the term {twice!r} is there twice: its two coefficients could take any values")

    def names(self, symbol: str = "x") -> list[str]:
        """Return the terms as text, in variables such as ``q1``."""
        letters = [symbol] if self.n == 1 else [f"{symbol}{i + 1}" for i in range(self.n)]
        return [pattern.format(*letters) for pattern in self.patterns]

    def values(self, x: Tensor) -> Tensor:
        """Return every term, (*, n) -> (*, K)."""
        raise NotImplementedError

    def slopes(self, x: Tensor) -> Tensor:
        """Return the gradient of every term, (*, n) -> (*, K, n)."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.patterns)

    def __add__(self, other: "Terms") -> "Terms":
        return _Joined(self, other)

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` where x is not (*, n)."""
        if x.shape[-1:] != (self.n,):
            raise ValueError(
                f"this library has terms of {self.n} variables: x must be (*, {self.n}), got {tuple(x.shape)}"
            )


class _Joined(Terms):
    """The terms of two libraries."""

    def __init__(self, first: Terms, second: Terms) -> None:
        if first.n != second.n:
            raise ValueError(f"libraries of {first.n} and {second.n} variables cannot be joined")
        super().__init__(first.n, [*first.patterns, *second.patterns])
        self.first, self.second = first, second

    def values(self, x: Tensor) -> Tensor:
        return torch.cat([self.first.values(x), self.second.values(x)], -1)

    def slopes(self, x: Tensor) -> Tensor:
        return torch.cat([self.first.slopes(x), self.second.slopes(x)], -2)


class PolynomialTerms(Terms):
    """All products of the n variables up to a degree, without the constant, on which no force depends.

    Args:
        n: the number of variables.
        degree: the largest one.

    Example:
        >>> import torch
        >>> from ndelib.physics import PolynomialTerms
        >>> terms = PolynomialTerms(2, degree=2)
        >>> terms.names("q")
        ['q1', 'q2', 'q1²', 'q1 q2', 'q2²']
        >>> terms.values(torch.tensor([2.0, 3.0]))
        tensor([2., 3., 4., 6., 9.])
    """

    exponents: Tensor

    def __init__(self, n: int, degree: int) -> None:
        check_count(n, "n", "the number of variables")
        check_count(degree, "degree", "that of the polynomials")
        chosen = [c for d in range(1, degree + 1) for c in combinations_with_replacement(range(n), d)]
        powers = [[c.count(i) for i in range(n)] for c in chosen]
        super().__init__(n, [_product(row) for row in powers])
        self.degree = degree
        self.register_buffer("exponents", torch.tensor(powers), persistent=False)

    def _powers(self, x: Tensor) -> Tensor:
        """Return x⁰, x¹, …, of every variable, (degree + 1, *, n)."""
        powers = [torch.ones_like(x)]
        for _ in range(self.degree):
            powers.append(powers[-1] * x)
        return torch.stack(powers)

    def _factors(self, powers: Tensor, exponents: Tensor) -> list[Tensor]:
        """Return the power of each variable in each term, n tensors (*, K)."""
        return [powers[exponents[:, i], ..., i].movedim(0, -1) for i in range(self.n)]

    def values(self, x: Tensor) -> Tensor:
        """Return every term, (*, n) -> (*, K)."""
        self.check(x)
        return _multiply(self._factors(self._powers(x), self.exponents))

    def slopes(self, x: Tensor) -> Tensor:
        """Return the gradient of every term, (*, n) -> (*, K, n)."""
        self.check(x)
        powers = self._powers(x)
        whole = self._factors(powers, self.exponents)
        lower = self._factors(powers, (self.exponents - 1).clamp(min=0))
        columns = []
        for i in range(self.n):
            rest = [lower[j] if j == i else whole[j] for j in range(self.n)]
            columns.append(self.exponents[:, i] * _multiply(rest))
        return torch.stack(columns, -1)


class TrigonometricTerms(Terms):
    """cos(k x) and sin(k x) of every variable, for k = 1, …, ``frequencies``.

    Example:
        >>> import torch
        >>> from ndelib.physics import TrigonometricTerms
        >>> terms = TrigonometricTerms(1, frequencies=2)
        >>> terms.names("q")
        ['cos(q)', 'sin(q)', 'cos(2q)', 'sin(2q)']
        >>> terms.values(torch.zeros(1))
        tensor([1., 0., 1., 0.])
    """

    def __init__(self, n: int, frequencies: int = 1) -> None:
        check_count(n, "n", "the number of variables")
        check_count(frequencies, "frequencies", "the largest k of cos(k x)")
        pairs = [(k, i) for k in range(1, frequencies + 1) for i in range(n)]
        written = [("" if k == 1 else str(k)) + f"{{{i}}}" for k, i in pairs]
        super().__init__(n, [f"{name}({inner})" for inner in written for name in ("cos", "sin")])
        self.pairs = pairs

    def values(self, x: Tensor) -> Tensor:
        """Return every term, (*, n) -> (*, K)."""
        self.check(x)
        return torch.stack([f(k * x[..., i]) for k, i in self.pairs for f in (torch.cos, torch.sin)], -1)

    def slopes(self, x: Tensor) -> Tensor:
        """Return the gradient of every term, (*, n) -> (*, K, n)."""
        self.check(x)
        rows = []
        for k, i in self.pairs:
            angle = k * x[..., i]
            for slope in (-k * angle.sin(), k * angle.cos()):
                rows.append(torch.stack([slope if j == i else torch.zeros_like(slope) for j in range(self.n)], -1))
        return torch.stack(rows, -2)


class CustomTerms(Terms):
    """Terms of your own; their slopes come from ``torch.func``.

    Args:
        n: the number of variables.
        functions: ``{name: function}`` with ``function(x)``, (*, n) -> (*). A name says its variables as ``{0}``,
            ``{1}``.

    Example:
        >>> import torch
        >>> from ndelib.physics import CustomTerms
        >>> terms = CustomTerms(2, {"1/|{0}|": lambda x: 1 / x[..., 0].abs()})
        >>> terms.names("q"), terms.slopes(torch.tensor([2.0, 0.0]))
        (['1/|q1|'], tensor([[-0.2500,  0.0000]]))
    """

    def __init__(self, n: int, functions: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        check_count(n, "n", "the number of variables")
        super().__init__(n, list(functions))
        self.functions = tuple(functions.values())

    def values(self, x: Tensor) -> Tensor:
        """Return every term, (*, n) -> (*, K)."""
        self.check(x)
        columns = [function(x) for function in self.functions]
        for name, column in zip(self.patterns, columns, strict=True):
            if column.shape != x.shape[:-1]:
                raise ValueError(
                    f"the term {name!r} must return one number a sample, {tuple(x.shape[:-1])}; it returned "
                    f"{tuple(column.shape)}"
                )
        return torch.stack(columns, -1)

    def slopes(self, x: Tensor) -> Tensor:
        """Return the gradient of every term, (*, n) -> (*, K, n)."""
        self.check(x)

        def gradient(function: Callable[[Tensor], Tensor]) -> Any:
            return torch.func.grad(lambda x: function(x).sum())(x)

        return torch.stack([gradient(function) for function in self.functions], -2)


class SparseEnergy(nn.Module):
    """An energy Σ cₖ φₖ(x) of a library of terms, (*, n) -> (*), with its gradient.

    Args:
        terms: the library.
        spread: the standard deviation of the first coefficients, which are random.
    """

    kept: Tensor

    def __init__(self, terms: Terms, spread: float = 0.1) -> None:
        super().__init__()
        if not isinstance(terms, Terms):
            raise TypeError(f"terms must be a library, such as PolynomialTerms(2, 3), got {type(terms).__name__}")
        self.terms = terms
        self.raw = nn.Parameter(spread * torch.randn(len(terms)))
        self.register_buffer("kept", torch.ones(len(terms)))

    @property
    def coefficients(self) -> Tensor:
        """The coefficients, (K,); those of pruned terms are zero."""
        return self.raw * self.kept

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy, (*)."""
        return self.terms.values(x) @ self.coefficients

    def gradient(self, x: Tensor) -> Tensor:
        """Return its gradient, (*, n)."""
        return (self.terms.slopes(x) * self.coefficients[:, None]).sum(-2)

    @torch.no_grad()
    def prune(self, threshold: float) -> None:
        """Set coefficients below ``threshold`` in modulus to zero, for good."""
        self.kept.mul_((self.coefficients.abs() >= threshold).to(self.kept))


def _product(powers: Sequence[int]) -> str:
    """Return the pattern of a product, ``"{0}² {1}"``."""
    parts = [f"{{{i}}}" + ("" if k == 1 else str(k).translate(SUPERSCRIPTS)) for i, k in enumerate(powers) if k]
    return " ".join(parts)


def _multiply(factors: Sequence[Tensor]) -> Tensor:
    product = factors[0]
    for factor in factors[1:]:
        product = product * factor
    return product
