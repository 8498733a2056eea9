"""From a change of sign on a branch to the point itself: a bracket first, then Newton on equations that define it.

Govaerts, *Numerical Methods for Bifurcations of Dynamical Equilibria* (2000), chapters 3 and 4; for branch points Moore
(1980). Each system of equations has a regular solution at a generic point of its kind, so Newton's method converges
to rounding there, although on the branch itself it may not (at a branch point).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacfwd

from ndelib.dynamics.continuation.branch import BifurcationPoint
from ndelib.dynamics.continuation.newton import newton, with_derivative
from ndelib.dynamics.continuation.normal_forms import (
    first_lyapunov_coefficient,
    neimark_sacker_coefficient,
    period_doubling_coefficient,
)
from ndelib.dynamics.continuation.problem import FixedPointProblem
from ndelib.dynamics.continuation.pseudo_arclength import Curve, Place, root_between
from ndelib.dynamics.continuation.test_functions import pairs, values

Equations = Callable[[Tensor], Tensor]


def locate(problem: FixedPointProblem, curve: Curve, a: Place, b: Place, kind: str) -> BifurcationPoint | None:
    """Find the point of this kind between two places of the branch, or ``None`` if the sign meant something else."""
    near = root_between(curve, a, b, lambda place: values(problem, place)[kind], iterations=12)
    if near is None or (kind in ("hopf", "neimark-sacker") and not _has_a_complex_pair(problem, near)):
        return None
    d = len(near.z) - 1
    equations, x = _defining_system(problem, near, kind)
    solution, _, accuracy, _ = newton(with_derivative(equations), x, iterations=20)
    length = curve.dot(b.z - a.z, b.z - a.z) ** 0.5
    away = math.inf if solution is None else (solution[: d + 1] - near.z).norm().item()
    if solution is None or away > length:
        if kind == "branch":
            return None  # the sign changed by a step to another curve, or the point is not a simple crossing
        solution, accuracy = x, length
    elif kind == "branch" and abs(solution[-1].item()) > 1e-8 * (1 + near.z.norm().item()):
        return None  # nearly a crossing, but the equation f = 0 does not hold there: an imperfect one
    return _point(problem, kind, solution, near.tangent, accuracy)


def _has_a_complex_pair(problem: FixedPointProblem, place: Place) -> bool:
    """Tell a Hopf point from a neutral saddle: the pair that crosses is complex, not real."""
    return abs(_crossing(problem, place).imag) > 1e-8


def _crossing(problem: FixedPointProblem, place: Place) -> complex:
    """Return the eigenvalue, of those in pairs, whose pair is nearest to λᵢ + λⱼ = 0 (of a map: to λᵢλⱼ = 1)."""
    a, b = pairs(problem.eigenvalues(place.derivative))
    i = int((a * b - 1 if problem.kind == "map" else a + b).abs().argmin())
    value = complex(a[i].item())
    return complex(value.real, abs(value.imag))


def _defining_system(problem: FixedPointProblem, place: Place, kind: str) -> tuple[Equations, Tensor]:
    """Return the equations of a kind of point, and a first guess of their unknowns x, which begin with (y, p)."""
    y, p = place.z[:-1], place.z[-1]
    d = len(y)
    A = problem.jacobian(y, p).detach()

    def matrix(x: Tensor) -> Tensor:
        return problem.jacobian(x[:d], x[d])

    if kind in ("fold", "period-doubling"):
        shift = torch.eye(d, dtype=y.dtype) * (1.0 if kind == "period-doubling" or problem.kind == "map" else 0.0)
        shift = shift if kind == "period-doubling" else -shift
        v = torch.linalg.svd(A + shift).Vh[-1]

        def real(x: Tensor) -> Tensor:  # f = 0, (A + shift) v = 0, |v| = 1
            v = x[d + 1 :]
            return torch.cat([problem.residual(x[:d], x[d]), (matrix(x) + shift) @ v, (v @ v - 1)[None]])

        return real, torch.cat([place.z, v])

    if kind == "branch":
        psi = torch.linalg.svd(problem(place.z)[1]).U[:, -1]

        def crossing(x: Tensor) -> Tensor:  # f + μψ = 0, ψᵀ f_y = 0, ψᵀ f_p = 0, |ψ| = 1
            y, p, psi, mu = x[:d], x[d], x[d + 1 : -1], x[-1]
            by_y, by_p = jacfwd(problem.residual, (0, 1))(y, p)
            return torch.cat([problem.residual(y, p) + mu * psi, psi @ by_y, (psi @ by_p)[None], (psi @ psi - 1)[None]])

        return crossing, torch.cat([place.z, psi, torch.zeros(1, dtype=y.dtype)])

    eigenvalue = _crossing(problem, place)
    q = torch.linalg.svd(A - eigenvalue * torch.eye(d, dtype=torch.complex128)).Vh[-1].conj()
    re, im = q.real.clone(), q.imag.clone()
    if kind == "hopf":

        def circular(x: Tensor) -> Tensor:  # f = 0, A (a + ib) = iω (a + ib), its length and its phase
            a, b, omega = x[d + 1 : 2 * d + 1], x[2 * d + 1 : 3 * d + 1], x[-1]
            A = matrix(x)
            length, phase = a @ a + b @ b - 1, re @ b - im @ a
            return torch.cat(
                [problem.residual(x[:d], x[d]), A @ a + omega * b, A @ b - omega * a, torch.stack([length, phase])]
            )

        return circular, torch.cat([place.z, re, im, torch.tensor([eigenvalue.imag], dtype=y.dtype)])

    def on_the_circle(x: Tensor) -> Tensor:  # f(y) = y, A (a + ib) = (c + is)(a + ib), c² + s² = 1, length and phase
        a, b, c, s = x[d + 1 : 2 * d + 1], x[2 * d + 1 : 3 * d + 1], x[-2], x[-1]
        A = matrix(x)
        scalars = torch.stack([a @ a + b @ b - 1, re @ b - im @ a, c * c + s * s - 1])
        return torch.cat([problem.residual(x[:d], x[d]), A @ a - c * a + s * b, A @ b - s * a - c * b, scalars])

    return on_the_circle, torch.cat([place.z, re, im, torch.tensor([eigenvalue.real, eigenvalue.imag], dtype=y.dtype)])


def _point(problem: FixedPointProblem, kind: str, x: Tensor, tangent: Tensor, accuracy: float) -> BifurcationPoint:
    """Read a point off the unknowns of its equations, and add what its normal form says."""
    d = len(tangent) - 1
    y, p = x[:d].clone(), x[d]
    frequency = coefficient = math.nan

    def action(y: Tensor) -> Tensor:
        return problem.action(y, p)

    vector = x[d + 1 : 2 * d + 1].clone()
    if kind == "branch":
        vector = torch.linalg.svd(jacfwd(problem.residual)(y, p)).Vh[-1].clone()
    elif kind == "period-doubling":
        coefficient = period_doubling_coefficient(action, y)
    elif kind == "hopf":
        frequency = abs(x[-1].item())
        coefficient = first_lyapunov_coefficient(action, y, frequency)
    elif kind == "neimark-sacker":
        frequency = math.atan2(abs(x[-1].item()), x[-2].item())
        coefficient = neimark_sacker_coefficient(action, y, frequency)
    if kind in ("hopf", "neimark-sacker"):
        vector = torch.complex(vector, x[2 * d + 1 : 3 * d + 1])
    eigenvalues = torch.linalg.eigvals(problem.jacobian(y, p))
    return BifurcationPoint(kind, p.item(), y, eigenvalues, tangent, vector, frequency, coefficient, accuracy)
