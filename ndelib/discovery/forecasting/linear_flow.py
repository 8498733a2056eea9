"""A linear flow ẋ = Ax from samples of one trajectory, by derivatives or by the logarithm of its propagator.

Sources: for the logarithm, Higham, *Functions of Matrices* (2008), chapter 11; that samples x(kh) tell e^{hA} and not A
is aliasing, as in Shannon's theorem (1949).
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ndelib.discovery.data import is_several, like, matrix, times_of
from ndelib.discovery.derivatives import FiniteDifference, even_step
from ndelib.discovery.least_squares import ridge

RANK = 1e-10
"""Samples whose smallest singular value is below this share of the largest leave A undetermined."""
BRANCH = 1e-6
"""An eigenvalue whose angle is closer to π than this share of it has no logarithm to choose."""


def fit_linear_flow(x: Any, t: Any, method: Literal["least-squares", "logm"] = "least-squares", order: int = 4) -> Any:
    """Return the matrix A of ẋ = Ax, (d, d), from samples of a trajectory.

    ``"least-squares"`` takes derivatives of the samples by differences and solves ẋ ≈ xAᵀ. Times need not be even; the
    error falls as h^order, and noise of size σ becomes noise of size σ/h in the derivatives.

    ``"logm"`` finds the propagator P of a step h by least squares, x(t + h) ≈ P x(t), and returns A = log(P)/h. It is
    exact for samples without noise, however long the step is, if every frequency of A is below π/h. A frequency above
    it cannot be told from a lower one: e^{hA} is the same for both. The logarithm returned is the principal one, whose
    frequencies are below π/h, the lowest that agree with the samples. Where there is no such real A, that is an error.

    Args:
        x: the samples, (n, d): an array or a tensor; the result is of the same kind, in float64.
        t: their times, (n,), or the step between them.
        method: see above.
        order: of the differences, for ``"least-squares"``.

    Raises:
        ValueError: NaN, times that do not increase or do not agree with x, or are not even for ``"logm"``; too few
            samples, or samples that stay in a subspace, so that A is not determined; an eigenvalue of P at zero, or on
            the negative axis.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import fit_linear_flow
        >>> t = np.linspace(0, 15, 100)
        >>> wave = np.stack([np.cos(t), np.sin(t)], axis=1)
        >>> x = 2 * np.exp(-0.1 * t)[:, None] * wave  # a spiral
        >>> fit_linear_flow(x, t, method="logm").round(6)
        array([[-0.1, -1. ],
               [ 1. , -0.1]])
    """
    if method not in ("least-squares", "logm"):
        raise ValueError(f'method must be "least-squares" or "logm", got {method!r}')
    if is_several(x):
        raise ValueError("x must be one trajectory, (samples, variables), got a list of arrays: fit one at a time")
    samples = matrix(x, "x")
    n, d = samples.shape
    if t is None:
        raise ValueError("t is missing: give the times of the samples, or the step between them")
    times = times_of(t, n, "t", "x", samples.device)
    assert times is not None
    least = d + 1 if method == "logm" else max(d, order + 1)
    if n < least:
        raise ValueError(
            f"x has {n} samples, and method={method!r} needs at least {least} of {d} variables: measure more"
        )
    pairs = samples[:-1] if method == "logm" else samples
    _check_rank(pairs)
    if method == "least-squares":
        slopes = FiniteDifference(order).differentiate(samples, times)[1]
        return like(ridge(samples, slopes, 0.0).T, x)
    h = even_step(times)
    if h is None:
        raise ValueError(
            't must be evenly spaced for method="logm", since one propagator belongs to one step: '
            'take method="least-squares", or interpolate x to even times'
        )
    return like(_logarithm(ridge(pairs, samples[1:], 0.0).T) / h, x)


def _check_rank(samples: Tensor) -> None:
    """Raise where the samples do not span the space: A is not determined across."""
    sizes, directions = torch.linalg.svd(samples, full_matrices=False)[1:]
    if sizes[-1] > RANK * sizes[0]:
        return
    weights = directions[-1]
    named = " + ".join(f"{w:.3g} x{i}" for i, w in enumerate(weights.tolist()) if abs(w) > 1e-6)
    raise ValueError(
        f"x stays in a subspace (on all samples {named.replace('+ -', '- ')} = 0), so A is not determined: "
        "start where every variable moves, or leave out a variable that is zero or depends on others"
    )


def _logarithm(P: Tensor) -> Tensor:
    """Return the principal logarithm of a real matrix."""
    import scipy.linalg  # only here: nothing else of this room needs it

    for eigenvalue in torch.linalg.eigvals(P).tolist():
        if abs(eigenvalue) < 1e-12:
            raise ValueError(
                "the propagator of a step has an eigenvalue 0, which has no logarithm: x decays within a step. Sample "
                'it faster, or take method="least-squares"'
            )
        if math.pi - abs(math.atan2(eigenvalue.imag, eigenvalue.real)) < BRANCH * math.pi:
            raise ValueError(
                f"the propagator of a step has the eigenvalue {eigenvalue.real:.4g} on the negative axis, where no "
                "real logarithm is the principal one: a frequency of x is at, or above, π/h, half of the sampling. "
                "Sample faster than twice a period"
            )
    return torch.as_tensor(scipy.linalg.logm(P.cpu().numpy()).real.copy()).to(P)
