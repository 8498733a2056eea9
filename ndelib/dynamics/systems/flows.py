"""Vector fields that every course on dynamical systems knows, each with its Jacobian.

Sources are in each class; most are told in Strogatz, *Nonlinear Dynamics and Chaos* (2015), and normal forms in
Kuznetsov, *Elements of Applied Bifurcation Theory* (2004).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndelib.dynamics.systems.system import Components, Flow, Parameter, Rows


@dataclass(frozen=True, eq=False)
class Lorenz(Flow):
    """Lorenz's convection: ẋ = σ(y − x), ẏ = x(ρ − z) − y, ż = xy − βz. Chaotic as it stands.

    Its two fixed points (±√(β(ρ − 1)), ±√(β(ρ − 1)), ρ − 1) lose stability at ρ = σ(σ + β + 3)/(σ − β − 1) = 24.74
    in a subcritical Hopf bifurcation.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import Lorenz
        >>> Lorenz()(0.0, torch.tensor([1.0, 1.0, 1.0]))
        tensor([ 0.0000, 26.0000, -1.6667])
        >>> Lorenz(rho=torch.tensor([14.0, 28.0])).jacobian(0.0, torch.zeros(3))[:, 1]
        tensor([[14., -1., -0.],
                [28., -1., -0.]])
    """

    sigma: Parameter = 10.0
    rho: Parameter = 28.0
    beta: Parameter = 8 / 3
    dimension: ClassVar[int] = 3
    reference: ClassVar[str] = "Lorenz, Journal of the Atmospheric Sciences 20 (1963), 130–141"

    def _velocity(self, t: float | Tensor, x: Tensor, y: Tensor, z: Tensor) -> Components:
        return self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z

    def _rows(self, t: float | Tensor, x: Tensor, y: Tensor, z: Tensor) -> Rows:
        return ((-self.sigma, self.sigma, 0.0), (self.rho - z, -1.0, -x), (y, x, -self.beta))


@dataclass(frozen=True, eq=False)
class Rossler(Flow):
    """Rössler's band: ẋ = −y − z, ẏ = x + ay, ż = b + z(x − c). Chaotic with one quadratic term."""

    a: Parameter = 0.2
    b: Parameter = 0.2
    c: Parameter = 5.7
    dimension: ClassVar[int] = 3
    reference: ClassVar[str] = "Rössler, Physics Letters A 57 (1976), 397–398"

    def _velocity(self, t: float | Tensor, x: Tensor, y: Tensor, z: Tensor) -> Components:
        return -y - z, x + self.a * y, self.b + z * (x - self.c)

    def _rows(self, t: float | Tensor, x: Tensor, y: Tensor, z: Tensor) -> Rows:
        return ((0.0, -1.0, -1.0), (1.0, self.a, 0.0), (z, 0.0, x - self.c))


@dataclass(frozen=True, eq=False)
class VanDerPol(Flow):
    """Van der Pol's oscillator ẍ − μ(1 − x²)ẋ + x = 0 as dx/dt = v, dv/dt = μ(1 − x²)v − x. One cycle for μ > 0."""

    mu: Parameter = 1.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "van der Pol, Philosophical Magazine 2 (1926), 978–992"

    def _velocity(self, t: float | Tensor, x: Tensor, v: Tensor) -> Components:
        return v, self.mu * (1 - x**2) * v - x

    def _rows(self, t: float | Tensor, x: Tensor, v: Tensor) -> Rows:
        return ((0.0, 1.0), (-2 * self.mu * x * v - 1, self.mu * (1 - x**2)))


@dataclass(frozen=True, eq=False)
class FitzHughNagumo(Flow):
    """A nerve's pulse: dv/dt = v − v³/3 − w + I, dw/dt = ε(v + a − bw). It fires when the current I is large enough."""

    a: Parameter = 0.7
    b: Parameter = 0.8
    epsilon: Parameter = 0.08
    current: Parameter = 0.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "FitzHugh, Biophysical Journal 1 (1961), 445–466"

    def _velocity(self, t: float | Tensor, v: Tensor, w: Tensor) -> Components:
        return v - v**3 / 3 - w + self.current, self.epsilon * (v + self.a - self.b * w)

    def _rows(self, t: float | Tensor, v: Tensor, w: Tensor) -> Rows:
        return ((1 - v**2, -1.0), (self.epsilon, -self.epsilon * self.b))


@dataclass(frozen=True, eq=False)
class Brusselator(Flow):
    """A chemical clock: ẋ = a − (b + 1)x + x²y, ẏ = bx − x²y.

    Its fixed point (a, b/a) has a supercritical Hopf bifurcation at b = 1 + a², with frequency a.
    """

    a: Parameter = 1.0
    b: Parameter = 3.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Prigogine & Lefever, Journal of Chemical Physics 48 (1968), 1695–1700"

    def _velocity(self, t: float | Tensor, x: Tensor, y: Tensor) -> Components:
        return self.a - (self.b + 1) * x + x**2 * y, self.b * x - x**2 * y

    def _rows(self, t: float | Tensor, x: Tensor, y: Tensor) -> Rows:
        return ((2 * x * y - (self.b + 1), x**2), (self.b - 2 * x * y, -(x**2)))


