"""Checkpointing: keep some states of the forward solve, make the steps between them again on the way back.

Sources: Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation,
Optim. Methods Softw. 1 (1992) 35; Griewank & Walther, Algorithm 799: revolve, ACM Trans. Math. Softw. 26 (2000) 19.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from ndelib.adjoints.backward.ambient import RandomState
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.replay import Replay, Trail
from ndelib.solvers.steps.step import Step

Checkpoints = int | Literal["log"] | None


class Checkpoint:
    """Every state is kept, one a step (two or more where the method remembers more; see ``Step.memory``).

    Where f draws random numbers, also the slope that a step began with, if it is that of the step before.
    """

    name, makes_steps_again, random = "checkpoint", True, False

    def __init__(self, readout: Readout, parameters: Sequence[Tensor]) -> None:
        self.readout, self.parameters = readout, parameters

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep what every step began with."""
        problem = self.readout.problem
        problem.y0 = y0
        self.trail = Trail(self.readout.times[0])
        self.counts: list[tuple[int, int]] = []  # of the tensors of each step: its memory, its stages
        saved: list[Tensor] = []
        memory: tuple[Tensor, ...] = ()
        slope: Tensor | None = None

        def watch(step: Step) -> None:
            nonlocal memory, slope
            self.trail.add(step, problem.piece)
            given = [slope] if self.random and slope is not None else []
            stages = step.k if problem.method.solves_stages else given
            saved.extend((step.y, *memory, *stages))
            self.counts.append((len(memory), len(stages)))
            memory, slope = step.memory, step.f1

        outputs = self.readout.solve(watch, random_states(self.trail, y0) if self.random else lambda: None)
        return outputs, [outputs[0][-1].clone(), *saved]  # a copy: users may write into what they get

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Make every step again, the last first."""
        last, *kept = saved
        replay = Replay(self.readout, self.trail, self.parameters, cotangents, last)
        end = len(kept)
        for n in reversed(range(len(self.trail))):
            memories, stages = self.counts[n]
            first = end - stages - memories - 1
            (y, *memory), k = kept[first : end - stages], kept[end - stages : end]
            solved = k if self.readout.problem.method.solves_stages else None
            replay.pull_back(n, y, memory, k[0] if k else None, solved)
            end = first
        return replay.result()


def random_states(trail: Trail, y0: Tensor) -> Callable[[], None]:
    """Return a function that notes in ``trail`` the states of random generators; the first are noted now."""

    def note() -> None:
        trail.random.append(RandomState.now(y0.device))

    note()
    return note


class RecursiveCheckpoint:
    """At most ``slots`` states are kept at a time; those between are made again from the nearest one before them.

    With s slots, the first state among them, and every step made again at most r times, (s + r)! / (s! r!) steps can be
    differentiated. For a fixed r the slots grow like the r-th root of the number of steps; with log₂ n slots r grows
    like log n, too.

    Where f draws random numbers, the states of their generators are kept for every step all the same.
    """

    name, makes_steps_again, random = "checkpoint", True, False

    def __init__(self, readout: Readout, parameters: Sequence[Tensor], slots: int | Literal["log"]) -> None:
        self.readout, self.parameters, self.slots = readout, parameters, slots

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep the first state only: how many there will be is not known before the end."""
        problem = self.readout.problem
        problem.y0 = y0
        trail = self.trail = Trail(self.readout.times[0])
        done = random_states(trail, y0) if self.random else lambda: None
        outputs = self.readout.solve(lambda step: trail.add(step, problem.piece), done)
        return outputs, [outputs[0][-1].clone(), y0]

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Go back from the last step, over states that are made again and kept where it saves most."""
        last, y0 = saved
        replay = Replay(self.readout, self.trail, self.parameters, cotangents, last)
        steps = len(self.trail)
        if steps:
            slots = max(1, math.ceil(math.log2(steps))) if self.slots == "log" else self.slots
            _pull_back(replay, 0, steps, Kept(y0), slots - 1)
        return replay.result()


class Kept(NamedTuple):
    """A state from which steps are made again."""

    y: Tensor
    memory: tuple[Tensor, ...] = ()
    """what the method remembers there"""
    f0: Tensor | None = None
    """the slope there, where f draws random numbers and would not give it again"""


def _pull_back(replay: Replay, first: int, last: int, kept: Kept, slots: int) -> None:
    """Go back over the steps from ``first`` to before ``last``; ``slots`` states can be kept besides ``kept``."""
    while last - first > 1:
        if slots == 0:
            replay.pull_back(last - 1, *_advance(replay, kept, first, last - 1))
            last -= 1
        else:
            middle = first + steps_before(last - first, slots)
            _pull_back(replay, middle, last, _advance(replay, kept, first, middle), slots - 1)
            last = middle
    replay.pull_back(first, *kept)


def _advance(replay: Replay, kept: Kept, first: int, last: int) -> Kept:
    """Return the state where step ``last`` begins, made from that of ``first``."""
    for n in range(first, last):
        step = replay.make(n, *kept)
        kept = Kept(step.y1, step.memory, step.f1 if replay.trail.random else None)
    return kept


def steps_before(steps: int, slots: int) -> int:
    """Return after how many of ``steps`` to keep the next state, when ``slots`` are free besides the first one.

    Let r be the smallest number of times that steps must be made again, so that C(s + r, s) ≥ ``steps`` for
    s = slots + 1. The part before the state has s slots and r − 1 repetitions, the part behind it s − 1 slots and r
    repetitions. Of the splits that both can do, this is one with the fewest steps in all (Griewank & Walther 2000).
    """
    s, r = slots + 1, 1
    while math.comb(s + r, s) < steps:
        r += 1
    return max(1, min(math.comb(s + r - 1, s), steps - math.comb(s + r - 2, s - 1)))
