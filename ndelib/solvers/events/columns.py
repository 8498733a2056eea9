"""The functions of a solve's events as the columns of one table.

An event with a number has one column, an event with a number for each sample of a batch has B.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.events.events import Event
from ndelib.solvers.graph import values
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.step import time_like


class Columns:
    """The events of a solve, asked for their values and checked."""

    def __init__(self, problem: Problem, events: Sequence[Event], t: float) -> None:
        self.problem, self.events = problem, events
        with torch.no_grad():
            shapes = [self.evaluate(i, t, problem.y0).shape for i in range(len(events))]
        self.places = [(i, b) for i, shape in enumerate(shapes) for b in (range(shape[0]) if shape else [None])]
        """of each column the number of its event, and of its sample"""
        self.batched = [len(shape) > 0 for shape in shapes]
        for i, event in enumerate(events):
            if self.batched[i] and (event.terminal or event.reset):
                raise ValueError(
                    f"events[{i}] gives one value a sample, {tuple(shapes[i])}, but its "
                    f"{'terminal' if event.terminal else 'reset'} acts on the whole batch: let g return a scalar "
                    "(for a single state y[0] instead of y), or solve the samples one by one"
                )

    def __len__(self) -> int:
        return len(self.places)

    def event(self, column: int) -> Event:
        """Return the event of a column."""
        return self.events[self.places[column][0]]

    def name(self, column: int) -> str:
        """Name the event of a column, for messages."""
        i = self.places[column][0]
        return f"event {i}" + (f" ({self.events[i].name})" if self.events[i].name else "")

    def function(self, column: int) -> Any:
        """Return ``g(t, y)`` of a column, a scalar."""
        i, b = self.places[column]
        return (lambda t, y: self.evaluate(i, t, y)) if b is None else (lambda t, y: self.evaluate(i, t, y)[b])

    @torch.no_grad()
    def row(self, t: float, y: Tensor) -> Tensor:
        """Return the values of all columns at ``(t, y)``, (M,)."""
        every = [values(self.evaluate(i, t, y)).reshape(-1) for i in range(len(self.events))]
        return torch.cat(every) if every else torch.zeros(0)

    def evaluate(self, i: int, t: Any, y: Tensor) -> Tensor:
        """Return g(t, y) of event ``i``, () or (B,). Raises ``TypeError`` or ``ValueError`` if it is something else."""
        state = self.problem.unflatten(y.clone())  # a copy: an event may write into its y
        time = t if isinstance(t, Tensor) else time_like(t, y)
        g = self.events[i].g(time, state, *self.problem.options.args)
        if not isinstance(g, Tensor):
            raise TypeError(f"events[{i}] must return a tensor, got {type(g).__name__}")
        if not g.is_floating_point():
            raise TypeError(f"events[{i}] must return a real floating-point tensor, got {g.dtype}")
        if g.shape != values(g).shape:
            raise ValueError(f"events[{i}] differs from sample to sample of a vmap: give the batch to y0 instead")
        lengths = {part.shape[:1] for part in self.problem.parts or (self.problem.y0,)}
        if g.ndim > 0 and lengths != {g.shape}:
            batch = f", or one value a sample, {tuple(*lengths)}" if len(lengths) == 1 and any(lengths) else ""
            raise ValueError(f"events[{i}] must return a scalar, of the shape (){batch}; it returned {tuple(g.shape)}")
        return g
