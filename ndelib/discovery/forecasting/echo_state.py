"""Echo state networks: a random recurrent network that is not trained, and a linear read-out that is.

Sources: Jaeger, GMD Report 148 (2001); Lukoševičius, A practical guide to applying echo state networks (2012); for
forecasts of chaos, Jaeger & Haas, Science 304 (2004) 78, and Pathak et al., PRL 120 (2018) 024102.
"""

from typing import Any, Self

import torch
from torch import Tensor

from ndelib.discovery.data import is_several, like, matrix, whole_number
from ndelib.discovery.estimator import Estimator
from ndelib.discovery.least_squares import ridge


def reservoir_states(
    W: Tensor, W_in: Tensor, b: Tensor, u: Tensor, leak: float = 1.0, start: Tensor | None = None
) -> Tensor:
    """Return the states s(k + 1) = (1 − leak) s(k) + leak tanh(W s(k) + W_in u(k) + b); u (n, d) -> (n, units).

    Args:
        W: the weights among units, (units, units); dense, or sparse in torch's CSR layout.
        W_in: the weights of the input, (units, d).
        b: the bias, (units,).
        u: the input, (n, d).
        leak: the share of a state that is new.
        start: the state before the first input, (units,); zero without it.
    """
    driven = u @ W_in.T + b
    s = driven.new_zeros(driven.shape[1]) if start is None else start
    states = torch.empty_like(driven)
    for k in range(len(u)):
        states[k] = s = _next_state(W, s, driven[k], leak)
    return states


def _next_state(W: Tensor, s: Tensor, driven: Tensor, leak: float) -> Tensor:
    return torch.lerp(s, torch.tanh(W @ s + driven), leak)


