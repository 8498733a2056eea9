"""SINDy without derivatives: the coefficients of given terms, so that *solutions* fit the samples.

Each trajectory is cut into segments. The unknowns are the coefficients ξ and the start of each segment; the residuals
are what solutions miss the samples by. Gauss–Newton with Levenberg's damping; a start has part in the residuals of its
own segment only, so it is eliminated there (variable projection), and what is left is a small problem for δξ.

Sources: Bock, Recent advances in parameter identification techniques for O.D.E. (1983); Golub & Pereyra, The
differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate, SIAM J. Numer. Anal.
10 (1973); for starts that the data do not need to give, Kaheman, Brunton & Kutz, Automatic differentiation to
simultaneously identify nonlinear dynamics and extract noise probability distributions from data, Mach. Learn. Sci.
Technol. 3 (2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.segments import Segments, segments, solve_segments
from ndelib.discovery.data import like, numbers, trajectories, whole_number
from ndelib.discovery.sindy.model import SINDy
from ndelib.solvers.errors import SolverError
from ndelib.solvers.steps.methods import MethodLike

ITERATIONS = 50
"""Of Gauss–Newton, at most, in a round."""


class RefinedSINDy(SINDy):
    """What :func:`refine` returns: a :class:`SINDy` with coefficients fitted through the solver, and their errors."""

    standard_errors_: Tensor
    """The standard error of each coefficient, (d, p), by Gauss–Newton's theory; zero for terms that are left out."""
    noise_: Tensor
    """The standard deviation of the noise in each variable, (d,), as the residuals show it."""
    starts_: Tensor
    """Where the segments of the last round start, (S, d): the noise of these samples is reduced."""
    residuals_: Tensor
    """Samples minus solutions in the last round, (S, L + 1, d)."""
    history_: list[tuple[int, int, float]]
    """Of each round: the length of its segments, how many terms there were, and the root mean square of residuals."""


def refine(
    model: SINDy,
    x: Any,
    t: Any,
    *,
    length: int | Sequence[int],
    threshold: float = 0.0,
    significance: float = 0.0,
    noise: Any = None,
    method: MethodLike = "rk4",
    **options: Any,
) -> RefinedSINDy:
    """Fit the coefficients of a found model again, through the solver: no derivative of the samples is taken.

    The noise of a sample is then in a residual once, and not divided by the step. The model says which terms there are:
    terms may go, none come, so find them generously (a low threshold, or :class:`WeakSINDy`). For long segments the fit
    is better, until they are so long that solutions forget their start: a Lyapunov time, or an oscillation.

    Args:
        model: a fitted :class:`SINDy` without inputs.
        x: samples, as for :meth:`SINDy.fit`; one trajectory or a list.
        t: their times, as there.
        length: of the segments, in intervals between samples. Several are taken one after the other, each round from
            the coefficients of the one before: ``(20, 100)``.
        threshold: after each round, terms with a smaller |coefficient| go, and the round is repeated.
        significance: after each round, the term with the smallest |coefficient| / standard error goes if that is less
            than this (3, say), and the round is repeated. Unlike ``threshold``, this has no units.
        noise: the size of the noise in each variable, (d,): what residuals are divided by. ``None``: estimated from the
            residuals, round by round.
        method: of :func:`ndelib.odeint`, for the solves: ``"rk4"`` makes one step from sample to sample; take
            ``"dopri5"`` where samples are sparse.
        **options: more of its options.

    Returns:
        A new model; ``model`` is left as it is.

    Raises:
        TypeError, ValueError: an argument has a wrong value; too few samples for the unknowns; terms that the samples
            do not tell apart.
        SegmentFailed: the model as given cannot be solved over a segment; it says which.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import SINDy, SmoothedFiniteDifference, refine
        >>> t = np.linspace(-4, 4, 161)
        >>> noise = 0.01 * np.random.default_rng(0).normal(size=161)
        >>> x = 1 / (1 + np.exp(-t)) + noise
        >>> smoothed = SmoothedFiniteDifference(21)
        >>> rough = SINDy(differentiation_method=smoothed).fit(x, t)
        >>> model = refine(rough, x, t, length=160, significance=3)
        >>> model.print(precision=2)
        x0' = 1.00 x0 - 1.00 x0^2
        >>> bool((model.standard_errors_ < 0.02).all())
        True
    """
    _check_model(model)
    lengths = [length] if isinstance(length, int) else list(length)
    if not lengths:
        raise ValueError("length must be a number of intervals, or several; it is empty")
    for value in lengths:
        whole_number(value, "length")
    for name, number in (("threshold", threshold), ("significance", significance)):
        if not (isinstance(number, (int, float)) and 0 <= number < math.inf):
            raise ValueError(f"{name} must be a number, 0 or more, got {number!r}")
    data = trajectories(x, t)
    if any(part.t is None for part in data):
        raise ValueError("t is missing: give the times of the samples, or their step as a number")
    d = data[0].x.shape[1]
    if d != model.n_features_in_:
        raise ValueError(f"x has {d} variables; the model was fitted to {model.n_features_in_}")
    sigma = torch.ones(d, dtype=torch.float64) if noise is None else _noise(noise, d)
    sigma = sigma.to(data[0].x)
    coef, how = model.coef_.clone(), {"method": method, **options}
    history: list[tuple[int, int, float]] = []
    for value in lengths:
        pieces = segments([part.times for part in data], [part.x for part in data], value)
        while True:
            fit = _Fit(model, coef, pieces, sigma, how)
            fit.run()
            if noise is None and _relative(fit.noise(), sigma) > 0.02:  # weights that depend on the fit: once more
                sigma, coef = fit.noise(), fit.coef()
                continue
            coef, errors = fit.coef(), fit.standard_errors()
            history.append((value, int(fit.support.sum()), float(fit.residuals.square().mean().sqrt())))
            gone = _to_leave_out(coef, errors, threshold, significance)
            if not gone.any():
                break
            coef[gone] = 0.0
    method_of_rates = getattr(model, "differentiation_method", None)
    refined = RefinedSINDy(model.feature_library, model.optimizer, method_of_rates, model.feature_names)
    for name in ("n_features_in_", "n_control_features_", "feature_names_"):
        setattr(refined, name, getattr(model, name))
    refined._kind = like(coef[:0], x)
    refined.coef_, refined.standard_errors_ = coef, errors
    refined.noise_, refined.starts_, refined.residuals_ = fit.noise(), fit.starts, fit.residuals
    refined.history_ = history
    return refined


