"""Recurrent networks for sequences that are observed at any times: what neural CDEs are compared with.

All of them skip rows without an observation, so padding changes nothing. Cells are written out, not torch's: so several
seeds can be trained at once, by ``torch.func.vmap``.

Sources: Cho et al., Learning phrase representations using RNN encoder–decoder, EMNLP 2014 (GRU); Che, Purushotham, Cho,
Sontag & Liu, Recurrent neural networks for multivariate time series with missing values, Scientific Reports 8 (2018)
6085 (GRU-D); Rubanova, Chen & Duvenaud, Latent ordinary differential equations for irregularly-sampled time series,
NeurIPS 2019 (ODE-RNN).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.adjoints import odeint
from ndelib.models.fields import MLP
from ndelib.models.sequences.samples import Samples, SequenceModel, check_count, read
from ndelib.solvers.control import Tolerance
from ndelib.solvers.controlled.observations import observed_neighbours
from ndelib.solvers.steps.methods import MethodLike, find_method


class Recurrent(SequenceModel):
    """What recurrent models share: they go from row to row, and leave the state where a row holds no observation.

    Args:
        mean: of the observations, a number or one for each channel: what stands for a channel before it was observed.
    """

    mean: Tensor

    def __init__(
        self, channels: int, hidden: int, outputs: int, mean: float | Tensor, readout: nn.Module | None
    ) -> None:
        super().__init__(channels, hidden, outputs, readout)
        mean = torch.as_tensor(mean, dtype=torch.get_default_dtype())
        if mean.shape not in ((), (channels,)) or not bool(mean.isfinite().all()):
            raise ValueError(
                f"mean must be a number, or one for each of the {channels} channels, got {mean.tolist()!r}"
            )
        self.register_buffer("mean", mean.expand(channels).clone())

    def trajectory(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the states after every row, (B, T, hidden)."""
        samples = read(t, x, mask, self.channels)
        inputs = self.inputs(samples)
        seen = ~samples.missing.all(-1, keepdim=True)
        every = seen.all(0).squeeze(-1).tolist()  # rows that all samples have need no choice
        h = x.new_zeros(len(x), self.hidden)
        states = []
        for i, parts in enumerate(zip(*(part.unbind(1) for part in inputs), strict=True)):
            after = self.step(h, *parts)
            h = after if every[i] else torch.where(seen[:, i], after, h)
            states.append(h)
        return torch.stack(states, dim=1)

    def inputs(self, samples: Samples) -> tuple[Tensor, ...]:
        """Return what a step takes besides the state, (B, T, *) each: all that can be computed for all rows at once."""
        raise NotImplementedError

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        """Return the state after a row, (B, hidden), from that before it and what :meth:`inputs` gives of the row."""
        raise NotImplementedError


