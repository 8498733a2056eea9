"""Signatures and log-signatures of piecewise linear paths, to depth 3: what a window of a path does to an equation.

The signature of X holds the iterated integrals ∫…∫ dX^{i₁} ⊗ … ⊗ dX^{iₖ} over t₁ < … < tₖ. Its logarithm in the
algebra of tensors is a Lie element: the increment of the path, the areas between its channels, and at depth 3 what
brackets of three add. It says each thing once, so it is the summary of a window that the log-ODE method takes.

Sources: Chen, Ann. of Math. 65 (1957) 163 (the product of signatures, the logarithm); Lyons, Rev. Mat. Iberoamericana
14 (1998) 215; Morrill, Salvi, Kidger & Foster, Neural rough differential equations for long time series, ICML 2021.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.controlled.lyndon import expand, lyndon_words
from ndelib.solvers.controlled.observations import check_observations, fill_linear
from ndelib.solvers.controlled.paths import LinearInterpolation
from ndelib.solvers.graph import values
from ndelib.solvers.loops.fixed_step import count_steps

Signature = tuple[Tensor, ...]
"""The levels 1, 2, 3 of an element of the tensor algebra, (*, d), (*, d, d), (*, d, d, d); level 0 is known."""


def logsig_channels(channels: int, depth: int) -> int:
    """Return how many numbers a log-signature has: ``channels``, d (d − 1)/2 more at depth 2, (d³ − d)/3 more at 3."""
    return len(lyndon_words(channels, depth))


def logsig_windows(x: Tensor, depth: int, window_length: float, t: Any = None) -> Tensor:
    """Return a path whose increment over each unit of time is the log-signature of ``x`` over a window.

    So linear interpolation of it drives the log-ODE method: ``cdeint(LinearInterpolation(logsig_windows(x, 2, 10.0)),
    log_ode_field(func, 2), z0)``, or a learned function of as many channels in place of ``log_ode_field``. Arguments
    and result are those of torchcde, except that at depth 3 a log-signature is written in brackets, not in words: see
    :func:`logsignature`.

    Args:
        x: the observations, (*, length, channels), with NaN where a channel has none (filled linearly).
        depth: 1, 2 or 3.
        window_length: how much time a window covers; the last one may be shorter.
        t: the times of the observations, (length,), strictly increasing; 0, 1, 2, … if ``None``. Windows may begin
            and end between them.

    Returns:
        The path at the times 0, 1, 2, …, (*, windows + 1, logsig_channels(channels, depth)). It begins with the first
        observation, followed by zeros.

    Raises:
        TypeError, ValueError: values, times, depth or length of the windows are not as above.
    """
    _check_depth(depth)
    t = check_observations(x, t)
    x, times = fill_linear(x, t), values(t).double()
    span = (times[-1] - times[0]).item()
    if not (isinstance(window_length, (int, float)) and 0 < window_length < math.inf):
        raise ValueError(f"window_length must be a positive number, a length of time, got {window_length!r}")
    windows = count_steps(span, window_length)
    borders = t[0].double() + window_length * torch.arange(1, windows, dtype=torch.float64, device=t.device)
    inner = values(borders)
    corners, order = torch.cat([times, inner]).sort(stable=True)
    points = torch.cat([x, LinearInterpolation(x, t).evaluate(borders)], dim=-2)
    increments = points.index_select(-2, order).diff(dim=-2)
    # Windows have different numbers of pieces: in a table with a row for each, zeros change nothing.
    window = torch.bucketize(corners[:-1], inner, right=True)
    number = torch.bincount(window, minlength=windows)
    column = torch.arange(len(window), device=t.device) - (number.cumsum(0) - number)[window]
    table = x.new_zeros((*x.shape[:-2], windows * int(number.max()), x.shape[-1]))
    table = table.index_copy(-2, window * int(number.max()) + column, increments)
    logs = logsignature(table.unflatten(-2, (windows, -1)), depth)
    start = torch.nn.functional.pad(x[..., :1, :], (0, logs.shape[-1] - x.shape[-1]))
    return torch.cat([start, logs], dim=-2).cumsum(dim=-2)


def logsignature(increments: Tensor, depth: int) -> Tensor:
    """Return the log-signature of a piecewise linear path in the basis of brackets of Lyndon words.

    Args:
        increments: the steps from corner to corner, (*, n, channels).
        depth: 1, 2 or 3.

    Returns:
        The coefficients, (*, logsig_channels(channels, depth)), in the order of ``lyndon_words``: first the increments
        of the channels, then for i < j that of [i, j], the area ½ ∫ (X^i dX^j − X^j dX^i), then brackets of three.
    """
    _check_depth(depth)
    levels = tensor_log(signature(increments, depth))
    channels = increments.shape[-1]
    words = lyndon_words(channels, depth)
    parts = [levels[0]]
    for length, level in enumerate(levels[1:], start=2):
        some = [word for word in words if len(word) == length]
        if some:
            flat = [sum(letter * channels ** (length - 1 - k) for k, letter in enumerate(word)) for word in some]
            of_words = level.flatten(-length)[..., flat]
            parts.append(of_words @ _to_brackets(some).to(of_words))
    return torch.cat(parts, dim=-1)


def _to_brackets(words: list[tuple[int, ...]]) -> Tensor:
    """Return the matrix, (n, n), that takes coefficients of Lyndon words to those of their brackets.

    The bracket of a Lyndon word has that word with the factor one, and otherwise only later words. So the matrix of
    expansions is triangular, and its inverse holds whole numbers.
    """
    expansions = torch.tensor([[expand(bracket).get(word, 0) for word in words] for bracket in words]).double()
    return torch.linalg.inv(expansions).round()


def signature(increments: Tensor, depth: int) -> Signature:
    """Return the levels 1 … ``depth`` of the signature of the path with the steps ``increments``, (*, n, channels).

    A straight step v has exp(v) = 1 + v + v⊗v/2 + v⊗v⊗v/6, and by Chen's identity a path is the product of its steps:
    here all products at once, by sums of what came before each step.
    """
    v = increments
    before = v.cumsum(dim=-2) - v
    levels = [v.sum(dim=-2)]
    if depth > 1:
        pairs = (before + v / 2).unsqueeze(-1) * v.unsqueeze(-2)
        levels.append(pairs.sum(dim=-3))
    if depth > 2:
        pairs_before = pairs.cumsum(dim=-3) - pairs
        last_two = pairs_before + (before / 2 + v / 6).unsqueeze(-1) * v.unsqueeze(-2)
        levels.append(torch.einsum("...nij,...nk->...ijk", last_two, v))
    return tuple(levels)


def tensor_multiply(a: Signature, b: Signature) -> Signature:
    """Return the product of two signatures: by Chen's identity that of one path after the other."""
    levels = [a[0] + b[0]]
    if len(a) > 1:
        levels.append(a[1] + _outer(a[0], b[0], 1) + b[1])
    if len(a) > 2:
        levels.append(a[2] + _outer(a[1], b[0], 1) + _outer(a[0], b[1], 2) + b[2])
    return tuple(levels)


def tensor_log(s: Signature) -> Signature:
    """Return log(1 + s) = s − s⊗s/2 + s⊗s⊗s/3, level by level."""
    levels = [s[0]]
    if len(s) > 1:
        square = _outer(s[0], s[0], 1)
        levels.append(s[1] - square / 2)
    if len(s) > 2:
        mixed = _outer(s[0], s[1], 2) + _outer(s[1], s[0], 1)
        levels.append(s[2] - mixed / 2 + _outer(square, s[0], 1) / 3)
    return tuple(levels)


def _outer(a: Tensor, b: Tensor, dims_of_b: int) -> Tensor:
    """Return a ⊗ b over the last dimensions, ``dims_of_b`` of them from b; those before are the batch."""
    dims_of_a = a.ndim - (b.ndim - dims_of_b)
    return a[(..., *[None] * dims_of_b)] * b[(..., *[None] * dims_of_a, *[slice(None)] * dims_of_b)]


def _check_depth(depth: int) -> None:
    if depth not in (1, 2, 3):
        raise ValueError(f"depth must be 1, 2 or 3, got {depth!r}")
