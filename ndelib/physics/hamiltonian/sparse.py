"""SSINN: the coefficients of an energy, found through symplectic steps.

Source: DiPietro, Xiong & Zhu, Sparse symplectically integrated neural networks, NeurIPS 2020.
"""

import torch
from torch import Tensor

from ndelib.physics.hamiltonian.checks import check_positive
from ndelib.physics.hamiltonian.energies import SeparableEnergy
from ndelib.physics.hamiltonian.networks import HNN
from ndelib.physics.hamiltonian.steppers import FieldStepper
from ndelib.physics.hamiltonian.terms import SparseEnergy, Terms


class SSINN(FieldStepper):
    """A sparse symplectically integrated network: H = Σ aₖ φₖ(p) + Σ bₖ ψₖ(q), coefficients trained through the steps.

    Train with ``loss(y) + weight * penalty()``, then ``prune`` what is small, and train on without the penalty, which
    would shrink what is left.

    Args:
        kinetic: the library of terms of p.
        potential: the library of terms of q.
        h: the time between two states of the data.
        method: a method for separable systems, as for :class:`SRNN`; Yoshida's of order 4 if not said.
        substeps: how many steps of the method make one of h.
        spread: the standard deviation of the first coefficients.

    Example:
        >>> import torch
        >>> from ndelib.physics import SSINN, PolynomialTerms
        >>> from ndelib.training import fit
        >>> t = torch.linspace(0, 6, 61)
        >>> y = torch.stack([t.cos(), -t.sin()], -1)  # a spring
        >>> pairs = torch.stack([y[:-1], y[1:]], 1)
        >>> _ = torch.manual_seed(0)
        >>> model = SSINN(PolynomialTerms(1, 2), PolynomialTerms(1, 2), h=0.1)
        >>> history = fit(model, SSINN.loss, pairs, steps=300, lr=0.02)
        >>> model.prune(0.05)
        >>> print(model.equation(digits=2))
        H = 0.50 p² + 0.50 q²
    """

    def __init__(
        self,
        kinetic: Terms,
        potential: Terms,
        h: float,
        method: str = "yoshida4",
        substeps: int = 1,
        spread: float = 0.1,
    ) -> None:
        for name, part in (("kinetic", kinetic), ("potential", potential)):
            if not isinstance(part, Terms):
                raise TypeError(f"{name} must be a library, such as PolynomialTerms(2, 3), got {type(part).__name__}")
        if kinetic.n != potential.n:
            raise ValueError(
                f"kinetic has terms of {kinetic.n} momenta and potential of {potential.n} positions: there are as many "
                "of the one as of the other"
            )
        energy = SeparableEnergy(SparseEnergy(kinetic, spread), SparseEnergy(potential, spread))
        super().__init__(HNN(energy), h, method, substeps)
        self.size = self.field.size = 2 * kinetic.n  # type: ignore[attr-defined]

    @property
    def parts(self) -> tuple[SparseEnergy, SparseEnergy]:
        """The kinetic and the potential energy."""
        energy = self.field._energy  # type: ignore[attr-defined]
        return energy.kinetic, energy.potential

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by the names of their terms, in p and q."""
        pairs = zip(self.parts, "pq", strict=True)
        return {
            name: value
            for part, symbol in pairs
            for name, value in zip(part.terms.names(symbol), part.coefficients.tolist(), strict=True)
        }

    def vector(self) -> Tensor:
        """Return all coefficients in one vector, those of p first; differentiable."""
        return torch.cat([part.coefficients for part in self.parts])

    def penalty(self) -> Tensor:
        """Return Σ|c| over all coefficients."""
        return self.vector().abs().sum()

    def prune(self, threshold: float) -> None:
        """Set coefficients below ``threshold`` in modulus to zero, and keep them there."""
        check_positive(threshold, "threshold", "the smallest coefficient to keep")
        for part in self.parts:
            part.prune(threshold)

    @torch.no_grad()
    def set_coefficients(self, values: dict[str, float]) -> None:
        """Set coefficients by name and all others to zero, pruned ones too: to compare with a known energy, say."""
        left = dict(values)
        for part, symbol in zip(self.parts, "pq", strict=True):
            row = [left.pop(name, 0.0) for name in part.terms.names(symbol)]
            part.raw.copy_(torch.as_tensor(row).to(part.raw))
            part.kept.fill_(1.0)
        if left:
            raise ValueError(f"no term is called {', '.join(map(repr, left))}; the terms are {list(self.coefficients)}")

    def equation(self, digits: int = 3) -> str:
        """Return the energy as text, without the terms that are zero."""
        text = ""
        for name, value in self.coefficients.items():
            if value != 0.0:
                sign = "- " if value < 0 else "+ " if text else ""
                text += f"{sign}{abs(value):.{digits}f} {name} "
        return "H = " + (text.strip() or "0")