class GRUCell(nn.Module):
    """A gated recurrent unit, with torch's equations and initial weights: h' = (1 − z) n + z h."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.of_input, self.of_state = nn.Linear(inputs, 3 * hidden), nn.Linear(hidden, 3 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def forward(self, from_input: Tensor, h: Tensor) -> Tensor:
        """Return the next state from ``of_input(x)``, (*, 3 hidden), and the state, (*, hidden)."""
        sizes = [2 * h.shape[-1], h.shape[-1]]
        (gates, n), (gates_h, n_h) = from_input.split(sizes, -1), self.of_state(h).split(sizes, -1)
        r, z = (gates + gates_h).sigmoid().chunk(2, -1)
        return torch.lerp((n + r * n_h).tanh(), h, z)


class GRU(Recurrent):
    """A gated recurrent unit on sequences with gaps: (t, x, mask) -> (B, outputs).

    A channel that is missing in a row has its last value there, and before its first one the mean.

    Args:
        channels, hidden, outputs: as for :class:`NeuralCDE`, and the calling convention, too.
        time: whether the time since the last row with an observation is an input.
        mask: whether it is an input, for every channel, whether it was observed.
        mean: of the observations, a number or (channels,).
        readout: a layer behind the state; an affine one if ``None``.

    Example:
        >>> import torch
        >>> from ndelib.models import GRU
        >>> model = GRU(channels=3, hidden=8, outputs=2, time=True, mask=True)
        >>> model(torch.linspace(0, 1, 20), torch.randn(5, 20, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int,
        *,
        time: bool = False,
        mask: bool = False,
        mean: float | Tensor = 0.0,
        readout: nn.Module | None = None,
    ) -> None:
        super().__init__(channels, hidden, outputs, mean, readout)
        self.time, self.mask = time, mask
        self.cell = GRUCell(channels * (1 + mask) + time, hidden)

    def inputs(self, samples: Samples) -> tuple[Tensor, ...]:
        """Return what the gates get from the data."""
        missing = samples.missing
        parts = [carried_forward(samples.x, missing, self.mean)]
        if self.time:
            parts.append(since_observed(samples.t, missing.all(-1, keepdim=True)))
        if self.mask:
            parts.append((~missing).to(samples.x))
        return (self.cell.of_input(torch.cat(parts, dim=-1)),)

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        """Return the cell's next state."""
        state: Tensor = self.cell(inputs[0], h)
        return state


class GRUD(Recurrent):
    """GRU-D of Che et al. (2018): what is missing decays from the last value to the mean, and the state to zero.

    With m the mask and δ the time since each channel was observed (in the first row 0), the decays
    γ = exp(−max(0, W δ + b)) give x̂ = m x + (1 − m)(γₓ x' + (1 − γₓ) mean), with Wₓ diagonal and x' the last value, and
    h ← γₕ h; then follows a GRU on x̂, h and m, whose reset gate is before the matrix, as in the paper.

    Args:
        channels, hidden, outputs: as for :class:`NeuralCDE`, and the calling convention, too.
        mean: of the observations, a number or (channels,).
        readout: a layer behind the state; an affine one if ``None``.

    Example:
        >>> import torch
        >>> from ndelib.models import GRUD
        >>> x = torch.randn(5, 20, 3)
        >>> x[torch.rand(5, 20, 3) < 0.3] = torch.nan
        >>> GRUD(channels=3, hidden=8, outputs=2)(torch.linspace(0, 1, 20), x).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int,
        *,
        mean: float | Tensor = 0.0,
        readout: nn.Module | None = None,
    ) -> None:
        super().__init__(channels, hidden, outputs, mean, readout)
        self.decay_x, self.decay_x_bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self.decay_h = nn.Linear(channels, hidden)
        self.of_data = nn.Linear(2 * channels, 3 * hidden)  # W, V and b of the gates z and r, and of the candidate
        self.gates, self.candidate = nn.Linear(hidden, 2 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        for parameter in (p for name, p in self.named_parameters() if not name.startswith("readout")):
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def inputs(self, samples: Samples) -> tuple[Tensor, ...]:
        """Return what the gates get from the data, and how much of the state is left before every row."""
        x, missing = samples.x, samples.missing
        delta = since_observed(samples.t, missing)
        gamma_x = (-(self.decay_x * delta + self.decay_x_bias).relu()).exp()
        gamma_h = (-self.decay_h(delta).relu()).exp()
        x_hat = torch.where(missing, torch.lerp(self.mean, carried_forward(x, missing, self.mean), gamma_x), x)
        return self.of_data(torch.cat([x_hat, (~missing).to(x)], dim=-1)), gamma_h

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        """Return the state after a row: decay, gates, candidate."""
        from_data, gamma_h = inputs
        h = gamma_h * h
        (z, r, n), (z_h, r_h) = from_data.chunk(3, -1), self.gates(h).chunk(2, -1)
        z, r = (z + z_h).sigmoid(), (r + r_h).sigmoid()
        return torch.lerp(h, (n + self.candidate(r * h)).tanh(), z)


class ODERNN(Recurrent):
    """ODE-RNN of Rubanova et al. (2019): between observations the state follows dh/dt = f(h), at each a GRU moves it.

    The GRU sees what was observed, the mean for what was not, and the mask.

    Args:
        channels, hidden, outputs: as for :class:`NeuralCDE`, and the calling convention, too.
        width, depth: of the perceptron f.
        method: of the solve.
        steps: how many steps a fixed-step method makes from row to row.
        mean: of the observations, a number or (channels,).
        readout: a layer behind the state; an affine one if ``None``.
        rtol, atol: the tolerances of an adaptive method.

    Example:
        >>> import torch
        >>> from ndelib.models import ODERNN
        >>> model = ODERNN(channels=3, hidden=8, outputs=2)
        >>> model(torch.linspace(0, 1, 20), torch.randn(5, 20, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int,
        *,
        width: int = 32,
        depth: int = 1,
        method: MethodLike = "midpoint",
        steps: int = 1,
        mean: float | Tensor = 0.0,
        readout: nn.Module | None = None,
        rtol: Tolerance = 1e-4,
        atol: Tolerance = 1e-6,
    ) -> None:
        super().__init__(channels, hidden, outputs, mean, readout)
        check_count(steps, "steps")
        find_method(method)
        self.field, self.cell = MLP(hidden, width, depth), GRUCell(2 * channels, hidden)
        self.how: dict[str, Any] = {"method": method, "rtol": rtol, "atol": atol}
        if steps > 1:
            self.how["step_size"] = 1 / steps

    def inputs(self, samples: Samples) -> tuple[Tensor, ...]:
        """Return what the gates get from the data, and the time since the last row with an observation."""
        missing = samples.missing
        known = torch.where(missing, self.mean, samples.x)
        from_input = self.cell.of_input(torch.cat([known, (~missing).to(known)], dim=-1))
        return from_input, since_observed(samples.t, missing.all(-1, keepdim=True))

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        """Return the state after a row: in the unit s of its gap, dh/ds = gap · f(h), then the cell."""
        from_input, gap = inputs
        h = odeint(lambda s, h: gap * self.field(s, h), h, [0.0, 1.0], **self.how)[-1]
        state: Tensor = self.cell(from_input, h)
        return state


def carried_forward(x: Tensor, missing: Tensor, before: Tensor) -> Tensor:
    """Return ``x``, (B, T, channels), with the last value where one is missing, and ``before`` where there was none."""
    none = (~missing).cumsum(1) == 0
    last = observed_neighbours(missing)[0].clamp(max=x.shape[1] - 1)
    return torch.where(none, before, x.nan_to_num().gather(1, last))


def since_observed(t: Tensor, missing: Tensor) -> Tensor:
    """Return for each row the time since the last one before it that was not missing, or since the first, (B, T, n).

    ``t``: (B, T). ``missing``: (B, T, n). This is δ of Che et al.: 0 in the first row.
    """
    times = t.unsqueeze(-1).expand(missing.shape)
    place = torch.arange(t.shape[1], device=t.device).view(-1, 1).expand(missing.shape)
    last = place.masked_fill(missing, 0).cummax(1).values
    before = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], dim=1)
    return times - times.gather(1, before)


