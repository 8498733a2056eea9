"""Exact gradients without stored states: the steps of the method are undone, one by one.

Sources: Zhuang, Dvornek, Tatikonda & Duncan, MALI: a memory efficient and reverse accurate integrator for neural ODEs,
ICLR 2021; McCallum & Foster, Efficient, accurate and stable gradients for neural ODEs, arXiv:2410.11648 (2024).
"""

from collections.abc import Sequence

from torch import Tensor

from ndelib.adjoints.backward.deviation import Policy, check_deviation, could_not_go_back
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.replay import Replay, Trail
from ndelib.solvers.diagnosis import newton_did_not_converge
from ndelib.solvers.steps.step import Step, StepRejected


class Reversible:
    """Nothing is kept but the last state and what the method remembers there; steps are walked back from it."""

    name, makes_steps_again, random = "reversible", False, False

    def __init__(self, readout: Readout, parameters: Sequence[Tensor], deviation: Policy) -> None:
        self.readout, self.parameters, self.deviation = readout, parameters, deviation

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep where the last step of each piece ended: a jump of f makes a method forget."""
        problem = self.readout.problem
        problem.y0 = y0
        self.trail = Trail(self.readout.times[0])
        ends: list[tuple[Tensor, ...]] = []

        def watch(step: Step) -> None:
            self.trail.add(step, problem.piece)
            ends[len(self.trail.pieces) - 1 :] = [(step.y1, *step.memory)]

        outputs = self.readout.solve(watch)
        self.counts = [len(state) for state in ends]
        return outputs, [y0, *(tensor for state in ends for tensor in state)]

    def backward(self, saved: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Undo every step, the last first, and make it again to differentiate it."""
        replay = Replay(self.readout, self.trail, self.parameters, cotangents)
        problem, ends = self.readout.problem, self.trail.ends
        assert problem.method.reverse is not None
        last, options = len(self.trail), problem.options
        kept = saved[1:]
        for (first, _), count in zip(reversed(self.trail.pieces), reversed(self.counts), strict=True):
            state, kept = kept[-count:], kept[:-count]
            replay.enter(first)
            undo = problem.method.reverse(problem.field, problem.statistics, **problem.options_of_method())
            for n in reversed(range(first, last)):
                t, t1 = ends[n], ends[n + 1]
                after = Step(t, t1, state[0], state[0], [], None, None, tuple(state[1:]))
                try:
                    step = undo(t1, state[0], t, None, after)
                    state = (step.y1, *step.memory)
                    replay.pull_back(n, state[0], state[1:])
                except StepRejected as refusal:  # the way there could be made: the way back has left it
                    error = newton_did_not_converge(refusal.reason, t1, t - t1)
                    raise could_not_go_back("reversible", error) from None
            last = first
            if first == 0:  # here it is known what should come out: rounding errors may have grown on the way back
                check_deviation(state[0], saved[0], options.rtol, options.atol, ends[0], self.deviation, "reversible")
        return replay.result()
