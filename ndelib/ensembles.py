"""Several copies of a model, trained at once: what a claim over five seeds needs, for little more time than one.

The parameters of all copies are stacked, and ``torch.func.vmap`` runs a forward pass of all of them as one. Small
networks spend most of their time between operations, not in them, so five copies take less than five times as long.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Copies of a model with parameters of their own, as one module: (*in) -> (members, *out).

    Each copy sees the same data. ``fit(ensemble, ensemble.each(loss), data, …)`` trains every member as if it were
    alone, with the same batches: the losses are added, so none sees another's gradient, and ``clip`` shortens the
    gradient of each by itself. The optimiser must treat each number by itself, as SGD and Adam do and LBFGS does not.

    Args:
        make: makes a member, ``make() -> module``; called once for each seed, under ``torch.manual_seed(seed)``.
        seeds: how many members, with the seeds 0, 1, …; or the seeds themselves.

    A member must be one that vmap takes: no ``torch.nn.GRU`` or ``LSTM``, no ``BatchNorm`` that trains. The
    members share the steps of an adaptive solver, so there each depends on the others, within the tolerance.

    Raises:
        TypeError, ValueError: ``make`` does not make modules with parameters, or there is no seed.

    Example:
        >>> import torch
        >>> from ndelib.training import Ensemble, fit, supervised
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = Ensemble(lambda: torch.nn.Linear(1, 1), seeds=5)
        >>> loss = model.each(supervised(torch.nn.functional.mse_loss))
        >>> history = fit(model, loss, (x, 2 * x + 1), steps=300, lr=0.1)
        >>> model(x).shape
        torch.Size([5, 64, 1])
        >>> [round(member.weight.item(), 3) for member in model]
        [2.0, 2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, make: Callable[[], nn.Module], seeds: int | Sequence[int] = 5) -> None:
        super().__init__()
        self.seeds = _seeds(seeds)
        members = []
        with torch.random.fork_rng():
            for seed in self.seeds:
                torch.manual_seed(seed)
                members.append(make())
        if not isinstance(members[0], nn.Module) or not any(True for _ in members[0].parameters()):
            raise TypeError(f"make must make a module with parameters, it made {type(members[0]).__name__}")
        if len({id(member) for member in members}) < len(members):
            raise ValueError("make must make a new module at each call; it gave the same one again")
        parameters, buffers = stack_module_state(members)
        # a list hides the member from torch: only its structure is used, the stacked tensors take the place of its own
        self._structure = [members[0]]
        self._names = {name: name.replace(".", "__") for name in (*parameters, *buffers)}
        for name, stacked in parameters.items():
            wanted = members[0].get_parameter(name).requires_grad
            self.register_parameter(self._names[name], nn.Parameter(stacked.detach(), requires_grad=wanted))
        for name, stacked in buffers.items():
            self.register_buffer(self._names[name], stacked)

    def forward(self, *inputs: Any) -> Any:
        """Return the outputs of all members for the same inputs, each with one dimension in front, (members, *)."""
        return self.measure(lambda member, *given: member(*given), *inputs)

    def measure(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Return ``function(member, *inputs)`` of every member, (members, *): an error, an accuracy, a trajectory.

        ``function`` must return tensors, and may call any method of the member. Random numbers in it differ from member
        to member.
        """
        called = Called(self.structure, function)

        def one(state: dict[str, Tensor]) -> Any:
            return functional_call(called, state, inputs)

        state = {f"member.{name}": stacked for name, stacked in self.stacked().items()}
        return vmap(one, randomness="different")(state)

    def stacked(self) -> dict[str, Tensor]:
        """Return the parameters and buffers of all members, (members, *), by the names they have in a member."""
        return {name: getattr(self, own) for name, own in self._names.items()}

    @property
    def structure(self) -> nn.Module:
        """One member, as ``torch.func.functional_call`` needs it: its own tensors are not those of the ensemble."""
        return self._structure[0]

    def each(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return the loss of the ensemble for :func:`ndelib.training.fit`: the sum of ``loss(member, *batch)``."""

        def total(ensemble: nn.Module, *batch: Any) -> Tensor:
            if ensemble is not self:
                raise ValueError("each() makes the loss of this ensemble: give fit the same one as its model")
            summed: Tensor = self.measure(loss, *batch).sum()
            return summed

        return total

    def clip_gradients(self, largest: float) -> None:
        """Shorten the gradient of every member that is longer than ``largest``, to that norm."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))

    def train(self, mode: bool = True) -> "Ensemble":
        """Put all members in the mode for training, or for use."""
        self.structure.train(mode)
        return super().train(mode)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> nn.Module:
        """Return a member as a module of its own: a copy, which trains no more with the others."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"the ensemble has {len(self)} members, there is no number {index}")
        member = copy.deepcopy(self.structure)
        state = {name: stacked[index].detach().clone() for name, stacked in self.stacked().items()}
        for name, value in state.items():
            if name in dict(member.named_parameters()):
                member.get_parameter(name).data = value
            else:
                member.get_buffer(name).data = value
        return member

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[i] for i in range(len(self)))

    def extra_repr(self) -> str:
        """Say how many there are of what."""
        return f"{len(self)} of {type(self.structure).__name__}"


class Called(nn.Module):
    """A function of a member as a module: so ``functional_call`` finds the parameters that it uses."""

    def __init__(self, member: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.member, self.function = member, function

    def forward(self, *inputs: Any) -> Any:
        """Return what the function does."""
        return self.function(self.member, *inputs)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds, once checked."""
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds must be a number of members, at least 1, or different seeds; got {seeds!r}")
    return chosen
