"""``sdeint``: the solution of a stochastic differential equation, with a choice of gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ndelib.adjoints.backward.ambient import Ambient
from ndelib.adjoints.backward.checkpoint import Checkpoint, Checkpoints, RecursiveCheckpoint
from ndelib.adjoints.backward.deviation import Policy
from ndelib.adjoints.backward.function import Gradient, check_no_transform, solve_with
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.reversible import Reversible
from ndelib.adjoints.backward.stochastic import StochasticAdjoint
from ndelib.adjoints.parameters import (
    Only,
    Parameters,
    check_declared,
    check_steps,
    find_modules,
    find_parameters,
)
from ndelib.solvers.control import Tolerance
from ndelib.solvers.options import Options, check_times
from ndelib.solvers.steps.methods import closest
from ndelib.solvers.stochastic.brownian import number, shown
from ndelib.solvers.stochastic.methods import SDE_METHODS
from ndelib.solvers.stochastic.problem import StochasticProblem, check_types, times_on_path
from ndelib.solvers.stochastic.step import StochasticMethod

SDE_GRADIENTS = ("backprop", "checkpoint", "reversible", "adjoint")
"""The ways to differentiate a stochastic solve: the values of ``sdeint``'s ``gradient``."""

SDEGradientName = Literal["backprop", "checkpoint", "reversible", "adjoint"]


