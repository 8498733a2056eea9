"""``solve_ivp``: a solve with its statistics, its steps, dense output and events."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import Tensor

from ndelib.solvers.events.events import Events, read_events
from ndelib.solvers.events.watch import Cut, Watch
from ndelib.solvers.loops.independent import integrate_independent
from ndelib.solvers.options import Options, SolveOptions, check_times, read_options
from ndelib.solvers.problem import Problem, State
from ndelib.solvers.solution import DenseSolution, Piece, Solution
from ndelib.solvers.steps.methods import MethodLike, find_method


def solve_ivp(
    f: Callable[..., Any],
    t_span: tuple[float, float] | Sequence[float],
    y0: State,
    *,
    method: MethodLike = "dopri5",
    t_eval: Tensor | Sequence[float] | None = None,
    dense: bool = False,
    events: Events = None,
    **options: Unpack[SolveOptions],
) -> Solution:
    """Solve ``dy/dt = f(t, y)``, ``y(t_span[0]) = y0``, to ``t_span[1]``, and say how it went.

    Args:
        f: the vector field, as for :func:`ndelib.odeint`.
        t_span: the first and the last time; the last may be earlier.
        y0: the initial state, (*), or a tuple of tensors.
        method: a name listed by :func:`ndelib.methods`; or a method of your own, a
            :class:`~ndelib.solvers.ButcherTableau` or a :class:`~ndelib.solvers.Method`.
        t_eval: the times of the states to return, (T,), monotone from the first time to the last and inside
            ``t_span``. ``None`` returns every accepted step.
        dense: keep the solution as a function of time, ``solution.sol(t)``.
        events: a function ``g(t, y, *args)`` or a list of them, y in the form of ``y0``; each is a scalar tensor, and
            its event is where it passes through zero. As in SciPy it gets the ``args`` of the solve, and may have the
            attributes ``terminal`` (``True``, or after how many occurrences the solve ends) and ``direction`` (1: only
            where g rises as the solve goes on, -1: only where it falls); besides ``reset(t, y, *args)``, the state to
            go on from. A :class:`ndelib.solvers.Event` holds the same. Where ``y0`` is a batch, (B, *), g may return
            (B,), a value for each sample, if it neither ends nor resets.
        **options: those of :func:`ndelib.odeint`; ``on_step`` also sees the state on arrival at an event that ends or
            resets the solve. With ``batch="independent"`` the statistics are those of each sample,
            (B,), and the states without ``t_eval`` are the first and the last.

    Returns:
        A :class:`ndelib.solvers.Solution`.

    Events are found on the dense output, to the error of the solution there, (atol + rtol |y|) / |dg/dt| in time. Each
    step is looked at in five points (see ``crossings.py``): a g that dips through zero and back between two of them can
    be missed; ``max_step`` bounds how long that may take. An event where the solve starts, or goes on after its own
    reset, is not reported again. Of events in one step those after a terminal one or a reset do not count, those at
    the same time do. At a terminal event no reset is made, and with ``t_eval`` later times are left out. A reset takes
    the state on arrival; ``y`` (without ``t_eval``) holds it and the one after. Resets at ever shorter intervals (a
    ball that comes to rest by bouncing) raise ``SolverError`` when they can no longer be told apart. f is asked up to
    one step beyond an event, never outside ``t_span`` (but for Yoshida's method, whose steps go forth and back).

    Raises:
        TypeError, ValueError, SolverError: as :func:`ndelib.odeint`.

    Example:
        >>> import torch
        >>> from ndelib import solve_ivp
        >>> def fall(t, y):
        ...     height, speed = y
        ...     return torch.stack([speed, torch.full_like(speed, -9.81)])
        >>> def ground(t, y):
        ...     return y[0]
        >>> ground.terminal = True
        >>> start = torch.tensor([4.905, 0.0], dtype=torch.float64)
        >>> solution = solve_ivp(fall, (0, 10), start, events=ground)
        >>> solution.status, round(solution.t[-1].item(), 6)
        ('event', 1.0)
    """
    start, end = check_span(t_span)
    wanted = None if t_eval is None else check_inside(check_times(t_eval, "t_eval"), start, end)
    checked = read_options(options)
    for name, value in (("batch", "independent"), ("compile", "solve")):
        if getattr(checked, name) == value and (dense or events is not None):
            raise ValueError(
                f"{name}={value!r} keeps no common list of steps, so dense and events do not work with it: leave out "
                f"{name}, or let an event return one value a sample"
            )
    if checked.batch == "independent":
        return solve_independent(f, [start, end] if wanted is None else wanted, start, end, y0, method, checked)
    problem = Problem(f, y0, method, checked)
    watch = Watch(problem, read_events(events, checked.args), start)
    record = Record(start, problem.y0, wanted, -1.0 if end < start else 1.0)
    pieces: list[Piece] = []
    message = ""
    for piece, cut in walk(problem, watch, start, wanted or [], end):
        if dense:
            pieces.append(piece)
            _ = piece.curve  # now, while the field is set to this side of a jump
        record.add(piece, cut)
        problem.report(piece.end, piece.step.y1 if cut is None else cut.moment.y)
        message = cut.message if cut is not None else ""
    counts = problem.statistics
    times, states = watch.results()
    return Solution(
        t=record.times(),
        y=problem.unflatten(record.states()),
        status="event" if message else "finished",
        message=message or f"the solve reached the end of t_span, t = {end:.10g}",
        steps=counts.steps,
        rejected=counts.rejected,
        nfe=counts.nfe,
        jacobians=counts.jacobians,
        factorizations=counts.factorizations,
        t_events=times,
        y_events=states,
        dense=DenseSolution(pieces, problem.shapes) if dense else None,
    )


def solve_independent(
    f: Callable[..., Any], times: list[float], start: float, end: float, y0: Any, method: MethodLike, options: Options
) -> Solution:
    """Return the states of a batch at ``times``, (T, B, *), with the counts of each sample, (B,)."""
    grid = [start, *[t for t in times if start != t != end], end]
    states, counts = integrate_independent(f, y0, grid, find_method(method), options)
    kept = [i for i, t in enumerate(grid) if t in times]
    return Solution(
        t=torch.tensor([grid[i] for i in kept], dtype=torch.float64),
        y=tuple(part[kept] for part in states) if isinstance(states, tuple) else states[kept],
        status="finished",
        message=f"every sample reached the end of t_span, t = {end:.10g}",
        steps=counts.steps,
        rejected=counts.rejected,
        nfe=counts.nfe,
        jacobians=0,
        factorizations=0,
    )


def walk(
    problem: Problem, watch: Watch, start: float, wanted: Sequence[float], end: float
) -> Iterator[tuple[Piece, Cut | None]]:
    """Yield the pieces of the solution, each with the cut that events make at its end, and start anew after resets."""
    sign = 1.0 if end > start else -1.0
    while start != end:
        for step in problem.steps([start, *[t for t in wanted if sign * start < sign * t < sign * end], end]):
            piece = Piece(step, problem.interpolate)
            cut = watch.look(piece) if watch.events else None
            if cut is not None:
                piece.end = cut.moment.t
            yield piece, cut
            if cut is not None:
                break
        else:
            return
        if cut.start is None:
            return
        # The step that met the event knows the scale of the problem; choosing anew would cost an evaluation of f.
        start, problem.y0 = cut.moment.t, cut.start
        problem.options = replace(problem.options, first_step=abs(step.h))


class Record:
    """Times and states to return: those wanted, or the ends of all pieces."""

    def __init__(self, start: float, y0: Tensor, wanted: list[float] | None, direction: float) -> None:
        self.wanted, self.direction, self.y0 = wanted, direction, y0
        self.kept: list[tuple[float | Tensor, Tensor]] = []
        if wanted is None or wanted[0] == start:
            self.kept.append((start, y0))

    def add(self, piece: Piece, cut: Cut | None) -> None:
        """Keep what was wanted of ``piece``."""
        if self.wanted is not None:
            while len(self.kept) < len(self.wanted):
                t = self.wanted[len(self.kept)]
                if (piece.end - t) * self.direction < 0:
                    break
                self.kept.append((t, piece.at(t)))
        elif cut is None:
            self.kept.append((piece.end, piece.step.y1))
        else:
            self.kept.append((cut.moment.time, cut.moment.y))
            if cut.after is not None:
                self.kept.append((cut.moment.time, cut.after))

    def times(self) -> Tensor:
        """Return the times, (T,), with the gradients of those that events found."""
        if any(isinstance(t, Tensor) for t, _ in self.kept):
            return torch.stack([torch.as_tensor(t, dtype=torch.float64) for t, _ in self.kept])
        return torch.tensor([t for t, _ in self.kept], dtype=torch.float64)

    def states(self) -> Tensor:
        """Return the states, (T, *)."""
        return torch.stack([y for _, y in self.kept]) if self.kept else self.y0.new_zeros((0, *self.y0.shape))


def check_span(t_span: Sequence[float]) -> tuple[float, float]:
    """Return the ends of ``t_span``, which must be two different finite times."""
    ends = check_times(t_span, "t_span")
    if len(ends) != 2:
        raise ValueError(f"t_span must be (first time, last time), got {len(ends)} numbers; times to return are t_eval")
    return ends[0], ends[1]


def check_inside(times: list[float], start: float, end: float) -> list[float]:
    """Return ``times`` if they lie between ``start`` and ``end``, in that direction; raise ``ValueError`` otherwise."""
    low, high = min(start, end), max(start, end)
    if not all(low <= t <= high for t in times):
        raise ValueError(f"t_eval must lie inside t_span, between {low:g} and {high:g}")
    if len(times) > 1 and (times[-1] - times[0]) * (end - start) < 0:
        raise ValueError(f"t_eval must run in the direction of t_span, from {start:g} to {end:g}")
    return times
