"""How a solution of a Filippov system is followed: smooth pieces on the event solver, joined at the surface.

Each piece is a ``solve_ivp`` with terminal events. With the time of an event t*, which carries its gradient, the next
piece starts at the fixed number t* from y* − f_after δ, δ = t* − its value: zero, but for its gradient, so that
back-propagation multiplies by the saltation matrix (see ``ndelib/solvers/events/watch.py``).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.dynamics.nonsmooth.fields import MINUS, ON, PLUS, Choice, TwoFields
from ndelib.dynamics.nonsmooth.saltation import saltation_matrix
from ndelib.dynamics.nonsmooth.surface import dot, normal, onto
from ndelib.solvers.errors import SolverError
from ndelib.solvers.events.events import Event
from ndelib.solvers.graph import values
from ndelib.solvers.options import check_times
from ndelib.solvers.solution import Solution
from ndelib.solvers.solve_ivp import check_inside, check_span, solve_ivp
from ndelib.solvers.steps.step import VectorField

KINDS = {
    (MINUS, PLUS): "crossing",
    (PLUS, MINUS): "crossing",
    (MINUS, ON): "sliding",
    (PLUS, ON): "sliding",
    (ON, MINUS): "leaving",
    (ON, PLUS): "leaving",
    (MINUS, MINUS): "grazing",
    (PLUS, PLUS): "grazing",
}


@dataclass(frozen=True, eq=False)
class SurfaceEvent:
    """A meeting with the surface."""

    kind: str
    """``"crossing"``, ``"sliding"`` (it begins), ``"leaving"`` (it ends) or ``"grazing"`` (it touched, and stays)"""
    t: float
    time: Tensor
    """the same as ``t``, with its gradient"""
    y: Tensor
    """the state, (d,)"""
    before: int
    """the mode on arrival: -1, 1 for the sides, 0 for sliding"""
    after: int
    """the mode with which it goes on"""
    slope: float
    """nᵀf/(|n||f|) on arrival, the sine of the angle at which the surface was met; 0 where it was touched"""


class Part(NamedTuple):
    """A smooth piece of the solution."""

    mode: int
    start: float
    end: float
    solution: Solution
    place: Callable[[Tensor], Tensor]
    """moves a state of this piece onto the surface if it slides"""


@dataclass(frozen=True, eq=False)
class FilippovSolution:
    """The result of :meth:`Filippov.solve`."""

    t: Tensor
    """the times of ``y``, (T,), float64: those asked for, or the ends of all steps"""
    y: Tensor
    """the states, (T, d)"""
    modes: Tensor
    """with which field each state was reached, (T,): -1 for f₋, 1 for f₊, 0 for sliding"""
    events: tuple[SurfaceEvent, ...]
    """meetings with the surface in the order of time"""
    steps: int
    """accepted steps"""
    nfe: int
    """evaluations of the fields"""
    final_mode: int
    """the mode at the last time, to go on from"""
    parts: tuple[Part, ...] = ()

    def sol(self, t: float | Tensor) -> Tensor:
        """Return the solution at ``t``, a number or (T,): (d,) or (T, d). Needs ``solve(..., dense=True)``."""
        if not self.parts or self.parts[0].solution.dense is None:
            raise ValueError("this solution was not kept as a function of time: call solve(..., dense=True)")
        times = torch.as_tensor(t, dtype=torch.float64)
        states = [self._at(time) for time in times.reshape(-1).tolist()]
        return torch.stack(states).reshape(*times.shape, -1) if states else self.y[:0]

    def _at(self, t: float) -> Tensor:
        first, last = self.parts[0], self.parts[-1]
        way = 1.0 if last.end >= first.start else -1.0
        if not way * first.start <= way * t <= way * last.end:
            raise ValueError(f"t = {t:.10g} is outside the solve, from {first.start:.10g} to {last.end:.10g}")
        part = next(part for part in self.parts if way * t <= way * part.end)
        return part.place(part.solution.sol(t))


class Phase(NamedTuple):
    """A solution as it is carried along: the state, and below it the linear flow, if that is wanted."""

    d: int
    tangents: int
    """columns of the linear flow, 0 for none"""

    def join(self, y: Tensor, M: Tensor) -> Tensor:
        """Return (y, M) as one vector: (d,), (d, k) -> (d + dk,)."""
        return torch.cat([y, M.reshape(-1)])

    def state(self, z: Tensor) -> Tensor:
        """Return the state in ``z``."""
        return z[..., : self.d] if self.tangents else z

    def matrix(self, z: Tensor) -> Tensor:
        """Return the linear flow in ``z``, (d, k)."""
        return z[self.d :].reshape(self.d, self.tangents)

    def lift(self, f: VectorField) -> VectorField:
        """Return the field (f, Df M) on vectors (y, M)."""
        if not self.tangents:
            return f

        def field(t: Any, z: Tensor) -> Tensor:
            v, J = with_jacobian(f, t, self.state(z))
            return self.join(v, J @ self.matrix(z))

        return field


def with_jacobian(f: VectorField, t: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(t, y) and ∂f/∂y at one state: (d,), (d, d)."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        v = f(t, y)
        rows = [torch.autograd.grad(v_i, y, retain_graph=True, allow_unused=True)[0] for v_i in v if v.requires_grad]
    empty = torch.zeros_like(y).detach()
    J = torch.stack([empty if row is None else row for row in rows]) if rows else y.new_zeros(len(y), len(y))
    return v.detach(), J


def march(
    system: TwoFields,
    y0: Tensor,
    t_span: Sequence[float],
    *,
    t_eval: Any = None,
    dense: bool = False,
    repelling: Choice = "error",
    max_events: int = 10_000,
    options: dict[str, Any],
    tangent: Tensor | None = None,
    saltation: bool = True,
    mode: int | None = None,
) -> FilippovSolution:
    """Follow the solution of ``system`` from ``y0``, (d,); with a ``tangent``, (d, k), also the linear flow.

    With a tangent the states of the result are the vectors (y, M). ``saltation=False`` leaves M as it is at events,
    which is wrong and there to be measured. ``mode`` goes on in a known mode.
    """
    check_state(y0)
    start, end = check_span(t_span)
    way = 1.0 if end > start else -1.0
    wanted = None if t_eval is None else check_inside(check_times(t_eval, "t_eval"), start, end)
    phase = Phase(len(y0), 0 if tangent is None else tangent.shape[1])
    z = y0 if tangent is None else phase.join(y0, tangent)
    if mode is None:
        mode = int(system.region(values(y0))) or system.mode_at(values(y0), start, way, repelling)
    if mode == ON and tangent is not None:
        n = normal(system.surface, y0)
        z = phase.join(y0, tangent - torch.outer(n, n @ tangent) / (n @ n))  # off the surface nothing lasts
    track = Track(z, start, mode, wanted, way)
    t = start
    parts: list[Part] = []
    met: list[SurfaceEvent] = []
    fields = {MINUS: system.f_minus, ON: sliding(system), PLUS: system.f_plus}
    while way * t < way * end:
        place = placer(system, phase) if mode == ON else keep
        part = solve_ivp(
            phase.lift(fields[mode]),
            (t, end),
            place(z),
            events=endings(system, phase, mode, way),
            t_eval=track.times_for_solver(t, end),
            dense=dense,
            **options,
        )
        stopped = [i for i, times in enumerate(part.t_events) if len(times)]
        now = values(part.t_events[stopped[0]][-1]).item() if stopped else end
        parts.append(Part(mode, t, now, part, place))
        track.add(part, place, mode)
        if not stopped:
            z = place(part.y[-1])
            break
        if len(met) >= max_events:
            raise SolverError(
                f"more than max_events = {max_events} meetings with the surface up to t = {now:.10g}: raise "
                "max_events, or solve over a shorter time",
                t=now,
                h=now - t,
            )
        time, z = part.t_events[stopped[0]][-1], place(part.y_events[stopped[0]][-1])
        event = meet(system, phase.state(z), time, mode, stopped, way, repelling)
        met.append(event)
        z = across(system, phase, fields, event, z, saltation)
        t, mode = now, event.after
    return FilippovSolution(
        t=track.stacked_times(),
        y=torch.stack(track.states) if track.states else z.new_zeros((0, *z.shape)),
        modes=torch.tensor(track.modes, dtype=torch.int8),
        events=tuple(met),
        steps=sum(int(part.solution.steps) for part in parts),
        nfe=sum(int(part.solution.nfe) for part in parts),
        final_mode=mode,
        parts=tuple(parts) if dense else (),
    )


def check_state(y0: Tensor) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``y0`` is one finite real state, (d,)."""
    if not isinstance(y0, Tensor):
        raise TypeError(f"y0 must be a tensor, (d,), got {type(y0).__name__}")
    if y0.ndim != 1 or not y0.is_floating_point():
        raise ValueError(
            f"y0 must be one real state, (d,), got the shape {tuple(y0.shape)} and dtype {y0.dtype}: samples meet the "
            "surface at different times, so solve them one by one"
        )
    if not bool(torch.isfinite(values(y0)).all()):
        raise ValueError(f"y0 must be finite, got {values(y0).tolist()}")


