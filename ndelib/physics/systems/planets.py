"""Bodies that attract each other: one planet of a fixed sun, with its ellipse in closed form, and any number of bodies.

Sources: Kepler, Astronomia nova (1609); Danby, *Fundamentals of Celestial Mechanics* (1988), section 6.7 (f and g);
Chenciner & Montgomery, Annals of Mathematics 152 (2000), 881–901 (the figure eight).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndelib.physics.systems.system import Natural, Parameter


@dataclass(frozen=True, eq=False)
class Kepler(Natural):
    """A planet of mass 1 in the plane, the sun at the origin: H = |p|²/2 − μ/|q|.

    Example:
        >>> import torch
        >>> from ndelib.physics import Kepler
        >>> kepler = Kepler()
        >>> y0 = kepler.perihelion(0.6)
        >>> y = kepler.trajectory(y0, [0.0, torch.pi])[-1]  # half of a period
        >>> y.round(decimals=3) + 0.0
        tensor([-1.6000,  0.0000,  0.0000, -0.5000])
    """

    mu: Parameter = 1.0
    n: ClassVar[int] = 2
    reference: ClassVar[str] = "Kepler, Astronomia nova (1609); Newton, Principia (1687)"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return v * 1.0

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p * 1.0

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return -self.mu * q / q.square().sum(-1, keepdim=True) ** 1.5

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return -self.mu / q.square().sum(-1).sqrt()

    def perihelion(self, eccentricity: float | Tensor) -> Tensor:
        """Return [q, p] at the point next to the sun of an ellipse with the semi-axis 1: (*) -> (*, 4)."""
        e = torch.as_tensor(eccentricity)
        e = e if e.is_floating_point() else e.to(torch.get_default_dtype())
        speed = (self.mu * (1 + e) / (1 - e)) ** 0.5
        return torch.stack((1 - e, torch.zeros_like(e), torch.zeros_like(e), speed), -1)

    def period(self, y: Tensor) -> Tensor:
        """Return 2π √(a³/μ), (*, 4) -> (*), with the semi-axis a = −μ/2H of a bound motion."""
        return 2 * torch.pi * ((-self.mu / (2 * self.energy(y))) ** 3 / self.mu) ** 0.5

    def angular_momentum(self, y: Tensor) -> Tensor:
        """Return q₁p₂ − q₂p₁, (*, 4) -> (*), conserved."""
        x, y_, px, py = y.unbind(-1)
        return x * py - y_ * px

    def eccentricity_vector(self, y: Tensor) -> Tensor:
        """Return the vector of Laplace, Runge and Lenz, (*, 4) -> (*, 2): conserved, it points to the perihelion."""
        q, p = self._split(y)
        turned = torch.stack((p[..., 1], -p[..., 0]), -1)  # p × L has this direction
        return self.angular_momentum(y)[..., None] * turned / self.mu - q / q.norm(dim=-1, keepdim=True)

    def trajectory(self, y0: Tensor, t: Tensor | Sequence[float]) -> Tensor:
        """Return the motion at the times ``t``, (*, 4) -> (T, *, 4): in closed form where all y0 are bound."""
        q, v = self._split(y0)
        if bool((self.energy(y0) >= 0).any()):
            return super().trajectory(y0, t)
        t = torch.as_tensor(t, dtype=y0.dtype, device=y0.device)
        t = (t - t[0]).reshape(-1, *[1] * (y0.ndim - 1))
        r0, a = q.norm(dim=-1), -self.mu / (2 * self.energy(y0))
        w = (self.mu / a**3) ** 0.5
        c, s = 1 - r0 / a, (q * v).sum(-1) * (1 / (self.mu * a)) ** 0.5  # e cos E₀ and e sin E₀
        x = _kepler_equation(w * t, c, s)  # E − E₀
        r = a * (1 - c * x.cos() + s * x.sin())
        f, g = 1 - a / r0 * (1 - x.cos()), t - (x - x.sin()) / w
        df, dg = -w * a**2 / (r * r0) * x.sin(), 1 - a / r * (1 - x.cos())
        f, g, df, dg = (z[..., None] for z in (f, g, df, dg))
        return torch.cat((f * q + g * v, df * q + dg * v), -1)


def _kepler_equation(m: Tensor, c: Tensor, s: Tensor) -> Tensor:
    """Solve x − c sin x + s (1 − cos x) = m, where c² + s² = e² < 1, by Newton's method within a bracket."""
    m, c, s = torch.broadcast_tensors(m, c, s)
    low, high, x = m - 2, m + 2, m
    for _ in range(60):
        miss = x - c * x.sin() + s * (1 - x.cos()) - m
        low, high = torch.where(miss < 0, x, low), torch.where(miss > 0, x, high)
        x = x - miss / (1 - c * x.cos() + s * x.sin())
        x = torch.where((x < low) | (x > high), (low + high) / 2, x)
    return x


