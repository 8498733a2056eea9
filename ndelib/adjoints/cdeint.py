"""``cdeint``: the solution of a controlled differential equation, with every method and gradient of ``odeint``."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from ndelib.adjoints.odeint import GradientName, GradientOptions, read_times, solve_differentiably
from ndelib.adjoints.parameters import find_parameters
from ndelib.solvers.controlled.cde import cde_to_ode, check_initial, check_inside, check_path
from ndelib.solvers.controlled.paths import Path
from ndelib.solvers.steps.methods import MethodLike

ELSEWHERE = {
    "adjoint": 'write gradient="adjoint" for the continuous adjoint; the default, gradient="backprop", is more exact',
    "backend": "ndelib solves the equation itself",
}
"""What torchcde has as arguments, and what to write here."""


def cdeint(
    X: Any,
    func: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    z0: Any,
    t: Tensor | Sequence[float] | Sequence[Tensor] | None = None,
    *,
    method: MethodLike = "dopri5",
    gradient: GradientName = "backprop",
    **options: Unpack[GradientOptions],
) -> Any:
    """Solve ``dz = func(t, z) dX``, ``z(t[0]) = z0``, and return the solution at the times ``t``; differentiably.

    ``X``, ``func``, ``z0``, ``t`` and the result are those of torchcde; ``adjoint``, ``backend`` and the options of
    torchdiffeq are not taken. The equation is solved as dz/dt = func(t, z) dX/dt by :func:`ndelib.odeint`, where
    ``method``, ``gradient`` and the options are described. Steps end at every observation: there X has its corners, or
    a cubic path its kinks of higher derivatives, and a step across them has neither the order of its method nor a right
    estimate of its error.

    Args:
        X: the path, with ``derivative(t)`` -> (*, channels): :class:`ndelib.LinearInterpolation`,
            :class:`ndelib.CubicSpline`, or anything with that method. Of another path name the times at which its
            derivative is not smooth in ``step_at``, and its tensors that need a gradient in ``params``.
        func: ``func(t, z)`` -> (*, hidden, channels). If it has a method ``prod(t, z, dXdt)`` -> (*, hidden), that
            is asked for the product instead.
        z0: the initial state, (*, hidden), or a tuple of such; ``func`` then returns a tuple. Usually a function of
            ``X.evaluate(X.interval[0])``: the solution depends on X through its changes only.
        t: the times, (T,), strictly monotone, in the interval of the path; the interval itself if ``None``.
        method: a name listed by :func:`ndelib.methods`; or a method of your own, a
            :class:`~ndelib.solvers.ButcherTableau` or a :class:`~ndelib.solvers.Method`.
        gradient: ``"backprop"``, ``"checkpoint"``, ``"adjoint"``, ``"interpolated"`` or ``"reversible"``. Gradients
            flow to ``z0``, ``t``, the parameters of ``func`` and to what X was made of; to the times of observations of
            cubic paths only.
        **options: those of :func:`ndelib.odeint`, ``batch`` excepted. ``rtol`` is 1e-4 and ``atol`` 1e-6, as in
            torchcde. ``step_size=None`` makes one fixed step from observation to observation. ``step_at=()`` lets steps
            go over observations: for smooth paths that were sampled more finely than the solver needs.

    Returns:
        The states, (*, T, hidden), time last but one as in the data; a tuple of them if ``z0`` is a tuple.

    Raises:
        TypeError, ValueError: an argument is wrong or does not fit another; the message names it.
        AdjointError, SolverError: as :func:`ndelib.odeint`.

    Example:
        >>> import torch
        >>> from ndelib import LinearInterpolation, cdeint
        >>> X = LinearInterpolation(torch.tensor([[0.0], [2.0], [1.0]]))
        >>> def func(t, z):  # dz = z dX, so z ends at exp(1 - 0)
        ...     return z[..., None]
        >>> z = cdeint(X, func, torch.ones(1), rtol=1e-6)
        >>> z[-1].log().round(decimals=3)
        tensor([1.])
    """
    for name in options:
        if name in ELSEWHERE:
            raise TypeError(f"{name!r} is not an option: {ELSEWHERE[name]}")
    if options.get("batch", "shared") != "shared":
        raise ValueError("batch='independent' is for odeint: the samples of a path share their times")
    check_path(X)
    check_initial(X, z0)
    if t is None:
        t = getattr(X, "interval", None)
        if t is None:
            raise ValueError(f"t must be given: a {type(X).__name__} has no interval")
    check_inside(X, read_times(t)[1])
    options = {"rtol": 1e-4, "atol": 1e-6, **options}
    if isinstance(X, Path):
        _check_times_of(X)
        options.setdefault("step_at", X.kinks)
    sources: dict[Tensor, Tensor] = {}
    if gradient != "backprop":
        if isinstance(X, Path):
            X, sources = X.cut()
        functions = func if isinstance(func, tuple) else (func,)
        options["params"] = (*find_parameters((*functions, X), options.get("params"), ()), *sources)
    zs = solve_differentiably(cde_to_ode(X, func), None, z0, t, method, gradient, options, sources)[0]
    return tuple(z.movedim(0, -2) for z in zs) if isinstance(zs, tuple) else zs.movedim(0, -2)


def _check_times_of(X: Path) -> None:
    """Raise ``ValueError`` where a gradient is wanted that would not be right."""
    if X.jumps and X.grid_points.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "the times of the observations need a gradient, and that of a solution along a linear path has a part from "
            "the jumps of dX/dt, which moves with them and is not computed: give the time as a channel of the data and "
            "leave t out, or use a cubic path"
        )