def _relative(new: Tensor, old: Tensor) -> float:
    """Return the largest relative change of the sizes of noise to each other: a common factor changes no fit."""
    ratio = (new / new.mean()) / (old / old.mean())
    return float((ratio - 1).abs().max())


def _to_leave_out(coef: Tensor, errors: Tensor, threshold: float, significance: float) -> Tensor:
    """Return which terms go now, (d, p): all below the threshold, else the least significant one."""
    kept = coef != 0
    small = kept & (coef.abs() < threshold)
    if small.any() or significance == 0 or not kept.any():
        return small
    ratio = torch.where(kept, coef.abs() / errors, math.inf)
    return (ratio == ratio.min()) & (ratio < significance)


@dataclass
class _Linear:
    """The linear problem of a Gauss–Newton step, divided by the sizes of noise: r ≈ A δξ + B δs in each segment."""

    A: Tensor
    """By the coefficients, (S, m, p)."""
    B: Tensor
    """By the start, (S, m, d)."""
    r: Tensor
    """The residuals, (S, m)."""


class _Fit:
    """The fit of one set of terms to one set of segments."""

    def __init__(self, model: SINDy, coef: Tensor, pieces: Segments, sigma: Tensor, how: dict[str, Any]) -> None:
        self.model, self.pieces, self.sigma, self.how = model, pieces, sigma, how
        self.support, self.xi = coef != 0, coef[coef != 0]
        self.starts = pieces.y[:, 0].clone()
        self.residuals = pieces.y.new_zeros(pieces.y.shape)
        n, p = pieces.y.numel(), len(self.xi) + self.starts.numel()
        if n <= p:
            raise ValueError(
                f"x gives {n} numbers for {p} unknowns ({len(self.xi)} coefficients, and a start for each of the "
                f"{len(self.starts)} segments): take longer segments than length={pieces.t.shape[1] - 1}, or "
                "measure more"
            )

    def coef(self) -> Tensor:
        """Return the coefficients, (d, p)."""
        coef = torch.zeros_like(self.support, dtype=self.xi.dtype)
        coef[self.support] = self.xi
        return coef

    def states(self, xi: Tensor, starts: Tensor) -> Tensor:
        """Return the solutions of all segments, (S, L + 1, d)."""
        where = self.support.nonzero(as_tuple=True)
        Xi = torch.zeros_like(self.support, dtype=xi.dtype).index_put(where, xi)

        def field(s: Any, y: Tensor) -> Tensor:
            return (Xi @ self.model.feature_library.columns(y.movedim(-1, 0))).movedim(0, -1)

        return solve_segments(field, starts, self.pieces.t, **self.how)

    def run(self) -> None:
        """Go down by Gauss–Newton steps, damped where they do not help."""
        damping = 0.0
        self.residuals = self.pieces.y - self.states(self.xi, self.starts)
        for _ in range(ITERATIONS):
            problem, before = self.linear(), self.cost(self.residuals)
            if self.accept(problem, damping, before):
                damping = 0.0 if damping < 1e-6 else damping / 10
                if before - self.cost(self.residuals) <= 1e-10 * before:
                    return
                continue
            damping = max(10 * damping, 1e-4)
            if damping > 1e8:
                return  # no step goes down: this is the minimum, to rounding

    def cost(self, residuals: Tensor) -> float:
        """Return half the sum of squares."""
        return float((residuals / self.sigma).square().sum() / 2)

    def accept(self, problem: _Linear, damping: float, before: float) -> bool:
        """Make a step if it goes down, and tell whether it did."""
        d_xi, d_starts = self.step(problem, damping)
        try:
            with torch.no_grad():
                residuals = self.pieces.y - self.states(self.xi + d_xi, self.starts + d_starts)
        except SolverError:
            return False
        if not self.cost(residuals) <= before * (1 + 1e-14):
            return False
        self.xi, self.starts, self.residuals = self.xi + d_xi, self.starts + d_starts, residuals
        return True

    def linear(self) -> _Linear:
        """Return the derivatives of the solutions by ξ and the starts: tangents through the solve."""
        S, points, d = self.pieces.y.shape

        def solution(xi: Tensor, shift: Tensor) -> Tensor:  # segments do not meet, so one shift moves all starts
            return self.states(xi, self.starts + shift)

        A, B = torch.func.jacfwd(solution, (0, 1))(self.xi, self.xi.new_zeros(d))
        r = (self.residuals / self.sigma).reshape(S, -1)
        return _Linear(*((J / self.sigma[:, None]).reshape(S, points * d, -1) for J in (A, B)), r)

    def step(self, problem: _Linear, damping: float) -> tuple[Tensor, Tensor]:
        """Return δξ and δs. With QR = B, what of r and A lies in the columns of B is the start's to explain."""
        A, B, r = problem.A, problem.B, problem.r[..., None]
        Q, R = torch.linalg.qr(B)
        A_free, r_free = A - Q @ (Q.mT @ A), r - Q @ (Q.mT @ r)
        A_flat, r_flat = A_free.flatten(0, 1), r_free.flatten(0, 1)
        lengths = A_flat.norm(dim=0).clamp(min=torch.finfo(A.dtype).tiny)
        rows = torch.cat([A_flat / lengths, damping**0.5 * torch.eye(len(lengths)).to(A)])
        d_xi = torch.linalg.lstsq(rows, torch.cat([r_flat, r_flat.new_zeros(len(lengths), 1)])).solution[:, 0] / lengths
        d_starts = torch.linalg.solve_triangular(R, Q.mT @ (r - (A @ d_xi)[..., None]), upper=True)[..., 0]
        return d_xi, d_starts

    def freedom(self) -> float:
        """Return samples minus unknowns, relative to the samples."""
        n = self.pieces.y.numel()
        return (n - len(self.xi) - self.starts.numel()) / n

    def noise(self) -> Tensor:
        """Return the standard deviation of each variable's noise, (d,)."""
        found = (self.residuals.square().mean((0, 1)) / self.freedom()).sqrt()
        return found.clamp(min=1e-6 * self.pieces.y.abs().max())  # exact data have none

    def standard_errors(self) -> Tensor:
        """Return √ of the diagonal of σ² (AᵀA)⁻¹, A without what the starts explain, (d, p)."""
        problem = self.linear()
        Q = torch.linalg.qr(problem.B).Q
        A = (problem.A - Q @ (Q.mT @ problem.A)).flatten(0, 1)
        R = torch.linalg.qr(A / A.norm(dim=0), mode="r").R
        weakest = torch.linalg.svdvals(R)
        if len(weakest) and weakest[-1] < 1e-10 * weakest[0]:
            raise ValueError(
                "feature_library has terms that the samples do not tell apart along their solutions, so the "
                "coefficients are not determined: leave terms out of the model before refine, or measure where they differ"
            )
        inverse = torch.linalg.inv(R) / A.norm(dim=0)[:, None]
        chi = float((self.residuals / self.sigma).square().mean()) / self.freedom()
        errors = torch.zeros_like(self.support, dtype=A.dtype)
        errors[self.support] = inverse.norm(dim=1) * chi**0.5
        return errors


def _noise(noise: Any, d: int) -> Tensor:
    """Return the sizes of noise as (d,)."""
    sizes = numbers(noise, "noise")
    if sizes.ndim > 1 or (sizes.ndim == 1 and len(sizes) != d) or not bool((sizes > 0).all() & sizes.isfinite().all()):
        raise ValueError(f"noise must be a positive number for each of {d} variables, or one for all, got {noise!r}")
    return sizes.expand(d)


def _check_model(model: Any) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what cannot be refined."""
    if not isinstance(model, SINDy) or type(model)._slopes is not SINDy._slopes:
        raise TypeError(
            f"model must be a fitted SINDy or WeakSINDy, x' = Θ(x) Ξ, got {type(model).__name__}: implicit ones are "
            "fitted through their equations only"
        )
    model._check_fitted("coef_")
    if model.n_control_features_:
        raise ValueError("model has inputs u: refine is for models without")
    if not (model.coef_ != 0).any():
        raise ValueError("model has no terms, so there is nothing to refine: fit it with a lower threshold")
