"""Two linear fields with the boundary c·y = 0, followed exactly from one meeting to the next by matrix exponentials.

This path needs no step-size control and no tolerance: between meetings the solution is exp(At) to rounding, and the
time of a meeting is the zero of one function of one variable. Sources: Freire, Ponce, Rodrigo & Torres, *Int. J.
Bifurcation and Chaos* 8 (1998), in the plane; Carmona, Freire, Ponce & Torres, *IEEE Trans. Circuits Syst. I* 49
(2002), in any dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ndelib.dynamics.attractors.spectrum import LyapunovSpectrum, first_frame, how_many, spectrum_along
from ndelib.dynamics.nonsmooth.exact import ExactOrbit, Zone, follow
from ndelib.dynamics.nonsmooth.filippov import Filippov

Matrix = Tensor | Sequence[Sequence[float]]
Vector = Tensor | np.ndarray | Sequence[float]


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """Where one of the two linear fields is zero."""

    y: Tensor
    """−μA⁻¹b, (d,)"""
    side: int
    """-1 for the field where c·y < 0, 1 for the other"""
    admissible: bool
    """whether it lies on the side where its field holds; if not, it is called virtual, and the system has none there"""
    eigenvalues: Tensor
    """of its matrix, (d,)"""

    @property
    def stable(self) -> bool:
        """Whether all eigenvalues have a negative real part."""
        return bool((self.eigenvalues.real < 0).all())


@dataclass(frozen=True, eq=False)
class Cycle:
    """A periodic orbit that meets the boundary."""

    y: Tensor
    """its state on the boundary, where c·y begins to grow, (d,)"""
    period: float
    multipliers: Tensor
    """Floquet's, (d,), by falling size; one of them is 1"""
    orbit: ExactOrbit
    """one turn: ``orbit.sol(t)``"""

    @property
    def stable(self) -> bool:
        """Whether all multipliers but that along the orbit lie inside the unit circle."""
        along = (self.multipliers - 1).abs().argmin()
        return all(abs(m) < 1 for i, m in enumerate(self.multipliers.tolist()) if i != along)


