"""How far a backward solve has left the forward one, and what to say of it.

A solution that forgets where it came from (a contraction, a stiff system, chaos) cannot be walked back: errors that
shrank like exp(−λt) on the way there grow like exp(λt) on the way back. The adjoint equation is then solved along
another curve, and gives the gradient of something else.
"""

import warnings
from typing import Literal

import torch
from torch import Tensor

from ndelib.adjoints.errors import AdjointError, AdjointWarning
from ndelib.solvers import SolverError
from ndelib.solvers.control import Tolerance
from ndelib.solvers.graph import values

Policy = Literal["warn", "raise", "ignore"]

WARN_AT = 100.0
"""tolerances: what global errors of a forward and a backward solve explain without an instability"""
FAIL_AT = 1e-2
"""of the size of the state: a gradient along such a curve has no digits to speak of"""
LOST_AT = 1.0
"""the same where the user chose the length of steps, who may mean them to be coarse: nothing of the state is left"""

ADVICE = (
    "Use gradient='checkpoint' (the gradient of backpropagation, one state a step) or 'interpolated', a reversible "
    "method with gradient='reversible', or ask for more times in t: at each the state is set right again"
)


def check_deviation(
    found: Tensor,
    there: Tensor,
    rtol: Tolerance,
    atol: Tolerance,
    t: float,
    policy: Policy,
    gradient: str = "adjoint",
    coarse: bool = False,
) -> None:
    """Compare the state ``found`` on the way back with the one that was ``there`` on the way there, both (*).

    Raises:
        AdjointError: they differ by more than a hundred tolerances in some component and, as a whole, by more than a
            hundredth of the size of the state, or by all of it if steps may be meant to be ``coarse``. With
            ``policy="raise"`` one of the two is enough (and ten tolerances beside a hundredth); ``"warn"`` gives an
            :class:`AdjointWarning` there.
    """
    if policy == "ignore" or found.numel() == 0:
        return
    difference, size = values(found - there).abs(), values(there).abs()
    scale = values(atol + rtol * torch.maximum(found.abs(), there.abs()))
    tolerances = (difference / scale).max().item()  # of the worst component: one sample of a batch may be lost
    relative = (difference.norm() / size.norm().clamp_min(torch.finfo(size.dtype).tiny)).item()
    if tolerances <= (WARN_AT if relative <= FAIL_AT else WARN_AT / 10):
        return
    message = (
        f"gradient={gradient!r} walks the state back, and left the forward solution: at t = {t:.6g} it is off "
        f"by {difference.max().item():.2g} in its worst component, {tolerances:.2g} tolerances, and by {relative:.2g} "
        f"of the size of the whole state. The gradient may be wrong by as much. {ADVICE}"
    )
    if policy == "raise" or not (relative <= (LOST_AT if coarse else FAIL_AT) or tolerances <= WARN_AT):
        raise AdjointError(message, t=t, h=0.0)
    warnings.warn(message, AdjointWarning, stacklevel=2)


def could_not_go_back(gradient: str, error: SolverError) -> AdjointError:
    """Return what to raise where the backward solve failed with ``error``."""
    return AdjointError(
        f"gradient={gradient!r}: the backward solve failed at t = {error.t:.6g}. Solutions that come together on the "
        f"way there part on the way back. {ADVICE}. What the solver said: {error}",
        t=error.t,
        h=error.h,
    )
