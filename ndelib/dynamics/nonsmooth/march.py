"""How a solution of a Filippov system is followed: smooth pieces on the event solver, joined at the surface.

Each piece is a ``solve_ivp`` with terminal events. With the time of an event t*, which carries its gradient, the next
piece starts at the fixed number t* from y* − f_after δ, δ = t* − its value: zero, but for its gradient, so that
back-propagation multiplies by the saltation matrix (see ``ndelib/solvers/events/watch.py``).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.dynamics.nonsmooth.fields import MINUS, ON, PLUS, Choice, TwoFields
from ndelib.dynamics.nonsmooth.phase import Phase
from ndelib.dynamics.nonsmooth.saltation import saltation_matrix
from ndelib.dynamics.nonsmooth.solution import FilippovSolution, Part, SurfaceEvent, Track
from ndelib.dynamics.nonsmooth.surface import dot, normal, onto
from ndelib.solvers.errors import SolverError
from ndelib.solvers.events.events import Event
from ndelib.solvers.graph import values
from ndelib.solvers.options import check_times
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
    if not isinstance(system, TwoFields):
        raise TypeError(f"system must be a Filippov system, got {type(system).__name__}")
    check_state(y0)
    if repelling not in ("error", "minus", "plus"):
        raise ValueError(f"repelling must be 'error', 'minus' or 'plus', got {repelling!r}")
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
