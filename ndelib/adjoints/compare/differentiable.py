"""A loss of a solve as a function of all that its gradient is wanted for, and gradients that need no backward pass.

They go direction by direction: forward sensitivities (a Jacobian–vector product of the whole solve for each number)
and finite differences.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.adjoints.odeint import odeint
from ndelib.adjoints.parameters import find_parameters
from ndelib.solvers.problem import State

MOST_SOLVES = 64
"""so many directions forward sensitivities follow: a solve for each number that a gradient is wanted for"""


@dataclass(frozen=True)
class Differentiable:
    """The loss of a solution as a function of everything a gradient is wanted for."""

    functions: tuple[Callable[..., Any], ...]
    y0: tuple[Tensor, ...]
    t: Any
    modules: tuple[nn.Module, ...]
    """those that f consists of, or is a method of"""
    declared: tuple[Tensor, ...]
    """their parameters that need a gradient, and those in ``params``"""
    args: tuple[Any, ...]
    loss: Callable[[Any], Tensor]
    paired: bool
    """whether f is a pair of functions, (velocity, force)"""
    tupled: bool
    """whether y0 is a tuple"""

    @classmethod
    def of(cls, f: Any, y0: State, t: Any, params: Any, args: Sequence[Any], loss: Any) -> "Differentiable":
        """Read the arguments of :func:`compare_gradients`; y0 and t become leaves of the graph."""
        functions = f if isinstance(f, tuple) else (f,)
        if isinstance(t, list | tuple) and any(isinstance(time, Tensor) for time in t):
            t = torch.stack([torch.as_tensor(time, dtype=torch.float64) for time in t])
        if isinstance(t, Tensor):
            t = t.detach().clone().requires_grad_(t.requires_grad)
        leaves = tuple(part.detach().clone().requires_grad_() for part in parts(y0))
        declared = find_parameters(functions, params, ())
        owners = (getattr(function, "__self__", function) for function in functions)
        modules = tuple(owner for owner in owners if isinstance(owner, nn.Module))
        paired, tupled = isinstance(f, tuple), isinstance(y0, tuple)
        return cls(functions, leaves, t, modules, declared, tuple(args), loss, paired, tupled)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that f depends on and that need a gradient."""
        return find_parameters((), self.declared, self.args)

    @property
    def groups(self) -> dict[str, tuple[Tensor, ...]]:
        """What a gradient is wanted for, by name."""
        times = (self.t,) if isinstance(self.t, Tensor) and self.t.requires_grad else ()
        return {"y0": self.y0, "params": self.parameters, "t": times}

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What a gradient is wanted for, in a row."""
        return tuple(chain.from_iterable(self.groups.values()))

    def solve(self, options: Mapping[str, Any]) -> Any:
        """Return the solution."""
        f: Any = self.functions if self.paired else self.functions[0]
        y0: Any = self.y0 if self.tupled else self.y0[0]
        # What odeint would find in f is named, so that f may be wrapped in a function that counts.
        return odeint(f, y0, self.t, **{**options, "args": self.args, "params": self.declared})

    def value(self, options: Mapping[str, Any]) -> Tensor:
        """Return the loss, ()."""
        return self.loss(self.solve(options))

    def calling(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> "Differentiable":
        """Return the same with every function wrapped."""
        return replace(self, functions=tuple(wrap(function) for function in self.functions))

    def in_double(self) -> "Differentiable":
        """Return the same in double precision: copies of modules and of tensors, functions that are neither as is."""
        copies: dict[int, Any] = {}  # by the id of the original
        functions = self.functions
        if len(self.modules) == len(functions):
            functions = copy.deepcopy(functions, copies)
            for x in copies.values():  # parameters and buffers, and tensors that are plain attributes
                if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex()):
                    x.data = x.data.to(double(x))

        def doubled(x: Any) -> Any:
            if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
                return x
            return copies.get(id(x), x.detach().to(double(x), copy=True).requires_grad_(x.requires_grad))

        return replace(
            self,
            functions=functions,
            y0=tuple(doubled(part) for part in self.y0),
            t=doubled(self.t),
            modules=tuple(copies.get(id(module), module) for module in self.modules),
            declared=tuple(copies.get(id(parameter), parameter) for parameter in self.declared),
            args=tuple(doubled(arg) for arg in self.args),
        )

    def check(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return ``gradients`` if they have the shapes of ``inputs``; raise ``ValueError`` otherwise."""
        wanted, given = [tuple(x.shape) for x in self.inputs], [tuple(g.shape) for g in gradients]
        if wanted != given:
            raise ValueError(
                f"reference has the shapes {given}; the gradient has {wanted}, of y0, the parameters, and t if it "
                "requires a gradient"
            )
        return tuple(gradients)

    def errors(self, gradients: Sequence[Tensor], exact: Sequence[Tensor]) -> dict[str, float]:
        """Return the relative error of each group; where the exact gradient of one is zero, in units of all of it."""
        errors, rest = {}, iter(zip(gradients, exact, strict=True))
        whole = _norm(exact)
        for name, members in self.groups.items():
            pairs = [next(rest) for _ in members]
            if pairs:
                size = _norm([e for _, e in pairs]) or whole
                off = _norm([g.to(double(e)) - e.to(double(e)) for g, e in pairs])
                errors[name] = off / size if size else math.inf if off else 0.0
        return errors


