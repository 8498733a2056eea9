"""Whether f can tell the times of a solve apart: it gets them in the dtype of the state, the solver has them in double.

In float32 times are 6·10⁻⁵ apart at t = 1000 and 0.008 at t = 10⁵. Where f depends on time, rounding it moves the state
in a step by up to h |f(t + ulp) − f(t)| / 2. That is measured, and compared with the tolerance of a step; but only
where the spacing is more than a thousandth of a step, which is where it may matter.
"""

import math
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ndelib.solvers.control import rms
from ndelib.solvers.graph import values

COARSE = 1e-3
"""of a step: where times that f can tell apart are farther from each other than this, it is looked what that does"""

TOO_MUCH = 10.0
"""tolerances of a step that f may change the state by, from one time that it can tell apart to the next. Rounding then
adds a fifth of it to the error of a step at random, and half of it at most."""


class Clock:
    """The clock of one solve: it looks after its first, second, fourth, eighth, … doubtful step, and warns once."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype.to_real()
        self.eps = torch.finfo(self.dtype).eps
        self.doubtful = self.eps / COARSE
        """a step from t is doubtful if it is shorter than this times \\|t\\|"""
        self.seen = 0
        self.warned = False

    def is_due(self) -> bool:
        """Count a doubtful step; return whether to look after this one."""
        self.seen += 1
        return not self.warned and self.seen & (self.seen - 1) == 0

    def spacing(self, t: float) -> float:
        """Return how far times of the dtype are apart at ``t``."""
        return float(self.eps * 2.0 ** math.floor(math.log2(abs(t)))) if t else 0.0

    def look(
        self,
        moves: Callable[[Tensor], Iterable[Tensor]],
        t: Tensor,
        other: Tensor,
        scale: Tensor,
        h: float,
        apart: float,
    ) -> None:
        """Warn if the state moves too differently at the times ``t`` and ``other``, ``apart`` from each other.

        ``moves(t)`` are the parts of the change of the state in a step of length ``h``, each (*), and ``scale`` is its
        tolerance, (*).
        """
        with torch.no_grad():
            try:
                differences = [a - b for a, b in zip(moves(t), moves(other), strict=True)]
            except (ArithmeticError, ValueError, RuntimeError):  # f is not defined at the other one
                return
            square = torch.stack([difference.abs().square() for difference in differences]).sum(0)
            tolerances = rms(values(square).sqrt() / values(scale))
        if not tolerances > TOO_MUCH:
            return
        self.warned = True
        name, at = str(self.dtype).removeprefix("torch."), values(t).flatten()[0].item()
        warnings.warn(
            f"f(t, y) gets t in {name}, the precision of y0, in which times near t = {at:.6g} are {apart:.2g} apart, "
            f"while steps are {abs(h):.2g} long. From one such time to the next the change of y in a step differs "
            f"by {tolerances:.2g} tolerances, so rounding of t spoils the result. Let time begin at 0 (write f in the "
            "time since the start of the solve), or solve in float64: y0.double()",
            stacklevel=3,
        )
