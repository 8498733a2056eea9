"""Derivatives of samples: finite differences of any order, the same after smoothing, and splines.

All of them take times that are not evenly spaced. Sources: Berrut & Trefethen, Barycentric Lagrange interpolation,
SIAM Review 46 (2004), for differentiation weights; Savitzky & Golay, Analytical Chemistry 36 (1964); names as in
PySINDy.
"""

from typing import Any

import torch
from torch import Tensor

from ndelib.discovery.data import like, matrix, times_of
from ndelib.discovery.estimator import Estimator


class Differentiation(Estimator):
    """A way to take derivatives of samples: ``method(x, t)`` returns ẋ. One of your own may be any such function."""

    smoothed_x_: Any
    """The samples that were differentiated, of the last call: what a method that smooths has made of them."""

    def differentiate(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the samples, smoothed where the method smooths, and their derivatives; (n, d) and (n,) -> (n, d)."""
        raise NotImplementedError

    def __call__(self, x: Any, t: Any = 1.0) -> Any:
        """Return the derivatives of the samples ``x``, (n,) or (n, d), at times ``t``, (n,), or with the step ``t``."""
        samples = matrix(x, "x")
        times = times_of(t, len(samples), "t", "x", samples.device)
        assert times is not None
        smooth, slopes = self.differentiate(samples, times)
        is_vector = getattr(x, "ndim", 2) == 1
        self.smoothed_x_ = like(smooth[:, 0] if is_vector else smooth, x)
        return like(slopes[:, 0] if is_vector else slopes, x)


class FiniteDifference(Differentiation):
    """The derivative of the polynomial of degree ``order`` through a sample and its neighbours.

    For an even order the sample is in the middle, except at the ends, where the polynomial is that of the first or last
    ``order`` + 1 samples. The error is O(h^order), also on times that are not evenly spaced; noise of size σ in x
    becomes noise of size σ/h in ẋ.

    Args:
        order: of the error, from 1 to 12.
        drop_endpoints: whether the derivative at the ends, where the neighbours are on one side, is left out (NaN).

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import FiniteDifference
        >>> t = np.array([0.0, 0.1, 0.3, 0.4])
        >>> FiniteDifference(order=2)(t + t**2, t).round(12)
        array([1. , 1.2, 1.6, 1.8])
    """

    def __init__(self, order: int = 2, drop_endpoints: bool = False) -> None:
        if not isinstance(order, int) or not 1 <= order <= 12:
            raise ValueError(f"order must be a whole number from 1 to 12, got {order!r}")
        self.order = order
        self.drop_endpoints = drop_endpoints

    def differentiate(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the samples and the sum of weights times neighbours."""
        n, width = len(x), self.order + 1
        if n < width:
            raise ValueError(
                f"x has {n} rows, and {self!r} needs at least {width}: measure more, or take a smaller order"
            )
        first = (torch.arange(n, device=x.device) - self.order // 2).clamp(0, n - width)
        place = torch.arange(n, device=x.device) - first
        h = even_step(t)
        if h is None:
            assert isinstance(t, Tensor)
            neighbours = first + torch.arange(width, device=x.device)[:, None]
            weights = differentiation_weights(t[neighbours] - t, place)
        else:  # a single table of weights, for a sample in each place
            nodes = h * torch.arange(width, dtype=x.dtype, device=x.device)
            weights = differentiation_weights(nodes[:, None] - nodes, torch.arange(width, device=x.device))[:, place]
        slopes = weighted(weights, x, first)
        if self.drop_endpoints:
            slopes[place != self.order // 2] = torch.nan
        return x, slopes


def even_step(t: Tensor | float) -> float | None:
    """Return the step of times that are even to their own rounding, and ``None`` for others."""
    if not isinstance(t, Tensor):
        return t
    h = ((t[-1] - t[0]) / max(len(t) - 1, 1)).item()
    rounding = 4 * torch.finfo(t.dtype).eps * t.abs().amax()
    return h if bool(((t.diff() - h).abs() <= rounding).all()) else None


def weighted(weights: Tensor, x: Tensor, first: Tensor) -> Tensor:
    """Return Σ_j weights[j, i] x[first[i] + j] for every row i: (m, n), (N, d), (n,) -> (n, d)."""
    total = torch.zeros_like(x)
    for j, weight in enumerate(weights):
        total.addcmul_(weight[:, None], x.index_select(0, first + j))
    return total


def differentiation_weights(nodes: Tensor, place: Tensor) -> Tensor:
    """Return for every column of ``nodes``, (m, n), the weights that give the derivative at node ``place``, (n,).

    With λ_j = 1/∏_{k≠j} (t_j − t_k) the weight of node j at node i is (λ_j/λ_i)/(t_i − t_j), and that of i itself is
    minus the sum of the others, so that constants have no slope.
    """
    scale = nodes.amax(dim=0) - nodes.amin(dim=0)  # else 1/λ underflows for small steps
    gaps = (nodes[:, None] - nodes) / scale
    gaps.diagonal().fill_(1.0)
    inverse_lambda = gaps.prod(dim=1)
    here = place[None]
    weights = inverse_lambda.gather(0, here) / inverse_lambda / gaps.gather(0, here.expand(1, *nodes.shape))[0]
    weights.scatter_(0, here, 0.0)
    weights.scatter_(0, here, -weights.sum(dim=0, keepdim=True))
    return weights / scale


class SmoothedFiniteDifference(FiniteDifference):
    """Finite differences of samples that were smoothed by polynomials first (Savitzky–Golay).

    Around each sample a polynomial is fitted to ``window_length`` samples by least squares, and its value taken; at
    the ends that of the first or last window. On even times this is SciPy's ``savgol_filter``; times that are not even
    are taken as they are, which that function cannot. The smoothed samples, ``smoothed_x_``, also go into the library.

    Args:
        window_length: how many samples a polynomial is fitted to: odd, and more than ``polyorder``. Longer windows
            remove more noise and more of the signal: keep them well below the time in which the signal turns.
        polyorder: the degree of the polynomials.
        order: of the differences.
        drop_endpoints: whether the derivative at the ends is left out.
    """

    def __init__(
        self, window_length: int = 11, polyorder: int = 3, order: int = 2, drop_endpoints: bool = False
    ) -> None:
        super().__init__(order, drop_endpoints)
        if not isinstance(window_length, int) or window_length < 1 or window_length % 2 == 0:
            raise ValueError(f"window_length must be an odd number of samples, got {window_length!r}")
        if not 0 <= polyorder < window_length:
            raise ValueError(f"polyorder must be at least 0 and below window_length={window_length}, got {polyorder!r}")
        self.window_length = window_length
        self.polyorder = polyorder

    def differentiate(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the smoothed samples and their differences."""
        if len(x) < self.window_length:
            raise ValueError(
                f"x has {len(x)} rows, and window_length is {self.window_length}: measure more, or take a shorter one"
            )
        return super().differentiate(self.smooth(x, t), t)

    def smooth(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Return the value of each sample's polynomial at its time."""
        n, width = len(x), self.window_length
        first = (torch.arange(n, device=x.device) - width // 2).clamp(0, n - width)
        place = torch.arange(n, device=x.device) - first
        h = even_step(t)
        if h is None:
            assert isinstance(t, Tensor)
            neighbours = first[:, None] + torch.arange(width, device=x.device)
            weights = _smoothing_weights(t[neighbours] - t[:, None], self.polyorder)
        else:
            nodes = torch.arange(width, dtype=x.dtype, device=x.device)
            weights = _smoothing_weights(nodes - nodes[:, None], self.polyorder)[place]
        return weighted(weights.T, x, first)


def _smoothing_weights(nodes: Tensor, degree: int) -> Tensor:
    """Return for every row of ``nodes``, (n, m), the weights whose sum is the fitted polynomial's value at zero."""
    scaled = nodes / nodes.abs().amax(dim=1, keepdim=True)
    powers = scaled[:, :, None] ** torch.arange(degree + 1, dtype=nodes.dtype, device=nodes.device)
    Q, R = torch.linalg.qr(powers)  # value at zero = first coefficient = e₁ᵀ R⁻¹ Qᵀ x
    first = torch.zeros(len(nodes), degree + 1, 1, dtype=nodes.dtype, device=nodes.device)
    first[:, 0] = 1.0
    return (Q @ torch.linalg.solve_triangular(R.mT, first, upper=False))[:, :, 0]


class SplineDerivative(Differentiation):
    """The derivative of a spline that interpolates the samples, or smooths them, from SciPy.

    Args:
        s: how far the spline may be from the samples: the sum of squares of a variable's distances is at most ``s``.
            For n samples with noise of size σ take s = n σ². 0 interpolates.
        order: the degree of the spline: 3 is cubic; 5 is smoother, and O(h⁵) for exact samples.
    """

    def __init__(self, s: float = 0.0, order: int = 3) -> None:
        if not s >= 0:
            raise ValueError(f"s must be 0 or more, got {s!r}")
        if order not in (1, 2, 3, 4, 5):
            raise ValueError(f"order must be a whole number from 1 to 5, got {order!r}")
        self.s = s
        self.order = order

    def differentiate(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the values and the slopes of the spline."""
        from scipy.interpolate import splev, splrep

        if len(x) <= self.order:
            raise ValueError(f"x has {len(x)} rows, and {self!r} needs at least {self.order + 1}: measure more")
        times = t if isinstance(t, Tensor) else t * torch.arange(len(x), dtype=x.dtype, device=x.device)
        nodes = times.cpu().numpy()
        splines = [splrep(nodes, column, k=self.order, s=self.s) for column in x.cpu().numpy().T]
        smooth, slopes = (
            torch.stack([torch.as_tensor(splev(nodes, spline, der=k)) for spline in splines], dim=1) for k in (0, 1)
        )
        return smooth.to(x), slopes.to(x)
