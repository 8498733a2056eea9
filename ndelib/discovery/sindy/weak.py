"""SINDy without derivatives: the equation is multiplied by smooth bumps and integrated.

Let φ be zero outside of [c − H, c + H]. Then ∫ φ ẋ dt = −∫ φ′ x dt, since the boundary terms φx vanish, and
ẋ = Θ(x)Ξ becomes −∫ φ′ x dt = (∫ φ Θ(x) dt) Ξ: one linear equation for every bump, without a derivative of x.
Sources: Schaeffer & McCalla, Phys. Rev. E 96 (2017); Messenger & Bortz, Weak SINDy, Multiscale Model. Simul. 19 (2021).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ndelib.discovery.data import Trajectory
from ndelib.discovery.sindy.libraries import FeatureLibrary
from ndelib.discovery.sindy.model import SINDy

LARGEST = 10**7
"""How many numbers of windows are in memory at once."""


class WeakSINDy(SINDy):
    """SINDy in weak form, with the bumps φ = (1 − s²)^p, s = (t − c)/H, on windows spread evenly over each trajectory.

    In the integrals x and the terms are linear between samples, and φ is as it is. Each integral then has an error of
    O(h²). On even times the two sides have the same: what the sums say is the equation with φ smoothed over a step, and
    only O(h^(p+2)) is left. Independent noise of size σ in x becomes noise of about σ √h / H^(3/2) in a row, where
    differences have σ/h.

    Args:
        feature_library: as in :class:`SINDy`.
        optimizer: as in :class:`SINDy`.
        K: how many windows on each trajectory. They overlap; many more than there are terms cost little.
        H_xt: half the length of a window, in units of t; a twentieth of each trajectory's length without it. Long
            windows average more noise; keep them below the time in which x turns.
        p: the power, 1 or more.
        feature_names: as in :class:`SINDy`.

    The rows are divided by ∫ φ dt, so that they are weighted means of ẋ and of the terms; ``score`` compares these.

    Example:
        >>> import numpy as np
        >>> from ndelib.discovery import PolynomialLibrary, WeakSINDy
        >>> t = np.linspace(0, 4, 401)
        >>> x = np.exp(-t) + 0.01 * np.random.default_rng(0).normal(size=401)
        >>> WeakSINDy(PolynomialLibrary(2), H_xt=0.5).fit(x, t).print(precision=1)
        x0' = -1.0 x0
    """

    def __init__(
        self,
        feature_library: FeatureLibrary | None = None,
        optimizer: Any = None,
        K: int = 100,
        H_xt: float | None = None,
        p: int = 4,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(feature_library, optimizer, feature_names=feature_names)
        del self.differentiation_method
        if not isinstance(K, int) or K < 1:
            raise ValueError(f"K must be a positive whole number of windows, got {K!r}")
        if H_xt is not None and not H_xt > 0:
            raise ValueError(f"H_xt must be positive, got {H_xt!r}")
        if not isinstance(p, int) or p < 1:
            raise ValueError(f"p must be a whole number, 1 or more, got {p!r}")
        self.K = K
        self.H_xt = H_xt
        self.p = p

    def _regression(self, data: list[Trajectory]) -> tuple[Tensor, Tensor]:
        """Return the weighted means of the terms, (N, p), and of the derivatives, (N, d), for all windows."""
        means, slopes = [], []
        for i, trajectory in enumerate(data):
            index = f"[{i}]" if len(data) > 1 else ""
            if trajectory.x_dot is not None:
                raise ValueError("x_dot has no place in the weak form, which takes none: leave it out, or use SINDy")
            if trajectory.t is None:
                raise ValueError(f"t{index} is missing: give the times of the samples, or their step as a number")
            columns = self._terms(trajectory.x, trajectory.u)
            for near, phi, minus_dphi in self._windows(trajectory.times, columns.shape[1], index):
                means.append((phi[:, None] @ columns[near])[:, 0])
                slopes.append((minus_dphi[:, None] @ trajectory.x[near])[:, 0])
        return torch.cat(means), torch.cat(slopes)

    def _windows(self, t: Tensor, p: int, index: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield which samples are near each window, and their weights for φ and −φ′, (k, m) each, as memory allows."""
        length = (t[-1] - t[0]).item()
        H = length / 20 if self.H_xt is None else self.H_xt
        if length < 2 * H:
            raise ValueError(
                f"windows of H_xt={H:g} are longer than t{index}, which spans {length:g}: take a smaller H_xt"
            )
        centres = torch.linspace(t[0].item() + H, t[-1].item() - H, self.K, dtype=t.dtype, device=t.device)
        first = (torch.searchsorted(t, centres - H, right=True) - 1).clamp(min=0)
        last = torch.searchsorted(t, centres + H).clamp(max=len(t) - 1)
        if (fewest := int((last - first).min()) - 1) < self.p + 2:
            c = centres[(last - first).argmin()].item()
            raise ValueError(
                f"the window of H_xt={H:g} around t{index} = {c:g} has {fewest} samples inside, and p={self.p} needs "
                f"{self.p + 2}: take a larger H_xt, or measure more often"
            )
        width = int((last - first).max()) + 1
        near = (first[:, None] + torch.arange(width, device=t.device)).clamp(max=len(t) - 1)
        chunk = max(1, LARGEST // (width * p))
        for samples, c in zip(near.split(chunk), centres.split(chunk), strict=True):
            yield samples, *bumps(t[samples], c, H, self.p)


def bumps(t: Tensor, centres: Tensor, H: float, p: int) -> tuple[Tensor, Tensor]:
    """Return weights that make ∫φg dt/∫φ dt and −∫φ′g dt/∫φ dt of samples of a g that is linear between them.

    ``t``: (k, m), the samples near each of the ``centres``, (k,). Each interval between samples, or what of it lies in
    the window, is integrated by Gauss's rule with p + 1 nodes, which is exact: φ times a line has degree 2p + 1.
    """
    s = (t - centres[:, None]) / H
    left, right = s[:, :-1].clamp(-1, 1), s[:, 1:].clamp(-1, 1)
    step = torch.where(s.diff() > 0, s.diff(), 1.0)
    phi, minus_dphi = torch.zeros_like(s), torch.zeros_like(s)
    for node, weight in zip(*np.polynomial.legendre.leggauss(p + 1), strict=True):
        place = (left + right) / 2 + (right - left) / 2 * float(node)
        share = (place - s[:, :-1]) / step  # how much of g here is that of the sample to the right
        base = (1 - place.square()) * (right > left)
        smaller = _power(base, p - 1)
        for total, value in ((phi, smaller * base), (minus_dphi, 2 * p / H * place * smaller)):
            value = value * (right - left) / 2 * float(weight)
            total[:, 1:] += share * value
            total[:, :-1] += (1 - share) * value
    area = math.sqrt(math.pi) * math.gamma(p + 1) / math.gamma(p + 1.5)  # ∫ (1 − s²)^p ds
    return phi / area, minus_dphi / area


def _power(base: Tensor, exponent: int) -> Tensor:
    """Return ``base`` to a whole power by multiplication, which is faster than ``**``."""
    result = torch.ones_like(base)
    for bit in f"{exponent:b}":
        result = result.square()
        if bit == "1":
            result = result * base
    return result
