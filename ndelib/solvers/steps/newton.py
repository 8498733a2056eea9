"""Newton's method for the stages of implicit methods, with Jacobians and LU decompositions that are used again.

A stage of a diagonally implicit method is the solution z = Y − known of  z = hγ f(t, known + z).  The *simplified*
Newton method solves it with one matrix I − hγJ for all stages and, as long as it converges fast enough, for many
steps. Work is done in z, not in Y, so that the slope k = z / (hγ) comes without a call of f, whose stiffness would
amplify the errors of Y.

Source: Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), section IV.8.
"""

import math

import torch
from torch import Tensor

from ndelib.solvers.graph import values
from ndelib.solvers.steps.jacobian import (
    Jacobian,
    at_least_vector,
    check_jacobian,
    check_that_results_are_new,
    check_that_rows_are_independent,
    jacobian_by_jvp,
)
from ndelib.solvers.steps.step import Field, Statistics, StepRejected, time_like

MAX_ITERATIONS = 8
"""with one matrix"""
MAX_MATRICES = 6
"""Matrices that a stage may try."""
KAPPA = 0.03
"""Newton's method stops when what is left is below this part of the error that a step may make, or a smaller one."""
SLOW = 0.1
"""If an iteration leaves more than this part of the error, or is expected to, a step gets a new Jacobian."""
FRESH = 0.01
"""The part that an iteration with a new Jacobian is expected to leave."""
SAME_H = 0.1
"""An LU decomposition serves all steps whose hγ differs from its own by at most this part."""
ROUNDING = 4
"""Without a tolerance, Newton's method stops when what is left is below this many rounding errors of the stage. Then
``SLOW`` and ``SAME_H`` are five and a hundred times as strict: an iteration has more digits to win."""
NOISE = 1e-6
"""Increments below this part of a stage that do not shrink, though the matrix is that of the last iterate, are noise in
f: of a field in float32, or of sums that cancel."""

TOO_SLOW = "converges too slowly"