@dataclass(frozen=True, eq=False)
class NBody(Natural):
    """Bodies in the plane (or in space) that attract each other: V = −Σ G mᵢmⱼ / √(|qᵢ − qⱼ|² + softening²).

    Positions are q = (x₁, y₁, x₂, y₂, …), momenta in the same order.

    Example:
        >>> import torch
        >>> from ndelib.physics import NBody
        >>> bodies = NBody((1.0, 1.0, 1.0))
        >>> y0 = bodies.figure_eight()
        >>> y = bodies.trajectory(y0, [0.0, 6.32591398])  # a period
        >>> (y[1] - y[0]).norm() < 1e-6
        tensor(True)
    """

    masses: tuple[float, ...] = (1.0, 1.0)
    G: Parameter = 1.0
    softening: Parameter = 0.0
    space: int = 2
    reference: ClassVar[str] = "Newton, Principia (1687)"

    @property
    def n(self) -> int:  # type: ignore[override]
        """How many coordinates there are."""
        return len(self.masses) * self.space

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self._each(v) * v

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p / self._each(p)

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        x = q.unflatten(-1, (-1, self.space))
        away, distance = self._pairs(x)
        m = x.new_tensor(self.masses)
        pull = self.G * m[:, None] * m / distance**3
        return -(pull[..., None] * away).sum(-2).flatten(-2)

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        x = q.unflatten(-1, (-1, self.space))
        m = x.new_tensor(self.masses)
        pairs = (m[:, None] * m - torch.diag(m**2)) / self._pairs(x)[1]
        return -self.G * pairs.sum((-2, -1)) / 2

    def total_momentum(self, y: Tensor) -> Tensor:
        """Return Σ pᵢ, (*, 2n) -> (*, space), conserved."""
        return self._split(y)[1].unflatten(-1, (-1, self.space)).sum(-2)

    def angular_momentum(self, y: Tensor) -> Tensor:
        """Return Σ qᵢ × pᵢ, conserved: (*) in the plane, (*, 3) in space."""
        q, p = (z.unflatten(-1, (-1, self.space)) for z in self._split(y))
        if self.space == 2:
            return (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(-1)
        return torch.linalg.cross(q, p).sum(-2)

    def figure_eight(self) -> Tensor:
        """Return the start of the figure eight, on which three equal bodies of mass 1 chase each other (G = 1)."""
        x, y, u, w = 0.97000436, -0.24308753, -0.93240737, -0.86473146
        start = [x, y, -x, -y, 0.0, 0.0, -u / 2, -w / 2, -u / 2, -w / 2, u, w]
        return torch.tensor(start, dtype=torch.float64)

    def _each(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.masses).repeat_interleave(self.space)

    def _pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return qᵢ − qⱼ, (*, N, N, space), and their distances, (*, N, N), which are 1 on the diagonal."""
        away = x[..., :, None, :] - x[..., None, :, :]
        same = torch.eye(len(self.masses), dtype=x.dtype, device=x.device)
        return away, (away.square().sum(-1) + (1 - same) * self.softening**2 + same).sqrt()
