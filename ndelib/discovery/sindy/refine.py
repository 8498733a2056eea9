"""SINDy without derivatives: the coefficients of given terms, so that *solutions* fit the samples.

Each trajectory is cut into segments (multiple shooting). The unknowns are the coefficients ξ and the start of each
segment; the residuals are what solutions miss the samples by, and what segments miss the next one's start by. They are
made small by Gauss–Newton with Levenberg's and Marquardt's damping.

Sources: Bock, Recent advances in parameter identification techniques for O.D.E. (1983); Nocedal & Wright,
*Numerical Optimization* (2006), chapter 10; for noise and dynamics found together, Kaheman, Brunton & Kutz, Automatic
differentiation to simultaneously identify nonlinear dynamics and extract noise probability distributions from data,
Mach. Learn. Sci. Technol. 3 (2022).
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.segments import Cut, cut, solve_segments
from ndelib.discovery.data import like, numbers, trajectories, whole_number
from ndelib.discovery.least_squares import DEPENDENT
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
    history_: list[tuple[int, float, int, float]]
    """Of each round: the length of its segments, the weight of their gaps, how many terms there were, the noise."""


def refine(
    model: SINDy,
    x: Any,
    t: Any,
    *,
    length: int | Sequence[int],
    threshold: float = 0.0,
    significance: float = 0.0,
    continuity: float | Sequence[float] = (10.0, 100.0),
    noise: Any = None,
    method: MethodLike = "rk4",
    **options: Any,
) -> RefinedSINDy:
    """Fit the coefficients of a found model again, through the solver: no derivative of the samples is taken.

    The noise of a sample is then in a residual once, and not divided by the step. The model says which terms there are:
    terms may go, none come, so find them generously (a low threshold, or :class:`WeakSINDy`). For long segments the fit
    is better, until they are so long that solutions forget their start: a Lyapunov time, or an oscillation.

    Where terms can stand for each other along the orbit (on a circle 1, x² and y² can), their standard errors are as
    large as the coefficients, or larger. A trained vector field needs no refinement to become terms, and no derivative:
    ``SINDy(library).fit(x, x_dot=field(0.0, x))`` at states x, tensors without a graph.

    Args:
        model: a fitted :class:`SINDy` without inputs.
        x: samples, as for :meth:`SINDy.fit`; one trajectory or a list.
        t: their times, as there.
        length: of the segments, in intervals between samples. Several are taken one after the other, each round from
            the coefficients of the one before: ``(20, 100)``.
        threshold: after each round, terms with a smaller |coefficient| go, and the round is repeated.
        significance: after each round, the term with the smallest |coefficient| / standard error goes if that is less
            than this (3, say), and the round is repeated. Unlike ``threshold``, this has no units.
        continuity: the weights of the gaps between a segment's end and the next one's start, relative to the noise, in
            rounds after the last length. 0 leaves all starts free: faster, and less exact.
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
    weights = [continuity] if isinstance(continuity, (int, float)) else list(continuity)
    for name, number in (
        ("threshold", threshold),
        ("significance", significance),
        *(("continuity", w) for w in weights),
    ):
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
    history: list[tuple[int, float, int, float]] = []
    for value in lengths:
        pieces = cut([part.times for part in data], [part.x for part in data], value)
        starts = pieces.segments.y[:, 0].clone()
        for w in (0.0, *([w for w in weights if w > 0] if value == lengths[-1] else [])):
            while True:
                fit = _Fit(model, coef, starts, pieces, sigma, w, how).run()
                coef, starts, errors = fit.coef(), fit.starts, fit.standard_errors()
                if noise is None:
                    sigma = fit.noise()  # the weights of the next round
                history.append((value, w, int(fit.support.sum()), float(fit.noise().square().mean().sqrt())))
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
    refined.noise_, refined.starts_, refined.residuals_ = fit.noise(), fit.starts, fit.residuals()
    refined.history_ = history
    return refined


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
    """The linear problem of a Gauss–Newton step: solutions move by A δξ + B δs in each segment."""

    A: Tensor
    """By the coefficients, (S, L + 1, d, p)."""
    B: Tensor
    """By the start of the segment, (S, L + 1, d, d)."""