def keep(z: Tensor) -> Tensor:
    """Return ``z``."""
    return z


def placer(system: TwoFields, phase: Phase) -> Callable[[Tensor], Tensor]:
    """Return the function that moves a state onto the surface and leaves its linear flow alone."""

    def place(z: Tensor) -> Tensor:
        y = onto(system.surface, onto(system.surface, phase.state(z)))
        return torch.cat([y, z[..., phase.d :]], dim=-1) if phase.tangents else y

    return place


def sliding(system: TwoFields) -> VectorField:
    """Return the sliding field, asked on the surface: at the nearest point of it."""
    return lambda t, y: system.sliding_field(onto(system.surface, y), t)


def endings(system: TwoFields, phase: Phase, mode: int, way: float) -> list[Event]:
    """Return the events that end a piece: the surface; or, in sliding, where σ₋ or σ₊ reaches zero."""
    if mode != ON:
        return [Event(lambda t, z: system.surface(phase.state(z)), terminal=True, direction=-mode)]

    def rate(t: Any, z: Tensor, side: int) -> Tensor:
        return way * system.rates(onto(system.surface, phase.state(z)), t)[side]

    return [
        Event(lambda t, z: rate(t, z, 0), terminal=True, direction=-1),
        Event(lambda t, z: rate(t, z, 1), terminal=True, direction=1),
    ]


