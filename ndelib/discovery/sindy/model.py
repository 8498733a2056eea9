"""Sparse identification of nonlinear dynamics: ẋ = Θ(x) Ξ with few terms, from samples of x.

Source: Brunton, Proctor & Kutz, Discovering governing equations from data by sparse identification of nonlinear
dynamical systems, PNAS 113 (2016); with inputs, Brunton, Proctor & Kutz, IFAC-PapersOnLine 49 (2016). Names are
PySINDy's.
"""

import builtins
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ndelib.adjoints.odeint import odeint
from ndelib.discovery.data import Trajectory, is_several, like, numbers, trajectories
from ndelib.discovery.derivatives import FiniteDifference
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.least_squares import LeastSquares, compress
from ndelib.discovery.sindy import text
from ndelib.discovery.sindy.libraries import FeatureLibrary, PolynomialLibrary
from ndelib.discovery.sindy.optimizers import STLSQ, Optimizer


class SINDy(Estimator):
    """Find ẋ = Θ(x) Ξ: which terms of a library make the derivative, and with which coefficients.

    Args:
        feature_library: the terms Θ; polynomials of degree 2 without it. Libraries are added with ``+``.
        optimizer: the sparse regression: :class:`STLSQ` without it, :class:`SR3`, :class:`Lasso`,
            :class:`EnsembleOptimizer`, or any object with scikit-learn's ``fit(X, y)`` and ``coef_`` and no intercept.
        differentiation_method: how ẋ is taken from samples of x: a function of x and t, by default differences of order
            2. It decides what noise does: see :class:`FiniteDifference`, :class:`SmoothedFiniteDifference`,
            :class:`SplineDerivative`, and :class:`WeakSINDy`, which takes none.
        feature_names: the names of the variables, and then of the inputs; x0, x1, …, u0, … without it.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import SINDy
        >>> t = np.linspace(-4, 4, 801)
        >>> x = 1 / (1 + np.exp(-t))  # the logistic curve
        >>> model = SINDy(feature_names=["x"]).fit(x, t)
        >>> model.print()
        x' = 1.000 x - 1.000 x^2
        >>> model.simulate([0.1], t=[0.0, 1.0]).round(4)
        array([[0.1  ],
               [0.232]])
    """

    feature_library: FeatureLibrary
    coef_: Tensor
    """The coefficients, (d, p), in float64."""

    def __init__(
        self,
        feature_library: FeatureLibrary | None = None,
        optimizer: Any = None,
        differentiation_method: Callable[..., Any] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.feature_library = PolynomialLibrary() if feature_library is None else feature_library
        self.optimizer = STLSQ() if optimizer is None else optimizer
        self.differentiation_method = FiniteDifference() if differentiation_method is None else differentiation_method
        self.feature_names = feature_names
        _check_parts(self.feature_library, self.optimizer, self.differentiation_method)

    # Fitting

    def fit(
        self, x: Any, t: Any = None, x_dot: Any = None, u: Any = None, feature_names: Sequence[str] | None = None
    ) -> Self:
        """Find the coefficients from one trajectory or from several.

        Args:
            x: samples of the state, (n, d), as an array or a tensor; or a list of such, of any lengths.
            t: the times, (n,), or the step between samples; for several trajectories a list of these, or one for all.
            x_dot: derivatives, (n, d), where they were measured; without them ``differentiation_method`` takes them.
            u: inputs at the times of the samples, (n, m).
            feature_names: as in the class.

        Warns:
            UserWarning: terms of the library depend on each other on these samples; the warning says which.

        Raises:
            ValueError: NaN, shapes or lengths that do not agree, times that do not increase, too few samples.
        """
        data = trajectories(x, t, x_dot, u)
        self._start(data, feature_names)
        terms, slopes = self._regression(data)
        problem = compress(terms, slopes)
        self._warn_of_dependent_terms(problem)
        if isinstance(self.optimizer, Optimizer):
            self.coef_ = self.optimizer.fit_problem(problem)
            self.optimizer.coef_ = like(self.coef_, x)
        else:
            self.optimizer.fit(terms.cpu().numpy(), slopes.cpu().numpy())
            self.coef_ = torch.as_tensor(self.optimizer.coef_).to(slopes).reshape(slopes.shape[1], terms.shape[1])
        self._kind = like(self.coef_[:0], x)
        return self

    def _start(self, data: list[Trajectory], feature_names: Sequence[str] | None) -> None:
        """Learn how many variables and inputs there are, and how they are called."""
        first = data[0]
        self.n_features_in_ = first.x.shape[1]
        self.n_control_features_ = 0 if first.u is None else first.u.shape[1]
        d, m = self.n_features_in_, self.n_control_features_
        names = self.feature_names if feature_names is None else feature_names
        self.feature_names_ = (
            [f"x{i}" for i in range(d)] + [f"u{i}" for i in range(m)] if names is None else list(names)
        )
        if len(self.feature_names_) != d + m:
            raise ValueError(
                f"feature_names must be {d} names of variables and {m} of inputs, got {len(self.feature_names_)}"
            )
        self.feature_library.fit(first.x.new_zeros(1, d + m))

    def _regression(self, data: list[Trajectory]) -> tuple[Tensor, Tensor]:
        """Return the terms, (N, p), and the derivatives, (N, d), of all samples."""
        terms, slopes = [], []
        for i, trajectory in enumerate(data):
            x, x_dot = self._differentiated(trajectory, f"[{i}]" if len(data) > 1 else "")
            known = x_dot.isfinite().all(dim=1)  # a method may leave out the ends
            columns = self._terms(x, trajectory.u)
            terms.append(columns if known.all() else columns[known])
            slopes.append(x_dot if known.all() else x_dot[known])
        return (terms[0], slopes[0]) if len(data) == 1 else (torch.cat(terms), torch.cat(slopes))

    def _differentiated(self, trajectory: Trajectory, index: str) -> tuple[Tensor, Tensor]:
        """Return the samples, smoothed where the method smooths, and their derivatives."""
        x, t = trajectory.x, trajectory.t
        if trajectory.x_dot is not None:
            return x, trajectory.x_dot
        if t is None:
            raise ValueError(f"t{index} is missing: give the times of the samples, or their step as a number; or x_dot")
        method = self.differentiation_method
        if hasattr(method, "differentiate"):
            try:
                result: tuple[Tensor, Tensor] = method.differentiate(x, t)
            except ValueError as error:
                raise ValueError(f"trajectory {index}: {error}" if index else str(error)) from None
            return result
        slopes = torch.as_tensor(method(x.cpu().numpy(), trajectory.times.cpu().numpy())).to(x)
        if slopes.shape != x.shape:
            raise ValueError(
                f"differentiation_method must return {tuple(x.shape)}, a derivative for each sample; "
                f"it returned {tuple(slopes.shape)}"
            )
        return torch.as_tensor(getattr(method, "smoothed_x_", x)).to(x), slopes

    def _terms(self, x: Tensor, u: Tensor | None) -> Tensor:
        """Return Θ(x, u), and raise where a term is not finite."""
        variables = x if u is None else torch.cat([x, u], dim=1)
        columns = self.feature_library.columns(variables.T)
        if not columns.sum().isfinite() and not (finite := columns.isfinite()).all():
            term, row = (~finite).nonzero()[0].tolist()
            name = self.get_feature_names()[term]
            raise ValueError(
                f"the term {name} of feature_library is not finite in row {row}, where x = {x[row].tolist()}: "
                "leave the term out, or scale x"
            )
        return columns.T

    def _warn_of_dependent_terms(self, problem: LeastSquares) -> None:
        """Say which terms the samples do not tell apart."""
        p = problem.A.shape[1]
        if problem.rows < p:
            warnings.warn(
                f"x has {problem.rows} samples for the {p} terms of feature_library, so the coefficients are not "
                "determined: measure more, or take a smaller library",
                UserWarning,
                stacklevel=3,
            )
            return
        found = problem.dependent()
        if found:
            names = self.get_feature_names()
            said = [_relation(names[j], coefficients, names) for j, coefficients in found[:3]]
            more = f", and {len(found) - 3} more" if len(found) > 3 else ""
            warnings.warn(
                f"feature_library has terms that depend on each other on these samples ({'; '.join(said)}{more}), so "
                "their coefficients are not determined: leave one of each out, or measure where they differ",
                UserWarning,
                stacklevel=3,
            )

    # What was found

    def coefficients(self) -> Any:
        """Return the coefficients, (d, p): a row for each variable, a column for each term; as the data came."""
        self._check_fitted("coef_")
        return like(self.coef_, self._kind)

    @property
    def complexity(self) -> int:
        """How many coefficients are not zero."""
        self._check_fitted("coef_")
        return int((self.coef_ != 0).sum())

    def get_feature_names(self) -> list[str]:
        """Return the names of the terms."""
        self._check_fitted("feature_names_")
        return self.feature_library.get_feature_names(self.feature_names_)

    def equations(self, precision: int = 3) -> list[str]:
        """Return the right-hand sides as text, with ``precision`` decimals."""
        self._check_fitted("coef_")
        names = self.get_feature_names()
        return [text.expression(row, names, precision) for row in self.coef_]

    def print(self, lhs: Sequence[str] | None = None, precision: int = 3, **options: Any) -> None:
        """Print the equations; ``lhs`` are the left-hand sides, x0', x1', … without it."""
        right = self.equations(precision)
        left = [f"{name}'" for name in self.feature_names_[: len(right)]] if lhs is None else list(lhs)
        if len(left) != len(right):
            raise ValueError(f"lhs must be {len(right)} left-hand sides, got {len(left)}")
        for name, equation in zip(left, right, strict=True):
            builtins.print(f"{name} = {equation}", **options)

    def latex(self, precision: int = 3) -> str:
        """Return the equations in LaTeX, to stand between two ``$$``."""
        self._check_fitted("coef_")
        inputs = [text.latex_variable(name) for name in self.feature_names_]
        names = self.feature_library.get_latex_names(inputs)
        left = [text.latex_variable(name, dot=True) for name in self.feature_names_[: self.n_features_in_]]
        return text.aligned(left, [text.latex_expression(row, names, precision) for row in self.coef_])

    # What it says

    def field(self, t: Any, y: Tensor, u: Any = None) -> Tensor:
        """Return ẏ as a field for :func:`ndelib.odeint`, (*, d) -> (*, d); it can be differentiated.

        ``u`` is the input: (m,), (*, m), or a function of t that returns it; hand it on as ``args=(u,)``.
        """
        self._check_fitted("coef_")
        if self.n_control_features_:
            y = torch.cat([y, self._input(u(t) if callable(u) else u, y)], dim=-1)
        columns = self.feature_library.columns(y.movedim(-1, 0))
        return self._slopes(columns.reshape(len(columns), -1)).reshape(-1, *columns.shape[1:]).movedim(0, -1)

    def _slopes(self, columns: Tensor) -> Tensor:
        """Return the derivatives that the terms make, (p, n) -> (d, n)."""
        return self.coef_.to(columns) @ columns

    def _input(self, u: Any, y: Tensor) -> Tensor:
        """Return the input as (*, m)."""
        if u is None:
            raise TypeError("u is missing: the model was fitted with inputs")
        value = torch.as_tensor(u).to(y)
        return value.reshape(-1 if value.ndim == 0 else value.shape).expand(*y.shape[:-1], self.n_control_features_)

    def predict(self, x: Any, u: Any = None) -> Any:
        """Return ẋ at the samples ``x``, (n, d) or a list of such, as the model says it."""
        self._check_fitted("coef_")
        data = self._checked(trajectories(x, u=u))
        found = [like(self.field(0.0, part.x, part.u), x) for part in data]
        return found if is_several(x) else found[0]

    def _checked(self, data: list[Trajectory]) -> list[Trajectory]:
        d, m = self.n_features_in_, self.n_control_features_
        for part in data:
            if part.x.shape[1] != d:
                raise ValueError(f"x has {part.x.shape[1]} variables; the model was fitted to {d}")
            got = 0 if part.u is None else part.u.shape[1]
            if got != m:
                raise ValueError(f"u has {got} columns; the model was fitted with {m} inputs")
        return data

    def simulate(self, x0: Any, t: Any, u: Any = None, **options: Any) -> Any:
        """Solve the model from ``x0``, (d,) or (B, d), and return its states at the times ``t``, (T, d) or (T, B, d).

        Args:
            x0: the initial state.
            t: the times, (T,).
            u: the inputs: a function of t that returns (m,), or samples at the times ``t``, (T, m), between which the
                input is taken to be linear.
            options: of :func:`ndelib.odeint`; without them ``method="dopri8"``, ``rtol=1e-9``, ``atol=1e-9``.
        """
        self._check_fitted("coef_")
        how: Any = {"method": "dopri8", "rtol": 1e-9, "atol": 1e-9}
        start = numbers(x0, "x0")
        if start.ndim == 0 or start.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"x0 must be ({self.n_features_in_},), one number for each variable, got {tuple(start.shape)}"
            )
        times = numbers(t, "t")
        if times.ndim != 1:
            raise ValueError(f"t must be the times at which to give the state, (T,), got {tuple(times.shape)}")
        if self.n_control_features_ == 0:
            if u is not None:
                raise ValueError("u was given, but the model was fitted without inputs")
            field: Callable[..., Tensor] = self.field
        else:
            given = u if callable(u) else _linear(times, self._samples(u, times))
            if not callable(u):
                how["step_at"] = times.tolist()  # where the input has kinks
            field = lambda time, y: self.field(time, y, given)  # noqa: E731
        with torch.no_grad():
            return like(odeint(field, start, times, **(how | options)), x0)

    def _samples(self, u: Any, times: Tensor) -> Tensor:
        if u is None:
            raise TypeError("u is missing: the model was fitted with inputs")
        values = numbers(u, "u")
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(times), self.n_control_features_):
            raise ValueError(
                f"u must be a function of t, or samples ({len(times)}, {self.n_control_features_}) at the times t, "
                f"got {tuple(values.shape)}"
            )
        return values

    def score(
        self,
        x: Any,
        t: Any = None,
        x_dot: Any = None,
        u: Any = None,
        metric: Callable[[Any, Any], float] | None = None,
    ) -> float:
        """Return R² of the derivatives that the model says against those of the samples, averaged over the variables.

        1 is perfect, 0 what the mean of the derivatives reaches. Derivatives are taken as in :meth:`fit`; ``metric`` is
        another function of what was measured and what was said, (N, d) each, such as one of scikit-learn's.
        """
        self._check_fitted("coef_")
        terms, slopes = self._regression(self._checked(trajectories(x, t, x_dot, u)))
        said = self._slopes(terms.T).T
        if metric is not None:
            return float(metric(slopes.cpu().numpy(), said.cpu().numpy()))
        return r_squared(slopes, said)


