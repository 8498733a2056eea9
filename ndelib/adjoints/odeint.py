"""``odeint`` with a choice of gradients, and with the integral of a running cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor

from ndelib import solvers
from ndelib.adjoints.backward.ambient import Ambient
from ndelib.adjoints.backward.checkpoint import Checkpoint, Checkpoints, RecursiveCheckpoint
from ndelib.adjoints.backward.continuous import Adjoint, Backward, Interpolated
from ndelib.adjoints.backward.deviation import Policy
from ndelib.adjoints.backward.function import Gradient, check_no_transform, solve_with
from ndelib.adjoints.backward.readout import Readout, cost_on_states
from ndelib.adjoints.backward.reversible import Reversible
from ndelib.adjoints.backward.times import beside_jumps, has_gradient, moves_with_time, read_times
from ndelib.adjoints.parameters import (
    Only,
    Parameters,
    check_declared,
    check_steps,
    find_modules,
    find_parameters,
)
from ndelib.solvers.control import Tolerance
from ndelib.solvers.options import ELSEWHERE, Options, SolveOptions, read_options
from ndelib.solvers.problem import Problem, State, Tensors
from ndelib.solvers.steps.methods import METHODS, MethodLike, closest, find_method
from ndelib.solvers.steps.step import Method

GRADIENTS = ("backprop", "checkpoint", "adjoint", "interpolated", "reversible")
"""The ways to differentiate a solve: the values of ``odeint``'s ``gradient``."""

GradientName = Literal["backprop", "checkpoint", "adjoint", "interpolated", "reversible"]


class GradientOptions(SolveOptions, total=False):
    """The keywords that all functions of this module share."""

    params: Parameters
    checkpoints: Checkpoints
    adjoint_method: MethodLike | None
    adjoint_rtol: Tolerance | None
    adjoint_atol: Tolerance | None
    deviation: Policy


class Wishes(TypedDict, total=False):
    """Those of them that say how to differentiate."""

    params: Parameters
    checkpoints: Checkpoints
    adjoint_method: MethodLike | None
    adjoint_rtol: Tolerance | None
    adjoint_atol: Tolerance | None
    deviation: Policy


