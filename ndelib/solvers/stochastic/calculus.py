"""Itô ↔ Stratonovich: the same process as the solution of an equation of the other calculus.

dy = f dt + g dW (Itô) and dy = f̃ dt + g ∘ dW (Stratonovich) have the same solution where f̃ = f − c, with the drift

    c = ½ Σ_j (∂g^j/∂y) g^j.

Source: Kloeden & Platen, *Numerical Solution of Stochastic Differential Equations* (1992), section 4.9.
"""

from typing import Any

from torch import Tensor, nn

from ndelib.solvers.stochastic.diffusion import derivative_along
from ndelib.solvers.stochastic.problem import check_types


def to_stratonovich(sde: Any) -> "Converted":
    """Return the Stratonovich equation with the same solution as the Itô equation ``sde``.

    Raises:
        AttributeError, ValueError: ``sde`` lacks something, or is not of type ``"ito"``.
    """
    return Converted(sde, "ito", "stratonovich")


def to_ito(sde: Any) -> "Converted":
    """Return the Itô equation with the same solution as the Stratonovich equation ``sde``.

    Raises:
        AttributeError, ValueError: ``sde`` lacks something, or is not of type ``"stratonovich"``.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from ndelib import to_ito
        >>> growth = SimpleNamespace(f=lambda t, y: 0.5 * y, g=lambda t, y: 0.8 * y)
        >>> growth.noise_type, growth.sde_type = "diagonal", "stratonovich"
        >>> to_ito(growth).f(0.0, torch.ones(1))  # 0.5 + ½ · 0.8²
        tensor([0.8200])
    """
    return Converted(sde, "stratonovich", "ito")


class Converted(nn.Module):
    """An equation in the other calculus, with a corrected drift. A module, so that its parameters are found."""

    def __init__(self, sde: Any, given: str, wanted: str) -> None:
        super().__init__()
        noise_type, sde_type = check_types(sde)
        if sde_type != given:
            raise ValueError(f"sde.sde_type is {sde_type!r} already; only {given!r} can become {wanted!r}")
        self.sde, self.noise_type, self.sde_type = sde, noise_type, wanted
        self.sign = -0.5 if wanted == "stratonovich" else 0.5

    def correction(self, t: Tensor, y: Tensor) -> Tensor:
        """Return what is added to the drift, ∓c, (*, d)."""
        diagonal = self.noise_type == "diagonal"
        _, slope = derivative_along(lambda x: self.sde.g(t, x), y, lambda g: g, diagonal)
        return self.sign * slope

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the corrected drift, (*, d)."""
        f: Tensor = self.sde.f(t, y)
        return f if self.noise_type == "additive" else f + self.correction(t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the diffusion, which is the same."""
        g: Tensor = self.sde.g(t, y)
        return g
