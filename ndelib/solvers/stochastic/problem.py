"""An initial value problem with noise, dy = f dt + g dW: an ordinary one whose steps look up a path.

Loops, steps, controllers and what gradients need of them are those of ordinary equations (``problem.py``).

Sources: Gaines & Lyons, Variable step size control in the numerical solution of stochastic differential equations, SIAM
J. Appl. Math. 57 (1997) 1455, and Ilie, Jackson & Enright, Adaptive time-stepping for the strong numerical solution of
stochastic differential equations, Numer. Algorithms 68 (2015) 791, for steps that halve on one path.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.loops.adaptive import adaptive_steps
from ndelib.solvers.options import Options, check_state
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.methods import closest
from ndelib.solvers.steps.step import Step, StepFunction
from ndelib.solvers.stochastic.brownian import LEVELS, BrownianMotion, shown
from ndelib.solvers.stochastic.diffusion import NOISE_TYPES, SDE_TYPES, CheckedDiffusion
from ndelib.solvers.stochastic.levy import Increment
from ndelib.solvers.stochastic.methods import find_sde_method
from ndelib.solvers.stochastic.noise_types import check_noise_type
from ndelib.solvers.stochastic.step import Noise, StochasticMethod

RESOLUTION = 40
"""adaptive steps are parts of the interval between two requested times, in units of its 2⁻⁴⁰"""


class StochasticProblem(Problem):
    """``dy = f dt + g dW`` from a state, by a method, on a path ``bm`` (a new one if ``None``)."""

    def __init__(
        self,
        sde: Any,
        y0: Tensor,
        times: Sequence[float],
        method: str | StochasticMethod | None,
        bm: Any,
        options: Options,
    ) -> None:
        noise_type, self.calculus = check_types(sde)
        chosen = find_sde_method(method, noise_type, self.calculus)
        check_state(y0, "y0")
        if y0.ndim == 0 or y0.is_complex():
            raise ValueError(f"y0 must be a real tensor (*, d), got {y0.dtype} of the shape {tuple(y0.shape)}")
        if options.adaptive and not chosen.adaptive:
            why = (
                "keeps a second state that halved steps would upset"
                if chosen.reverse
                else (
                    f"has strong order {chosen.order:g} for {noise_type} noise, and below 1 steps that are chosen by "
                    "looking at the path may converge to something else"
                )
            )
            raise ValueError(f"adaptive=True cannot be trusted with method {chosen.name!r}, which {why}")
        if times[-1] < times[0] and self.calculus == "ito":
            raise ValueError("ts must increase: an Itô equation has no solution backwards; convert it first")
        super().__init__(sde.f, y0, chosen, options)
        self.distrusts_steps = isinstance(method, StochasticMethod)
        self.diffusion = CheckedDiffusion(sde.g, times[0], self.y0, noise_type)
        area = chosen.area_for(noise_type)
        self.noise: Noise = self._new_path(times, area) if bm is None else self._given_path(bm, times, area)

    def _read_method(self, method: Any) -> StochasticMethod:
        assert isinstance(method, StochasticMethod)  # find_sde_method has seen to it
        return method

    def _longest_cell(self, times: Sequence[float], area: str) -> float | None:
        """Return how long the cells of a path should be at most for this solve; ``None``: from time to time."""
        if area != "area":
            return None if self.adaptive else self.options.step_size
        low, high = min(times[0], times[-1]), max(times[0], times[-1])
        longest = self.options.step_size or self.options.first_step or high - low
        dt = longest * longest / (high - low)  # the error of A, √(h · cell / 12), has to be O(h^1.5)
        if self.adaptive:  # cells that are nodes of the tree of steps
            shortest = min(abs(t1 - t) for t, t1 in pairwise(times))
            dt = shortest / 2 ** max(0, math.ceil(math.log2(shortest / dt)))
        return dt

    def _new_path(self, times: Sequence[float], area: str) -> BrownianMotion:
        return BrownianMotion(
            min(times[0], times[-1]),
            max(times[0], times[-1]),
            (*self.y0.shape[:-1], self.diffusion.channels),
            self.y0.dtype,
            self.y0.device,
            dt=self._longest_cell(times, area),
            levy_area_approximation=area,  # type: ignore[arg-type]
            through=times,
        )

    def _given_path(self, bm: Any, times: Sequence[float], area: str) -> Noise:
        """Return the path ``bm`` that the user gave, if it fits."""
        if not callable(bm):
            raise TypeError(f"bm must be a BrownianMotion or a function bm(s, t), got {type(bm).__name__}")
        shape = (*self.y0.shape[:-1], self.diffusion.channels)
        if not isinstance(bm, BrownianMotion):
            return CalledPath(bm, shape, area)
        if tuple(bm.shape) != shape:
            raise ValueError(f"bm has size {tuple(bm.shape)}; y0 and g need {shape}: batch and channels of the noise")
        if bm.dtype != self.y0.dtype or bm.device != self.y0.device:
            raise ValueError(f"bm is {bm.dtype} on {bm.device}, y0 is {self.y0.dtype} on {self.y0.device}")
        if bm.level < LEVELS[area]:  # type: ignore[index]
            raise ValueError(
                f"method {self.method.name!r} with {self.diffusion.noise_type} noise needs a path with "
                f"levy_area_approximation={area!r}; bm has {bm.levy_area_approximation!r}"
            )
        if len(times) > 1:
            bm.prepare(self._longest_cell(times, area), times)
        return bm if area == "area" or bm.level < LEVELS["area"] else WithoutArea(bm)

    def steps(self, times: Sequence[float]) -> Iterator[Step]:
        """Yield the steps (see :class:`Problem`); after the first one look whether g is what is said of it."""
        steps = super().steps(times)
        first = next(steps, None)
        if first is not None:
            check_noise_type(self._read_method(self.method), self.diffusion, first.t1, first.y1)
            yield first
            yield from steps

    def options_of_method(self) -> dict[str, Any]:
        """Return what steps need besides the drift."""
        return {"diffusion": self.diffusion, "noise": self.noise, "calculus": self.calculus}

    def moves(self, t: Tensor, y: Tensor, h: float) -> list[Tensor]:
        """Return what the drift moves ``y`` by in a step, and every column of g by in the mean, (*, d) each."""
        g = self.diffusion.g(t, y)
        columns = [g] if self.diffusion.diagonal else g.unbind(-1)
        return [*super().moves(t, y, h), *[math.sqrt(abs(h)) * column for column in columns]]

    def enter(self, start: float, end: float) -> None:
        """Make ready for steps from ``start`` to ``end``."""
        super().enter(start, end)
        if self.adaptive:
            self.make_step = doubled(self.make_step)

    def _adaptive(self, times: Sequence[float], y: Tensor) -> Iterator[Step]:
        return adaptive_steps(
            self.method, self.make_step, self.field, y, times, self.options, self.statistics, land_on_halves
        )


def doubled(make_step: StepFunction) -> StepFunction:
    """Return the step made of two halves, with their distance from the undivided step as its error."""

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
        middle = t + (t1 - t) / 2
        y1 = make_step(middle, make_step(t, y, middle, None, None).y1, t1, None, None).y1
        with torch.no_grad():
            error = make_step(t, y, t1, None, None).y1 - y1
        return Step(t, t1, y, y1, [], None, error)

    return step


def land_on_halves(t: float, h: float, direction: float, times: Sequence[float], stretch: float) -> float:
    """Return where a step of at most ``h`` from ``t`` ends: on a node of the binary tree over [tᵢ, tᵢ₊₁].

    So steps are halved and doubled, and every step is one node of the tree of the path: its noise is there for the
    cost of few bridges, whatever was tried before.
    """
    a, b = next((a, b) for a, b in pairwise(times) if direction * a <= direction * t < direction * b)
    whole = 1 << RESOLUTION
    at = round((t - a) / (b - a) * whole)
    room = whole if at == 0 else at & -at  # the longest step from here that is a node
    wanted = min(whole, max(1, math.floor(h * (1 + 1e-9) / abs(b - a) * whole)))
    end = at + min(room, 1 << (wanted.bit_length() - 1))
    return b if end >= whole else a + (b - a) * (end / whole)


def times_on_path(times: Sequence[float], dtype: torch.dtype, bm: Any) -> Sequence[float]:
    """Return the times of a solve, given in ``dtype``, as the path ``bm`` writes those that are ends of its cells.

    A step that ends beside a cell, where rounding put it, costs many bridges; one beyond the path has no noise at all.

    Raises:
        ValueError: they leave the path.
    """
    if not isinstance(bm, BrownianMotion):
        return times
    try:
        meant = [bm.meant(t, dtype) for t in times]
    except ValueError:
        first, last = shown(min(times[0], times[-1])), shown(max(times[0], times[-1]))
        raise ValueError(
            f"ts goes from {first} to {last}, outside the path bm, {shown(bm.t0)} to {shown(bm.t1)}"
        ) from None
    return meant if len(set(meant)) == len(times) else times


class WithoutArea:
    """A path that keeps areas, for a method that has no use for them: they are m times as large as W."""

    def __init__(self, bm: BrownianMotion) -> None:
        self.bm = bm

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from ``s`` to ``t`` but for A."""
        return self.bm.increment(s, t, area=False)


