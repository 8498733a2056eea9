"""``batch="independent"``: every sample of a batch has its own steps.

The loop is that of ``adaptive.py`` with one row for each sample: its own time, step size, history of errors and
decision, so that no sample depends on its batch-mates. Samples that have ended leave the batch, and f is never called
for them. Time runs forwards inside: where requested times fall, it is ``-t``, and the slope is ``-f``.

In each step the device tells the host a handful of bits (was a step refused, has a sample ended, …); everything else
stays on the device.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.clock import Clock
from ndelib.solvers.control import Tolerance
from ndelib.solvers.diagnosis import not_finite_field, step_size_too_small, too_many_steps
from ndelib.solvers.errors import SolverError
from ndelib.solvers.field import CheckedField
from ndelib.solvers.graph import values
from ndelib.solvers.loops.parts import SideBySide
from ndelib.solvers.loops.samples import (
    SampleField,
    Samples,
    SampleStatistics,
    check_grid,
    check_independent,
    column,
    count_until,
    dims_of_args,
    join,
    narrow,
    rms,
    select_first_steps,
    times_at,
)
from ndelib.solvers.options import Options
from ndelib.solvers.steps import dense
from ndelib.solvers.steps.runge_kutta import runge_kutta_step
from ndelib.solvers.steps.step import Method, Statistics, Step


def integrate_independent(
    f: Callable[..., Any] | tuple[Callable[..., Any], ...],
    y0: Any,
    t: Tensor | Sequence[Any],
    method: Method,
    options: Options,
) -> tuple[Any, SampleStatistics]:
    """Return the states at the times ``t``, (T, B, *), and what the solve did for each sample.

    ``y0``: (B, *), or a tuple of such. ``t``: (T,) or (B, T). ``f`` gets t of the shape (n, 1, …), y (n, *), and of
    ``options.args`` what belongs to the same n samples, by ``options.args_dims``. ``rtol`` and ``atol`` may be tensors
    that broadcast to ``y0``, (B, *), or to the parts of a tuple side by side, (B, n).

    Raises:
        TypeError, ValueError: an argument is wrong, or cannot be had together with ``batch="independent"``.
        SolverError: as :func:`ndelib.odeint`; the message names the sample.
    """
    if isinstance(y0, tuple):
        parts = SideBySide(y0)
        states, counts = integrate_independent(parts.field(f), parts.joined, t, method, options)
        return parts.split(states), counts
    check_independent(f, y0, method, options)
    assert not isinstance(f, tuple)
    solve = _Solve(f, y0, check_grid(t, len(y0), y0.device), method, options)
    return solve.run(), SampleStatistics(solve.tried - solve.rejected, solve.rejected, solve.nfe)


class _Solve:
    """One solve: what does not change from step to step, and what has been found."""

    def __init__(self, f: Callable[..., Any], y0: Tensor, grid: Tensor, method: Method, options: Options) -> None:
        assert method.tableau is not None
        assert method.error_order is not None
        self.method, self.tableau, self.options = method, method.tableau, options
        self.k = method.error_order + 1
        self.clock = Clock(y0.dtype)
        self.y0, self.size, self.real = y0, len(y0), y0.dtype.to_real()
        self.direction = -1.0 if grid.shape[-1] > 1 and bool((grid[..., 1] < grid[..., 0]).any()) else 1.0
        self.grid_of_all = self.direction * grid
        self.checked = CheckedField(f, y0, Statistics())
        self.dims = dims_of_args(options, self.size)
        self.tried, self.rejected, self.nfe = torch.zeros(3, self.size, dtype=torch.long, device=y0.device)
        self.found: list[Tensor] = []
        self.places: list[Tensor] = []  # of the found states, counting through (T, B)

    def run(self) -> Tensor:
        """Solve, and return the states at the requested times, (T, B, *)."""
        if self.size == 0:  # f need not know what to do with nothing
            return self.y0.expand(self.grid_of_all.shape[-1], *self.y0.shape).clone()
        index = torch.arange(self.size, device=self.y0.device)
        self._follow(index)
        t = self.grid[..., 0].expand(self.size)
        none = torch.zeros_like(index)
        errors, grow = torch.ones(self.size, 3).to(t), torch.ones_like(index, dtype=torch.bool)
        unknown = torch.full_like(t, math.nan)
        waiting = Samples(index, t, self.y0, None, t, none + 1, unknown, errors, grow, none, none)
        self._keep(none, index, self.y0)
        low, times = -math.inf, self.grid.shape[-1]
        jumps = sorted({self.direction * float(t) for t in self.options.step_at})
        for high in [*jumps, math.inf] if times > 1 else []:
            # From jump to jump the field is smooth, and each piece is a solve of its own.
            if jumps:
                ends = self.direction * low, self.direction * high
                self.checked.restrict(*ends, ends)
            starts = waiting.t < high
            going, waiting = waiting.pick(starts.nonzero()[:, 0]), waiting.pick((~starts).nonzero()[:, 0])
            waiting = join([waiting, *self._piece(going, high)])
            low = high
        found = torch.cat(self.found)
        return torch.empty_like(found).index_copy(0, torch.cat(self.places), found).reshape(times, *self.y0.shape)

    def _piece(self, samples: Samples, high: float) -> list[Samples]:
        """Run ``samples`` to their ends, or to a jump of f at ``high``; return those that stand at the jump."""
        arrived: list[Samples] = []
        samples = self._begin(samples, high)
        while len(samples.number) > 0:
            samples, ended = self._advance(samples)
            if ended is not None:
                self.nfe[samples.number] += self.field.calls
                gone = samples.pick(ended.nonzero()[:, 0])
                self.tried[gone.number], self.rejected[gone.number] = gone.tried, gone.rejected
                if high < math.inf:
                    arrived.append(gone.pick((gone.t < self._last(gone.number)).nonzero()[:, 0]))
                samples = samples.pick((~ended).nonzero()[:, 0])
                self._follow(samples.number)
        return arrived

    def _begin(self, samples: Samples, high: float) -> Samples:
        """Return ``samples`` with a slope and a first step: that of their last piece, if they come from one."""
        self._follow(samples.number)
        if len(samples.number) == 0:
            return samples
        end, y = self._last(samples.number).clamp(max=high), samples.y
        f0 = self.field(column(samples.t, y), y)
        if not (finite := torch.isfinite(values(f0)).reshape(len(y), -1).all(dim=1)).all():
            row = int(finite.int().argmin())
            raise self._named(
                not_finite_field(self.direction * samples.t[row].item(), 0.0, values(f0)[row]), samples, row
            )
        h, fresh = samples.h, samples.h.isnan().nonzero()[:, 0]
        if self.options.first_step is not None:
            h = torch.where(h.isnan(), self.options.first_step, h)
        elif len(fresh) > 0:
            few, field = samples.pick(fresh), self.field.only(samples.number[fresh])
            with torch.no_grad():
                scale = (self.atol + self.rtol * y.abs())[fresh]
                h = h.index_copy(
                    0, fresh, select_first_steps(field, few.t, few.y, f0[fresh], end[fresh], self.k, scale)
                )
            self.nfe[few.number] += field.calls
        return samples._replace(
            f0=f0,
            end=end,
            h=h.clamp(max=self.options.max_step),
            errors=torch.ones_like(samples.errors),
            grow=torch.ones_like(samples.grow),
        )

    def _advance(self, samples: Samples) -> tuple[Samples, Tensor | None]:
        """Make a step for every sample, keep it where its error allows. Return also which ended, if any did."""
        t1, reached = self._landing(samples)
        step = self._step(samples, t1)
        with torch.no_grad():
            assert step.error is not None
            error = rms(step.error / (self.atol + self.rtol * torch.maximum(step.y.abs(), step.y1.abs())))
            accepted = error <= 1.0  # not if it is NaN
            on_grid = times_at(self.grid, reached - 1) == t1
            passed = (reached - samples.ahead - on_grid.long()) * accepted
            ended = accepted & (t1 == samples.end)
            stuck = self._is_stuck(samples, t1)
            spent = samples.tried >= self.options.max_steps
            landed, wild = accepted & on_grid, ~torch.isfinite(error)
            # The only word from the device to the host in most steps:
            doubtful = accepted & (t1.abs() * self.clock.doubtful > t1 - samples.t)
            bits = torch.stack([~accepted, landed, passed > 0, ended, stuck, spent, wild, doubtful]).any(dim=1).tolist()
        some_refused, some_landed, some_passed, some_ended, some_stuck, some_spent, some_wild, some_doubtful = bits
        if some_stuck or some_spent:
            raise self._failure(samples, step, t1, stuck, spent)
        if some_wild and torch.is_grad_enabled():
            # The gradient of a discarded row is zero, but zero times infinity is not: these rows stay where they are.
            step = self._step(samples, torch.where(wild, samples.t, t1))
        if some_landed:
            rows = landed.nonzero()[:, 0]
            self._keep(reached[rows] - 1, samples.number[rows], step.y1.index_select(0, rows))
        if some_passed:
            self._read_off(samples, step, t1, passed)
        if some_doubtful and self.clock.is_due():
            self._look_at_clock(samples, t1, int(doubtful.int().argmax()))
        made = t1 - samples.t
        h, errors = self._control(samples, made, error)
        after = samples._replace(
            t=t1,
            y=step.y1,
            f0=step.f1,
            ahead=reached,
            h=h,
            errors=errors,
            grow=torch.ones_like(accepted),
            tried=samples.tried + 1,
        )
        if some_refused:
            rows = (~accepted).nonzero()[:, 0]
            again = samples._replace(f0=None if step.f1 is None else step.k[0]).pick(rows)
            after = after.put(
                rows,
                again._replace(
                    h=made[rows] * self.options.control.after_rejection(error[rows], self.k),
                    grow=torch.zeros_like(again.grow),
                    tried=again.tried + 1,
                    rejected=again.rejected + 1,
                ),
            )
        return after, ended if some_ended else None

    def _look_at_clock(self, samples: Samples, t1: Tensor, row: int) -> None:
        """Look whether f can tell the times of a step of the sample in this ``row`` apart."""
        f, y, t = self.field.of_one(row), samples.y[row].detach(), t1[row].item()
        h, apart = t - samples.t[row].item(), self.clock.spacing(t)
        other = t + apart if t + apart <= samples.end[row].item() else t - apart
        here, there = (torch.tensor(self.direction * time, dtype=torch.float64) for time in (t, other))
        scale = (self.atol + self.rtol * samples.y.detach().abs())[row]
        self.clock.look(lambda time: [h * f(time.item(), y)], here, there, scale, h, apart)

    def _landing(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """Return where steps end, and how many requested times lie before it: the rules of ``adaptive.landing``."""
        t, h, end = samples.t, samples.h, samples.end
        reach = t + torch.where(samples.grow, 1.1 * h, h)
        reached = count_until(self.grid, torch.minimum(reach, end))
        stop = torch.where(reach >= end, end, times_at(self.grid, reached - 1))
        distance = torch.minimum(times_at(self.grid, samples.ahead), end) - t
        free = t + torch.where(distance < 2 * h, distance / 2, h)
        return torch.where((reach >= end) | (reached > samples.ahead), stop, free), reached

    def _step(self, samples: Samples, t1: Tensor) -> Step:
        """Make a step to the times ``t1``, (n,). Its own time counts from its beginning, in the precision of y."""
        h = column(t1 - samples.t, samples.y).to(self.real)
        f = self.field.since(column(samples.t, samples.y), column(t1, samples.y), h)
        return runge_kutta_step(self.tableau, f, 0.0, samples.y, h, samples.f0)

    def _control(self, samples: Samples, made: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Return step sizes and errors after steps of the lengths ``made`` are accepted, as ``adaptive_steps`` does."""
        errors = torch.cat([error[:, None], samples.errors[:, :2]], dim=1)
        now, before, earlier = errors.unbind(dim=1)
        factor = self.options.control.after_acceptance((now, before, earlier), self.k)
        h = made * torch.where(samples.grow, factor, factor.clamp(max=1.0))
        cut = (made < samples.h) & (factor > 1.0)  # short, to land on a requested time: what was allowed still is
        h = torch.where(cut, torch.maximum(h, samples.h), h)
        return h.clamp(max=self.options.max_step), errors

    def _read_off(self, samples: Samples, step: Step, t1: Tensor, passed: Tensor) -> None:
        """Keep the states at the requested times inside the step, ``passed`` of them for each sample."""
        rows = (passed > 0).nonzero()[:, 0]
        few, count, t1 = samples.pick(rows), passed[rows], t1[rows]
        field, grid = self.field.only(few.number), self.grid if self.grid.ndim == 1 else self.grid[rows]
        h: Any = column(t1 - few.t, few.y).to(self.real)
        part = Step(
            0.0,
            h,
            few.y,
            step.y1.index_select(0, rows),
            [k.index_select(0, rows) for k in step.k],
            None if step.f1 is None else step.f1.index_select(0, rows),
            None,
        )
        curve = dense.interpolate(self.method, field.since(column(few.t, few.y), column(t1, few.y), h), part)
        self.nfe[few.number] += field.calls
        number = torch.arange(int(count.max()), device=rows.device)
        place = few.ahead[:, None] + number
        theta: Any = (times_at(grid, place) - few.t[:, None]) / (t1 - few.t)[:, None]
        states = curve(theta.T.reshape(*theta.T.shape, *[1] * (few.y.ndim - 1)).to(self.real))  # (number, row, *)
        inside = (number < count[:, None]).T
        self._keep(place.T[inside], few.number.expand_as(inside)[inside], states[inside])

    def _keep(self, times: Tensor, index: Tensor, states: Tensor) -> None:
        """Keep ``states`` as those of the samples ``index`` at the requested times with the numbers ``times``."""
        self.places.append(times * self.size + index)
        self.found.append(states)

    def _follow(self, index: Tensor) -> None:
        """From now on the samples ``index`` run: narrow to them what is given per sample."""
        self.field = SampleField(self.checked, self.direction, self.size, index, self.options.args, self.dims)
        self.grid = narrow(self.grid_of_all, index, self.size) if self.grid_of_all.ndim == 2 else self.grid_of_all
        self.rtol, self.atol = (self._tolerance(x, index) for x in (self.options.rtol, self.options.atol))

    def _tolerance(self, tolerance: Tolerance, index: Tensor) -> Tolerance:
        """Return a tolerance for the samples ``index``; a tensor is read as broadcasting against y0, (B, *)."""
        if not isinstance(tolerance, Tensor):
            return tolerance
        tolerance = tolerance.detach().to(self.y0.device, self.real)
        return narrow(tolerance[(None,) * (self.y0.ndim - tolerance.ndim)], index, self.size)

    def _last(self, index: Tensor) -> Tensor:
        """Return the last requested time of the samples ``index``."""
        last = self.grid_of_all[..., -1]
        return last.expand(len(index)) if last.ndim == 0 else last[index]

    def _is_stuck(self, samples: Samples, t1: Tensor) -> Tensor:
        """Return which steps are too small to go on."""
        size = samples.t.abs()
        resolved = 10 * (torch.nextafter(size, torch.full_like(size, math.inf)) - size)
        return (t1 - samples.t < resolved.clamp(min=self.options.min_step)) & (t1 != samples.end)

    def _failure(self, samples: Samples, step: Step, t1: Tensor, stuck: Tensor, spent: Tensor) -> SolverError:
        """Return the error to raise for the first sample that cannot go on."""
        row = int((stuck | spent).int().argmax())
        t, h = self.direction * samples.t[row].item(), self.direction * samples.h[row].item()
        f, y, one = self.field.of_one(row), values(samples.y)[row], torch.tensor([row], device=t1.device)
        end, counts = self.direction * samples.end[row].item(), Statistics()
        counts.rejected = int(samples.rejected[row])
        counts.steps = int(samples.tried[row]) - counts.rejected
        if not stuck[row]:
            error = too_many_steps(self.method, f, t, y, h, end, self.options, counts)
            return self._named(error, samples, row)
        assert step.error is not None
        rejected = Step(t, t + h, y, values(step.y1)[row], [], None, values(step.error)[row])
        rtol, atol = (narrow(x, one, len(t1))[0] if isinstance(x, Tensor) else x for x in (self.rtol, self.atol))
        options = replace(self.options, rtol=rtol, atol=atol)
        error = step_size_too_small(self.method, f, t, y, h, end, rejected, options, counts)
        return self._named(error, samples, row)

    def _named(self, error: SolverError, samples: Samples, row: int) -> SolverError:
        """Return the same error, saying which sample it is about."""
        return type(error)(f"sample {int(samples.number[row])} of the batch: {error}", t=error.t, h=error.h)
