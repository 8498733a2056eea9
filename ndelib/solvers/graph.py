"""The numbers in a tensor without autograd's and torch.func's wrappers, and what a result of autograd depends on."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def graph_leaves(results: Iterable[Tensor], known: Iterable[Tensor] = ()) -> list[Tensor]:
    """Return the leaves that need a gradient and that ``results`` depend on, each once.

    Without those in ``known``, and without what lies behind one of ``known`` that is no leaf itself.
    """
    results, known = list(results), list(known)
    inner = {(tensor.grad_fn, tensor.output_nr) for tensor in known if not tensor.is_leaf}
    stack: list[tuple[Any, int]] = [(result.grad_fn, result.output_nr) for result in results]
    found = {id(result): result for result in results if result.requires_grad and result.is_leaf}
    seen = set()
    while stack:
        node, output = stack.pop()
        if node is None or (node, output) in inner or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is None:
            stack += node.next_functions
        else:
            found[id(leaf)] = leaf
    for tensor in known:
        found.pop(id(tensor), None)
    return list(found.values())


def values(x: Tensor) -> Tensor:
    """Return the plain tensor inside the wrappers of vmap, jacrev, …: what step control may look at."""
    x = x.detach()
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x


def inside_transform() -> bool:
    """Return whether this runs inside vmap, grad, jvp, … of ``torch.func``."""
    return torch._C._functorch.peek_interpreter_stack() is not None