def parts(y: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a state in either form."""
    return y if isinstance(y, tuple) else (y,)


def double(x: Tensor) -> torch.dtype:
    """Return the dtype of double precision that holds ``x``."""
    return torch.promote_types(x.dtype, torch.float64)


def _norm(tensors: Iterable[Tensor]) -> float:
    """Return the Euclidean norm of all numbers in ``tensors`` together."""
    return math.sqrt(sum(x.detach().to(double(x)).abs().square().sum().item() for x in tensors))


def by_directions(derivative: Callable[[int, Tensor], Any], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradient made of ``derivative(i, v)``, the derivatives when ``inputs[i]`` moves in the direction v.

    As everywhere in PyTorch, the gradient for a complex number x + iy is ∂L/∂x + i ∂L/∂y.
    """
    gradients = []
    for i, x in enumerate(inputs):
        gradient = torch.zeros(x.shape, dtype=x.dtype, device=x.device)
        for j in range(x.numel()):
            for unit in torch.tensor([1, 1j] if x.is_complex() else [1]).to(gradient):
                direction = torch.zeros_like(gradient)
                direction.view(-1)[j] = unit
                gradient.view(-1)[j] += unit * derivative(i, direction)
        gradients.append(gradient)
    return tuple(gradients)


class _Holder(nn.Module):
    """Modules whose parameters are to be replaced while a function that uses them runs."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.held = nn.ModuleList(modules)

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def forward_sensitivities(problem: Differentiable, options: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Return the gradient by forward sensitivities: a Jacobian–vector product of the whole solve for each number."""
    inputs = (*problem.y0, *problem.parameters)
    numbers = sum(x.numel() * (1 + x.is_complex()) for x in inputs)
    if numbers > MOST_SOLVES:
        raise ValueError(
            f"forward sensitivities would take {numbers} solves, one for each number in y0 and the parameters; at most "
            f"{MOST_SOLVES} are made: use another gradient, or fewer parameters"
        )
    holder = _Holder(problem.modules)
    names = {id(parameter): name for name, parameter in holder.named_parameters()}
    in_args = {id(arg) for arg in problem.args}
    if any(id(parameter) not in names and id(parameter) not in in_args for parameter in problem.parameters):
        raise ValueError(
            "forward sensitivities replace parameters by others: make f an nn.Module, or pass them as args"
        )
    plain = {**options, "gradient": "backprop"}
    still = replace(problem, t=problem.t.detach() if isinstance(problem.t, Tensor) else problem.t)

    def value(*moved: Tensor) -> Tensor:
        new = dict(zip(map(id, inputs), moved, strict=True))
        args = tuple(new.get(id(arg), arg) for arg in problem.args)
        parameters = {names[key]: x for key, x in new.items() if key in names}
        solve = replace(still, y0=moved[: len(problem.y0)], args=args, declared=())
        loss: Tensor = torch.func.functional_call(holder, parameters, (solve.value, plain))
        return loss

    where = tuple(x.detach() for x in inputs)

    def derivative(i: int, direction: Tensor) -> Tensor:
        directions = tuple(direction if j == i else torch.zeros_like(x) for j, x in enumerate(where))
        return torch.func.jvp(value, where, directions)[1]

    gradients = by_directions(derivative, where)
    return (*gradients, *sensitivities_to_times(still, plain, gradients)) if problem.groups["t"] else gradients


def sensitivities_to_times(
    problem: Differentiable, options: Mapping[str, Any], gradients: Sequence[Tensor]
) -> tuple[Tensor]:
    """Return ∂L/∂t, (T,), from the gradient for y0 and the slopes at the requested times.

    The state yᵢ moves by f(tᵢ, yᵢ) with its time, and by −∂yᵢ/∂y₀ f(t₀, y₀) with the time at which the solve starts.
    """
    with torch.no_grad():
        ys = parts(problem.solve(options))
    ys = tuple(part.detach().requires_grad_() for part in ys)
    direct = torch.autograd.grad(problem.loss(ys if problem.tupled else ys[0]), ys)
    result = torch.zeros_like(problem.t)
    with torch.no_grad():
        for i, t in enumerate(problem.t.to(ys[0].device, ys[0].dtype.to_real())):
            y = tuple(part[i] for part in ys)
            if problem.paired:
                velocity, force = problem.functions
                q, p = y
                slopes: tuple[Tensor, ...] = velocity(t, p, *problem.args), force(t, q, *problem.args)
            else:
                slopes = parts(problem.functions[0](t, y if problem.tupled else y[0], *problem.args))
            pulls = [part[i] for part in direct]
            if i == 0:  # ys[0] is y0 at whatever time
                pulls = [pull - whole for pull, whole in zip(pulls, gradients[: len(y)], strict=True)]
            result[i] = sum((pull.conj() * slope).real.sum() for pull, slope in zip(pulls, slopes, strict=True))
    return (result,)


def finite_differences(problem: Differentiable, options: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Return the gradient by central differences of fourth order. Tensors are moved in place, and moved back."""
    inputs = problem.inputs

    def derivative(i: int, direction: Tensor) -> float:
        x, before = inputs[i], inputs[i].detach().clone()
        # The error of the formula falls like h⁴, the noise of the solve grows like 1/h.
        h = 1e-3 * max(1.0, before[direction != 0].abs().item())

        def value(steps: int) -> float:
            x.data.copy_(before + steps * h * direction)
            return problem.value(options).item()

        try:
            return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h)
        finally:
            x.data.copy_(before)

    with torch.no_grad():
        return by_directions(derivative, inputs)
