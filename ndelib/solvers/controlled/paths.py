"""Paths through observations: X(t) and dX/dt at any time, from the coefficients of ``interpolation.py``.

A path is a polynomial in s = t − tᵢ on each interval between the times of its observations. A differential equation
driven by it asks for dX/dt thousands of times, at one time each: so on the CPU the polynomials are kept apart, one an
interval, and finding one is a search in a list.
"""

import copy
from bisect import bisect_left
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.controlled.observations import check_observation_times
from ndelib.solvers.graph import values

ROUNDING = 2.0**-22
"""relative to the times: by so much a time may lie outside the path, four units in the last place of float32"""


class Path:
    """A piecewise polynomial path, (*, channels) at each time: a linear interpolation or a cubic spline."""

    def __init__(self, t: Tensor, start: Tensor, *slope: Tensor) -> None:
        """Make the path that is ``start`` plus the integral of slope[0] + slope[1] s + … on each interval.

        ``t``: (length,). ``start`` and each of ``slope``: (*, length − 1, channels).
        """
        self._t, self._start, self._slope = t, start, slope
        self._times: list[float] = values(t).tolist()
        self._low, self._high = widened(self._times[0], self._times[-1])
        # One tensor an interval. A gradient goes back to all of them at once, when the solve has ended.
        self._pieces: list[tuple[Tensor, ...]] | None = None
        if start.device.type == "cpu" and not t.requires_grad:
            self._pieces = list(zip(*(part.unbind(-2) for part in slope), strict=True))

    @property
    def grid_points(self) -> Tensor:
        """The times of the observations, (length,)."""
        return self._t

    @property
    def interval(self) -> Tensor:
        """The first and the last time, (2,)."""
        return torch.stack([self._t[0], self._t[-1]])

    @property
    def kinks(self) -> tuple[float, ...]:
        """The times at which a polynomial begins or ends: those for ``step_at``."""
        return tuple(self._times)

    @property
    def jumps(self) -> tuple[float, ...]:
        """Those of them at which dX/dt may jump."""
        return self.kinks if len(self._slope) == 1 else ()

    def cut(self) -> tuple["Path", dict[Tensor, Tensor]]:
        """Return this path, made of copies where it needs a gradient, and of what each of them is a copy.

        The derivative depends on nothing but the copies: what they were made of is behind the cut.
        """
        path, sources = copy.copy(self), {}

        def leaf(part: Tensor) -> Tensor:
            if not part.requires_grad:
                return part
            own = part.detach().requires_grad_()
            sources[own] = part
            return own

        if self._pieces is None:
            path._t, path._slope = leaf(self._t), tuple(map(leaf, self._slope))
        else:
            path._pieces = [tuple(map(leaf, piece)) for piece in self._pieces]
        return path, sources

    def evaluate(self, t: Any) -> Tensor:
        """Return X(t), (*, channels) for a number and (*, T, channels) for times ``t``, (T,).

        Raises ``ValueError`` for a time outside the interval.
        """
        index, s = self._find(t)
        value = _at(self._slope[-1], index) / len(self._slope)
        for n in range(len(self._slope) - 1, 0, -1):
            value = _at(self._slope[n - 1], index) / n + s * value
        return _at(self._start, index) + s * value

    def derivative(self, t: Any) -> Tensor:
        """Return dX/dt, of the shape of :meth:`evaluate`; at a jump that before it.

        Raises ``ValueError`` for a time outside the interval.
        """
        if self._pieces is not None and _is_a_number(t):
            time = float(t)
            if not self._low <= time <= self._high:
                raise self._outside(time)
            i = self._search(time)
            *lower, slope = self._pieces[i]
            for part in reversed(lower):
                slope = torch.add(part, slope, alpha=time - self._times[i])
            return slope
        index, s = self._find(t)
        *lower, slope = (_at(part, index) for part in self._slope)
        for part in reversed(lower):
            slope = part + s * slope
        return slope

    def _search(self, t: float) -> int:
        """Return the interval, tᵢ < t ≤ tᵢ₊₁, that ``t`` lies in."""
        return min(max(bisect_left(self._times, t) - 1, 0), len(self._times) - 2)

    def _find(self, t: Any) -> tuple[Tensor, Tensor]:
        """Return the intervals that ``t`` lies in, and the times since they began, with one dimension more."""
        t = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64, device=self._t.device)
        # Other devices are not asked: that would make them wait.
        if t.device.type == "cpu" and t.numel() > 0 and not torch.compiler.is_compiling():
            plain = values(t)
            for time in (plain.min().item(), plain.max().item()):
                if not self._low <= time <= self._high:
                    raise self._outside(time)
        dtype = torch.promote_types(t.dtype, self._t.dtype)  # so that a time is on the same side of a knot as in a list
        index = torch.bucketize(t.detach().to(dtype), self._t.detach().to(dtype)) - 1
        index = index.clamp(0, len(self._times) - 2)
        return index, (t - self._t.take(index)).to(self._start.dtype).unsqueeze(-1)

    def _outside(self, t: float) -> ValueError:
        first, last = self._times[0], self._times[-1]
        return ValueError(f"t = {t:.10g} is outside the path, which goes from {first:.10g} to {last:.10g}")


