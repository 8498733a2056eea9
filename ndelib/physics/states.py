"""States of mechanics, (*, 2n): positions and momenta side by side, [q, p], or positions and velocities, [q, q̇]."""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.func import vjp

State = Tensor | tuple[Tensor, Tensor]
"""[q, p], (*, 2n), or the pair (q, p), each (*, n): the form that methods with ``split`` need, such as leapfrog."""


def halves(y: State, names: str = "[q, p]", owner: str = "the field") -> tuple[Tensor, Tensor]:
    """Split a state (*, 2n) into its two halves, each (*, n), with an error that names what is wrong.

    A pair (q, p) is taken as it is.

    Raises:
        TypeError, ValueError: y is no floating-point tensor, or its last axis is no even number.
    """
    if isinstance(y, tuple) and len(y) == 2:
        return y
    if not isinstance(y, Tensor):
        raise TypeError(f"the state y = {names} of {owner} must be a tensor, (*, 2n), got {type(y).__name__}")
    if not y.is_floating_point():
        raise TypeError(f"the state y = {names} of {owner} must hold floating-point numbers, got {y.dtype}")
    if y.ndim == 0 or y.shape[-1] % 2 or not y.shape[-1]:
        size = "is a single number" if y.ndim == 0 else f"has {y.shape[-1]} numbers on its last axis"
        raise ValueError(
            f"the state y = {names} of {owner} {size}, shape {tuple(y.shape)}: it must have 2n, "
            f"n for each half. Join the halves by torch.cat((q, {names[-2]}), -1)"
        )
    n = y.shape[-1] // 2
    return y[..., :n], y[..., n:]


@overload
def join(first: Tensor, second: Tensor, like: Tensor) -> Tensor: ...
@overload
def join(first: Tensor, second: Tensor, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]: ...
def join(first: Tensor, second: Tensor, like: State) -> State:
    """Put two halves together as ``like`` has them: in a tensor (*, 2n), or as a pair."""
    return (first, second) if isinstance(like, tuple) else torch.cat((first, second), -1)


def velocity_halves(y: Tensor, n: int, owner: str) -> tuple[Tensor, Tensor]:
    """Split [q, v], (*, 2n), of a model that was made for n coordinates, as :func:`halves` does."""
    q, v = halves(y, "[q, v]", owner)
    if q.shape[-1] != n:
        raise ValueError(f"the state [q, v] of {owner} must be (*, {2 * n}), got {tuple(y.shape)}")
    return q, v


def total(
    value: Any, x: Tensor, name: str, each: str = "a sample", hint: str = "Add the coordinates by .sum(-1)"
) -> Tensor:
    """Return the sum of a function's values over a batch, so that its gradient is that of each sample.

    Args:
        value: what the function returned for ``x``; it must be one number for each of them, (*).
        x: what it was given, (*, n).
        name: the function, as the message calls it.
        each: what one of x is.
        hint: what to do, for the message.
    """
    if not isinstance(value, Tensor) or value.shape != x.shape[:-1]:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"{name} must return one number {each}, shape {tuple(x.shape[:-1])} for {tuple(x.shape)}; it returned "
            f"{got}. {hint}"
        )
    return value.sum()


def check_unwrapped(q: Tensor, names: str = "q") -> None:
    """Raise an error where an angle jumps from one sample to the next, as it does when it is kept within (−π, π].

    A jump by 2π is no motion: a difference quotient across it is wrong by 2π/h, and a network that sees q itself sees
    two far points in place of one.

    Args:
        q: angles in the order of time, (T, *): T samples, the first axis.
        names: what the message calls them.

    Raises:
        ValueError: two neighbours are π or more apart, so that one cannot say which way the angle went.

    Example:
        >>> import torch
        >>> from ndelib.physics import check_unwrapped
        >>> check_unwrapped(torch.tensor([3.0, 3.1, 3.2]))
        >>> check_unwrapped(torch.tensor([3.0, 3.1, 3.2 - 2 * torch.pi]))
        Traceback (most recent call last):
            ...
        ValueError: angles not unwrapped: q jumps by -6.183 ...
    """
    if not isinstance(q, Tensor) or q.ndim == 0:
        raise TypeError(f"{names} must be a tensor of angles (T, *), got {type(q).__name__} without a first axis")
    jumps = q.detach().diff(dim=0).flatten(1) if q.ndim > 1 else q.detach().diff(dim=0)[:, None]
    wrong = (jumps.abs() >= math.pi).nonzero()
    if len(wrong):
        k, i = wrong[0].tolist()
        raise ValueError(
            f"angles not unwrapped: {names} jumps by {jumps[k, i].item():.4g} from sample {k} to sample {k + 1} "
            f"(jumps of π or more in all: {len(wrong)}); use numpy.unwrap(…, axis=0) on "
            "each trajectory, or sample more often"
        )


def columns(like: Tensor) -> Tensor:
    """Return the n unit vectors in the last axis of ``like``, (*, n), in front of its batch: (n, *, n)."""
    n = like.shape[-1]
    unit = torch.eye(n, dtype=like.dtype, device=like.device)
    return unit.reshape(n, *[1] * (like.ndim - 1), n).expand(n, *like.shape)


def along(f: Callable[[Tensor], Tensor], x: Tensor, dx: Tensor) -> Tensor:
    """Return the derivative of ``f`` at x in the direction dx, of the shape of f(x), by two passes backward.

    A pass back is linear in what it starts from; the pass back through it leads forward. (``torch.func.jvp`` does the
    same by forward mode, and takes seconds at its first use.)
    """
    y, back = vjp(f, x)  # type: ignore[misc]
    _, forth = vjp(lambda w: back(w)[0], torch.zeros_like(y))  # type: ignore[misc]
    change: Tensor = forth(dx)[0]
    return change