def resample(t: Any, x: Tensor, grid: int | Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the observations on another grid of times, by linear interpolation: input for any of these models.

    Args:
        t: the times, (T,) or (B, T), as for :class:`NeuralCDE`.
        x: the observations, (B, T, channels), NaN where there is none.
        mask: ``None``, where x was observed, or the lengths of the samples.
        grid: how many times, evenly from each sample's first to its last observation; or the times, (n,). At times
            before a channel's first observation, and after its last, it has that one.

    Returns:
        The times, (B, n) or (n,), and the values, (B, n, channels), NaN in channels that a sample never observes.

    Example:
        >>> import torch
        >>> from ndelib.models import resample
        >>> t = torch.tensor([0.0, 1.0, 4.0])
        >>> x = torch.tensor([[0.0, 1.0, 7.0]])[..., None]
        >>> times, values = resample(t, x, 5)
        >>> values[0, :, 0]
        tensor([0., 1., 3., 5., 7.])
    """
    samples = read(t, x, mask)
    if isinstance(grid, Tensor):
        if grid.ndim != 1 or len(grid) == 0 or not bool(grid.isfinite().all()):
            raise ValueError(f"grid must hold finite times, (n,), or be a number of them; got {tuple(grid.shape)}")
        times = grid.to(x).expand(len(x), -1)
    elif isinstance(grid, int) and grid >= 1:
        start, end = samples.t[:, :1], samples.t[:, -1:]
        times = torch.lerp(start, end, torch.linspace(0, 1, grid, dtype=x.dtype, device=x.device))
    else:
        raise ValueError(f"grid must be a number of times, at least 1, or the times, (n,), got {grid!r}")
    missing = samples.missing
    before, after = (place.clamp(0, x.shape[1] - 1) for place in observed_neighbours(missing))
    # the row at or before each time; before the beginning the first
    row = (torch.searchsorted(samples.t.contiguous(), times.contiguous(), right=True) - 1).clamp(min=0)
    row = row.unsqueeze(-1).expand(*times.shape, x.shape[-1])
    left = before.gather(1, row)
    right = after.gather(1, (row + 1).clamp(max=x.shape[1] - 1))
    t0, t1 = (samples.t.unsqueeze(-1).expand(x.shape).gather(1, place) for place in (left, right))
    weight = ((times.unsqueeze(-1) - t0) / torch.where(t1 > t0, t1 - t0, 1.0)).clamp(0, 1)
    known = x.nan_to_num()
    values = torch.lerp(known.gather(1, left), known.gather(1, right), torch.where(t1 > t0, weight, 0.0))
    never = missing.all(1, keepdim=True)
    return (grid if isinstance(grid, Tensor) else times), torch.where(never, torch.nan, values)