def sdeint(
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    bm: Any = None,
    method: str | StochasticMethod | None = None,
    dt: float | None = None,
    adaptive: bool = False,
    rtol: Tolerance = 1e-5,
    atol: Tolerance = 1e-4,
    dt_min: float = 0.0,
    *,
    names: Mapping[str, str] | None = None,
    gradient: SDEGradientName = "backprop",
    params: Parameters = None,
    checkpoints: Checkpoints = None,
    deviation: Policy = "warn",
) -> Tensor:
    """Solve ``dy = f(t, y) dt + g(t, y) dW``, ``y(ts[0]) = y0``, and return the solution at the times ``ts``.

    ``sde``, ``y0``, ``ts`` and the arguments up to ``dt_min`` are called and ordered as in torchsde. Not taken are
    ``options``, ``logqp``, ``extra`` and equations that have only ``f_and_g`` or ``g_prod``; adaptive steps are for
    methods of strong order 1; ``"srk"``, ``"milstein"`` and the others may be other formulas of the same order.

    Gradients flow to ``y0`` and to the parameters of ``sde``; not through the
    path, nor through the choice of step sizes.

    Args:
        sde: has ``f(t, y) -> (*, d)``, ``g(t, y)`` and two attributes. ``noise_type``: ``"diagonal"`` (g is (*, d), and
            g_i depends on y_i alone), ``"scalar"`` (*, d, 1), ``"additive"`` (g depends on t alone), ``"commutative"``
            or ``"general"``, all (*, d, m). ``sde_type``: ``"ito"`` or ``"stratonovich"``. Where the method relies on
            the noise type, g is looked at after the first step, and a warning says what does not fit.
        y0: the initial state, (*, d), with any batch dimensions, real.
        ts: the times, (T,), strictly increasing (or decreasing, for a Stratonovich equation). A step ends at each.
        bm: the path: a :class:`~ndelib.BrownianMotion` of the size (*, m), or a function ``bm(s, t)`` that returns
            W(t) − W(s). A new one if ``None``, seeded from PyTorch's generator. A path that was made without ``dt``
            is cut into the steps of its first solve.
        method: a name listed by :func:`ndelib.sde_methods`, or a :class:`~ndelib.solvers.StochasticMethod` of your own.
            ``None`` takes ``"midpoint"`` for Stratonovich equations, and for Itô equations ``"srk"``, or ``"euler"``
            where the noise is commutative or general.
        dt: the longest step, 1e-3 if ``None``; each interval between times is cut into equal steps. With ``adaptive``
            the first one.
        adaptive: choose steps by ``rtol`` and ``atol``. Steps are halves of halves of the intervals between times, all
            on one path. Only for methods of strong order 1 or more.
        rtol: the relative tolerance of an adaptive method, see ``atol``.
        atol: the absolute one. The difference between a step and its two halves is kept such that the root mean square
            of ``error / (atol + rtol |y|)`` is at most 1.
        dt_min: a step that would have to be shorter is an error.
        names: ``{"drift": …, "diffusion": …}``: what f and g are called in ``sde``.
        gradient: ``"backprop"``: autograd through the steps. ``"checkpoint"``: the same to rounding; one state a step
            is kept, or fewer with ``checkpoints``, and steps are made again with the same noise. ``"reversible"``: the
            same up to rounding and nothing is kept, with ``method="reversible_heun"``, which is safe where solutions
            oscillate, or over times of a few 1/θ where they decay like exp(−θt), and warns later. ``"adjoint"``: the
            stochastic adjoint, for Stratonovich equations: as exact as the steps are short.
        params: the tensors that f and g depend on and that need a gradient; found by themselves where ``sde`` is a
            module or ``gradient`` is ``"backprop"``.
        checkpoints: with ``"checkpoint"``, the most states to keep at a time, or ``"log"``.
        deviation: with ``"adjoint"`` and ``"reversible"``, what to do where the state on the way back is off:
            ``"warn"``, ``"raise"`` or ``"ignore"``.

    Returns:
        The states, (T, *, d), the first of which is ``y0``.

    Raises:
        AttributeError, TypeError, ValueError: an argument is wrong, or method, noise and calculus do not fit; the
            message names what does.
        SolverError: the solve failed; the message says where, and what to try.

    Example:
        >>> import torch
        >>> from ndelib import BrownianMotion, sdeint
        >>> class Walk:
        ...     noise_type, sde_type = "diagonal", "ito"
        ...     def f(self, t, y):
        ...         return torch.ones_like(y)
        ...     def g(self, t, y):
        ...         return torch.full_like(y, 0.5)
        >>> bm = BrownianMotion(0.0, 1.0, size=(3, 2), entropy=1, dt=0.1)
        >>> y = sdeint(Walk(), torch.zeros(3, 2), [0.0, 1.0], bm, "euler", dt=0.1)
        >>> torch.allclose(y[-1], 1 + 0.5 * bm(0.0, 1.0), atol=1e-5)
        True
    """
    if names is not None:
        sde = _Named(sde, names)
    times = times_on_path(check_times(ts, "ts"), ts.dtype if isinstance(ts, Tensor) else torch.float64, bm)
    options = _options(times, dt, adaptive, rtol, atol, dt_min)
    problem = StochasticProblem(sde, y0, times, method, bm, options)
    _check_gradient(gradient, problem, checkpoints)
    readout = Readout(problem, times, None)
    if gradient == "backprop" or len(times) < 2 or not torch.is_grad_enabled():
        return readout.solve()[0]
    check_no_transform(gradient)
    parameters = find_parameters((sde.f, sde.g), params, ())
    diffusion = problem.diffusion
    ambient = Ambient(
        lambda y: (problem.field.uncounted(times[0], y), diffusion(times[0], y)),
        times[0],
        problem.y0,
        find_modules((sde.f, sde.g)),
    )
    if not isinstance(params, Only):
        check_declared(ambient.results, ambient.y, parameters, gradient)
        if problem.distrusts_steps:
            check_steps(problem, times, parameters, gradient)
    ambient.let_go()
    if not (problem.y0.requires_grad or parameters):
        with torch.no_grad():
            return readout.solve()[0]
    chosen: Gradient
    if gradient == "checkpoint":
        whole = checkpoints is None
        chosen = Checkpoint(readout, parameters) if whole else RecursiveCheckpoint(readout, parameters, checkpoints)  # type: ignore[arg-type]
    elif gradient == "reversible":
        chosen = Reversible(readout, parameters, deviation)
    else:
        chosen = StochasticAdjoint(readout, parameters, deviation)
    return solve_with(chosen, problem.y0, parameters, ambient)[0]