class CalledPath:
    """A path that is any function ``bm(s, t)``, asked with ``return_U`` and ``return_A`` where a method needs them."""

    def __init__(self, bm: Callable[..., Any], shape: tuple[int, ...], area: str) -> None:
        self.bm, self.shape, self.area = bm, shape, area

    def increment(self, s: float, t: float) -> Increment:
        """Return what ``bm`` says of the noise from ``s`` to ``t``."""
        if t < s:
            return self.increment(t, s).reversed()
        h = t - s
        flags = {"none": {}, "space-time": {"return_U": True}, "area": {"return_A": True}}[self.area]
        answer = self.bm(s, t, **flags)
        W, *others = answer if isinstance(answer, tuple) else (answer,)
        if not isinstance(W, Tensor) or tuple(W.shape) != self.shape:
            what = f"the shape {tuple(W.shape)}" if isinstance(W, Tensor) else type(W).__name__
            raise ValueError(
                f"bm(s, t) must return W(t) − W(s), a tensor of the shape {self.shape}; it returned {what}"
            )
        if self.area == "space-time":
            return Increment(h, W, others[0] / h - 0.5 * W)
        return Increment(h, W, None, others[0] if others else None)


def check_types(sde: Any) -> tuple[str, str]:
    """Return the noise type and the calculus of ``sde``.

    Raises:
        AttributeError, ValueError: it lacks f, g, noise_type or sde_type, or they have an unknown value.
    """
    for name in ("f", "g", "noise_type", "sde_type"):
        if not hasattr(sde, name):
            raise AttributeError(
                f"sde must have f(t, y), g(t, y), noise_type and sde_type; this {type(sde).__name__} has no {name}"
            )
    for name, known in (("noise_type", NOISE_TYPES), ("sde_type", SDE_TYPES)):
        if getattr(sde, name) not in known:
            raise ValueError(f"sde.{name} is {getattr(sde, name)!r}: {closest(str(getattr(sde, name)), known)}")
    return sde.noise_type, sde.sde_type
