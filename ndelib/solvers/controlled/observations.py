"""Observations of a path: checked, and with what is missing filled in.

Data are (*, length, channels) with times (length,) that all samples share; NaN is a missing value, in one channel of
one sample. Everything here is vectorised over samples and channels, and differentiable in the values and the times.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.graph import values


def check_observations(x: Any, t: Any, name: str = "x") -> Tensor:
    """Return the times of the observations ``x``, (*, length, channels): ``t``, or 0, 1, 2, … if that is ``None``.

    Raises ``TypeError`` or ``ValueError`` where values or times are not what they should be.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor (…, length, channels), got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must have a real floating-point dtype, got {x.dtype}")
    if x.ndim < 2 or x.shape[-2] < 2 or x.shape[-1] < 1:
        raise ValueError(
            f"{name} must have the shape (…, length, channels) with at least two observations and one channel, got "
            f"{tuple(x.shape)}"
        )
    if bool(values(x).isinf().any()):
        raise ValueError(f"{name} holds an infinity: every value must be finite, or NaN where it is missing")
    return check_observation_times(t, x.shape[-2], x)


def check_observation_times(t: Any, length: int, like: Tensor) -> Tensor:
    """Return ``t`` as a tensor (length,), 0, 1, 2, … if it is ``None``; it must be finite and strictly increasing."""
    if t is None:
        return torch.arange(length, dtype=like.dtype, device=like.device)
    if not isinstance(t, Tensor):
        t = torch.as_tensor(t, dtype=torch.float64)
    t = t.to(like.device) if t.is_floating_point() else t.to(like)
    if t.ndim != 1 or len(t) != length:
        raise ValueError(
            f"t must hold a time for each of the {length} observations, ({length},); got the shape {tuple(t.shape)}. "
            "Samples that were observed at different times share the union of these times, with NaN where a sample "
            "has no observation, or carry their time as a channel"
        )
    if not bool(values(t).isfinite().all()):
        raise ValueError("t holds an infinity or NaN: every observation time must be finite")
    for i, (now, after) in enumerate(pairwise(values(t).tolist())):
        if not now < after:
            raise ValueError(f"t must be strictly increasing; t[{i}] = {now:g} is followed by t[{i + 1}] = {after:g}")
    return t


def check_observed(x: Tensor) -> None:
    """Raise ``ValueError`` if some channel of some sample was never observed."""
    never = values(x).isnan().all(dim=-2)
    if bool(never.any()):
        *sample, channel = never.nonzero()[0].tolist()
        where = f"channel {channel}" + (f" of the sample x{sample}" if sample else "")
        raise ValueError(
            f"{where} holds NaN only, {x.shape[-2]} of them: there is nothing to interpolate. Leave it out, or "
            "fill it, with zeros for instance, and add a channel that says which values were observed"
        )


def observed_neighbours(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each place in ``missing``, (*, length, channels), the nearest observations not after and not before.

    They are indices into the dimension of length. Before the first observation both are the first, after the last one
    both are the last.
    """
    length = missing.shape[-2]
    place = torch.arange(length, device=missing.device).unsqueeze(-1).expand(missing.shape)
    before = place.masked_fill(missing, -1).cummax(dim=-2).values
    after = place.masked_fill(missing, length).flip(-2).cummin(dim=-2).values.flip(-2)
    first, last = before < 0, after == length
    return torch.where(first, after, before), torch.where(last, before, after)


def fill_linear(x: Tensor, t: Tensor) -> Tensor:
    """Return ``x``, (*, length, channels), with each missing value on the line between its channel's neighbours.

    Before the first and after the last observation of a channel its value is constant. The times ``t`` are (length,),
    or (*, length) for samples with times of their own.
    """
    missing = values(x).isnan()
    if not bool(missing.any()):
        return x
    check_observed(x)
    before, after = observed_neighbours(missing)
    apart = before != after
    times = t.unsqueeze(-1).expand(x.shape)
    t0, t1 = times.gather(-2, before), times.gather(-2, after)
    weight = (times - t0) / torch.where(apart, t1 - t0, 1.0)
    weight = torch.where(apart, weight, 0.0).to(x.dtype)
    # what is observed is its own neighbour, and NaN is never gathered: gradients stay finite
    return torch.lerp(x.gather(-2, before), x.gather(-2, after), weight)


def fill_forward(x: Tensor) -> Tensor:
    """Return ``x``, (*, length, channels), with each missing value replaced by the last one that its channel had.

    Raises ``ValueError`` where a channel has none before: a later value would tell the past of the future.
    """
    missing = values(x).isnan()
    if bool(missing[..., 0, :].any()):
        *sample, channel = missing[..., 0, :].nonzero()[0].tolist()
        where = f"channel {channel}" + (f" of the sample x{sample}" if sample else "")
        raise ValueError(
            f"{where} begins with a missing value, and filling it with a later one would not be causal: put a value "
            "there first, the mean of the channel for instance"
        )
    return x.gather(-2, observed_neighbours(missing)[0])
