"""How much memory tensors take while a block of code runs, on any device, to the byte and the same every time.

PyTorch counts allocations on CUDA only, and hooks on what autograd saves (``saved_tensors_hooks``) do not see what a
``torch.autograd.Function`` keeps by other means, nor do they work together with ``torch.func.vjp``. So every operation
is watched here from below autograd, where all of them pass, those of a backward pass included.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LIFT = torch.ops.aten.lift_fresh.default
"""what ``torch.tensor(numbers)`` ends with: its result is new, although it is its argument"""


class TensorMemory(TorchDispatchMode):
    """A context that counts the bytes of the tensors made in it: ``live`` now, ``peak`` at most so far.

    ::

        with TensorMemory() as memory:
            loss = model(x).sum()
            kept = memory.live  # what waits for the backward pass, and the loss
            loss.backward()
        print(kept, memory.peak)

    A storage counts once, whole, however many tensors share it, from the operation that made it until nothing refers
    to it. Tensors that existed before (parameters, inputs) do not count; gradients and temporary results do. Not seen
    are buffers that an operation uses inside itself. ``live`` still falls when tensors are freed after the context.

    An operation takes some 6 µs longer, and the first one a second (torch imports its compiler): take times in another
    run. Code of ``torch.compile`` runs uncompiled in the context, and so with more memory than it would.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}  # of living storages, by their address; 0 where older than the context

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count what it returns."""
        result = func(*args, **(kwargs or {}))
        for storage in storages(result):
            if storage._cdata not in self._sizes:
                # What the operation was given and nobody has met is older than the context: a view of it is free.
                older = func is not LIFT and any(given._cdata == storage._cdata for given in storages((args, kwargs)))
                self._add(storage, 0 if older else storage.nbytes())
        return result

    def _add(self, storage: torch.UntypedStorage, size: int) -> None:
        """Count ``size`` bytes from now until ``storage`` dies."""
        self._sizes[storage._cdata] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, storage._cdata).atexit = False

    def _remove(self, address: int) -> None:
        """Count the storage at ``address`` no longer."""
        self.live -= self._sizes.pop(address)


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    """Yield the storage of every tensor in ``tree`` that has one (sparse tensors are made of others, which do)."""
    for leaf in (tree,) if isinstance(tree, Tensor) else tree_leaves(tree):
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
            yield leaf.untyped_storage()