class LinearInterpolation(Path):
    """The path of straight lines through knots: continuous, with a derivative that jumps at each of them.

    Rectilinear paths are of this kind, with knots of their own.

    Example:
        >>> import torch
        >>> from ndelib import LinearInterpolation
        >>> X = LinearInterpolation(torch.tensor([[0.0], [2.0], [1.0]]))
        >>> X.evaluate(0.5), X.derivative(1.5)
        (tensor([1.]), tensor([-1.]))
    """

    def __init__(self, coeffs: Tensor, t: Any = None) -> None:
        """Make the path.

        Args:
            coeffs: the knots, (*, length, channels), as :func:`linear_interpolation_coeffs` returns them.
            t: their times, (length,), strictly increasing; 0, 1, 2, … if ``None``.

        Raises:
            TypeError, ValueError: coefficients or times are not as above.
        """
        _check_coefficients(coeffs, "linear_interpolation_coeffs")
        if coeffs.shape[-2] < 2:
            raise ValueError(f"coeffs must hold at least two knots, (…, length, channels), got {tuple(coeffs.shape)}")
        t = check_observation_times(t, coeffs.shape[-2], coeffs)
        h = t.diff().to(coeffs.dtype).unsqueeze(-1)
        super().__init__(t, coeffs[..., :-1, :], coeffs.diff(dim=-2) / h)


class CubicSpline(Path):
    """The path of cubics from natural or Hermite coefficients: at least its first derivative is continuous."""

    def __init__(self, coeffs: Tensor, t: Any = None) -> None:
        """Make the path.

        Args:
            coeffs: the coefficients, (*, length − 1, 4 channels), as :func:`natural_cubic_coeffs` and
                :func:`hermite_cubic_coefficients_with_backward_differences` return them.
            t: the times of the observations, (length,), strictly increasing; 0, 1, 2, … if ``None``.

        Raises:
            TypeError, ValueError: coefficients or times are not as above.
        """
        _check_coefficients(coeffs, "natural_cubic_coeffs")
        if coeffs.shape[-1] % 4 or coeffs.shape[-1] == 0 or coeffs.shape[-2] == 0:
            raise ValueError(
                f"coeffs must have the shape (…, length − 1, 4 · channels), got {tuple(coeffs.shape)}: those of linear "
                "interpolation belong to LinearInterpolation"
            )
        t = check_observation_times(t, coeffs.shape[-2] + 1, coeffs)
        super().__init__(t, *coeffs.chunk(4, dim=-1))


def widened(first: float, last: float) -> tuple[float, float]:
    """Return the interval from ``first`` to ``last``, wider by what rounding of its times to float32 may need."""
    slack = ROUNDING * max(abs(first), abs(last))
    return first - slack, last + slack


def _at(part: Tensor, index: Tensor) -> Tensor:
    """Return ``part``, (*, length − 1, channels), at ``index``, (…), as (*, …, channels)."""
    if index.ndim == 1:
        return part.index_select(-2, index)
    chosen = part.index_select(-2, index.reshape(-1))
    return chosen.reshape(*part.shape[:-2], *index.shape, part.shape[-1])


def _is_a_number(t: Any) -> bool:
    """Return whether ``t`` is a time that can be read without waiting, and that nothing is differentiated by."""
    if torch.compiler.is_compiling():
        return False
    if not isinstance(t, Tensor):
        return isinstance(t, (int, float))
    plain = t.ndim == 0 and t.device.type == "cpu" and not t.requires_grad
    return plain and not torch._C._functorch.is_functorch_wrapped_tensor(t)


def _check_coefficients(coeffs: Any, maker: str) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``coeffs`` are finite real numbers, (…, length, channels)."""
    if not isinstance(coeffs, Tensor) or not coeffs.is_floating_point():
        kind = coeffs.dtype if isinstance(coeffs, Tensor) else type(coeffs).__name__
        raise TypeError(f"coeffs must be a tensor of real floating-point dtype, got {kind}")
    if coeffs.ndim < 2:
        raise ValueError(f"coeffs must have the shape (…, length, channels), got {tuple(coeffs.shape)}")
    if not bool(values(coeffs).isfinite().all()):
        raise ValueError(f"coeffs hold NaN or an infinity: make them of the observations with {maker}(x, t)")
