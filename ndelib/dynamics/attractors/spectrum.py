"""What all Lyapunov exponents share: tangent vectors that become orthonormal again and again, and mean growth rates.

Benettin, Galgani, Giorgilli & Strelcyn, *Meccanica* 15 (1980), 9–20 and 21–30: the exponents are the mean logarithms of
R's diagonal. The dimension is that of Kaplan & Yorke (1979).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

BLOCKS = 20
"""Into how many pieces of equal length a run is cut for the standard error of its mean."""


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """Exponents of every start, ``exponents`` (*, k), and their ``standard_error`` (*, k).

    The standard error is that of the mean over 20 blocks of the run. It says how much the exponent of this long run
    still wavers; it knows nothing of a transient that was too short, nor of the step's error.
    """

    exponents: Tensor
    standard_error: Tensor

    @property
    def kaplan_yorke(self) -> Tensor:
        """The dimension of Kaplan and Yorke, (*): j + (λ₁ + … + λⱼ)/|λⱼ₊₁|, the largest j whose sum is not negative.

        NaN where all k exponents together are still positive: then ask for more of them, if there are more.
        """
        ordered = self.exponents.sort(dim=-1, descending=True).values
        sums = torch.nn.functional.pad(ordered.cumsum(-1), (1, 0))  # of the first 0, 1, …, k
        j = (sums >= 0).sum(-1, keepdim=True) - 1
        following = torch.nn.functional.pad(ordered, (0, 1), value=math.nan).gather(-1, j)
        return (j + sums.gather(-1, j) / following.abs())[..., 0]

    def over_starts(self) -> "LyapunovSpectrum":
        """Return the mean over all starts, (k,), with the standard error that their scatter gives.

        Only where all starts run to the same attractor.
        """
        if self.exponents.ndim == 1:
            raise ValueError("there is only one start: use its own standard_error")
        exponents = self.exponents.flatten(0, -2)
        return LyapunovSpectrum(exponents.mean(0), exponents.std(0) / math.sqrt(len(exponents)))


def spectrum_along(
    carry: Callable[[float, float, Tensor], Tensor],
    Q: Tensor,
    *,
    duration: float,
    transient: float,
    interval: float,
) -> LyapunovSpectrum:
    """Return the exponents of a flow whose tangent vectors ``carry(t, t1, Q)`` takes from one time to the next.

    ``Q``: orthonormal, (*, d, k). The state goes along inside ``carry``, which is called for one stretch of about the
    length ``interval`` after the other, from 0 to ``transient`` and on for the ``duration``.
    """
    if not (0 < duration < math.inf and 0 <= transient < math.inf and 0 < interval < math.inf):
        raise ValueError(
            f"duration and interval must be positive and transient not negative; "
            f"got duration = {duration}, interval = {interval}, transient = {transient}"
        )
    before = math.ceil(transient / interval)
    length = max(1, round(duration / interval / BLOCKS))  # stretches in a block
    h = duration / (length * BLOCKS)
    times = [i * transient / before for i in range(before)]
    times += [transient + i * h for i in range(length * BLOCKS + 1)]
    logs = []
    with torch.no_grad():
        for t, t1 in pairwise(times):
            Q, R = torch.linalg.qr(carry(t, t1, Q))
            logs.append(log_diagonal(R))
    return mean_of_blocks(torch.stack(logs[before:]).unflatten(0, (BLOCKS, length)).sum(1) / (length * h))


def how_many(d: int, count: int | None) -> int:
    """Return how many exponents are asked for, checked."""
    if count is not None and not (isinstance(count, int) and 1 <= count <= d):
        raise ValueError(f"count must be between 1 and the dimension, {d}; got {count}")
    return count or d


def first_frame(y: Tensor, k: int) -> Tensor:
    """Return k orthonormal vectors for every state, (*, d) -> (*, d, k): the same in every call.

    They are in general position. On the coordinate axes a system whose parts do not act on each other would keep them,
    and the exponents would come in the order of the axes.
    """
    d = y.shape[-1]
    general = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(general)[0][:, :k].to(y).expand(*y.shape, k)


def log_diagonal(R: Tensor) -> Tensor:
    """Return log |Rᵢᵢ|: (*, k, k) -> (*, k)."""
    return R.diagonal(dim1=-2, dim2=-1).abs().log()


def mean_of_blocks(blocks: Tensor) -> LyapunovSpectrum:
    """Return mean and standard error over the first dimension, the blocks."""
    return LyapunovSpectrum(blocks.mean(0), blocks.std(0) / math.sqrt(BLOCKS))
