"""The vector field of a solve: the user's ``f``, counted, checked and kept on the right side of discontinuities."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.graph import graph_leaves
from ndelib.solvers.steps.step import Statistics


class Evaluation(NamedTuple):
    """An evaluation of f: where, the result, how often that had been written to, and whether for gradients."""

    t: Any = math.nan
    y: Tensor | None = None
    dy: Tensor | None = None
    version: int = 0
    with_graph: bool = False


class CheckedField:
    """The user's ``f(t, y, *args)`` as methods call it: ``field(t, y)`` with a float ``t`` (see ``step.Field``).

    A result of a wrong type, shape, dtype or device is reported as such and not deep in the loop.
    """

    def __init__(self, f: Callable[..., Any], y0: Tensor, statistics: Statistics, args: Sequence[Any] = ()) -> None:
        self.f = f
        self.args = tuple(args)
        self.statistics = statistics
        self.dtype = y0.dtype.to_real()
        self.device = y0.device
        self.low, self.high = -math.inf, math.inf
        self.last = Evaluation()

    def restrict(self, start: float, end: float, jumps: Sequence[float]) -> None:
        """From now on, where ``start`` or ``end`` is a jump of f, ask only on the side of it that lies between them."""
        low, high = min(start, end), max(start, end)
        self.low = self._beside(low, math.inf) if low in jumps else -math.inf
        self.high = self._beside(high, -math.inf) if high in jumps else math.inf
        self.forget()

    def forget(self) -> None:
        """Let go of the last evaluation, and of its graph."""
        self.last = Evaluation()

    def _beside(self, jump: float, towards: float) -> float:
        """Return the number next to ``jump`` in the precision of the times that f gets."""
        t = torch.tensor(jump, dtype=self.dtype, device="cpu")
        return torch.nextafter(t, torch.full_like(t, towards)).item()

    def __call__(self, t: Any, y: Tensor) -> Tensor:
        """Evaluate f at ``t``, (*) -> (*). The last evaluation is remembered: asking again for it costs nothing."""
        last = self.last
        if y is last.y and t is last.t and last.dy is not None and last.with_graph == torch.is_grad_enabled():
            return last.dy
        self.statistics.nfe += 1
        dy = self.uncounted(t, y)
        if last.dy is not None and version(last.dy) != last.version:
            raise ValueError(
                "f(t, y) has written into the tensor that it returned before, which the solver still needs: return a "
                "new tensor each time, not one that is kept and filled again"
            )
        self.last = Evaluation(t, y, dy, version(dy), torch.is_grad_enabled())
        return dy

    def uncounted(self, t: Any, y: Tensor) -> Tensor:
        """Evaluate f without counting it: for derivatives of f, which are counted as such."""
        if not isinstance(t, Tensor):
            # torch.full fills on the device: unlike torch.tensor it copies nothing from the host.
            t = torch.full((), min(max(t, self.low), self.high), dtype=self.dtype, device=self.device)
        before, tracked = version(y), y.requires_grad
        try:
            dy = self.f(t, y, *self.args)
        except RuntimeError as failure:
            self.f, dy = second_try(self.f, failure, t, y, self.args)
        if y.requires_grad is not tracked:  # f called y.requires_grad_(), and y is not its own
            y.requires_grad_(False)
            self.f, dy = with_own_input(self.f), without_input(dy, y)
        if version(y) != before:
            raise ValueError("f(t, y) has written into y, the state of the solver: let it work on y.clone()")
        if not isinstance(dy, Tensor):
            raise TypeError(f"f(t, y) must return a tensor, got {type(dy).__name__}")
        if dy.shape != y.shape:
            raise ValueError(f"f(t, y) must return the shape of y, {tuple(y.shape)}; it returned {tuple(dy.shape)}")
        if dy.dtype != y.dtype and (dy := as_autocast(dy, y)).dtype != y.dtype:
            raise TypeError(f"f(t, y) must return the dtype of y, {y.dtype}; it returned {dy.dtype}")
        if dy.device != y.device:
            raise ValueError(f"f(t, y) must return a tensor on the device of y, {y.device}; it returned {dy.device}")
        return dy


def version(x: Tensor) -> int:
    """Return how often ``x`` was written to, as autograd counts; 0 for inference tensors, which keep no count."""
    return 0 if x.is_inference() else x._version


def as_autocast(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x`` in the dtype of ``y`` where autocast has lowered it, and as it is otherwise.

    In training with mixed precision the state and its sums stay in full precision, and f alone runs in a lower one.
    """
    if x.dtype == y.dtype or not torch.is_autocast_enabled(y.device.type):
        return x
    return x.to(y.dtype) if x.is_floating_point() and y.is_floating_point() else x


def checked_parts(dy: Any, shapes: Sequence[tuple[int, ...]], y: Tensor, of: str) -> list[Tensor]:
    """Return what a field of tuples gave, as a list in the dtype of ``y``; ``ValueError`` if it has not ``shapes``.

    ``of``: what has these shapes, for the message.
    """
    if (
        not isinstance(dy, (tuple, list))
        or not all(isinstance(part, Tensor) for part in dy)
        or [tuple(part.shape) for part in dy] != shapes
    ):
        raise ValueError(f"f(t, y) must return a tuple of tensors with the shapes of {of}, {shapes}")
    return [as_autocast(part, y) for part in dy]


def second_try(
    f: Callable[..., Any], failure: RuntimeError, t: Any, y: Tensor, args: Sequence[Any]
) -> tuple[Callable[..., Any], Any]:
    """Return ``f`` as a function that can differentiate with respect to ``y``, and what it gives.

    Fields such as the gradient of an energy call ``torch.autograd.grad(H(y).sum(), y, …)``. They ask for the graph of y
    also where the solver records none, or y has none. Raises ``failure``, that of the first try, if it was about
    something else.
    """
    if "does not require grad" not in str(failure):
        raise failure
    tracked = with_own_input(f)
    try:
        return tracked, tracked(t, y, *args)
    except RuntimeError:
        failure.add_note(
            "f(t, y) differentiates by torch.autograd something that does not depend on y, or does so inside vmap, "
            "grad, jvp, … of torch.func: there, let it use torch.func.grad"
        )
        raise failure from None


def with_own_input(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f(t, y, *args)`` such that it always gets a y that requires a gradient, under ``torch.enable_grad``.

    Where nobody wants a gradient of y, that is a tensor of its own, which shares its numbers with y.
    """

    def field(t: Any, y: Tensor, *args: Any) -> Any:
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            x = y if wanted and y.requires_grad else y.detach().requires_grad_()
            dy = f(t, x, *args)
        return dy if x is y else without_input(dy, x)

    return field


def without_input(dy: Any, x: Tensor) -> Any:
    """Return ``dy`` without its graph, unless gradients are wanted and it depends on something besides ``x``."""
    if not isinstance(dy, Tensor) or not dy.requires_grad:
        return dy
    return dy if torch.is_grad_enabled() and graph_leaves([dy], [x]) else dy.detach()