class PiecewiseLinear(Filippov):
    """The system ẏ = A₁y + μb where c·y < 0 and ẏ = A₂y + μb where c·y ≥ 0.

    The field is continuous if A₂ − A₁ = q cᵀ for some q. If it is not, ``solve`` slides; the exact methods
    (``orbit`` and what is built on it) know crossings only and say so.

    Args:
        A1: (d, d).
        A2: (d, d).
        b: (d,).
        c: (d,), not zero.
        mu: the parameter μ.

    Example:
        >>> from ndelib.dynamics import PiecewiseLinear
        >>> A1, A2 = [[-1, 1], [-1, 0]], [[2, 1], [-5, 0]]
        >>> system = PiecewiseLinear(A1, A2, b=[0, 1], c=[1, 0], mu=1.0)
        >>> cycle = system.limit_cycle()
        >>> round(cycle.period, 4), cycle.stable
        (5.0481, True)
    """

    def __init__(self, A1: Matrix, A2: Matrix, b: Vector, c: Vector, mu: float = 1.0) -> None:
        self.A1, self.A2, self.b, self.c = check_linear(A1, A2, b, c)
        self.mu = check_mu(mu)
        super().__init__(
            lambda t, y: y @ self.A1.to(y).T + (self.mu * self.b).to(y),
            lambda t, y: y @ self.A2.to(y).T + (self.mu * self.b).to(y),
            lambda y: y @ self.c.to(y),
        )
        forcing = (self.mu * self.b).numpy()
        self.zones = {
            -1: Zone(self.A1.numpy(), forcing, self.c.numpy()),
            1: Zone(self.A2.numpy(), forcing, self.c.numpy()),
        }

    def __repr__(self) -> str:
        """Return the numbers."""
        A1, A2, b, c = (x.tolist() for x in (self.A1, self.A2, self.b, self.c))
        return f"PiecewiseLinear({A1}, {A2}, b={b}, c={c}, mu={self.mu})"

    @property
    def continuous(self) -> bool:
        """Whether the field is continuous, A₂ − A₁ = q cᵀ."""
        return is_continuous(self.A1, self.A2, self.c)

    def equilibria(self) -> list[Equilibrium]:
        """Return the zeros of both fields, that of A₁ first, admissible or virtual. Needs invertible matrices."""
        return equilibria(self.A1, self.A2, self.b, self.c, self.mu)

    def orbit(self, y0: Vector, duration: float, *, max_events: int = 1_000_000, largest: float = 1e12) -> ExactOrbit:
        """Follow the solution from ``y0``, (d,), for ``duration``, exactly; it stops where |y| exceeds ``largest``."""
        if not 0 <= duration < math.inf:
            raise ValueError(f"duration must be finite and not negative (the exact path runs forwards), got {duration}")
        return follow(self.zones, self._state(y0), duration, max_events=max_events, largest=largest)

    def return_map(self, y: Vector, *, max_time: float = 1e4) -> ExactOrbit:
        """Follow the solution from ``y``, (d,), until c·y next rises through zero, and return that turn.

        Raises ``ValueError`` if that does not happen before ``max_time``, or before |y| exceeds 1e12.
        """
        orbit = follow(self.zones, self._state(y), max_time, until_rising=True)
        if not orbit.returned:
            how = "escaped to infinity" if orbit.escaped else f"did not return within max_time = {max_time:g}"
            raise ValueError(
                f"the solution from y = {self._state(y).tolist()} {how}: it has no image of the return map"
            )
        return orbit

    def limit_cycle(self, y: Vector | None = None, *, tolerance: float = 1e-12, max_iterations: int = 60) -> Cycle:
        """Return the cycle that crosses the boundary: Newton's method on the return map of c·y = 0 from ``y``.

        Args:
            y: a guess. If missing, a state far out on the boundary is followed for some turns, which leads to an
                attracting cycle; a repelling one needs a guess.
            tolerance: the change of y, relative to |y|, at which to stop.
            max_iterations: after how many to give up.

        Raises:
            ValueError: no cycle was found from there: solutions escape, do not return, or end in an equilibrium.
        """
        state = self._to_boundary(self._guess() if y is None else self._state(y))
        for _ in range(20 if y is None else 0):
            state = self.return_map(state).y[-1].numpy()
        c = self.c.numpy()
        basis = np.linalg.svd(c[None])[2][1:].T  # of the boundary, (d, d − 1)
        for _ in range(max_iterations):
            turn = self.return_map(state)
            f = self.zones[1].velocity(turn.y[-1].numpy())
            project = np.eye(len(c)) - np.outer(f, c) / (c @ f)  # the arrival is late by what is off the boundary
            DP = basis.T @ project @ turn.fundamental.numpy() @ basis
            miss = basis.T @ (turn.y[-1].numpy() - state)
            step = np.linalg.solve(np.eye(len(DP)) - DP, miss)
            state = state + basis @ step
            if np.linalg.norm(step) <= tolerance * np.linalg.norm(state):
                break
        else:
            raise ValueError(
                f"limit_cycle did not converge in {max_iterations} iterations of Newton's method: give a closer y"
            )
        turn = self.return_map(state)
        multipliers = torch.linalg.eigvals(turn.fundamental)
        multipliers = multipliers[multipliers.abs().argsort(descending=True)]
        return Cycle(torch.as_tensor(state), turn.t[-1].item(), multipliers, turn)

    def lyapunov_spectrum(
        self, y0: Vector, duration: float, *, transient: float = 0.0, count: int | None = None, interval: float = 1.0
    ) -> LyapunovSpectrum:
        """Return the Lyapunov exponents along the solution from ``y0``, (d,), averaged over ``duration``.

        Raises ``ValueError`` if the solution escapes to infinity.
        """
        y, side = self._state(y0), None

        def carry(t: float, t1: float, Q: Tensor) -> Tensor:
            nonlocal y, side
            part = follow(self.zones, y, t1 - t, side=side)
            if part.escaped:
                t += part.t[-1].item()
                raise ValueError(f"the solution from y0 escapes to infinity by t = {t:.4g}: it has no exponents")
            y, side = part.y[-1].numpy(), part.sides[-1]
            return part.fundamental @ Q

        frame = first_frame(torch.as_tensor(y), how_many(len(y), count))
        return spectrum_along(carry, frame, duration=duration, transient=transient, interval=interval)

    def _state(self, y: Vector) -> np.ndarray:
        try:
            state = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y, dtype=np.float64)
        except (TypeError, ValueError) as failure:
            raise ValueError(f"y0 must be one finite state, ({len(self.c)},), got {y!r}") from failure
        if state.shape != (len(self.c),) or not np.isfinite(state).all():
            raise ValueError(f"y0 must be one finite state, ({len(self.c)},), got {y}")
        return state

    def _guess(self) -> np.ndarray:
        """Return a state far out on the boundary, where c·y grows."""
        gradient = (self.A1.T @ self.c).numpy()
        c = self.c.numpy()
        along = gradient - c * (c @ gradient) / (c @ c)
        if np.linalg.norm(along) < 1e-12 * np.linalg.norm(gradient) + 1e-300:
            raise ValueError(
                "on c·y = 0 the velocity c·ẏ does not depend on y: no solution turns around, there is no cycle"
            )
        size = 10 * abs(self.mu) * float(self.b.norm()) / max(float(np.linalg.norm(along)), 1e-300)
        return along / np.linalg.norm(along) * max(size, 1e-3)

    def _to_boundary(self, state: np.ndarray) -> np.ndarray:
        """Return ``state`` moved onto the boundary where c·y grows: by following it, if it is not there."""
        c = self.c.numpy()
        if abs(c @ state) <= 1e-12 * np.abs(c) @ np.abs(state) and c @ self.zones[-1].velocity(state) > 0:
            return state - c * (c @ state) / (c @ c)
        return self.return_map(state).y[-1].numpy()


