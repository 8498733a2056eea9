"""What all models of sequences take: ``model(t, x, mask)``, where NaN in x is what was not observed.

A sample begins at its first row with an observation and ends at its last one. Rows around it, such as those that pad a
batch of unequal lengths, must not matter; rows of NaN between are times at which nothing was observed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.solvers.graph import values


@dataclass(frozen=True)
class Samples:
    """A batch of sequences, once checked."""

    t: Tensor
    """(B, T): the times; before a sample begins that of its first row, and after its end that of its last one"""
    x: Tensor
    """(B, T, channels): NaN where nothing was observed"""
    first: Tensor
    """(B, 1): the row in which the sample begins"""
    last: Tensor
    """(B, 1): the row in which it ends"""

    @property
    def missing(self) -> Tensor:
        """Where nothing was observed, (B, T, channels)."""
        return values(self.x).isnan()

    @property
    def rows(self) -> Tensor:
        """The numbers of the rows, (T,)."""
        return torch.arange(self.x.shape[1], device=self.x.device)


def read(t: Any, x: Any, mask: Tensor | None = None, channels: int | None = None) -> Samples:
    """Return the batch, checked; the arguments are those of all models of sequences.

    Args:
        t: (T,), or (B, T).
        x: (B, T, channels), NaN where nothing was observed.
        mask: ``None``; bool, (B, T) or (B, T, channels); or lengths, whole numbers, (B,).
        channels: how many there must be.

    Raises:
        TypeError, ValueError: shapes, dtypes, times or values are not what they should be; the message says which.
    """
    _check_values(x, channels)
    if mask is not None:
        x = torch.where(_observed(mask, x), x, torch.nan)
    missing = values(x).isnan()
    seen = ~missing.all(-1)  # (B, T)
    if not bool(seen.any(-1).all()):
        sample = int((~seen.any(-1)).nonzero()[0])
        raise ValueError(
            f"x[{sample}] holds no observation: all its {x.shape[1]} rows are NaN, or masked. Leave the sample out"
        )
    first = seen.long().argmax(-1, keepdim=True)
    last = x.shape[1] - 1 - seen.flip(-1).long().argmax(-1, keepdim=True)
    t = _times(t, x)
    rows = torch.arange(x.shape[1], device=x.device).expand(t.shape)
    t = t.gather(-1, torch.minimum(torch.maximum(rows, first), last))
    _check_times(t, first, last)
    return Samples(t, x, first, last)


def _check_values(x: Any, channels: int | None) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor (B, T, channels) of real floating-point dtype, got {kind}")
    if x.ndim != 3 or 0 in x.shape:
        hint = "; write x[None] for a single sample" if x.ndim == 2 else ""
        raise ValueError(f"x must have the shape (B, T, channels), with none of them 0; got {tuple(x.shape)}{hint}")
    if channels is not None and x.shape[-1] != channels:
        raise ValueError(f"x has {x.shape[-1]} channels and the model {channels}: x is {tuple(x.shape)}")
    if bool(values(x).isinf().any()):
        raise ValueError("x holds an infinity: every value must be finite, or NaN where nothing was observed")


def _observed(mask: Any, x: Tensor) -> Tensor:
    """Return where ``mask`` says that ``x`` was observed, (B, T, 1) or (B, T, channels)."""
    if not isinstance(mask, Tensor) or mask.is_floating_point():
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a tensor of bool, or the lengths in whole numbers, got {kind}: write mask > 0")
    mask = mask.to(x.device)
    if mask.dtype != torch.bool:
        if mask.shape != x.shape[:1] or not bool(((mask > 0) & (mask <= x.shape[1])).all()):
            raise ValueError(
                f"mask of whole numbers holds the length of each sample, ({len(x)},), from 1 to {x.shape[1]}; got "
                f"{tuple(mask.shape)}, from {int(mask.min())} to {int(mask.max())}"
            )
        return (torch.arange(x.shape[1], device=x.device) < mask[:, None]).unsqueeze(-1)
    if mask.shape not in (x.shape, x.shape[:2]):
        raise ValueError(
            f"mask must have the shape of x, {tuple(x.shape)}, or {tuple(x.shape[:2])}; got {tuple(mask.shape)}"
        )
    return mask if mask.ndim == 3 else mask.unsqueeze(-1)


def _times(t: Any, x: Tensor) -> Tensor:
    """Return the times as a tensor (B, T)."""
    if not isinstance(t, Tensor):
        t = torch.as_tensor(t, dtype=torch.float64)
    if t.ndim not in (1, 2) or t.shape[-1] != x.shape[1] or (t.ndim == 2 and len(t) != len(x)):
        raise ValueError(
            f"t must hold a time for each of the {x.shape[1]} rows of x, ({x.shape[1]},), or for each of every sample, "
            f"{tuple(x.shape[:2])}; got the shape {tuple(t.shape)}"
        )
    return t.to(x).expand(x.shape[:2])


def _check_times(t: Tensor, first: Tensor, last: Tensor) -> None:
    """Raise ``ValueError`` unless the times of every sample are finite and increase."""
    plain, rows = values(t), torch.arange(t.shape[1] - 1, device=t.device)
    if not bool(plain.isfinite().all()):
        sample, row = (~plain.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"t of sample {sample} is {plain[sample, row]:g} in row {row}: times must be finite")
    wrong = (plain.diff(dim=-1) <= 0) & (rows >= first) & (rows < last)
    if bool(wrong.any()):
        sample, row = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"t must be strictly increasing; in sample {sample}, t[{row}] = {plain[sample, row]:g} is followed by "
            f"t[{row + 1}] = {plain[sample, row + 1]:g} in the precision of x, {t.dtype}"
        )


def check_count(value: Any, name: str) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number, at least 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}")


class SequenceModel(nn.Module):
    """What models of sequences share: (t, x, mask) → states → readout → outputs."""

    def __init__(self, channels: int, hidden: int, outputs: int, readout: nn.Module | None) -> None:
        super().__init__()
        for name, size in (("channels", channels), ("hidden", hidden), ("outputs", outputs)):
            check_count(size, name)
        self.channels, self.hidden = channels, hidden
        self.readout = nn.Linear(hidden, outputs) if readout is None else readout

    def trajectory(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the states after every row, (B, T, hidden)."""
        raise NotImplementedError

    def forward(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs at the end of every sample, (B, outputs)."""
        outputs: Tensor = self.readout(self.trajectory(t, x, mask)[:, -1])
        return outputs

    def online(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs after every row, (B, T, outputs): each depends on that row and those before it alone."""
        outputs: Tensor = self.readout(self.trajectory(t, x, mask))
        return outputs
