"""The stochastic adjoint: the gradient of a Stratonovich equation as the solution of one that runs backwards.

Along straight lines of the noise dy = f dt + g ∘ dW is the ordinary equation dy/dt = f + g W/h in each step
(``stratonovich.py``), so its adjoint is the ordinary one, da/dt = −(∂(f + g W/h)/∂y)ᵀ a, step by step, on the same
path walked back. As steps become shorter that is da = −(∂f/∂y)ᵀ a dt − Σ_j (∂g^j/∂y)ᵀ a ∘ dW_j.

Source: Li, Wong, Chen & Duvenaud, Scalable gradients for stochastic differential equations, AISTATS 2020, theorem 3.1.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from ndelib.adjoints.backward.continuous import Adjoint, Backward
from ndelib.adjoints.backward.deviation import Policy, check_deviation
from ndelib.adjoints.backward.readout import Readout
from ndelib.adjoints.backward.replay import Trail
from ndelib.solvers.steps import runge_kutta
from ndelib.solvers.steps.step import Step
from ndelib.solvers.stochastic.problem import StochasticProblem
from ndelib.solvers.stochastic.stratonovich import chord

OFF = 1e-3
"""a hundredth of the relative error of the state on the way back that is worth a warning"""


class StochasticAdjoint(Adjoint):
    """Kept are the states at the requested times, and when the steps ended."""

    def __init__(self, readout: Readout, parameters: Sequence[Tensor], deviation: Policy) -> None:
        name = {"midpoint": "midpoint"}.get(readout.problem.method.name, "heun2")
        super().__init__(readout, parameters, Backward(runge_kutta.METHODS[name], OFF, OFF, deviation))
        assert isinstance(readout.problem, StochasticProblem)
        self.diffusion, self.noise = readout.problem.diffusion, readout.problem.noise

    def forward(self, y0: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Solve, and keep the states at the requested times."""
        problem = self.problem
        problem.y0 = y0
        self.trail = Trail(self.readout.times[0])
        outputs = self.readout.solve(lambda step: self.trail.add(step, problem.piece))
        return outputs, [outputs[0]]

    def steps(self, z: Tensor, start: float, end: float, size: float, cost: Tensor | None) -> Iterator[Step]:
        """Yield the steps of (y, a) from ``start`` back to ``end``, those of the forward solve."""
        tableau = self.how.method.tableau
        assert tableau is not None
        self.current = self.field(cost)
        ends = self.trail.ends
        last = ends.index(start)
        first = ends.index(end)
        for t, t1 in pairwise(ends[n] for n in range(last, first - 1, -1)):
            self.slope = chord(self.problem.field.uncounted, self.diffusion, self.noise, t, t1)  # type: ignore[method-assign]
            step = runge_kutta.runge_kutta_step(tableau, self.current, t, z, t1)
            z = step.y1
            yield step

    def last(self, z: Tensor, t: float) -> Tensor:
        """Return a at ``t``, once y has been compared with what it was on the way there."""
        y, a = self.parts(z)
        there = self.states[self.readout.times.index(t)]
        size = float(there.abs().max()) if there.numel() else 0.0
        check_deviation(y, there, OFF, OFF * size, t, self.how.deviation, coarse=not self.adaptive)
        return a
