"""What a vector field may depend on besides its arguments: random numbers, autocast, buffers of a module, counters.

A gradient with a backward pass of its own asks f again, and f has to answer as it did the first time. Random numbers
and autocast are put back, as ``torch.utils.checkpoint`` does. Buffers are left as the solve alone would leave them:
steps made again do not count twice in the running statistics of a batch norm (whose output, in training, does not
depend on them). What cannot be put back is noticed: f is asked again where it had been asked, and steps made again are
compared with those of the first time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

from ndelib.adjoints.errors import AdjointError

CHANGED = (
    "f depends on something besides t, y and its parameters that has changed since (a buffer such as that of a "
    "spectral norm, a counter, a global, random numbers from a generator of its own), so its derivative would not be "
    "that of the solution. Make f a function of its arguments (model.eval() keeps buffers as they are), or use "
    "gradient='backprop'"
)


class RandomState(NamedTuple):
    """The states of PyTorch's generators: that of the CPU, and that of the device of y."""

    cpu: Tensor
    devices: list[int]
    states: list[Tensor]
    kind: str

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """Return the states as they are. They take 5 kB, and few bytes more on a GPU."""
        there = torch.empty(0, device=device)
        return cls(torch.get_rng_state(), *get_device_states(there), device.type)

    def put_back(self) -> None:
        """Make the generators go on from here."""
        torch.set_rng_state(self.cpu)
        if self.devices:
            set_device_states(self.devices, self.states, device_type=self.kind)

    def is_still(self, device: torch.device) -> bool:
        """Whether no random number has been drawn since."""
        now = RandomState.now(device)
        return all(map(torch.equal, (self.cpu, *self.states), (now.cpu, *now.states)))


def autocast_as_now(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return a function that makes contexts in which autocast is what it is now, on ``device`` and on the CPU.

    But without its cache. With it, all evaluations of f share the lowered copy of a weight, and what they give to its
    gradient is summed in that precision (by backpropagation too); without it, in that of the weight.
    """
    kinds = [kind for kind in dict.fromkeys(("cpu", device.type)) if torch.amp.is_autocast_available(kind)]
    flags = [(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in kinds]

    def again() -> AbstractContextManager[object]:
        stack = ExitStack()
        for kind, dtype, enabled in flags:
            if enabled or torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, dtype, enabled, cache_enabled=False))
        return stack

    return again


@contextmanager
def buffers_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Leave the buffers of ``modules`` that train as they are found."""
    training = [part for module in modules for part in module.modules() if part.training]
    found = [
        (part, name, buffer, buffer.detach().clone())
        for part in training
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for part, name, buffer, before in found:
            part._buffers[name] = buffer
            buffer.data.copy_(before)  # .data: a graph that uses the buffer need not hear of it


class Ambient:
    """What was around f when a solve was made, and the answers that it gave where the solve began.

    ``look(y)`` asks f at the first time, ``t``. It is asked at once, without a trace: no random number is used up, and
    no buffer changed.
    """

    def __init__(
        self, look: Callable[[Tensor], Iterable[Tensor]], t: float, y0: Tensor, modules: Iterable[nn.Module]
    ) -> None:
        self.look, self.t, self.device, self.modules = look, t, y0.device, list(modules)
        self.autocast = autocast_as_now(y0.device)
        self.start = RandomState.now(y0.device)
        with torch.enable_grad(), buffers_kept(self.modules):
            self.y = y0.detach().requires_grad_()
            self.results = list(look(self.y))  # with their graphs
        self.random = not self.start.is_still(y0.device)
        """whether f draws random numbers"""
        if self.random:
            self.start.put_back()

    def let_go(self) -> None:
        """Let go of the graphs, once all that asks f before the solve has asked."""
        self.answers = [result.detach() for result in self.results]
        if not self.start.is_still(self.device):
            self.start.put_back()
        del self.y, self.results

    @contextmanager
    def again(self) -> Iterator[None]:
        """Be as it was: for code that asks f again. Outside, generators and buffers notice nothing of it."""
        now = RandomState.now(self.device) if self.random else None
        with self.autocast(), buffers_kept(self.modules):
            try:
                yield
            finally:
                if now is not None:
                    now.put_back()

    def check(self, answers: Sequence[Tensor], y0: Tensor, gradient: str) -> None:
        """Ask f again where the solve began; raise ``AdjointError`` if it does not give the ``answers`` of before."""
        for before, after in zip(answers, self.look(y0), strict=True):
            if not distance(after, before).item() <= 1.0:
                off = (after - before).abs().max().item()
                raise AdjointError(
                    f"gradient={gradient!r} asks f again on the way back, and at t = {self.t:.6g} f gave something "
                    f"else than at first, off by {off:.2g}: {CHANGED}",
                    t=self.t,
                    h=0.0,
                )


def distance(found: Tensor, there: Tensor) -> Tensor:
    """Return by how much ``found`` is off, (), in units of what rounding explains, which is relative to the largest."""
    if there.numel() == 0:
        return torch.zeros((), device=there.device)
    dtype = there.dtype
    if torch.is_autocast_enabled(there.device.type):
        dtype = torch.get_autocast_dtype(there.device.type)
    found, there = found.detach(), there.detach()
    size = torch.maximum(found.abs().max(), there.abs().max())
    room = 1e3 * torch.finfo(there.dtype).eps if dtype == there.dtype else 4 * torch.finfo(dtype).eps
    return (found - there).abs().max() / (room * size + torch.finfo(there.dtype).tiny)