@overload
def odeint(
    f: Callable[..., Any],
    y0: Tensor,
    t: Tensor | Sequence[float] | Sequence[Tensor],
    *,
    method: MethodLike = ...,
    gradient: GradientName = ...,
    **options: Unpack[GradientOptions],
) -> Tensor: ...
@overload
def odeint(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    y0: Tensors,
    t: Tensor | Sequence[float] | Sequence[Tensor],
    *,
    method: MethodLike = ...,
    gradient: GradientName = ...,
    **options: Unpack[GradientOptions],
) -> Tensors: ...
def odeint(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    y0: State,
    t: Tensor | Sequence[float] | Sequence[Tensor],
    *,
    method: MethodLike = "dopri5",
    gradient: GradientName = "backprop",
    **options: Unpack[GradientOptions],
) -> State:
    """Solve ``dy/dt = f(t, y)``, ``y(t[0]) = y0``, and return the solution at the times ``t``; differentiably.

    ``f``, ``y0``, ``t`` and the result are those of torchdiffeq. Its other arguments are not: options are keywords
    (``step_size=…`` for ``options={"step_size": …}``), the default tolerances are 1e-6 and 1e-8, there is no
    ``event_fn`` (see :func:`ndelib.solve_ivp`), and some names mean other methods (see :func:`ndelib.methods`).
    How the solve is made is said by the
    options of :func:`ndelib.solvers.odeint`: ``method``, ``rtol`` (1e-6), ``atol`` (1e-8), ``step_size``, ``max_step``,
    ``step_at``, ``batch``, ``args``, ``compile`` and more; see there.

    Gradients flow to ``y0``, to every time in ``t``, to the parameters of ``f`` and to tensors in ``args``. The choice
    of the step sizes is never differentiated. ``gradient`` says how:

    ``"backprop"``
        autograd through the steps: the exact gradient of the numbers that the solver computed, of any order, with the
        graphs of all evaluations of ``f`` in memory.
    ``"checkpoint"``
        the same gradient to rounding; one state a step is kept, and each step is made again on the way back. With
        ``checkpoints`` fewer.
    ``"adjoint"``
        the continuous adjoint: an equation is solved backwards for the state and ∂L/∂y together. Only the states at
        the times ``t`` are kept. As exact as its tolerance, if the solution can be walked back at all, which is
        watched (``deviation``).
    ``"interpolated"``
        the same with the state read off the dense output of the forward solve, which is kept.
    ``"reversible"``
        for methods whose steps can be undone: the gradient of backpropagation up to rounding; nothing is kept. The
        methods of the kind "reversible" are safe where solutions oscillate, or over times of a few 1/λ; where the flow
        contracts like exp(−λt) their error grows like exp(λt): adaptive solves fail there, fixed steps warn.

    Args:
        f: the vector field, ``f(t, y) -> dy/dt``; for symplectic methods also a pair (velocity, force).
        y0: the initial state, (*), of floating or complex dtype; or a tuple of such tensors.
        t: the times, (T,), strictly monotone; the first is the time of ``y0``. A tensor, or a sequence.
        method: a name listed by :func:`ndelib.methods`; or a method of your own, a
            :class:`~ndelib.solvers.ButcherTableau` or a :class:`~ndelib.solvers.Method`.
        gradient: one of those above.
        params: the tensors that ``f`` depends on and that need a gradient, such as ``model.parameters()``, or modules
            that hold them. Not needed with ``"backprop"``, nor where ``f`` is an ``nn.Module`` or a method of one;
            otherwise tensors that are missing here raise ``ValueError``.
        checkpoints: with ``"checkpoint"``, the most states to keep at a time: a number, or ``"log"`` for log₂ of the
            number of steps. Steps are then made again several times (up to six for 100 000 steps and ``"log"``).
        adjoint_method, adjoint_rtol, adjoint_atol: with ``"adjoint"`` and ``"interpolated"``, how the backward equation
            is solved; as the forward one if ``None``. ``adjoint_atol`` is in units of the largest ∂L/∂y that comes in.
        deviation: with ``"adjoint"`` and ``"reversible"``, what to do where the state on the way back is off by more
            than a hundred tolerances: ``"warn"`` (and raise where it is lost: with the fixed steps of an
            adjoint, off by more than its size), ``"raise"`` or ``"ignore"``.

    Returns:
        The states, (T, *), the first of which is ``y0``; a tuple of them if ``y0`` is a tuple.

    Raises:
        TypeError, ValueError, SolverError: as :func:`ndelib.solvers.odeint`; ``ValueError`` also where the gradient
            cannot be had with this method or these options.
        AdjointError: on the way back, where the continuous adjoint cannot follow the solution, or where ``f`` is not
            what it was: a gradient other than ``"backprop"`` asks it again.

    What ``f`` depends on besides its arguments is kept: autocast, and random numbers where steps are fixed and made
    again (``"checkpoint"`` with an explicit method; 5 kB a step). With other gradients an ``f`` that draws random
    numbers raises ``ValueError``. Running statistics of a batch norm change as in the solve alone if ``f`` is a module
    or a method of one, and otherwise once more on the way back; in training, the gradient does not depend on them.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        >>> y0 = torch.ones(1, dtype=torch.float64)
        >>> y = odeint(lambda t, y: -rate * y, y0, [0.0, 1.0, 2.0])
        >>> [round(value, 4) for value in y[:, 0].tolist()]
        [1.0, 0.6065, 0.3679]
        >>> y[-1].sum().backward()  # y(2) = exp(-2 rate)
        >>> round(rate.grad.item(), 4)
        -0.7358
    """
    return solve_differentiably(f, None, y0, t, method, gradient, options)[0]