def check_linear(A1: Matrix, A2: Matrix, b: Vector, c: Vector) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four as float64 tensors of one dimension. Raises ``ValueError`` that names the wrong one."""
    found = {"A1": A1, "A2": A2, "b": b, "c": c}
    tensors = {}
    for name, value in found.items():
        try:
            tensors[name] = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
        except (TypeError, ValueError) as failure:
            raise ValueError(f"{name} must be numbers, all rows of one length; got {value!r}") from failure
    d = tensors["c"].numel()
    for name, value in tensors.items():
        shape = (d, d) if name.startswith("A") else (d,)
        if tuple(value.shape) != shape or not bool(value.isfinite().all()):
            raise ValueError(
                f"{name} must be finite and of the shape {shape}, as c has {d} entries; got {tuple(value.shape)}"
            )
    if not bool(tensors["c"].abs().max() > 0):
        raise ValueError("c must not be zero: c·y = 0 is the boundary")
    return tensors["A1"], tensors["A2"], tensors["b"], tensors["c"]


def check_mu(mu: float) -> float:
    """Return the parameter, checked."""
    if not math.isfinite(mu):
        raise ValueError(f"mu must be finite, got {mu}")
    return float(mu)


def is_continuous(A1: Tensor, A2: Tensor, c: Tensor) -> bool:
    """Return whether A₂ − A₁ = q cᵀ, so that both fields agree where c·y = 0."""
    D = A2 - A1
    q = D @ c / (c @ c)
    return bool(
        (D - torch.outer(q, c)).abs().max() <= 1e-12 * max(A1.abs().max().item(), A2.abs().max().item(), 1e-300)
    )


def equilibria(A1: Tensor, A2: Tensor, b: Tensor, c: Tensor, mu: float) -> list[Equilibrium]:
    """Return the zeros of both fields, that of A₁ first."""
    mu, found = check_mu(mu), []
    for side, name, A in ((-1, "A1", A1), (1, "A2", A2)):
        if not math.isfinite(torch.linalg.cond(A).item()) or torch.linalg.cond(A) > 1e14:
            raise ValueError(f"{name} must be invertible: a singular matrix has no equilibrium, or a line of them")
        y = -mu * torch.linalg.solve(A, b)
        found.append(Equilibrium(y, side, bool(side * (c @ y) > 0), torch.linalg.eigvals(A)))
    return found