class _Fit:
    """The fit of one set of terms to one set of segments, whose gaps have the weight ``w``."""

    def __init__(
        self, model: SINDy, coef: Tensor, starts: Tensor, pieces: Cut, sigma: Tensor, w: float, how: dict[str, Any]
    ) -> None:
        self.model, self.pieces, self.sigma, self.w, self.how = model, pieces.segments, sigma, w, how
        self.support, self.xi, self.starts = coef != 0, coef[coef != 0], starts
        self.solution: Tensor  # from these starts with these coefficients: see move
        follows = pieces.trajectory[:-1] == pieces.trajectory[1:]  # segment k + 1 the segment k
        self.before, self.later = follows.nonzero()[:, 0], pieces.first.diff()[follows]
        S, points, d = self.pieces.y.shape
        # Segments share points; a sample counts in the first that has it.
        self.counts = torch.ones(S, points, dtype=torch.bool, device=starts.device)
        self.counts[self.before + 1] = torch.arange(points, device=starts.device) + self.later[:, None] >= points
        self.samples = int(self.counts.sum())
        unknown = S - (len(self.before) if w > 0 else 0)
        self.freedom = self.samples * d - len(self.xi) - unknown * d
        if self.freedom <= 0:
            raise ValueError(
                f"x gives {self.samples * d} numbers for {len(self.xi)} coefficients and the starts of {unknown} "
                f"trajectories or segments: take longer segments than length={points - 1}, or measure more"
            )

    def coef(self) -> Tensor:
        """Return the coefficients, (d, p)."""
        coef = torch.zeros_like(self.support, dtype=self.xi.dtype)
        coef[self.support] = self.xi
        return coef

    def states(self, xi: Tensor, starts: Tensor, t: Tensor) -> Tensor:
        """Return the solutions from all ``starts``, (S, L + 1, d)."""
        where = self.support.nonzero(as_tuple=True)
        Xi = torch.zeros_like(self.support, dtype=xi.dtype).index_put(where, xi)

        def field(s: Any, y: Tensor) -> Tensor:
            return (Xi @ self.model.feature_library.columns(y.movedim(-1, 0))).movedim(0, -1)

        return solve_segments(field, starts, t, **self.how)

    def run(self) -> "_Fit":
        """Go down by Gauss–Newton steps, damped where they do not help."""
        damping = 0.0
        self.move(self.xi, self.starts)
        linear = self.linear()
        for _ in range(ITERATIONS):
            xi, starts, states, before = self.xi, self.starts, self.solution, self.cost()
            d_xi, d_starts = self.step(linear, damping)
            with suppress(SolverError):  # then nothing has moved
                self.move(xi + d_xi, starts + d_starts)
            after = self.cost()
            if after < before:
                damping = 0.0 if damping < 1e-5 else damping / 10
                if before - after < 1e-6 * before:
                    break
                linear = self.linear()
                continue
            self.xi, self.starts, self.solution = xi, starts, states
            damping = max(10 * damping, 1e-4)
            if damping > 1e4:
                break  # no step goes down: this is the minimum, to rounding
        return self

    def move(self, xi: Tensor, starts: Tensor) -> None:
        """Solve from other starts with other coefficients."""
        with torch.no_grad():
            self.solution = self.states(xi, starts, self.pieces.t)
        self.xi, self.starts = xi, starts

    def residuals(self) -> Tensor:
        """Return samples minus solutions, (S, L + 1, d), zero where the sample counts elsewhere."""
        return (self.pieces.y - self.solution) * self.counts[..., None]

    def gaps(self) -> Tensor:
        """Return how far segments miss the starts of the next, (gaps, d)."""
        return self.solution[self.before, self.later] - self.starts[self.before + 1]

    def cost(self) -> float:
        """Return the sum of squares."""
        misfit, gaps = (self.residuals() / self.sigma).square().sum(), (self.gaps() / self.sigma).square().sum()
        return float(misfit + self.w**2 * gaps)

    def linear(self) -> _Linear:
        """Return the derivatives of the solutions by ξ and the starts.

        Over one interval y moves to φ(y, ξ). The derivatives of φ are taken for all intervals at once, by tangents, and
        chained: with V = ∂y/∂(ξ, s), V at the end is φ_y V at the beginning, plus φ_ξ.
        """
        t, (S, points, d), p = self.pieces.t, self.pieces.y.shape, len(self.xi)
        y, intervals = self.solution[:, :-1].reshape(-1, d), torch.stack([t[:, :-1], t[:, 1:]], -1).reshape(-1, 2)

        def phi(xi: Tensor, shift: Tensor) -> Tensor:  # intervals do not meet, so one shift moves all of them
            return self.states(xi, y + shift, intervals)[:, 1]

        by_xi, by_y = torch.func.jacfwd(phi, (0, 1))(self.xi, torch.zeros_like(y[0]))
        by_xi, by_y = by_xi.reshape(S, points - 1, d, p), by_y.reshape(S, points - 1, d, d)
        V = [torch.cat([y.new_zeros(d, p), torch.eye(d).to(y)], 1).expand(S, d, p + d)]
        for i in range(points - 1):
            moved = by_y[:, i] @ V[-1]
            moved[..., :p] += by_xi[:, i]
            V.append(moved)
        A, B = torch.stack(V, 1).split([p, d], -1)
        return _Linear(A, B)

    def system(self, linear: _Linear) -> tuple[Tensor, Tensor]:
        """Return matrix and right-hand side of the step: a column for each coefficient, then for each start.

        The rows of a segment are made few by a QR factorisation first.
        """
        S, points, d = self.pieces.y.shape
        p = len(self.xi)
        weight = self.counts[..., None, None] / self.sigma[:, None]
        J = torch.cat([linear.A, linear.B, self.residuals()[..., None]], -1) * weight
        R = torch.linalg.qr(J.reshape(S, points * d, -1), mode="r").R
        misfit = torch.cat([R[..., :p].flatten(0, 1), torch.block_diag(*R[..., p:-1])], 1)
        if self.w == 0 or len(self.before) == 0:
            return misfit, R[..., -1].flatten()
        A, B = linear.A[self.before, self.later], linear.B[self.before, self.later]
        gaps = misfit.new_zeros(len(self.before), d, misfit.shape[1])
        gaps[..., :p] = A
        for row, k in enumerate(self.before.tolist()):
            gaps[row, :, p + k * d : p + (k + 1) * d] = B[row]
            gaps[row, :, p + (k + 1) * d : p + (k + 2) * d] = -torch.eye(d).to(B)
        weights = self.w / self.sigma
        rows = torch.cat([misfit, (gaps * weights[:, None]).flatten(0, 1)])
        return rows, torch.cat([R[..., -1].flatten(), -(self.gaps() * weights).flatten()])

    def step(self, linear: _Linear, damping: float) -> tuple[Tensor, Tensor]:
        """Return δξ and δs, (S, d)."""
        rows, right = self.system(linear)
        lengths = _lengths(rows)
        least = max(damping, 1e-14) ** 0.5  # so the columns are independent, which "gels" needs; see `ridge`
        damped = torch.cat([rows / lengths, least * torch.eye(rows.shape[1]).to(rows)])
        below = torch.cat([right, torch.zeros_like(lengths)])[:, None]
        step = torch.linalg.lstsq(damped, below, driver="gels").solution[:, 0]
        d_xi, d_starts = (step / lengths).tensor_split([len(self.xi)])
        return d_xi, d_starts.reshape(self.starts.shape)

    def noise(self) -> Tensor:
        """Return the standard deviation of each variable's noise, (d,)."""
        share = self.freedom / (self.samples * self.starts.shape[1])
        found = (self.residuals().square().sum((0, 1)) / self.samples / share).sqrt()
        return found.clamp(min=1e-9 * float(self.pieces.y.abs().max()))  # exact data have none

    def standard_errors(self) -> Tensor:
        """Return √ of the diagonal of σ² (JᵀJ)⁻¹ for the coefficients, (d, p)."""
        rows, _ = self.system(self.linear())
        lengths = _lengths(rows)
        R = torch.linalg.qr(rows / lengths, mode="r").R
        sizes = torch.linalg.svdvals(R)
        if len(sizes) and float(sizes[-1]) < DEPENDENT * float(sizes[0]):
            raise ValueError(
                "feature_library has terms that the samples do not tell apart along their solutions, so the "
                "coefficients are not determined: leave terms out of the model before refine, or measure where they "
                "differ"
            )
        chi = float((self.residuals() / self.sigma).square().sum()) / self.freedom
        inverse = torch.linalg.inv(R) / lengths[:, None]
        errors = torch.zeros_like(self.support, dtype=self.xi.dtype)
        errors[self.support] = inverse[: len(self.xi)].norm(dim=1) * chi**0.5
        return errors


def _lengths(rows: Tensor) -> Tensor:
    """Return the length of each column."""
    return rows.norm(dim=0).clamp(min=torch.finfo(rows.dtype).tiny)


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