def sdeint_adjoint(
    sde: Any, y0: Tensor, ts: Any, *arguments: Any, adjoint_params: Parameters = None, **options: Any
) -> Tensor:
    """Return ``sdeint(sde, y0, ts, …, gradient="adjoint")``: torchsde's spelling of it.

    As in :func:`ndelib.odeint_adjoint`, ``adjoint_params`` are the tensors besides ``y0`` that get a gradient, and no
    others do; ``None`` gives one to the parameters of ``sde``. Unlike torchsde's it refuses Itô equations whose noise
    depends on the state: convert them by :func:`ndelib.to_stratonovich`, or use ``gradient="checkpoint"``. It has no
    ``adjoint_method`` and no ``adjoint_options``.
    """
    return sdeint(sde, y0, ts, *arguments, gradient="adjoint", params=Only.of(adjoint_params), **options)


def _options(
    times: Sequence[float], dt: float | None, adaptive: bool, rtol: Tolerance, atol: Tolerance, dt_min: float
) -> Options:
    """Return the options of the solve; ``ValueError`` for a step that does not fit."""
    length = abs(times[-1] - times[0])
    if dt is not None:
        dt = number(dt, "dt", " or None")
    if dt is not None and not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt must be a positive number or None, got {dt!r}")
    if dt is not None and len(times) > 1 and dt > length * (1 + 1e-6):
        raise ValueError(
            f"dt = {shown(dt)} is longer than the whole interval, from {shown(times[0])} to {shown(times[-1])}"
        )
    step = dt if dt is not None else min(1e-3, length) or 1e-3
    if adaptive:
        return Options(rtol=rtol, atol=atol, adaptive=True, first_step=step, min_step=dt_min)
    return Options(rtol=rtol, atol=atol, step_size=step)


def _check_gradient(gradient: str, problem: StochasticProblem, checkpoints: Checkpoints) -> None:
    """Raise ``ValueError`` where ``gradient`` cannot be had with this method and equation, naming what can."""
    if gradient not in SDE_GRADIENTS:
        raise ValueError(f"gradient {gradient!r} is unknown: {closest(str(gradient), SDE_GRADIENTS)}")
    if checkpoints is not None:
        if gradient != "checkpoint":
            raise ValueError(f"gradient={gradient!r} has no use for checkpoints; it is for 'checkpoint'")
        if checkpoints != "log" and not (isinstance(checkpoints, int) and checkpoints >= 1):
            raise ValueError(f"checkpoints must be a number of states, at least 1, or 'log', got {checkpoints!r}")
    if gradient == "reversible" and problem.method.reverse is None:
        names = ", ".join(repr(name) for name, m in SDE_METHODS.items() if m.reverse is not None)
        raise ValueError(
            f"gradient='reversible' needs a method whose steps can be undone, and those of {problem.method.name!r} "
            f"cannot: choose {names} (where solutions do not decay); or gradient='checkpoint', which works with every "
            "method"
        )
    if gradient == "adjoint" and problem.calculus == "ito" and problem.diffusion.noise_type != "additive":
        raise ValueError(
            "gradient='adjoint' walks the path back, and only a Stratonovich equation can be: solve "
            "ndelib.to_stratonovich(sde), or use gradient='checkpoint', the gradient of backpropagation"
        )


class _Named:
    """An equation whose drift and diffusion have other names."""

    def __init__(self, sde: Any, names: Mapping[str, str]) -> None:
        unknown = set(names) - {"drift", "diffusion"}
        if unknown:
            raise ValueError(f"names may hold 'drift' and 'diffusion', got {', '.join(map(repr, sorted(unknown)))}")
        for own, key in (("f", "drift"), ("g", "diffusion")):
            name = names.get(key, own)
            if not hasattr(sde, name):
                raise AttributeError(f"names calls the {key} {name!r}, and this {type(sde).__name__} has no {name}")
            setattr(self, own, getattr(sde, name))
        for name in ("noise_type", "sde_type"):
            if hasattr(sde, name):
                setattr(self, name, getattr(sde, name))
        check_types(self)
