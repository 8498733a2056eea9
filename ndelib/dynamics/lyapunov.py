"""Lyapunov functions: a candidate from the linearisation, a check on samples, and a proof over a whole region.

Lyapunov (1892); Khalil, *Nonlinear Systems* (2002), chapter 4. The proof divides a region into cells and bounds the
rate on each by a Lipschitz constant: a branch-and-bound in the manner of interval analysis (Moore, 1966).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ndelib.dynamics.frozen import RowField, frozen, precision
from ndelib.dynamics.zeros import jacobians
from ndelib.solvers.steps.step import VectorField


def lyapunov_equation(A: Tensor, Q: Tensor | None = None) -> Tensor:
    """Solve AᵀP + PA = −Q for P, so that V = yᵀPy falls at the rate −yᵀQy along ẏ = Ay.  (d, d) -> (d, d).

    If Q is positive definite: P is positive definite if and only if all eigenvalues of A have negative real part.

    Args:
        A: the matrix of a linear field, or the Jacobian at a fixed point.
        Q: a symmetric matrix; the identity if missing.

    Raises:
        ValueError: ``A`` is not a finite square matrix, ``Q`` is not symmetric or has another shape, or two eigenvalues
            of ``A`` add to zero, so that there is no unique P.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import lyapunov_equation
        >>> lyapunov_equation(torch.tensor([[-1.0, 0.0], [0.0, -4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.1250]])
    """
    import scipy.linalg  # only here: nothing else of this room needs it

    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.isfinite().all():
        raise ValueError(f"A must be a finite square matrix, (d, d); got the shape {tuple(A.shape)}")
    Q = torch.eye(len(A), dtype=A.dtype, device=A.device) if Q is None else Q
    if Q.shape != A.shape or not torch.allclose(Q, Q.T):
        raise ValueError(f"Q must be a symmetric matrix of the shape of A, {tuple(A.shape)}; got {tuple(Q.shape)}")
    rates = torch.linalg.eigvals(A.detach().double())
    if (rates[:, None] + rates[None, :]).abs().min() <= 1e-12 * rates.abs().max():
        raise ValueError("A has two eigenvalues whose sum is zero (one on the imaginary axis?): P is not determined")
    P = scipy.linalg.solve_continuous_lyapunov(A.detach().double().cpu().numpy().T, -Q.detach().double().cpu().numpy())
    solution = torch.as_tensor((P + P.T) / 2, dtype=A.dtype, device=A.device)
    return solution + 0.0  # no −0


@dataclass(frozen=True, eq=False)
class LyapunovCheck:
    """What a candidate V does at the points it was tried on. Made by :func:`check_lyapunov`.

    ``values`` (n,) are V above its value at the equilibrium, ``rates`` (n,) its derivatives along the field,
    ``failures`` (k, d) the points where V is not positive or does not fall.
    """

    values: Tensor
    rates: Tensor
    failures: Tensor
    level: float
    """The smallest V at a failure: {V < level} holds no failure *of the points tried*. Infinite if none fails."""

    @property
    def holds(self) -> bool:
        """Whether no point fails. That proves nothing about the points between."""
        return len(self.failures) == 0


def check_lyapunov(
    V: Callable[[Tensor], Tensor],
    f: VectorField,
    points: Tensor,
    *,
    at: Tensor | None = None,
    t: float = 0.0,
) -> LyapunovCheck:
    """Test at ``points`` whether V is positive and falls along ẏ = f(y): V > 0 and ∇V·f < 0.

    One failure refutes V on a region. No failure proves nothing about the points between: :func:`prove_decrease` does.

    Args:
        V: the candidate, on batches: (n, d) -> (n,), differentiable by autograd.
        f: the vector field ``f(t, y)``, called on batches (n, d).
        points: where to try, (n, d). The equilibrium itself, if among them, is passed over.
        at: the equilibrium, (d,); the origin if missing. V counts from its value there.
        t: the time at which a field that depends on time is frozen.

    Raises:
        ValueError: ``points`` is not a batch (n, d), ``at`` has another length, or V returns another shape than (n,).

    Example:
        >>> import torch
        >>> from ndelib.dynamics import check_lyapunov
        >>> def field(t, y):
        ...     return -y + y**3
        >>> line = torch.linspace(-2, 2, 401)[:, None]
        >>> check = check_lyapunov(lambda y: (y**2).sum(-1), field, line)
        >>> check.holds, round(check.level, 6)  # the field leaves from |y| = 1 on
        (False, 1.0)
    """
    if points.ndim != 2:
        raise ValueError(f"points must be a batch of states, (n, d); got the shape {tuple(points.shape)}")
    points = points.detach().double()
    at = torch.zeros_like(points[0]) if at is None else at.detach().to(points)
    if at.shape != points.shape[1:]:
        raise ValueError(f"at must be one state of {points.shape[1]} numbers, got the shape {tuple(at.shape)}")
    points = points[(points != at).any(dim=1)]
    velocity = frozen(f, t, precision(f, t, points))(points).detach()
    with torch.inference_mode(False), torch.enable_grad():
        y = points.clone().requires_grad_(True)
        values = V(y)
        if values.shape != points.shape[:1]:
            raise ValueError(f"V must return one number a state, ({len(points)},); it returned {tuple(values.shape)}")
        (gradient,) = torch.autograd.grad(values.sum(), y)
    values = values.detach() - V(at[None]).detach()
    rates = (gradient * velocity).sum(dim=1)
    fails = ~((values > 0) & (rates < 0))  # a NaN fails
    level = values[fails].nan_to_num(nan=-math.inf).min().item() if fails.any() else math.inf
    return LyapunovCheck(values, rates, points[fails], level)


@dataclass(frozen=True, eq=False)
class DecreaseProof:
    """How an attempt to prove a decrease ended. Made by :func:`prove_decrease`."""

    proved: bool
    cells: int
    """How many cells were looked at."""
    counterexample: Tensor | None
    """A state (d,) in the region at which V does not fall, or ``None`` if none was met."""
    undecided: Tensor
    """Centres (k, d) of the cells that were left when the number of cells was used up."""


def prove_decrease(
    f: VectorField,
    P: Tensor,
    level: float,
    *,
    at: Tensor,
    lipschitz: float,
    curvature: float,
    max_cells: int = 2_000_000,
) -> DecreaseProof:
    """Prove that V = (y − y*)ᵀP(y − y*) falls along ẏ = f(y) wherever 0 < V ≤ level.

    Near y* the linear part of f decides, with ``curvature`` bounding the rest. Elsewhere the region is covered by
    cells. If the rate at a cell's centre is so negative that, by ``lipschitz``, it is negative in the whole cell, the
    cell is proven; if not, it is divided. A level at which the rate touches zero cannot be proven. The result is a
    proof up to the rounding of the numbers in it.

    Args:
        f: the autonomous vector field ``f(t, y)``, on batches (n, d).
        P: (d, d), symmetric and positive definite, e.g. from :func:`lyapunov_equation`.
        level: how far the region reaches.
        at: the equilibrium y*, (d,), as exact as can be: f(y*) counts as zero.
        lipschitz: a proven Lipschitz constant of f (:func:`lipschitz_bound`).
        curvature: a proven Lipschitz constant of its Jacobian (:func:`curvature_bound`).
        max_cells: when to give up.

    Raises:
        ValueError: ``P`` is not symmetric and positive definite, or a number that has to be positive is not.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import prove_decrease
        >>> def field(t, y):
        ...     return -torch.sin(y)
        >>> P, at = 0.5 * torch.eye(1), torch.zeros(1)
        >>> bounds = {"lipschitz": 1.0, "curvature": 1.0}
        >>> prove_decrease(field, P, 4.5, at=at, **bounds).proved  # |y| ≤ 3 < π
        True
    """
    P = P.detach().double()
    at = at.detach().to(P)
    eigenvalues = torch.linalg.eigvalsh(P) if torch.allclose(P, P.T) else P.new_zeros(1)
    if not eigenvalues.min() > 0:
        raise ValueError("P must be symmetric and positive definite, or V = yᵀPy is no Lyapunov function")
    for name, value in (("level", level), ("lipschitz", lipschitz)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, got {value}")
    if not 0 <= curvature < math.inf:
        raise ValueError(f"curvature must be a number and not negative, got {curvature}")
    field = frozen(f, 0.0, precision(f, 0.0, at[None]))
    core = _linear_core(field, P, at, curvature)

    d, largest = len(at), eigenvalues[-1].item()
    half = (level * torch.linalg.inv(P).diagonal()).sqrt()  # the box around the ellipsoid V ≤ level
    corners = torch.cartesian_prod(*[at.new_tensor([-1.0, 1.0])] * d).reshape(-1, d)
    centres, cells = at.new_zeros(1, d), 0
    while len(centres):
        cells += len(centres)
        radius = half.norm().item()
        height = ((centres @ P) * centres).sum(dim=1)
        velocity = field(at + centres).detach()
        rate = 2 * ((centres @ P) * velocity).sum(dim=1)
        wrong = (height <= level) & (centres.norm(dim=1) > 0) & ~(rate < 0)
        if wrong.any():
            return DecreaseProof(False, cells, at + centres[wrong][0], at + centres[:0])
        # |V̇(y) − V̇(c)| ≤ 2|P(y − c)·f(y)| + 2|Pc·(f(y) − f(c))| for |y − c| ≤ radius
        by_position = largest * (velocity.norm(dim=1) + lipschitz * radius)
        by_velocity = lipschitz * (centres @ P).norm(dim=1)
        change = 2 * radius * (by_position + by_velocity)
        outside = height.sqrt() - math.sqrt(largest) * radius > math.sqrt(level)  # √V has the slope √‖P‖ at most
        in_the_core = centres.norm(dim=1) + radius < core
        left = centres[~((rate + change < 0) | outside | in_the_core)]
        if cells + len(left) * 2**d > max_cells:
            return DecreaseProof(False, cells, None, at + left)
        half = half / 2
        centres = (left[:, None] + half * corners).reshape(-1, d)
    return DecreaseProof(True, cells, None, at + centres)


def _linear_core(field: RowField, P: Tensor, at: Tensor, curvature: float) -> float:
    """Return the radius of the ball around ``at`` in which the linear part alone makes V fall.

    V̇ = yᵀ(AᵀP + PA)y + 2yᵀP(f − Ay) ≤ −q|y|² + ‖P‖M|y|³, which is negative for 0 < |y| < q/(‖P‖M).
    """
    A = jacobians(field, at[None])[0]
    q = torch.linalg.eigvalsh(-(A.T @ P + P @ A))[0].item()
    bound = torch.linalg.eigvalsh(P)[-1].item() * curvature
    return math.inf if bound == 0 and q > 0 else max(q, 0.0) / max(bound, 1e-300)
