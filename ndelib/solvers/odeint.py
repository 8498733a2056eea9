"""``odeint``: the solution of an initial value problem at the times asked for."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack, overload

import torch
from torch import Tensor

from ndelib.solvers.loops.independent import integrate_independent
from ndelib.solvers.options import SolveOptions, check_times, read_options
from ndelib.solvers.problem import Problem, State, Tensors
from ndelib.solvers.steps.dense import evaluate
from ndelib.solvers.steps.methods import MethodLike, find_method
from ndelib.solvers.steps.step import Step


@overload
def odeint(
    f: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float],
    *,
    method: MethodLike = ...,
    **options: Unpack[SolveOptions],
) -> Tensor: ...
@overload
def odeint(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    y0: Tensors,
    t: Tensor | Sequence[float],
    *,
    method: MethodLike = ...,
    **options: Unpack[SolveOptions],
) -> Tensors: ...
def odeint(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    y0: State,
    t: Tensor | Sequence[float],
    *,
    method: MethodLike = "dopri5",
    **options: Unpack[SolveOptions],
) -> State:
    """Solve ``dy/dt = f(t, y)``, ``y(t[0]) = y0``, and return the solution at the times ``t``.

    ``f``, ``y0``, ``t`` and the result are those of torchdiffeq. Its other arguments are not: options are keywords
    (``step_size=…`` for ``options={"step_size": …}``), the default tolerances are 1e-6 and 1e-8, there is no
    ``event_fn`` (see :func:`ndelib.solve_ivp`), and some names mean other methods (see :func:`ndelib.methods`).
    Gradients with respect to ``y0`` and to
    everything that ``f`` uses flow through the steps (backpropagation through the solver), not through the choice of
    their lengths.

    Args:
        f: the vector field, ``f(t, y) -> dy/dt``; ``t`` is a 0-dimensional tensor of the real dtype of ``y0`` (where
            that is too coarse for late times, a warning says so), ``y`` and the result have the shape, dtype and device
            of ``y0`` (a tuple of tensors if ``y0`` is one). It must not write into ``y``, nor into a tensor that it has
            returned.
            For ``y0 = (q, p)`` also a pair of functions, ``(velocity, force)`` with velocity(t, p) = dq/dt and
            force(t, q) = dp/dt, which halves the work of splitting methods.
        y0: the initial state, (*), of any shape and of floating or complex dtype; or a tuple of such tensors.
        t: the times, (T,), strictly increasing or strictly decreasing; the first is the time of ``y0``. Every
            requested time ends a step, or lies in one together with a later one, and is then read off the
            method's dense output. With ``batch="independent"`` also (B, T), a grid for each sample.
        method: a name listed by :func:`ndelib.methods` (where names differ in meaning from torchdiffeq's, it says so);
            or a method of your own, a :class:`~ndelib.solvers.ButcherTableau` or a :class:`~ndelib.solvers.Method`.
        rtol, atol: an adaptive method keeps its estimate of the error of each step, as the root mean square of
            ``error / (atol + rtol |y|)`` over all components, at most 1. Numbers, or tensors that broadcast to ``y0``
            for a tolerance per component. With fixed steps only implicit methods look at them, and only where they are
            given: so far Newton's method solves for the stages. Otherwise it goes on to rounding, so that the error
            is that of the method: about three times as many evaluations for ``esdirk54`` as ``rtol=1e-6`` takes.
        step_size: the longest fixed step, in units of ``t``. Each interval between requested times is cut into equal
            steps no longer than this, or by a millionth, lest the rounding of times cost a step. ``None`` makes one
            step an interval. Giving it makes steps fixed. Each step rounds the state once, so n steps in float32 may
            lose n/2 units in the last place where the slope hardly changes: from 10⁴ steps on, solve in float64.
        adaptive: ``False`` runs a method that could adapt its steps with fixed ones.
        first_step: the length of the first step; chosen from f if ``None``.
        min_step, max_step: bounds of adaptive steps; a step that would have to be below ``min_step`` is an error.
        max_steps: how many adaptive steps, accepted and rejected, may be made.
        step_at: times at which ``f`` jumps. A step ends there, and f is asked only on the side the step is on, also
            where the solve begins or ends at such a time.
        controller: ``"i"``, ``"pi"``, ``"pid"`` or a :class:`ndelib.solvers.Controller`.
        batch: ``"independent"`` gives each sample ``y0[i]`` of a batch its own steps, so that no sample depends on its
            batch-mates. ``f`` then gets ``t`` of the shape (n, 1, …) and ``y`` (n, *), n samples that still run; for a
            tuple of tensors (B, …) ``t`` has as many dimensions as that with the most.
        args: more arguments for ``f(t, y, *args)``, and for ``jacobian``, events and running costs.
        args_dims: with ``batch="independent"``, for each of ``args`` the dimension that counts samples, or ``None`` if
            all samples share it, as ``in_dims`` of ``torch.vmap``: ``(0, None)``. Of the first kind f gets what belongs
            to the samples that still run. Needed where a tensor in ``args`` has the first size B.
        jacobian: for implicit methods, ``jacobian(t, y, *args) -> ∂f/∂y`` of the shape (*, d, d) for ``y`` of the shape
            (*, d); by ``torch.func`` if ``None``.
        on_step: ``on_step(t, y)`` is called after every accepted step with its end, a float, and a copy of the state
            there, in the form of ``y0`` and without a graph: for a progress bar, a log, a plot. It is not called where
            steps are made again in a backward pass, and what it returns is ignored; to end a solve use a terminal event
            of :func:`ndelib.solve_ivp`, or raise an exception of your own. Not with ``batch="independent"`` nor
            ``compile="solve"``, which have no steps in common.
        omega: the strength of the coupling in Tao's method.
        compile: ``"step"`` compiles one step, ``"solve"`` the whole loop (see ``ndelib.solvers.loops.compiled``).
        statistics: a :class:`ndelib.solvers.Statistics`, in which the solve counts its steps and its evaluations of f,
            from zero; with ``batch="independent"`` those of the sample that took most. Read it before a backward pass
            that makes steps again, which counts on.

    Returns:
        The states, (T, *), the first of which is ``y0``; a tuple of them if ``y0`` is a tuple.

    Raises:
        TypeError: ``y0`` is not a floating-point tensor (or a tuple of them), or ``t`` asks for a gradient.
        ValueError: an argument has a wrong value or shape, or ``f`` returns a wrong shape; the message names it.
        SolverError: the solve failed. ``NonFiniteState``, ``StepSizeTooSmall``, ``TooManySteps`` and
            ``NewtonDidNotConverge`` say at which time and step, what was seen there, and what to try.
    """
    checked = read_options(options)
    if checked.batch == "independent":
        states, counts = integrate_independent(f, y0, t, find_method(method), checked)
        if checked.statistics is not None:
            counts.most(checked.statistics)
        return states
    problem = Problem(f, y0, method, checked)
    return problem.unflatten(states_at(problem, check_times(t)))


def states_at(problem: Problem, times: Sequence[float]) -> Tensor:
    """Return the states at ``times``, (T, *)."""
    states, found = [problem.y0[None]], 1
    for step in problem.steps(times) if len(times) > 1 else []:
        problem.report(step.t1, step.y1)
        passed, found = found, reached(times, found, step)
        if found > passed:
            states += states_of(problem, step, times[passed:found])
    return torch.cat(states)


def reached(times: Sequence[float], found: int, step: Step) -> int:
    """Return the index of the first of ``times``, from the index ``found`` on, that lies beyond ``step``."""
    forwards = step.t1 > step.t
    while found < len(times) and (times[found] <= step.t1 if forwards else times[found] >= step.t1):
        found += 1
    return found


def states_of(problem: Problem, step: Step, times: Sequence[float]) -> list[Tensor]:
    """Return the states at ``times`` in ``step``, its beginning excluded, as tensors that join to (n, *)."""
    lands = times[-1] == step.t1
    theta = [(t - step.t) / step.h for t in (times[:-1] if lands else times)]
    # all times inside the step at once: a fine grid costs as much as a coarse one
    inside = [evaluate(problem.interpolate(step), theta, step.y)] if theta else []
    return [*inside, step.y1[None]] if lands else inside