def r_squared(measured: Tensor, said: Tensor) -> float:
    """Return 1 − (squared errors)/(squared distances from the mean), averaged over columns; 0 for a missed constant."""
    missed = (measured - said).square().sum(dim=0)
    spread = (measured - measured.mean(dim=0)).square().sum(dim=0)
    constant = torch.where(missed > 0, 0.0, 1.0).to(missed)
    return torch.where(spread > 0, 1 - missed / spread, constant).mean().item()


def _linear(times: Tensor, samples: Tensor) -> Callable[[Any], Tensor]:
    """Return the function that is linear between samples."""

    def u(t: Any) -> Tensor:
        t = torch.as_tensor(t, dtype=times.dtype)
        i = int(torch.searchsorted(times, t, right=True).clamp(1, len(times) - 1))
        share = (t - times[i - 1]) / (times[i] - times[i - 1])
        return samples[i - 1] + share * (samples[i] - samples[i - 1])

    return u


def _relation(name: str, coefficients: Tensor, names: Sequence[str]) -> str:
    """Write how a term depends on others, with all of these if they are few."""
    kept = coefficients.abs() > 1e-6 * coefficients.abs().max()
    if int(kept.sum()) > 4:
        return f"{name} on {int(kept.sum())} others"
    return f"{name} = {text.expression(torch.where(kept, coefficients, 0.0), names, 3)}"


def _check_parts(library: object, optimizer: object, method: object) -> None:
    """Raise ``TypeError`` for parts of the wrong kind; a class instead of an object is the usual slip."""
    if not isinstance(library, FeatureLibrary):
        raise TypeError(f"feature_library must be a library such as PolynomialLibrary(2), got {_called(library)}")
    if isinstance(optimizer, type) or not hasattr(optimizer, "fit"):
        raise TypeError(f"optimizer must be an object with fit(X, y), such as STLSQ(0.1), got {_called(optimizer)}")
    if isinstance(method, type) or not callable(method):
        raise TypeError(f"differentiation_method must be a function of x and t, got {_called(method)}")


def _called(value: object) -> str:
    return f"the class {value.__name__}: write {value.__name__}()" if isinstance(value, type) else type(value).__name__