def odeint_with_cost(
    f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
    running_cost: Callable[..., Tensor],
    y0: State,
    t: Tensor | Sequence[float] | Sequence[Tensor],
    *,
    method: MethodLike = "dopri5",
    gradient: GradientName = "backprop",
    **options: Unpack[GradientOptions],
) -> tuple[Any, Tensor]:
    """Solve as :func:`odeint`, and integrate a running cost along the solution: for losses L(y(T)) + ∫ l(t, y) dt.

    The state is not augmented: the integral is taken by Gauss quadrature on the dense output, and its gradient by what
    Massaroli et al. (Dissecting neural ODEs, NeurIPS 2020) call the generalised adjoint. The cost has no part in
    the choice of steps.

    Args:
        f: the vector field, as in :func:`odeint`.
        y0: the initial state, (*), or a tuple.
        t: the times, (T,).
        method: a name listed by :func:`ndelib.methods`; or a method of your own, a
            :class:`~ndelib.solvers.ButcherTableau` or a :class:`~ndelib.solvers.Method`.
        gradient: as in :func:`odeint`.
        **options: those of :func:`odeint`.
        running_cost: ``l(t, y, *args)``, a real tensor of any one shape (*c): a scalar, or a value for each sample. If
            it has parameters of its own and is no module, they belong into ``params``.

    Returns:
        The states, (T, *), and the costs, (T, *c): ∫ l dt from ``t[0]`` to each time. The first is zero.

    Example:
        >>> import torch
        >>> from ndelib import odeint_with_cost
        >>> y0 = torch.ones(1, dtype=torch.float64)
        >>> def energy(t, y):
        ...     return (y**2).sum()
        >>> y, cost = odeint_with_cost(lambda t, y: -y, energy, y0, [0.0, 1.0])
        >>> round(cost[-1].item(), 4)  # the integral of exp(-2t) from 0 to 1
        0.4323
    """
    return solve_differentiably(f, running_cost, y0, t, method, gradient, options)


def odeint_adjoint(
    f: Callable[..., Any],
    y0: State,
    t: Tensor | Sequence[float] | Sequence[Tensor],
    *,
    method: str = "dopri5",
    adjoint_params: Parameters = None,
    **options: Any,
) -> Any:
    """Return ``odeint(f, y0, t, gradient="adjoint", …)``: torchdiffeq's spelling of it.

    ``adjoint_method``, ``adjoint_rtol`` and ``adjoint_atol`` are torchdiffeq's too; ``adjoint_options`` (norms) has no
    counterpart. Where the solution cannot be walked back this warns or raises (``deviation``), torchdiffeq goes on.

    Args:
        f: the vector field, as for :func:`odeint`, and so are ``y0``, ``t`` and ``method``.
        y0: the initial state.
        t: the times.
        method: the method.
        adjoint_params: the tensors besides ``y0`` and ``t`` that get a gradient, and no others do: ``()`` gives none
            to any parameter. ``None`` gives one to those of ``f``, which must be a module then, or use no tensors that
            need one. (``params=`` of :func:`odeint` only adds to what is found in ``f``, and misses nothing silently.)
        **options: those of :func:`odeint`.
    """
    return odeint(f, y0, t, method=method, gradient="adjoint", params=Only.of(adjoint_params), **options)


def _apart(options: GradientOptions) -> tuple[Wishes, SolveOptions]:
    """Take the options that say how to differentiate from those that say how to solve."""
    wishes: Any = {name: value for name, value in options.items() if name in Wishes.__annotations__}
    solve: Any = {name: value for name, value in options.items() if name not in wishes}
    known = [*Wishes.__annotations__, *SolveOptions.__annotations__]
    for name in solve:
        if name not in known and name not in ELSEWHERE:
            raise TypeError(f"{name!r} is not an option: {closest(name, [*known, 'method', 'gradient'])}")
    return wishes, solve


def _check_wishes(gradient: str, method: MethodLike, wishes: Wishes) -> None:
    """Raise ``ValueError`` for a wrong value, or an option or a method that ``gradient`` has no use for."""
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient {gradient!r} is unknown: {closest(str(gradient), GRADIENTS)}")
    users = {
        "checkpoints": ("checkpoint",),
        "adjoint_method": ("adjoint", "interpolated"),
        "adjoint_rtol": ("adjoint", "interpolated"),
        "adjoint_atol": ("adjoint", "interpolated"),
    }
    for name, known in users.items():
        if wishes.get(name) is not None and gradient not in known:
            raise ValueError(f"gradient={gradient!r} has no use for {name}; it is for {' and '.join(map(repr, known))}")
    if wishes.get("deviation", "warn") not in ("warn", "raise", "ignore"):
        raise ValueError(f"deviation must be 'warn', 'raise' or 'ignore', got {wishes['deviation']!r}")
    slots = wishes.get("checkpoints")
    if slots is not None and slots != "log" and not (isinstance(slots, int) and slots >= 1):
        raise ValueError(f"checkpoints must be a number of states, at least 1, or 'log', got {slots!r}")
    _check_method(gradient, method, wishes)


