"""Universal differential equations: the terms that are known, with their parameters, and a network for the rest.

Source: Rackauckas, Ma, Martensen, Warner, Zubov, Supekar, Skinner, Ramadhan & Edelman, Universal differential equations
for scientific machine learning, arXiv:2001.04385 (2020).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn


class UniversalODE(nn.Module):
    """The field ``known(t, y, *parameters) + network(y)``: physics with its parameters, and what is missing.

    The network's last linear layer begins at zero, so the field begins as the known part. If a parameter and a network
    are both unknown, they can trade: what the parameter leaves out the network may take over, and the data see only
    the sum. Two habits help. Fit the physics first::

        model.learn("physics"); fit(model, loss, data, …)      # the network stays what it is, zero at first
        model.learn("both");    fit(model, loss + a penalty, data, …)

    and keep the network small: add ``weight * model.network_size(y)`` to the loss.

    Args:
        known: ``known(t, y, *parameters) -> dy/dt``, (*, d) -> (*, d).
        network: what is added, (*, inputs) -> (*, outputs); a module.
        parameters: names and first values of the parameters, which are trained; ``known`` gets them in this order.
        positive: the names of those that stay positive: they are exp of what is trained. True: all, False: none.
        components: the components of dy/dt that the network is added to; all if ``None``.
        inputs: the components of y that the network sees; all if ``None``.
        zero: whether the network begins at zero.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.models import UniversalODE, perceptron
        >>> def known(t, y, growth, decay):  # rabbits grow, foxes die
        ...     return y * torch.stack([growth, -decay])
        >>> rates = {"growth": 1.5, "decay": 3.0}
        >>> model = UniversalODE(known, perceptron(2, 2), rates)
        >>> model(0.0, torch.tensor([[1.0, 2.0]]))
        tensor([[ 1.5000, -6.0000]], grad_fn=<AddBackward0>)
        >>> {name: round(value, 3) for name, value in model.values.items()}
        {'growth': 1.5, 'decay': 3.0}
    """

    def __init__(
        self,
        known: Callable[..., Tensor],
        network: nn.Module,
        parameters: Mapping[str, float] | None = None,
        *,
        positive: bool | Collection[str] = True,
        components: Sequence[int] | None = None,
        inputs: Sequence[int] | None = None,
        zero: bool = True,
    ) -> None:
        super().__init__()
        parameters = dict(parameters or {})
        if not callable(known):
            raise TypeError(f"known must be a function known(t, y, *parameters), got {type(known).__name__}")
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be a module, such as perceptron(2, 2), got {type(network).__name__}")
        names = set(parameters) if positive is True else set(positive or ())
        if unknown := names - set(parameters):
            raise ValueError(f"positive names {', '.join(sorted(unknown))}, which parameters does not have")
        self.known, self.network, self.names = known, network, tuple(parameters)
        self.positive = frozenset(names)
        self.physics = nn.ParameterList()
        for name, value in parameters.items():
            first = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
            if not first.isfinite().all() or (name in names and not (first > 0).all()):
                rule = "positive, or positive=False" if name in names else "finite"
                raise ValueError(f"parameters[{name!r}] must be {rule}, got {value!r}")
            self.physics.append(nn.Parameter(first.log() if name in names else first))
        self.components = None if components is None else list(components)
        self.inputs = None if inputs is None else list(inputs)
        if zero:
            _begin_at_zero(network)

    def physical(self) -> tuple[Tensor, ...]:
        """Return the parameters as ``known`` gets them; differentiable."""
        pairs = zip(self.names, self.physics, strict=True)
        return tuple(raw.exp() if name in self.positive else raw for name, raw in pairs)

    @property
    def values(self) -> dict[str, float]:
        """The parameters by name, as numbers."""
        return {name: value.item() for name, value in zip(self.names, self.physical(), strict=True)}

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return dy/dt, (*, d)."""
        slope = self.known(t, y, *self.physical())
        if slope.shape != y.shape:
            raise ValueError(f"known must return the shape of y, {tuple(y.shape)}; it returned {tuple(slope.shape)}")
        return slope + self.missing(y)

    def missing(self, y: Tensor) -> Tensor:
        """Return what the network adds to dy/dt, (*, d): zero in components that it is not added to."""
        added = self.network(y if self.inputs is None else y[..., self.inputs])
        size = y.shape[-1] if self.components is None else len(self.components)
        if added.shape != (*y.shape[:-1], size):
            raise ValueError(
                f"network must return {(*y.shape[:-1], size)}, a number for each of its components; it returned "
                f"{tuple(added.shape)}"
            )
        if self.components is None:
            return added
        columns = dict(zip(self.components, added.unbind(-1), strict=True))
        nothing = torch.zeros_like(added[..., 0])
        return torch.stack([columns.get(i, nothing) for i in range(y.shape[-1])], -1)

    def network_size(self, y: Tensor) -> Tensor:
        """Return the mean square of what the network adds at the states ``y``, (*, d): a penalty, a number."""
        return self.missing(y).square().mean()

    def learn(self, part: Literal["physics", "network", "both"]) -> None:
        """Choose what is trained from now on; the rest keeps its values, and gets no gradient."""
        if part not in ("physics", "network", "both"):
            raise ValueError(f'part must be "physics", "network" or "both", got {part!r}')
        self.physics.requires_grad_(part != "network")
        self.network.requires_grad_(part != "physics")

    def extra_repr(self) -> str:
        """Say the parameters and their values."""
        return ", ".join(f"{name}={value:.4g}" for name, value in self.values.items())


def _begin_at_zero(network: nn.Module) -> None:
    """Set the last linear layer to zero."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("network has no linear layer to begin at zero: give zero=False")
    nn.init.zeros_(layers[-1].weight)
    if layers[-1].bias is not None:
        nn.init.zeros_(layers[-1].bias)
