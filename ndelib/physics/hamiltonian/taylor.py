"""TaylorNet: gradients of energies by symmetric sums of powers, without an energy to be differentiated.

Source: Tong, Xiong, He, Pan & Zhu, Symplectic neural networks in Taylor series form for Hamiltonian systems, J. Comput.
Phys. 437 (2021) 110325.
"""

import math

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.checks import check_count
from ndelib.physics.hamiltonian.energies import SeparableEnergy
from ndelib.physics.hamiltonian.networks import HNN
from ndelib.physics.hamiltonian.steppers import FieldStepper


class TaylorGradient(nn.Module):
    """The vector g(x) = Σᵢ Aᵢᵀ fᵢ(Aᵢ x) − Bᵢᵀ fᵢ(Bᵢ x) + b with fᵢ(z) = zⁱ / i!, and the energy whose gradient it is.

    Its Jacobian Σᵢ Aᵢᵀ diag(fᵢ′) Aᵢ − Bᵢᵀ diag(fᵢ′) Bᵢ is symmetric for all A and B, so there is one:
    Σᵢ Σⱼ Fᵢ(Aᵢ x)ⱼ − Fᵢ(Bᵢ x)ⱼ + b·x with Fᵢ(z) = zⁱ⁺¹ / (i + 1)!. The second matrices are needed: fᵢ′ of odd i is not
    negative, so without them that part of the Jacobian would have no negative eigenvalue.

    Args:
        n: the size of x.
        terms: M, the largest power.
        width: rows of every matrix.
    """

    powers: Tensor
    of_gradient: Tensor
    of_energy: Tensor

    def __init__(self, n: int, terms: int = 4, width: int = 16) -> None:
        super().__init__()
        check_count(n, "n", "the number of positions")
        check_count(terms, "terms", "the largest power of the Taylor series")
        check_count(width, "width", "the rows of every matrix")
        spread = 1 / math.sqrt(width * n)
        self.n, self.terms = n, terms
        self.A = nn.Parameter(spread * torch.randn(terms, width, n))
        self.B = nn.Parameter(spread * torch.randn(terms, width, n))
        self.b = nn.Parameter(torch.zeros(n))
        rows = torch.arange(1, terms + 1).repeat_interleave(width).repeat(2)  # i of every row of A, then of B
        signs = torch.cat((torch.ones(terms * width), -torch.ones(terms * width)))
        self.register_buffer("powers", rows, persistent=False)
        for name, more in (("of_gradient", 0), ("of_energy", 1)):
            factorials = torch.tensor([float(math.factorial(i + more)) for i in rows.tolist()])
            self.register_buffer(name, signs / factorials, persistent=False)

    def _matrix(self) -> Tensor:
        """Return all Aᵢ, then all Bᵢ, below each other, (2 M width, n)."""
        return torch.cat((self.A.flatten(0, 1), self.B.flatten(0, 1)))

    def _power(self, z: Tensor) -> Tensor:
        """Return zⁱ with every row's own i, (*, 2 M width)."""
        one, result = torch.ones((), dtype=z.dtype, device=z.device), z
        for i in range(2, self.terms + 1):
            result = result * torch.where(self.powers >= i, z, one)
        return result

    def gradient(self, x: Tensor) -> Tensor:
        """Return g(x), (*, n)."""
        if x.shape[-1:] != (self.n,):
            raise ValueError(f"x must be (*, {self.n}), got {tuple(x.shape)}")
        matrix = self._matrix()
        return (self._power(x @ matrix.mT) * self.of_gradient) @ matrix + self.b

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy whose gradient is g, (*)."""
        z = x @ self._matrix().mT
        return (self._power(z) * z * self.of_energy).sum(-1) + (x * self.b).sum(-1)


class TaylorNet(FieldStepper):
    """A Taylor-series network: dq/dt = g_T(p) and dp/dt = −g_V(q), two :class:`TaylorGradient`, in symplectic steps.

    Polynomials: exact for polynomial energies of degree terms + 1, and far outside of the data they grow like one.

    Args:
        n: the number of positions.
        h: the time between two states of the data.
        terms: the largest power in the derivatives.
        width: rows of every matrix.
        method: a method for separable systems, as for :class:`SRNN`; Yoshida's of order 4 if not said.
        substeps: how many steps of the method make one of h.

    Example:
        >>> import torch
        >>> from ndelib.physics import TaylorNet, symplectic_defect
        >>> model = TaylorNet(2, h=0.1).double()
        >>> y = torch.randn(5, 4, dtype=torch.float64)
        >>> bool((symplectic_defect(model.step, y) < 1e-12).all())
        True
    """

    def __init__(
        self, n: int, h: float, terms: int = 4, width: int = 16, method: str = "yoshida4", substeps: int = 1
    ) -> None:
        energy = SeparableEnergy(TaylorGradient(n, terms, width), TaylorGradient(n, terms, width))
        super().__init__(HNN(energy), h, method, substeps)
        self.size = self.field.size = 2 * n  # type: ignore[attr-defined]

    @property
    def parts(self) -> tuple[TaylorGradient, TaylorGradient]:
        """The kinetic and the potential energy."""
        energy = self.field._energy  # type: ignore[attr-defined]
        return energy.kinetic, energy.potential
