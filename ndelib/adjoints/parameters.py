"""Which tensors a gradient is wanted for: found in a module, or declared; and a look for those that were forgotten.

Backpropagation finds them by itself. A gradient with a backward pass of its own has to be told, and one that was not
told would be silently incomplete.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.solvers.graph import graph_leaves
from ndelib.solvers.problem import Problem
from ndelib.solvers.steps.step import StepRejected


class Only(tuple[Tensor, ...]):
    """Parameters that get a gradient while no others do, whatever else f depends on."""

    @classmethod
    def of(cls, given: "Parameters") -> "Only | None":
        """Return what was ``given`` as ``adjoint_params``; ``None`` leaves it to the functions."""
        return None if given is None else cls(read_parameters(given, "adjoint_params"))


Parameters = Iterable[Tensor | nn.Module] | Tensor | nn.Module | None


def find_parameters(functions: Iterable[Any], declared: Parameters, args: Iterable[Any]) -> tuple[Tensor, ...]:
    """Return the tensors with ``requires_grad`` that ``functions`` depend on, each once.

    They are those of every function that is a module, or a method of one, those ``declared``, and those in ``args``.

    Raises:
        TypeError: ``declared`` holds something other than tensors and modules.
    """
    if isinstance(declared, Only):
        functions, args = (), ()
    found: list[Tensor] = [parameter for module in find_modules(functions) for parameter in module.parameters()]
    found += [*read_parameters(declared), *(arg for arg in args if isinstance(arg, Tensor))]
    return tuple({id(tensor): tensor for tensor in found if tensor.requires_grad}.values())


def find_modules(functions: Iterable[Any]) -> list[nn.Module]:
    """Return the modules that ``functions`` are, or are methods of."""
    owners = (getattr(function, "__self__", function) for function in functions)
    return [owner for owner in owners if isinstance(owner, nn.Module)]


def read_parameters(declared: Parameters, name: str = "params") -> list[Tensor]:
    """Return the tensors of ``declared``; a module stands for its parameters.

    Raises:
        TypeError: it holds something other than tensors and modules; the message calls it ``name``.
    """
    if declared is None:
        return []
    if isinstance(declared, (Tensor, nn.Module)) or not isinstance(declared, Iterable):
        declared = [declared]
    found: list[Tensor] = []
    for given in declared:
        if isinstance(given, nn.Module):
            found += given.parameters()
        elif isinstance(given, Tensor):
            found.append(given)
        else:
            raise TypeError(
                f"{name} must be tensors, such as model.parameters(), or modules, got {type(given).__name__}"
            )
    return found


def check_declared(results: Iterable[Tensor], y: Tensor, parameters: Iterable[Tensor], gradient: str) -> None:
    """Raise ``ValueError`` if ``results``, which f gave for ``y``, depend on a leaf that is not in ``parameters``."""
    forgotten = graph_leaves(results, [y, *parameters])
    if forgotten:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in forgotten[:5])
        raise ValueError(
            f"f uses {len(forgotten)} tensor{'s' * (len(forgotten) > 1)} that need{'s' * (len(forgotten) == 1)} a "
            f"gradient (of the shape {shapes}) and gradient={gradient!r} was not told of: pass them as params=(…), or "
            "make f an nn.Module that has them as parameters; gradient='backprop' finds them by itself"
        )


def check_steps(problem: Problem, times: Sequence[float], parameters: Iterable[Tensor], gradient: str) -> None:
    """Raise ``ValueError`` if the steps of a user's method have tensors whose gradient would be lost.

    One short step is made with its graph, which is walked down to its leaves: those that f itself has not are the
    method's own.
    """
    t, end, name = times[0], times[-1], problem.method.name
    longest = problem.options.step_size or problem.options.first_step or 1e-3 * abs(end - t)
    h = math.copysign(min(longest, abs(times[1] - t)), end - t)
    problem.enter(t, end)
    with torch.enable_grad():
        y = problem.y0.detach().requires_grad_()
        try:
            step = problem.make_step(t, y, t + h, None, None)
        except StepRejected:
            return
        of_f = graph_leaves([problem.field.uncounted(t, y)], [y])
    problem.field.forget()
    if gradient in ("adjoint", "interpolated"):
        if graph_leaves([step.y1], [y, *of_f]):
            raise ValueError(
                f"gradient={gradient!r} differentiates the equation and not the method, so the tensors in the steps of "
                f"{name!r} that need a gradient would get none: use gradient='backprop' or 'checkpoint'"
            )
    elif forgotten := graph_leaves([step.y1, *step.memory], [y, *parameters]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in forgotten[:5])
        raise ValueError(
            f"the steps of method {name!r} use {len(forgotten)} tensor{'s' * (len(forgotten) > 1)} that need a "
            f"gradient (of the shape {shapes}) and gradient={gradient!r} was not told of: pass them as params=(…); "
            "gradient='backprop' finds them by itself"
        )