@dataclass(frozen=True, eq=False)
class LotkaVolterra(Flow):
    """Prey x and predators y: ẋ = αx − βxy, ẏ = δxy − γy. Every orbit is closed: see :meth:`conserved`."""

    alpha: Parameter = 1.0
    beta: Parameter = 1.0
    delta: Parameter = 1.0
    gamma: Parameter = 1.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Lotka (1925); Volterra, Nature 118 (1926), 558–560"

    def _velocity(self, t: float | Tensor, prey: Tensor, predators: Tensor) -> Components:
        meet = prey * predators
        return self.alpha * prey - self.beta * meet, self.delta * meet - self.gamma * predators

    def _rows(self, t: float | Tensor, prey: Tensor, predators: Tensor) -> Rows:
        return (
            (self.alpha - self.beta * predators, -self.beta * prey),
            (self.delta * predators, self.delta * prey - self.gamma),
        )

    def conserved(self, y: Tensor) -> Tensor:
        """Return δx − γ ln x + βy − α ln y, constant along every solution: (*, 2) -> (*)."""
        prey, predators = self._components(y)
        return self.delta * prey - self.gamma * prey.log() + self.beta * predators - self.alpha * predators.log()


@dataclass(frozen=True, eq=False)
class Duffing(Flow):
    """A driven beam between two magnets: dx/dt = v, dv/dt = −δv − αx − βx³ + γ cos ωt.

    It depends on time with the period 2π/ω. As it stands it is chaotic.
    """

    delta: Parameter = 0.3
    alpha: Parameter = -1.0
    beta: Parameter = 1.0
    gamma: Parameter = 0.5
    omega: Parameter = 1.2
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Duffing (1918); Moon & Holmes, Journal of Sound and Vibration 65 (1979), 275–296"

    def _velocity(self, t: float | Tensor, x: Tensor, v: Tensor) -> Components:
        drive = self.gamma * torch.cos(torch.as_tensor(self.omega * t, dtype=x.dtype, device=x.device))
        return v, -self.delta * v - self.alpha * x - self.beta * x**3 + drive

    def _rows(self, t: float | Tensor, x: Tensor, v: Tensor) -> Rows:
        return ((0.0, 1.0), (-self.alpha - 3 * self.beta * x**2, -self.delta))


@dataclass(frozen=True, eq=False)
class HopfNormalForm(Flow):
    """The normal form of a Hopf bifurcation: dr/dt = μr + ar³ + br⁵, dθ/dt = ω, in Cartesian coordinates.

    ``cubic`` is a: its sign is that of the first Lyapunov coefficient. For a < 0 the cycle of radius √(−μ/a) is stable
    (supercritical), for a > 0 it is unstable. With b = ``quintic`` < 0 < a, two cycles meet in a cyclic fold at
    μ = a²/4b, with the radius √(−a/2b).
    """

    mu: Parameter = 1.0
    omega: Parameter = 1.0
    cubic: Parameter = -1.0
    quintic: Parameter = 0.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Kuznetsov, Elements of Applied Bifurcation Theory (2004), sections 3.4 and 5.3"

    def _velocity(self, t: float | Tensor, u: Tensor, v: Tensor) -> Components:
        s = u**2 + v**2
        growth = self.mu + self.cubic * s + self.quintic * s**2
        return growth * u - self.omega * v, self.omega * u + growth * v

    def _rows(self, t: float | Tensor, u: Tensor, v: Tensor) -> Rows:
        s = u**2 + v**2
        growth, change = self.mu + self.cubic * s + self.quintic * s**2, 2 * self.cubic + 4 * self.quintic * s
        return (
            (growth + change * u**2, change * u * v - self.omega),
            (change * u * v + self.omega, growth + change * v**2),
        )


@dataclass(frozen=True, eq=False)
class BogdanovTakens(Flow):
    """The normal form with a double zero eigenvalue: ẋ = y, ẏ = β₁ + β₂x + x² − xy.

    Folds at β₁ = β₂²/4; for β₂ < 0 Hopf points at β₁ = 0 and a homoclinic orbit at β₁ = −(6/25)β₂² to leading order.
    """

    beta1: Parameter = -0.01
    beta2: Parameter = -1.0
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Kuznetsov, Elements of Applied Bifurcation Theory (2004), section 8.4"

    def _velocity(self, t: float | Tensor, x: Tensor, y: Tensor) -> Components:
        return y, self.beta1 + self.beta2 * x + x**2 - x * y

    def _rows(self, t: float | Tensor, x: Tensor, y: Tensor) -> Rows:
        return ((0.0, 1.0), (self.beta2 + 2 * x - y, -x))


@dataclass(frozen=True, eq=False)
class Homoclinic(Flow):
    """Strogatz's example ẋ = y, ẏ = μy + x − x² + xy: the limit cycle ends in a homoclinic orbit at μ ≈ −0.8645.

    The cycle around (1, 0) is born at μ = −1 and grows until it touches the saddle (0, 0).
    """

    mu: Parameter = -0.9
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Strogatz, Nonlinear Dynamics and Chaos (2015), example 8.4.1"

    def _velocity(self, t: float | Tensor, x: Tensor, y: Tensor) -> Components:
        return y, self.mu * y + x - x**2 + x * y

    def _rows(self, t: float | Tensor, x: Tensor, y: Tensor) -> Rows:
        return ((0.0, 1.0), (1 - 2 * x + y, self.mu + x))


FLOWS: tuple[type[Flow], ...] = (
    BogdanovTakens,
    Brusselator,
    Duffing,
    FitzHughNagumo,
    Homoclinic,
    HopfNormalForm,
    Lorenz,
    LotkaVolterra,
    Rossler,
    VanDerPol,
)
"""Every known vector field. A new one stands here, and the tests compare its Jacobian with autograd."""
