"""Checkpointing: keep some states of the forward solve, make the steps between them again on the way back.

Sources: Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation,
Optim. Methods Softw. 1 (1992) 35; Griewank & Walther, Algorithm 799: revolve, ACM Trans. Math. Softw. 26 (2000) 19.
"""

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.replay import Replay, Trail
from ndelib.solvers.steps.step import Step

Checkpoints = int | Literal["log"] | None


class Checkpoint:
    """Every state is kept, one a step (two or more where the method remembers more; see ``Step.memory``)."""

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

        def watch(step: Step) -> None:
            nonlocal memory
            self.trail.add(step, problem.piece)
            stages = step.k if problem.method.solves_stages else []
            saved.extend((step.y, *memory, *stages))
            self.counts.append((len(memory), len(stages)))
            memory = step.memory

        return self.readout.solve(watch), saved

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Make every step again, the last first."""
        replay = Replay(self.readout, self.trail, self.parameters, cotangents)
        end = len(saved)
        for n in reversed(range(len(self.trail))):
            memories, stages = self.counts[n]
            first = end - stages - memories - 1
            own, end = saved[first:end], first
            replay.pull_back(n, own[0], own[1 : 1 + memories], own[1 + memories :] or None)
        return replay.result()


class RecursiveCheckpoint:
    """At most ``slots`` states are kept at a time; those between are made again from the nearest one before them.

    With s slots and every step made again at most r times, (s + r)! / (s! r!) steps can be differentiated: for a fixed
    r the slots grow like the r-th root of the number of steps, and with log₂ n slots r grows like log n, too.
    """

    def __init__(self, readout: Readout, parameters: Sequence[Tensor], slots: int | Literal["log"]) -> None:
        self.readout, self.parameters, self.slots = readout, parameters, slots

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep the first state only: how many there will be is not known before the end."""
        problem = self.readout.problem
        problem.y0 = y0
        trail = self.trail = Trail(self.readout.times[0])
        return self.readout.solve(lambda step: trail.add(step, problem.piece)), [y0]

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Go back from the last step, over states that are made again and kept where it saves most."""
        replay = Replay(self.readout, self.trail, self.parameters, cotangents)
        steps = len(self.trail)
        if steps:
            slots = max(1, math.ceil(math.log2(steps))) if self.slots == "log" else self.slots
            _pull_back(replay, 0, steps, (saved[0],), slots - 1)
        return replay.result()


def _pull_back(replay: Replay, first: int, last: int, state: Sequence[Tensor], slots: int) -> None:
    """Go back over the steps from ``first`` to before ``last``; ``slots`` states can be kept besides ``state``.

    A state is y and what the method remembers there.
    """
    while last - first > 1:
        if slots == 0:
            replay.pull_back(last - 1, *_apart(_advance(replay, state, first, last - 1)))
            last -= 1
        else:
            middle = last - largest_right_part(last - first, slots)
            _pull_back(replay, middle, last, _advance(replay, state, first, middle), slots - 1)
            last = middle
    replay.pull_back(first, *_apart(state))


def _advance(replay: Replay, state: Sequence[Tensor], first: int, last: int) -> Sequence[Tensor]:
    """Return the state where step ``last`` begins, made from that of ``first``."""
    for n in range(first, last):
        step = replay.make(n, *_apart(state))
        state = (step.y1, *step.memory)
    return state


def largest_right_part(steps: int, slots: int) -> int:
    """Return how many of ``steps`` to leave behind the next state that is kept, when ``slots`` are free.

    Of the smallest number r of times that steps must be made again, so that C(slots + r, slots) ≥ ``steps``: the part
    behind has one slot less, the part before one repetition less, and both must be able to do with that.
    """
    r = 1
    while math.comb(slots + r, slots) < steps:
        r += 1
    return max(1, steps - math.comb(slots + r - 1, slots))


def _apart(state: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    return state[0], state[1:]