def _check_method(gradient: str, method: MethodLike, wishes: Wishes) -> None:
    """Raise ``ValueError`` where ``gradient`` cannot be had with ``method``, naming those that can."""
    chosen = find_method(method)
    if gradient == "reversible" and chosen.reverse is None:
        names = ", ".join(name for name, m in METHODS.items() if m.reverse is not None)
        raise ValueError(
            f"gradient='reversible' needs a method whose steps can be undone, and those of {chosen.name!r} cannot: "
            f"choose {names}; or gradient='checkpoint', which works with every method"
        )
    if gradient == "checkpoint" and wishes.get("checkpoints") is not None and chosen.solves_stages:
        raise ValueError(
            f"checkpoints= makes steps again from their states alone, and {chosen.name!r} finds its stages by Newton's "
            "method, which does not find the same digits twice: leave checkpoints out, and the stages are kept"
        )
    if gradient in ("adjoint", "interpolated"):
        backward = _backward_method(wishes, chosen)
        if "split" in backward.options:
            raise ValueError(
                f"gradient={gradient!r} solves an equation that is not separable into positions and momenta, so the "
                f"splitting method {backward.name!r} cannot solve it: name another as adjoint_method, such as "
                "'dopri5', or use gradient='backprop', 'checkpoint' or 'reversible'"
            )


def _check_solve_options(gradient: str, options: Options) -> None:
    """Raise ``ValueError`` for options that only backpropagation can do with."""
    for name, only in (("batch", "shared"), ("compile", None)):
        value = getattr(options, name)
        if value != only:
            raise ValueError(
                f"{name}={value!r} works with gradient='backprop' only, and with neither a running cost nor a gradient "
                f"with respect to t (here gradient={gradient!r})"
            )


def solve_differentiably(
    f: Any,
    running_cost: Any,
    y0: State,
    t: Any,
    method: MethodLike,
    gradient: str,
    given: GradientOptions,
    sources: Mapping[Tensor, Tensor] | None = None,
) -> tuple[Any, Tensor]:
    """Return the states, and the costs if there is a ``running_cost``.

    ``sources``: of parameters that are copies, what they are copies of; their gradients go there.
    """
    wishes, solve = _apart(given)
    _check_wishes(gradient, method, wishes)
    if gradient == "backprop" and running_cost is None and not has_gradient(t):
        plain: Any = solvers.odeint(f, y0, t, method=method, **solve)
        return plain, plain
    options = read_options(solve)
    _check_solve_options(gradient, options)
    if gradient != "backprop" and not isinstance(wishes.get("params"), Only):
        options, sources = _cut_off(options, sources or {})
    problem = Problem(f, y0, method, options)
    moving, times = read_times(t)
    # Where f jumps, it is asked on the side of the solve: beyond t[0], before any other time.
    beyond, before = partial(beside_jumps, options.step_at, times[-1]), partial(beside_jumps, options.step_at, times[0])
    slope, last_slope = beyond(partial(_flat_field, problem)), before(partial(_flat_field, problem))
    flow, last_flow = (slope, last_slope) if gradient == "backprop" else (None, None)
    start = problem.y0
    if moving is not None:
        problem.y0 = moves_with_time(slope, moving[:1], start[None], start[None], -1.0, flow)[0]
    cost = None if running_cost is None else cost_on_states(running_cost, problem)
    readout = Readout(problem, times, cost)
    functions = [*(f if isinstance(f, tuple) else (f,)), *([] if running_cost is None else [running_cost])]
    parameters: tuple[Tensor, ...] = ()
    tracked = gradient != "backprop" and len(times) > 1 and torch.is_grad_enabled()
    if tracked:
        check_no_transform(gradient)
        parameters = find_parameters(functions, wishes.get("params"), options.args)

        def look(y: Tensor) -> Iterable[Tensor]:
            problem.enter(times[0], times[-1])
            yield problem.field.uncounted(times[0], y)
            if cost is not None:
                yield cost(times[0], y)

        ambient = Ambient(look, times[0], problem.y0, find_modules(functions))
        if not isinstance(wishes.get("params"), Only):
            check_declared(ambient.results, ambient.y, parameters, gradient)
            if problem.distrusts_steps:
                check_steps(problem, times, parameters, gradient)
                problem.statistics.clear()  # that step was no part of the solve
        ambient.let_go()
        tracked = problem.y0.requires_grad or bool(parameters)
    if tracked:
        from_where = [(sources or {}).get(parameter, parameter) for parameter in parameters]
        outputs = solve_with(_gradient(gradient, readout, parameters, wishes), problem.y0, from_where, ambient)
    else:
        # one time is y0 itself, whose gradient needs no backward pass
        with torch.set_grad_enabled((gradient == "backprop" or len(times) < 2) and torch.is_grad_enabled()):
            outputs = readout.solve()
    ys = outputs[0]
    if moving is not None:
        ys = torch.cat([start[None], moves_with_time(last_slope, moving[1:], ys[1:], ys[1:], flow=last_flow)])
    if cost is None:
        return problem.unflatten(ys), ys
    between = outputs[1]
    costs = torch.cat([between.new_zeros((1, *between.shape[1:])), between.cumsum(0)])
    if moving is not None:
        # c(tᵢ) = ∫ l dt from t₀ to tᵢ grows by l at its end, and shrinks by l where it begins
        first = moves_with_time(beyond(cost), moving[:1], costs[:1], start[None], -1.0, flow)
        later = moves_with_time(before(cost), moving[1:], costs[1:], outputs[0][1:], flow=last_flow)
        costs = torch.cat([costs[:1], first + later])
    return problem.unflatten(ys), costs