class EchoStateNetwork(Estimator):
    """Forecast a time series by a random network of units whose read-out alone is fitted.

    Samples are centred and divided by their standard deviation, u. The units follow :func:`reservoir_states`, and the
    next sample is read from them, from u and from a constant, by ridge regression. A forecast feeds what is read back
    in.

    Args:
        units: how many.
        spectral_radius: the largest |eigenvalue| of the weights among units: how slowly the past is forgotten.
        leak: the share of a state that is new at each step; below 1 for series that are sampled finely.
        input_scale: of the input's weights, which are uniform between ∓ this.
        bias_scale: of the units' biases, which are uniform between ∓ this. Without them (0) a network has no even
            functions of its input to read.
        degree: how many units each unit hears.
        ridge: the penalty on the read-out's squared weights, for each sample; larger for noisy samples.
        washout: how many samples the units get before they are read, while they forget that they began at zero.
        seed: of the weights.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import EchoStateNetwork
        >>> t = 0.1 * np.arange(1000)
        >>> x = np.stack([np.sin(t), np.sin(np.sqrt(2) * t)], axis=1)
        >>> model = EchoStateNetwork(100, washout=100).fit(x[:800])
        >>> bool(np.abs(model.predict(200) - x[800:]).max() < 0.05)
        True
    """

    W_: Tensor
    """The weights among units, (units, units), sparse."""
    W_in_: Tensor
    """The weights of the input, (units, d)."""
    b_: Tensor
    """The biases, (units,)."""
    W_out_: Tensor
    """The read-out, (d, 1 + d + units): of a constant, of the input, of the units."""

    def __init__(
        self,
        units: int = 300,
        spectral_radius: float = 0.9,
        leak: float = 1.0,
        input_scale: float = 0.2,
        bias_scale: float = 1.0,
        degree: int = 10,
        ridge: float = 1e-10,
        washout: int = 100,
        seed: int = 0,
    ) -> None:
        self.units = units
        self.spectral_radius = spectral_radius
        self.leak = leak
        self.input_scale = input_scale
        self.bias_scale = bias_scale
        self.degree = degree
        self.ridge = ridge
        self.washout = washout
        self.seed = seed

    def fit(self, x: Any) -> Self:
        """Fit the read-out to samples at even times, (n, d), or to a list of such series.

        A forecast goes on from the end of the (last) series.

        Raises:
            ValueError: NaN, a column that is constant, or no more samples than ``washout`` and one step.
        """
        self._check_parameters()
        series = [matrix(part, f"x[{i}]") for i, part in enumerate(x)] if is_several(x) else [matrix(x, "x")]
        widths = [part.shape[1] for part in series]
        if len(set(widths)) > 1:
            raise ValueError(f"x must have the same number of variables in every series, got {widths}")
        for i, part in enumerate(series):
            if len(part) < self.washout + 2:
                name = f"x[{i}]" if len(series) > 1 else "x"
                raise ValueError(
                    f"{name} has {len(part)} samples, and washout={self.washout} leaves nothing to fit: give at least "
                    f"{self.washout + 2}, many more than the {1 + widths[0] + self.units} weights of each read-out"
                )
        together = torch.cat(series)
        self.mean_, self.std_ = together.mean(dim=0), together.std(dim=0, correction=0)
        flat = self.std_ <= 1e-12 * (together.abs().amax(dim=0) + 1e-300)
        if flat.any():
            raise ValueError(f"x is constant in column {int(flat.nonzero()[0])}: leave the column out")
        self.n_features_in_ = widths[0]
        self._draw(together)
        features, targets = [], []
        for part in series:
            u = (part - self.mean_) / self.std_
            states = reservoir_states(self.W_, self.W_in_, self.b_, u, self.leak)
            features.append(_features(u, states)[self.washout : -1])
            targets.append(u[self.washout + 1 :])
        A, B = torch.cat(features), torch.cat(targets)
        self.W_out_ = ridge(A, B, self.ridge * len(A)).T
        self._state, self._last = states[-1], u[-1]
        self._kind = like(together[:0], x)
        return self

    def predict(self, n: int, warmup: Any = None) -> Any:
        """Return the ``n`` samples, (n, d), that follow the series of the fit, or the series ``warmup``, (m, d)."""
        self._check_fitted("W_out_")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be how many samples to forecast, at least 1, got {n!r}")
        s, u = self._state, self._last
        if warmup is not None:
            given = matrix(warmup, "warmup")
            if given.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"warmup has {given.shape[1]} variables; the network was fitted to {self.n_features_in_}"
                )
            driven = (given - self.mean_) / self.std_
            s, u = reservoir_states(self.W_, self.W_in_, self.b_, driven, self.leak)[-1], driven[-1]
        found = u.new_empty(n, len(u))
        for k in range(n):
            u = self.W_out_ @ _features(u, s)
            found[k] = u
            s = _next_state(self.W_, s, self.W_in_ @ u + self.b_, self.leak)
        return like(found * self.std_ + self.mean_, self._kind if warmup is None else warmup)

    def _draw(self, like_this: Tensor) -> None:
        """Draw the weights, on the CPU, so that a seed means the same everywhere."""
        random = torch.Generator().manual_seed(self.seed)

        def uniform(*shape: int) -> Tensor:
            return 2 * torch.rand(*shape, generator=random, dtype=torch.float64) - 1

        N = self.units
        W = torch.zeros(N, N, dtype=torch.float64)
        heard = torch.rand(N, N, generator=random).argsort(dim=1)[:, : min(self.degree, N)]
        W.scatter_(1, heard, uniform(*heard.shape))
        radius = torch.linalg.eigvals(W).abs().max()
        self.W_ = _sparse(W * (self.spectral_radius / radius) if radius > 0 else W).to(like_this.device)
        self.W_in_ = (self.input_scale * uniform(N, self.n_features_in_)).to(like_this)
        self.b_ = (self.bias_scale * uniform(N)).to(like_this)

    def _check_parameters(self) -> None:
        for name, least in (("units", 1), ("degree", 1), ("washout", 0)):
            whole_number(getattr(self, name), name, least)
        if not 0 < self.leak <= 1:
            raise ValueError(f"leak must be above 0 and at most 1, got {self.leak!r}")
        for name in ("spectral_radius", "input_scale", "bias_scale", "ridge"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and at least 0, got {value!r}")


def _features(u: Tensor, s: Tensor) -> Tensor:
    """Return what the read-out reads: (*, d), (*, units) -> (*, 1 + d + units)."""
    return torch.cat([torch.ones_like(u[..., :1]), u, s], dim=-1)


def _sparse(W: Tensor) -> Tensor:
    """Return the matrix in the layout that multiplies vectors fastest."""
    import warnings

    if len(W) < 200:
        return W
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the layout is new
        return W.to_sparse_csr()
