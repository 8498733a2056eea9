"""A periodic orbit as the solution of equations: cut it into segments, and ask that each ends where the next begins.

Multiple shooting: Stoer & Bulirsch, *Introduction to Numerical Analysis* (2002), section 7.3; Seydel (2010), chapter 7.
With one segment an error at the start has grown by the largest multiplier at the end; with N segments by its N-th root.
All segments are solved together, as a batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.continuation.derivatives import Family, partials
from ndelib.solvers.errors import SolverError
from ndelib.solvers.odeint import odeint

TOLERANCE = 1e-11
"""Relative error of a step of the flow; the absolute one is a tenth of it."""
ROUGH = 1e-6
"""The same for the first steps of Newton's method."""


def carry(
    f: Family, Y: Tensor, duration: Tensor, p: Tensor, tolerance: float = TOLERANCE
) -> tuple[Tensor, Tensor, Tensor]:
    """Follow ẏ = f(y, p) from every row of ``Y`` (N, d) for the ``duration``.

    Returns:
        The ends (N, d), their derivatives by the starts Φ (N, d, d), and by p (N, d). Derivatives obey the
        variational equation ẇ = f_y w (+ f_p): it is solved beside the flow, in every direction at once.
    """
    N, d = Y.shape
    one, zero = torch.eye(d, dtype=Y.dtype).expand(N, d, d), torch.zeros_like(Y)
    start = torch.cat([Y[..., None], one, zero[..., None]], dim=-1)

    def field(s: Tensor, S: Tensor) -> Tensor:
        values, by_y, by_p = partials(f, S[..., 0], p)
        tangents = by_y @ S[..., 1:]
        tangents[..., -1] += by_p
        return duration * torch.cat([values[..., None], tangents], dim=-1)

    with torch.no_grad():
        # Segments are short: a first step of half of one costs less than to look for its length.
        end = odeint(field, start, (0.0, 1.0), method="dopri8", rtol=tolerance, atol=tolerance / 10, first_step=0.5)[-1]
    return end[..., 0], end[..., 1:-1], end[..., -1]


@dataclass(eq=False)
class OrbitSystem:
    """G(z) = 0 for z = (Y, T, p): N nodes Y (N, d) at equal times on an orbit, its period T, the parameter p.

    One more equation fixes the phase: Σ ⟨Yᵢ − Rᵢ, Vᵢ⟩ = 0, so that the orbit does not slide along its
    ``reference`` R (N, d), a neighbouring orbit, in the direction of the ``velocity`` V (N, d) there.
    """

    f: Family
    reference: Tensor
    velocity: Tensor

    def refer_to(self, z: Tensor) -> None:
        """Make the orbit ``z`` the reference."""
        Y, _, p = self.parts(z)
        self.reference, self.velocity = Y, self.f(Y, p).detach()

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return Y (N, d), T and p."""
        return z[:-2].reshape(self.reference.shape), z[-2], z[-1]

    def rough(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a call returns, of a flow that is solved at a loose tolerance."""
        return self(z, ROUGH)

    def __call__(self, z: Tensor, tolerance: float = TOLERANCE) -> tuple[Tensor, Tensor]:
        """Return G (N d + 1,) and its derivative (N d + 1, N d + 2); NaN where the flow cannot be solved."""
        Y, T, p = self.parts(z)
        N, d = Y.shape
        G, derivative = z.new_zeros(N * d + 1), z.new_zeros(N * d + 1, N * d + 2)
        if not T > 0 or not z.isfinite().all():
            return G * torch.nan, derivative
        try:
            ends, Phi, by_p = carry(self.f, Y, T / N, p, tolerance)
        except SolverError:
            return G * torch.nan, derivative
        G[:-1] = (ends - Y.roll(-1, 0)).flatten()
        G[-1] = ((Y - self.reference) * self.velocity).sum() / N
        blocks = z.new_zeros(N, d, N, d)
        everyone = torch.arange(N)
        blocks[everyone, :, everyone] = Phi
        blocks[everyone, :, (everyone + 1) % N] -= torch.eye(d, dtype=z.dtype)
        derivative[:-1, :-2] = blocks.reshape(N * d, N * d)
        derivative[:-1, -2] = (self.f(ends, p).detach() / N).flatten()
        derivative[:-1, -1] = by_p.flatten()
        derivative[-1, :-2] = (self.velocity / N).flatten()
        return G, derivative

    def transitions(self, derivative: Tensor) -> Tensor:
        """Read Φ (N, d, d) of all segments off the derivative of G."""
        N, d = self.reference.shape
        blocks = derivative[:-1, :-2].reshape(N, d, N, d)
        everyone = torch.arange(N)
        Phi = blocks[everyone, :, everyone]
        return Phi + torch.eye(d, dtype=Phi.dtype) if N == 1 else Phi