class SimplifiedNewton:
    """What one solve remembers of its Jacobian, and the solution of stages with it.

    ``y`` of shape (d,) is one system, (*, d) a batch of independent ones, () a system of one equation. ``jacobian``
    replaces derivatives by ``torch.func``. Newton's method forgives it if it is rough, gradients do not: they are as
    exact as it is.

    ``rtol=None`` asks for all digits: for steps of fixed size, to whose error nobody has set a limit. What a tolerance
    leaves would be an error that does not shrink with h. All digits take two iterations for a stage of a linear system,
    and for others about two more than a tolerance of 1e-6.

    ``statistics`` counts every residual as an evaluation of f, also those that only a gradient needs (two a stage), but
    not the derivatives of f that make a Jacobian.
    """

    def __init__(
        self,
        field: Field,
        statistics: Statistics,
        rtol: Tensor | float | None,
        atol: Tensor | float | None,
        jacobian: Jacobian | None,
        error_order: int,
    ) -> None:
        self.field = field
        self.statistics = statistics
        self.to_rounding = rtol is None
        self.rtol = 0.0 if rtol is None else rtol
        self.atol = 0.0 if atol is None else atol
        self.jacobian = jacobian
        # What Newton's method leaves in every step adds up over about rtol^(−1/(error_order + 1)) steps.
        smallest = self.rtol.min().item() if isinstance(self.rtol, Tensor) else self.rtol
        self.kappa = min(KAPPA, max(smallest, 1e-10) ** (1 / (error_order + 1)))
        self.slow, self.same_h = (SLOW / 5, SAME_H / 100) if self.to_rounding else (SLOW, SAME_H)
        self.tracked = False
        """whether a gradient is wanted of anything that the solve depends on"""
        self._t = math.nan
        self._y: Tensor | None = None
        self._J: Tensor | None = None
        self._lu: tuple[Tensor, Tensor] | None = None
        self._lu_h_gamma = math.nan
        self._eta = 1.0
        self._rate, self._rate_h_gamma = FRESH, math.nan  # the part of the error that an iteration leaves, for this hγ
        self._measured = 0.0  # that part in the last step; 0 if no stage took two iterations
        self._stands_still = False
        self._left = math.inf  # the size of the last residual; infinite before the first of a stage

    def prepare(self, t: float, y: Tensor, h_gamma: float, solves: bool = True) -> None:
        """Make ready for the stages of a step from ``(t, y)``: renew what is too old, keep the rest.

        A Jacobian that is off by E leaves about hγ|E| of the error in an iteration. So what was measured in short steps
        says little about long ones: after a fast phase increments may be tiny with its Jacobian, and z far off.

        ``solves=False``: the stages are known, and only their gradients are wanted.
        """
        if not solves:
            self._h_gamma = h_gamma
            return
        if self._measured > 0:
            self._rate, self._rate_h_gamma = self._measured, self._h_gamma
        self._h_gamma, self._measured = h_gamma, 0.0
        expected = self._rate * max(1.0, abs(h_gamma / self._rate_h_gamma))
        if self._J is None or self._J.shape[:-1] != at_least_vector(y).shape or expected > self.slow:
            self.renew(t, y)
            self._rate, self._rate_h_gamma = FRESH, h_gamma
        self._use_matrix(h_gamma)
        self._y0 = y.detach()
        self._scale = self._all_digits(torch.zeros_like(self._y0)) if self.to_rounding else self._tolerance(self._y0)

    def _use_matrix(self, h_gamma: float) -> None:
        """Take the LU decomposition of I − hγJ, or one of another h that is near enough."""
        ratio = h_gamma / self._lu_h_gamma
        if self._lu is None or not abs(ratio - 1) <= self.same_h:
            self._lu, self._lu_h_gamma = self._factor(self._J, h_gamma), h_gamma
            ratio = 1.0
        # With the matrix of another h an increment is too large by `ratio` in the stiffest components and by 1 in the
        # slow ones. This factor makes the error that remains the same in both: |1 − ratio| / (1 + ratio).
        self._correction = 2 / (1 + ratio)
        self._mismatch = abs(1 - ratio) / (1 + ratio)

    def renew(self, t: float, y: Tensor) -> None:
        """Evaluate the Jacobian at ``(t, y)``, unless it is the one in use."""
        if not (self._t == t and self._y is y):
            self._J, self._lu = self._evaluate_jacobian(t, y.detach()), None
            self._t, self._y = t, y

    def solve(self, t: float, known: Tensor, guess: Tensor) -> Tensor:
        """Return z = hγ f(t, known + z), up to a small part of the tolerance, starting from ``guess``.

        Where the matrix in use does not lead there, that of the last iterate does better. Where iterates diverge, or
        that does not help, it begins again with the state that the step began with, and its matrix. All systems of a
        batch are iterated until the worst has converged. Raises ``StepRejected`` if nothing helps.
        """
        z = guess
        again = False
        for matrices in range(1, MAX_MATRICES + 1):
            z, failure = self._iterate(t, known, z)
            if not failure or (matrices > 1 and self._stands_still):
                return z
            self._measured = 1.0  # whatever comes next, the next step needs a Jacobian of its own
            if again and failure != TOO_SLOW:
                break
            if not again and (failure != TOO_SLOW or matrices == 2):
                z, again = self._y0 - known, True
            self.renew(t, known + z)
            self._use_matrix(self._h_gamma)
        raise StepRejected(f"Newton's method {failure}")

    def _iterate(self, t: float, known: Tensor, z: Tensor) -> tuple[Tensor, str]:
        """Iterate from ``z`` with one matrix; return the last iterate, and what kept it from convergence or ``""``."""
        eta, size, eps = max(self._eta, self._mismatch), math.inf, torch.finfo(z.dtype).eps
        self._left = math.inf
        for left in reversed(range(MAX_ITERATIONS)):
            increment = self.increment(t, known, z)
            z = z + increment
            if self.to_rounding:
                self._scale = self._all_digits(z)
            before, size = size, self._size(increment)
            self._stands_still = self.to_rounding and size * ROUNDING * eps <= self.kappa * max(NOISE, math.sqrt(eps))
            if not math.isfinite(size):
                return z, "met an infinity or NaN"
            if before < math.inf:  # two increments show the rate of convergence
                rate = size / before
                self._measured = max(self._measured, rate)
                if rate >= 1:
                    return z, "diverges"
                eta = rate / (1 - rate)
                if rate**left * eta * size > self.kappa:
                    return z, TOO_SLOW
            if eta * size <= self.kappa:
                # The rate of one stage predicts that of the next; remembered with caution, it is never taken for zero.
                self._eta = max(eta, 1e-3) ** 0.8
                return z, ""
        return z, TOO_SLOW

    def increment(self, t: float, known: Tensor, z: Tensor) -> Tensor:
        """Return by how much one iteration changes ``z``."""
        return self._correction * self.apply_inverse(self.residual(t, known, z))

    def residual(self, t: float, known: Tensor, z: Tensor) -> Tensor:
        """Return hγ f(t, known + z) − z, and notice how much of it the iteration before has left.

        Of a system with slow and with stiff components, increments may show neither: a matrix that is much too large
        makes them small. The residual does not pass through the matrix.
        """
        residual = self._h_gamma * self.slope(t, known + z) - z
        before, self._left = self._left, self._size(residual)
        if 0 < before < math.inf and self._left > self._measured * before:  # else it says nothing new
            seen = torch.where(residual.abs() > 100 * self._rounding(known + z, z), residual, 0.0)
            self._measured = max(self._measured, self._size(seen) / before)
        return residual

    def _rounding(self, y: Tensor, z: Tensor) -> Tensor:
        """Return the size of the rounding errors in a residual: those of ``y`` come back multiplied by hγJ."""
        assert self._J is not None
        of_slope = (self._J.abs() @ at_least_vector(y).abs().unsqueeze(-1)).squeeze(-1).reshape(z.shape)
        return torch.finfo(z.dtype).eps * (abs(self._h_gamma) * of_slope + z.abs())

    def apply_inverse(self, v: Tensor) -> Tensor:
        """Return (I − hγJ)⁻¹ v, with the matrix that is in use: (*) -> (*)."""
        assert self._lu is not None
        return _solve(self._lu, v)

    def attach(self, t: float, known: Tensor, z: Tensor) -> Tensor:
        """Return ``z`` with its gradient with respect to ``known`` and to all that f depends on; the values stay.

        The stage solves G(z, p) = z − hγ f(t, known + z; p) = 0, where p stands for all that has a gradient, so
        that M dz = −∂G/∂p dp with M = ∂G/∂z = I − hγJ: the implicit function theorem. One step z − M⁻¹ G(z, p)
        with M fixed at its exact value at the solution has this derivative. Its error is then of second order in dp;
        a second such step, from its result, multiplies that by another O(dp). So two steps give exact first and
        second derivatives, and M itself is never differentiated.
        """
        M = self._factor(self._evaluate_jacobian(t, (known + z).detach()), self._h_gamma)
        for _ in range(2):
            residual = self._h_gamma * self.field(t, known + z) - z
            z = z + _solve(M, residual - residual.detach())
        return z

    def slope(self, t: float, y: Tensor) -> Tensor:
        """Return f(t, y) without a gradient, and notice if it could have one."""
        if self.tracked:
            with torch.no_grad():
                return self.field(t, y).detach()
        value = self.field(t, y)
        self.tracked = carries_gradient(value)
        return value.detach()

    def _evaluate_jacobian(self, t: float, y: Tensor) -> Tensor:
        self.statistics.jacobians += 1
        with torch.no_grad():
            if self.jacobian is not None:
                return check_jacobian(self.jacobian(time_like(t, y), y), y).detach()
            # The derivatives of f are counted as one Jacobian, not as evaluations of f.
            evaluate = getattr(self.field, "uncounted", self.field)
            try:
                J = jacobian_by_jvp(lambda y: evaluate(t, y), y)
            except RuntimeError:
                check_that_results_are_new(lambda y: evaluate(t, y), y)
                raise
            if self._J is None and y.ndim > 1:
                check_that_rows_are_independent(lambda y: evaluate(t, y), y, J)
            return J.detach()

    def _factor(self, J: Tensor | None, h_gamma: float) -> tuple[Tensor, Tensor]:
        assert J is not None
        self.statistics.factorizations += 1
        identity = torch.eye(J.shape[-1], dtype=J.dtype, device=J.device)
        # Not lu_factor: it would stall a GPU to look for singular matrices, which here show as infinite increments.
        lu, pivots, _ = torch.linalg.lu_factor_ex(identity - h_gamma * J)
        return lu, pivots

    def _tolerance(self, y: Tensor) -> Tensor:
        """Return the size of the error that a step may make in each component."""
        # Rounding errors of y cannot be iterated away: below them no tolerance is kept.
        finfo = torch.finfo(y.dtype)
        return self.atol + (self.rtol + 4 * finfo.eps / self.kappa) * y.abs() + finfo.tiny

    def _all_digits(self, z: Tensor) -> Tensor:
        """Return the same where no digit is to be lost: what rounding does to a stage y + z, and to its residual.

        In that of component i, rounding of the others shows as hγ Σⱼ |Jᵢⱼ yⱼ| ε, and the solution with the matrix makes
        this smaller by 1 + hγ Σⱼ |Jᵢⱼ| or so.
        """
        assert self._J is not None
        J, y = abs(self._h_gamma) * self._J.abs(), self._y0.abs()
        coupled = (J @ at_least_vector(y).unsqueeze(-1)).squeeze(-1) / (1 + J.sum(-1))
        finfo = torch.finfo(z.dtype)
        return ROUNDING / self.kappa * finfo.eps * (y + z.abs() + coupled.reshape(y.shape)) + finfo.tiny

    def _size(self, increment: Tensor) -> float:
        """Return the norm of ``increment`` in units of the tolerance: root mean square, of the worst system."""
        squares = at_least_vector(increment / self._scale).square().mean(-1)
        return math.sqrt(values(squares).max().item())


def carries_gradient(x: Tensor) -> bool:
    """Whether ``x`` is part of a graph, of a forward-mode derivative, or of a ``torch.func`` transform of these."""
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        if not torch._C._functorch.is_batchedtensor(x):
            return True
        x = torch._C._functorch.get_unwrapped(x)
    return x.requires_grad or torch.autograd.forward_ad.unpack_dual(x).tangent is not None


def _solve(lu: tuple[Tensor, Tensor], v: Tensor) -> Tensor:
    column = at_least_vector(v).unsqueeze(-1)
    if not torch._C._functorch.is_functorch_wrapped_tensor(column):
        return torch.linalg.lu_solve(*lu, column).reshape(v.shape)
    # Under two levels of vmap (also those of jacrev and jacfwd), torch.linalg.lu_solve returns wrong numbers where only
    # the outer one batches the matrix (seen with torch 2.13). The same in small steps:
    P, L, U = torch.lu_unpack(*lu)
    column = torch.linalg.solve_triangular(L, P.mT @ column, upper=False, unitriangular=True)
    return torch.linalg.solve_triangular(U, column, upper=True).reshape(v.shape)
