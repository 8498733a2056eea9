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
from ndelib.solvers.steps.jacobian import Jacobian, at_least_vector
from ndelib.solvers.steps.stage_matrix import StageMatrix, solve
from ndelib.solvers.steps.step import Field, Statistics, StepRejected

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
    """The solution of the stages of one solve, with a :class:`StageMatrix` that is renewed where it is too old.

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
        self.to_rounding = rtol is None
        self.rtol = 0.0 if rtol is None else rtol
        self.atol = 0.0 if atol is None else atol
        # What Newton's method leaves in every step adds up over about rtol^(−1/(error_order + 1)) steps.
        smallest = self.rtol.min().item() if isinstance(self.rtol, Tensor) else self.rtol
        self.kappa = min(KAPPA, max(smallest, 1e-10) ** (1 / (error_order + 1)))
        self.slow, same_h = (SLOW / 5, SAME_H / 100) if self.to_rounding else (SLOW, SAME_H)
        self.matrix = StageMatrix(field, statistics, jacobian, same_h)
        self.tracked = False
        """whether a gradient is wanted of anything that the solve depends on"""
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
        if not self.matrix.fits(y) or expected > self.slow:
            self.matrix.renew(t, y)
            self._rate, self._rate_h_gamma = FRESH, h_gamma
        self.matrix.use(h_gamma)
        self._y0 = y.detach()
        self._scale = self._tolerance(self._y0)

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
            self.matrix.renew(t, known + z)
            self.matrix.use(self._h_gamma)
        raise StepRejected(f"Newton's method {failure}")

    def _iterate(self, t: float, known: Tensor, z: Tensor) -> tuple[Tensor, str]:
        """Iterate from ``z`` with one matrix; return the last iterate, and what kept it from convergence or ``""``."""
        eta, size, eps = max(self._eta, self.matrix.mismatch), math.inf, torch.finfo(z.dtype).eps
        self._left = math.inf
        for left in reversed(range(MAX_ITERATIONS)):
            increment = self.increment(t, known, z)
            z = z + increment
            if self.to_rounding:
                self._scale = self._all_digits + ROUNDING * eps / self.kappa * z.abs()
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
        return self.matrix.correction * self.matrix.solve(self.residual(t, known, z))

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
        return torch.finfo(z.dtype).eps * (abs(self._h_gamma) * self.matrix.largest_change(y) + z.abs())

    def attach(self, t: float, known: Tensor, z: Tensor) -> Tensor:
        """Return ``z`` with its gradient with respect to ``known`` and to all that f depends on; the values stay.

        The stage solves G(z, p) = z − hγ f(t, known + z; p) = 0, where p stands for all that has a gradient, so
        that M dz = −∂G/∂p dp with M = ∂G/∂z = I − hγJ: the implicit function theorem. One step z − M⁻¹ G(z, p)
        with M fixed at its exact value at the solution has this derivative. Its error is then of second order in dp;
        a second such step, from its result, multiplies that by another O(dp). So two steps give exact first and
        second derivatives, and M itself is never differentiated.
        """
        M = self.matrix.exact(t, (known + z).detach(), self._h_gamma)
        for _ in range(2):
            residual = self._h_gamma * self.field(t, known + z) - z
            z = z + solve(M, residual - residual.detach())
        return z

    def slope(self, t: float, y: Tensor) -> Tensor:
        """Return f(t, y) without a gradient, and notice if it could have one."""
        if self.tracked:
            with torch.no_grad():
                return self.field(t, y).detach()
        value = self.field(t, y)
        self.tracked = carries_gradient(value)
        return value.detach()

    def _tolerance(self, y: Tensor) -> Tensor:
        """Return the size of the error that a step may make in each component."""
        finfo = torch.finfo(y.dtype)
        if not self.to_rounding:
            # Rounding errors of y cannot be iterated away: below them no tolerance is kept.
            return self.atol + (self.rtol + 4 * finfo.eps / self.kappa) * y.abs() + finfo.tiny
        # What rounding does to a stage y + z (z comes later), and to its residual: there that of the other components
        # shows as hγ Σⱼ |Jᵢⱼ yⱼ| ε, and the solution with the matrix makes it smaller by 1 + hγ Σⱼ |Jᵢⱼ| or so.
        h = abs(self._h_gamma)
        coupled = h * self.matrix.largest_change(y) / (1 + h * self.matrix.largest_change(torch.ones_like(y)))
        self._all_digits = ROUNDING * finfo.eps / self.kappa * (y.abs() + coupled) + finfo.tiny
        return self._all_digits

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