def _cut_off(options: Options, sources: Mapping[Tensor, Tensor]) -> tuple[Options, Mapping[Tensor, Tensor]]:
    """Return ``options`` with leaves in place of ``args`` that were computed, and ``sources`` with what they stand for.

    Parameters behind them may be parameters of f as well. Their gradient through ``args`` comes from outside the solve,
    and would be counted twice if f's graph went on to them.
    """
    args = {
        i: (arg.detach().requires_grad_(), arg)
        for i, arg in enumerate(options.args)
        if isinstance(arg, Tensor) and arg.requires_grad and not arg.is_leaf
    }
    leaves = tuple(args[i][0] if i in args else arg for i, arg in enumerate(options.args))
    return replace(options, args=leaves), {**sources, **dict(args.values())}


def _backward_method(wishes: Wishes, method: Method) -> Method:
    """Return the method that solves the equation of a continuous adjoint, where ``method`` made the forward solve."""
    return find_method(wishes.get("adjoint_method") or method.adjoint or method, "adjoint_method")


def _gradient(name: str, readout: Readout, parameters: tuple[Tensor, ...], wishes: Wishes) -> Gradient:
    problem = readout.problem
    if name == "checkpoint":
        slots = wishes.get("checkpoints")
        return Checkpoint(readout, parameters) if slots is None else RecursiveCheckpoint(readout, parameters, slots)
    if name == "reversible":
        return Reversible(readout, parameters, wishes.get("deviation", "warn"))
    rtol, atol = wishes.get("adjoint_rtol"), wishes.get("adjoint_atol")
    method = _backward_method(wishes, problem.method)
    if problem.adaptive and not method.adaptive:
        known = ", ".join(m.name for m in METHODS.values() if m.adaptive)
        raise ValueError(
            f"adjoint_method={method.name!r} makes fixed steps, and the forward solve chooses its own: there would be "
            f"one step back between two requested times. Choose one of {known}; or give step_size, for both solves"
        )
    backward = Backward(
        method,
        problem.options.rtol if rtol is None else rtol,
        problem.options.atol if atol is None else atol,
        wishes.get("deviation", "warn"),
    )
    return {"adjoint": Adjoint, "interpolated": Interpolated}[name](readout, parameters, backward)


def _flat_field(problem: Problem, t: Tensor, y: Tensor) -> Tensor:
    return problem.field.uncounted(t, y)
