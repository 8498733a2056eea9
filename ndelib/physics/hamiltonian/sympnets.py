"""SympNets: maps that are symplectic whatever their parameters, made of shears that move q by p, or p by q.

A shear q ↦ q + h ∇φ(p) is symplectic because its Jacobian [[I, h∇²φ], [0, I]] has a symmetric block, and is undone by
one with −h. Source: Jin, Zhang, Zhu, Tang & Karniadakis, SympNets, Neural Networks 132 (2020) 166.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.checks import check_count, check_state, join
from ndelib.physics.hamiltonian.steppers import Stepper
from ndelib.physics.states import halves


class SympNet(Stepper):
    """Shears of p by q and of q by p in turn: what LA- and G-SympNets share. A heir says ``shears(h)``."""

    def __init__(self, n: int, h: float) -> None:
        super().__init__(h)
        self.n, self.size = check_count(n, "n", "the number of positions"), 2 * n

    def shears(self, h: Any) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """Return ("q", change of q as a function of p) and ("p", change of p as a function of q), in their order."""
        raise NotImplementedError

    def step(self, y: Tensor, h: Any = None) -> Tensor:
        """Return the state after a step, (*, 2n) -> (*, 2n).

        Args:
            y: the states [q, p].
            h: the length of the step; the model's own if ``None``. A tensor that broadcasts against q, such as (N, 1),
                gives each sample its own.
        """
        check_state(y, self.size, type(self).__name__)
        q, p = halves(y)
        for part, change in self.shears(self.h if h is None else h):
            if part == "q":
                q = q + change(p)
            else:
                p = p + change(q)
        return join((q, p))

    forward = step

    def inverse(self, y: Tensor, h: Any = None) -> Tensor:
        """Return the state before a step, (*, 2n) -> (*, 2n): the shears undone, the last one first."""
        check_state(y, self.size, type(self).__name__)
        q, p = halves(y)
        for part, change in reversed(self.shears(self.h if h is None else h)):
            if part == "q":
                q = q - change(p)
            else:
                p = p - change(q)
        return join((q, p))


class GSympNet(SympNet):
    """A G-SympNet: shears by gradients of ridge functions, p += h Kᵀ(a ∘ σ(K q + b)), and q by p in turn.

    Args:
        n: the number of positions.
        h: the time between two states of the data.
        layers: how many shears; each moves the half that the one before did not.
        width: rows of K.
        activation: makes σ.

    Example:
        >>> import torch
        >>> from ndelib.physics import GSympNet, symplectic_defect
        >>> model = GSympNet(2, h=0.1).double()
        >>> y = torch.randn(5, 4, dtype=torch.float64)
        >>> bool((symplectic_defect(model, y) < 1e-12).all())
        True
        >>> torch.allclose(model.inverse(model(y)), y)
        True
    """

    def __init__(
        self,
        n: int,
        h: float,
        layers: int = 6,
        width: int = 16,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__(n, h)
        check_count(layers, "layers", "the number of shears", least=2)
        check_count(width, "width", "the rows of K")
        self.K = nn.Parameter(torch.randn(layers, width, n) / math.sqrt(n))
        self.a = nn.Parameter(torch.randn(layers, width) / width)
        self.b = nn.Parameter(torch.zeros(layers, width))
        self.activation = activation()

    def shears(self, h: Any) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """Return the layers, with h in them: p first."""

        def shear(K: Tensor, a: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda x: h * ((a * self.activation(x @ K.mT + b)) @ K)

        rows = zip(self.K.unbind(0), self.a.unbind(0), self.b.unbind(0), strict=True)
        return [("pq"[i % 2], shear(*row)) for i, row in enumerate(rows)]


class LASympNet(SympNet):
    """An LA-SympNet: linear modules with activation modules between them.

    A linear module is ``sublayers`` shears by symmetric matrices S = A + Aᵀ, of p by q and of q by p in turn, and a
    shift; an activation module one shear p += h a ∘ σ(q), or q by p in turn. A linear module stands at both ends.

    Args:
        n: the number of positions.
        h: the time between two states of the data.
        layers: how many activation modules.
        sublayers: how many shears a linear module has.
        activation: makes σ.

    Example:
        >>> import torch
        >>> from ndelib.physics import LASympNet
        >>> model = LASympNet(1, h=0.1)
        >>> model.trajectory(torch.tensor([1.0, 0.0]), steps=50).shape
        torch.Size([51, 2])
    """

    def __init__(
        self,
        n: int,
        h: float,
        layers: int = 4,
        sublayers: int = 4,
        activation: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__(n, h)
        check_count(layers, "layers", "the number of activation modules")
        check_count(sublayers, "sublayers", "the shears of a linear module", least=2)
        self.A = nn.Parameter(torch.randn(layers + 1, sublayers, n, n) / (2 * sublayers * math.sqrt(n)))
        self.shift = nn.Parameter(torch.zeros(layers + 1, 2, n))
        self.a = nn.Parameter(torch.randn(layers, n) / layers)
        self.activation = activation()

    def shears(self, h: Any) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """Return the shears of all modules, with h in them."""

        def linear(S: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda x: h * (x @ S)

        def constant(b: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda x: h * b

        def activated(a: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda x: h * a * self.activation(x)

        S = self.A + self.A.mT
        found: list[tuple[str, Callable[[Tensor], Tensor]]] = []
        for i in range(len(self.A)):
            found += [("pq"[j % 2], linear(S[i, j])) for j in range(S.shape[1])]
            found += [("q", constant(self.shift[i, 0])), ("p", constant(self.shift[i, 1]))]
            if i < len(self.a):
                found.append(("pq"[i % 2], activated(self.a[i])))
        return found
