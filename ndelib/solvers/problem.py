"""An initial value problem, checked and put in the form that loops want: one tensor, one field, floats as times."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.clock import Clock
from ndelib.solvers.field import CheckedField, checked_parts
from ndelib.solvers.loops.adaptive import adaptive_steps
from ndelib.solvers.loops.compiled import check_compilable, compiled_step, compiled_steps
from ndelib.solvers.loops.fixed_step import fixed_steps
from ndelib.solvers.options import Options, check_finite, check_state, check_takes, check_tolerances, gives_tolerance
from ndelib.solvers.solution import in_parts
from ndelib.solvers.steps import dense, implicit
from ndelib.solvers.steps.jacobian import Jacobian
from ndelib.solvers.steps.methods import METHODS, MethodLike, find_method
from ndelib.solvers.steps.step import (
    Interpolant,
    Look,
    Method,
    Statistics,
    Step,
    StepFunction,
    checked_steps,
    time_like,
)

Tensors = tuple[Tensor, ...]
State = Tensor | Tensors


class Problem:
    """``dy/dt = f(t, y)`` from a state, by a method: what :func:`odeint` and :func:`solve_ivp` have in common.

    ``steps`` makes the solve and yields its accepted steps, ``interpolate`` turns one of them into a curve, and
    ``unflatten`` gives a state the form that ``y0`` had.
    """

    def __init__(
        self,
        f: Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]],
        y0: State,
        method: MethodLike,
        options: Options,
    ) -> None:
        self.method = self._read_method(method)
        self.distrusts_steps = isinstance(method, Method)  # a user made it
        self.options = options
        self.statistics = options.statistics or Statistics()
        self.statistics.clear()
        self.parts: Tensors | None = y0 if isinstance(y0, tuple) else None
        if isinstance(y0, tuple):
            self.y0 = flatten(y0, "y0")
        else:
            check_state(y0, "y0")
            self.y0 = y0.clone()  # so that dense output does not hear of what becomes of y0 later
        check_finite(self.y0, "y0")
        self.clock = Clock(self.y0.dtype)
        self.shapes = tuple(tuple(part.shape) for part in self.parts) if self.parts else None
        self.traceable: tuple[Any, Any] = f, self.shapes  # f as it was given, for compile=
        self.halves: tuple[CheckedField, CheckedField] | None = None
        if isinstance(y0, tuple):
            if isinstance(f, tuple):
                f = self._join_halves(f, y0)
            f = self._on_vectors(f)
        elif isinstance(f, tuple):
            raise ValueError("f = (velocity, force) needs y0 = (q, p), a pair of tensors")
        elif not callable(f):
            raise TypeError(f"f must be a function f(t, y) -> dy/dt, got {type(f).__name__}")
        self.field = CheckedField(f, self.y0, self.statistics, options.args)
        self.jacobian = self._read_jacobian()
        self.adaptive = self.method.adaptive if options.adaptive is None else options.adaptive
        if options.step_size is not None and options.adaptive is None:
            self.adaptive = False
        self._check_combination()

    def _read_method(self, method: MethodLike) -> Method:
        return find_method(method)

    def steps(self, times: Sequence[float]) -> Iterator[Step]:
        """Yield the accepted steps from ``times[0]`` to ``times[-1]``, landing on requested times (see the loops)."""
        o = self.options
        low, high = min(times[0], times[-1]), max(times[0], times[-1])
        jumps = sorted({float(t) for t in o.step_at if low < t < high}, reverse=times[-1] < times[0])
        y, self.first_step = self.y0, o.first_step
        for start, end in pairwise([times[0], *jumps, times[-1]]):
            # From jump to jump the field is smooth, and each piece is a solve of its own, but for the length of its
            # first step.
            self.enter(start, end)
            inside = [t for t in times if min(start, end) < t < max(start, end)]
            piece = [start, *inside, end]
            steps = self._adaptive(piece, y) if self.adaptive else self._fixed(piece, y)
            while True:
                try:
                    step = next(steps)
                except StopIteration as piece_ended:
                    self.first_step = piece_ended.value
                    break
                if abs(step.t1) * self.clock.doubtful > abs(step.t1 - step.t) and self.clock.is_due():
                    self._look_at_clock(step)
                yield step
                y = step.y1

    def _look_at_clock(self, step: Step) -> None:
        """Look whether f can tell the times of ``step`` apart."""
        at = min(max(step.t1, self.field.low), self.field.high)  # on the side of a jump that the solve is on
        apart = math.copysign(self.clock.spacing(at), self.piece[0] + self.piece[1] - 2 * at)  # inwards
        t, other = time_like(at, step.y1), time_like(at + apart, step.y1)
        y, h = step.y1.detach(), step.h
        if self.options.compile == "solve":  # this step stands for many
            h = (step.t1 - self.piece[0]) / max(1, self.statistics.steps)
        scale = self.options.atol + self.options.rtol * y.abs()
        self.clock.look(lambda time: self.moves(time, y, h), t, other, scale, h, abs(apart))

    def moves(self, t: Tensor, y: Tensor, h: float) -> list[Tensor]:
        """Return by what f at ``t`` moves ``y`` in a step of length ``h``, (*) each; not counted as evaluations."""
        return [h * self.field.uncounted(t, y)]

    def enter(self, start: float, end: float) -> None:
        """Make ready for steps from ``start`` to ``end``, between which f is smooth."""
        self.piece = start, end
        for field in (self.field, *(self.halves or ())):
            field.restrict(start, end, self.options.step_at)  # also where a jump is the first or the last time
        if self.options.compile is None:
            self.make_step = self._start()
        else:
            self.make_step = compiled_step(self.method, self.field, *self.traceable)

    def _start(self) -> StepFunction:
        """Return the function that makes a step; what a user's own method returns is checked."""
        make_step = self.method.start(self.field, self.statistics, **self.options_of_method())
        return checked_steps(self.method, make_step) if self.distrusts_steps else make_step

    def _adaptive(self, times: Sequence[float], y: Tensor) -> Iterator[Step]:
        o = self.options
        if o.compile == "solve":
            return compiled_steps(
                self.method, self.field, *self.traceable, y, times, o, self.statistics, first_step=self.first_step
            )
        return adaptive_steps(
            self.method, self.make_step, self.field, y, times, o, self.statistics, first_step=self.first_step
        )

    @cached_property
    def look(self) -> Look | None:
        """What a loop of fixed steps shows its steps to, the same for all pieces of a solve."""
        look = None if self.adaptive else self.method.look
        return look(self.field, self.statistics, **self.options_of_method()) if look else None

    def _fixed(self, times: Sequence[float], y: Tensor) -> Iterator[Step]:
        return fixed_steps(self.method, self.make_step, y, times, self.options.step_size, self.statistics, self.look)

    def interpolate(self, step: Step) -> Interpolant:
        """Return the curve over ``step`` of the method's dense output."""
        if self.options.compile == "solve":
            raise ValueError('compile="solve" keeps no single steps, so there is no dense output: use compile="step"')
        return dense.interpolate(self.method, self.field, step)

    def unflatten(self, y: Tensor) -> Any:
        """Give ``y``, of the shape (…, n) where ``y0`` was a tuple, the form of ``y0`` behind leading dimensions."""
        return in_parts(y, self.shapes)

    def report(self, t: float, y: Tensor) -> None:
        """Tell the user of an accepted step, which ended with ``y`` at ``t``."""
        if self.options.on_step is not None:
            self.options.on_step(t, self.unflatten(y.detach().clone()))

    def _on_vectors(self, f: Callable[..., Any]) -> Callable[..., Tensor]:
        """Return a field of tuples as a field of vectors."""
        assert self.parts is not None
        shapes = [tuple(part.shape) for part in self.parts]

        def field(t: Tensor, y: Tensor, *args: Any) -> Tensor:
            return flatten(tuple(checked_parts(f(t, self.unflatten(y), *args), shapes, y, "y0")), "f(t, y)")

        return field

    def _join_halves(self, f: tuple[Callable[..., Any], ...], y0: Tensors) -> Callable[..., Any]:
        """Keep ``f = (velocity, force)`` for splitting methods, which ask for one at a time; return both as one."""
        if len(f) != 2 or len(y0) != 2 or y0[0].shape != y0[1].shape:
            raise ValueError("f = (velocity, force) needs y0 = (q, p), a pair of tensors of the same shape")
        velocity, force = f
        shape = y0[0].shape

        def on_vectors(half: Callable[..., Any]) -> CheckedField:
            def field(t: Tensor, y: Tensor, *args: Any) -> Any:
                dy = half(t, y.reshape(shape), *args)
                return dy.reshape(-1) if isinstance(dy, Tensor) and dy.shape == shape else dy

            return CheckedField(field, y0[0].reshape(-1), self.statistics, self.options.args)

        self.halves = on_vectors(velocity), on_vectors(force)
        return lambda t, state, *args: (velocity(t, state[1], *args), force(t, state[0], *args))

    def _read_jacobian(self) -> Jacobian | None:
        """Return the user's ``jacobian(t, y, *args)`` as a function of t and y."""
        given, args = self.options.jacobian, self.options.args
        if given is None or not args:
            return given
        check_takes(given, "jacobian", args)
        return lambda t, y: given(t, y, *args)

    def _check_combination(self) -> None:
        """Raise ``ValueError`` where options and method do not go together."""
        o, name = self.options, self.method.name
        if o.compile == "solve" and o.on_step is not None:
            raise ValueError('compile="solve" makes no single steps that on_step could see: use compile="step"')
        if o.compile is not None:
            check_compilable(self.method, o.compile, self.adaptive)
        if self.adaptive:
            if not self.method.adaptive:
                known = ", ".join(m.name for m in METHODS.values() if m.adaptive)
                raise ValueError(f"method {name!r} has no error estimate, so adaptive=True cannot work: try {known}")
            if o.step_size is not None:
                raise ValueError("step_size is for fixed steps; with adaptive=True use first_step or max_step")
            check_tolerances(self.y0, o.rtol, o.atol)
        else:
            defaults = Options()
            for option in ("first_step", "min_step", "max_step", "max_steps"):
                if getattr(o, option) != getattr(defaults, option):
                    raise ValueError(f"{option} is for adaptive steps, and these are fixed: use step_size")
        if self.y0.numel() == 0 and name in ("implicit_midpoint", *implicit.METHODS):
            raise ValueError(f"y0 is empty, {tuple(self.y0.shape)}: {name!r} has no equation to solve")
        for option in ("jacobian", "omega"):
            if getattr(o, option) is not None and option not in self.method.options:
                known = ", ".join(m.name for m in METHODS.values() if option in m.options)
                raise ValueError(f"method {name!r} has no use for {option}; these have: {known}")
        if "split" in self.method.options and (
            self.parts is None or len(self.parts) != 2 or self.parts[0].numel() != self.parts[1].numel()
        ):
            raise ValueError(
                f"method {name!r} needs positions and momenta apart: y0 = (q, p), two tensors of the same shape, and "
                "f(t, (q, p)) -> (dq/dt, dp/dt)"
            )

    def options_of_method(self) -> dict[str, Any]:
        """Return the options that only this method understands."""
        o = self.options
        split = self.parts[0].numel() if self.parts else None
        # With fixed steps there is no tolerance, unless the user gave one.
        tolerant = self.adaptive or gives_tolerance(o)
        all_options = {
            "rtol": o.rtol if tolerant else None,
            "atol": o.atol if tolerant else None,
            "jacobian": self.jacobian,
            "omega": o.omega,
            "split": split,
            "halves": self.halves,
        }
        return {name: all_options[name] for name in self.method.options if all_options[name] is not None}


def flatten(state: Tensors, name: str) -> Tensor:
    """Join a tuple of tensors into one vector."""
    for i, part in enumerate(state):
        check_state(part, f"{name}[{i}]")
    if not state:
        raise ValueError(f"{name} is an empty tuple: it must hold at least one tensor")
    if len({part.dtype for part in state}) > 1:
        raise TypeError(f"the parts of {name} must share one dtype, got {', '.join(str(p.dtype) for p in state)}")
    if len({part.device for part in state}) > 1:
        raise ValueError(f"the parts of {name} must be on one device, got {', '.join(str(p.device) for p in state)}")
    return torch.cat([part.reshape(-1) for part in state])