def meet(
    system: TwoFields, y: Tensor, time: Tensor, mode: int, stopped: list[int], way: float, repelling: Choice
) -> SurfaceEvent:
    """Say what becomes of a solution that has arrived at the surface, or at the end of sliding."""
    t, plain = values(time).item(), values(y)
    with torch.no_grad():
        n = values(normal(system.surface, plain))
        arriving = {MINUS: system.f_minus, PLUS: system.f_plus, ON: system.sliding_field}
        v = system.sliding_field(plain, t) if mode == ON else arriving[mode](torch.as_tensor(t).to(plain), plain)
        slope = (dot(n, values(v)) / (n.norm() * values(v).norm())).item()
    if mode != ON:
        after = system.mode_at(plain, t, way, repelling, came_from=mode)
    else:
        minus, plus = (rate.item() for rate in system.rates(plain, t))
        other = abs(plus if stopped[0] == 0 else minus)
        size = n.norm().item() * max(
            values(f(torch.as_tensor(t).to(plain), plain)).norm().item() for f in fields_of(system)
        )
        if len(stopped) == 2 or other <= math.sqrt(torch.finfo(plain.dtype).eps) * size:
            if repelling == "error":
                raise ValueError(
                    f"sliding reaches a point where both fields are tangent to the surface at t = {t:.10g}, y = "
                    f"{plain.tolist()} (a two-fold): the future is not unique. Choose with repelling='minus' or 'plus'"
                )
            after = MINUS if repelling == "minus" else PLUS
        else:
            after = MINUS if stopped[0] == 0 else PLUS
        slope = 0.0
    return SurfaceEvent(KINDS[mode, after], t, time, y, mode, after, slope)


def fields_of(system: TwoFields) -> tuple[VectorField, VectorField]:
    """Return f₋ and f₊."""
    return system.f_minus, system.f_plus


def across(
    system: TwoFields,
    phase: Phase,
    fields: dict[int, VectorField],
    event: SurfaceEvent,
    z: Tensor,
    saltation: bool,
) -> Tensor:
    """Return what the next piece starts from: ``z``, but for its gradient, and its linear flow behind the surface."""
    t = torch.as_tensor(event.t).to(values(z))
    if event.before == event.after:
        return z
    if phase.tangents:
        if not saltation or event.before == ON:
            return z  # sliding ends where the two fields agree: the saltation matrix is the identity
        y = phase.state(z)
        S = saltation_matrix(fields[event.before](t, y), fields[event.after](t, y), normal(system.surface, y))
        return phase.join(y, S @ phase.matrix(z))
    if not event.time.requires_grad and not torch._C._functorch.is_functorch_wrapped_tensor(event.time):
        return z
    with torch.no_grad():
        after = fields[event.after](t, z)
    return z - after * (event.time - event.time.detach()).to(z)


class Track:
    """The states to return, with their modes."""

    def __init__(self, z: Tensor, start: float, mode: int, wanted: list[float] | None, way: float) -> None:
        self.wanted, self.way = wanted, way
        self.all_wanted = set(wanted or [])
        here = wanted is None or wanted[:1] == [start]
        self.times: list[Any] = [start] if here else []
        self.states: list[Tensor] = [z] if here else []
        self.modes: list[int] = [mode] if here else []

    def times_for_solver(self, t: float, end: float) -> list[float] | None:
        """Return ``t_eval`` for the next piece: what is still wanted, and the end."""
        if self.wanted is None:
            return None
        rest = [time for time in self.wanted if self.way * time > self.way * t]
        return rest if rest[-1:] == [end] else [*rest, end]

    def add(self, part: Solution, place: Callable[[Tensor], Tensor], mode: int) -> None:
        """Keep what was wanted of a piece."""
        times = part.t.unbind() if part.t.requires_grad else part.t.tolist()
        pairs = list(zip(times, part.y, strict=True))
        if self.wanted is None:
            pairs = pairs[1:]
        for t, z in pairs:
            if self.wanted is None or float(t) in self.all_wanted:
                self.times.append(t)
                self.states.append(place(z))
                self.modes.append(mode)

    def stacked_times(self) -> Tensor:
        """Return the times, (T,)."""
        if any(isinstance(t, Tensor) for t in self.times):
            return torch.stack([torch.as_tensor(t, dtype=torch.float64) for t in self.times])
        return torch.tensor(self.times, dtype=torch.float64)
