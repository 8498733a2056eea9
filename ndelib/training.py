"""``fit``: the training loop of the book, by PyTorch's customs, with checkpoints that go on as if nothing had happened.

The batch of a step depends on the seed and the number of the step alone, so that a checkpoint holds no order of the
data. Source of the recipe: PyTorch's tutorials; Prechelt, Early stopping, but when?, LNCS 1524 (1998) 55.
"""

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from ndelib.ensembles import Ensemble
from ndelib.lbfgs import polish
from ndelib.least_squares import fit_least_squares
from ndelib.progress import progress_bar

__all__ = ["Ensemble", "History", "TrainingDiverged", "evaluate", "fit", "fit_least_squares", "polish", "supervised"]

Data = Tensor | Sequence[Tensor]
Loss = Callable[..., Tensor]


class TrainingDiverged(RuntimeError):
    """The loss is no number any more. The message says at which step, and what to try."""


@dataclass
class History:
    """What a training did, step by step."""

    loss: list[float] = field(default_factory=list)
    """of every step, on its batch"""
    validation: list[tuple[int, float]] = field(default_factory=list)
    """(step, loss on the validation data), after that many steps"""
    nfe: list[int] = field(default_factory=list)
    """evaluations of the field in every step's forward pass, for models that count them"""
    seconds: float = 0.0
    """how long it took, in all sessions together"""
    stopped_early: bool = False
    """whether the validation loss had not fallen for ``patience`` measurements"""


def supervised(criterion: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return the loss ``criterion(model(x), y)`` of labelled data (x, y), for :func:`fit`.

    Args:
        criterion: such as ``torch.nn.functional.cross_entropy`` or ``torch.nn.MSELoss()``.
    """

    def loss(model: nn.Module, x: Tensor, *labels: Tensor) -> Tensor:
        if len(labels) != 1:
            raise ValueError(f"this loss needs labels: data must be (x, y), two tensors; it has {1 + len(labels)}")
        return criterion(model(x), labels[0])

    return loss


def fit(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    steps: int,
    lr: float,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    batch_size: int | None = None,
    schedule: Literal["cosine", "onecycle"] | None = None,
    clip: float | None = None,
    validation: Data | None = None,
    patience: int | None = None,
    every: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Train ``model``: ``steps`` times, take a batch, and go down the gradient of ``loss(model, *batch)``.

    Args:
        model: a module; it is trained in place. An :class:`Ensemble` is several, trained at once.
        loss: ``loss(model, *batch)``, a scalar. For labels, ``supervised(torch.nn.functional.cross_entropy)``; for an
            ensemble ``ensemble.each(loss)``.
        data: a tensor (N, *), or several with one row a sample: ``(x, y)``.
        steps: how many gradient steps.
        lr: the learning rate; with a schedule, the largest.
        optimizer: made as ``optimizer(model.parameters(), lr=lr)``.
        batch_size: samples in a step. Every sample is taken once before one is taken again; those that fill no batch
            are left out until the next shuffle. ``None``: all of them.
        schedule: how the learning rate falls to zero: ``"cosine"``, or ``"onecycle"``, which first rises.
        clip: the largest norm of the gradient, of each member of an :class:`Ensemble`; longer ones are shortened to it.
        validation: data like ``data``, on which the loss is measured now and then, in ``model.eval()``.
        patience: end when the validation loss has not fallen for so many measurements, with the best weights so far.
        every: how many steps lie between measurements, and between checkpoints; a twentieth of ``steps`` if ``None``.
        seed: of the batches, and of random numbers that model or loss draw. Random numbers outside are left alone.
        checkpoint: a file to save to, and to go on from where it exists: to the digit as if it had run through.
        progress: whether to show a bar; it goes when the training ends.

    Returns:
        The :class:`History`, of earlier sessions too.

    Raises:
        TypeError, ValueError: an argument has a wrong value, or the checkpoint is of another training.
        TrainingDiverged: the loss became infinite or NaN.

    Example:
        >>> import torch
        >>> from ndelib.training import fit, supervised
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = torch.nn.Linear(1, 1)
        >>> loss = supervised(torch.nn.functional.mse_loss)
        >>> history = fit(model, loss, (x, 2 * x + 1), steps=300, lr=0.1)
        >>> history.loss[-1] < 1e-6
        True
    """
    data, validation = _tensors(data, "data"), None if validation is None else _tensors(validation, "validation")
    _check(loss, data, steps, lr, batch_size, schedule, validation, patience)
    size, every = batch_size or len(data[0]), every or max(1, steps // 20)
    training = _Training(model, optimizer, lr, schedule, steps)
    training.settings |= {"batch_size": size, "clip": clip, "seed": seed, "every": every, "patience": patience}
    history = training.history
    with torch.random.fork_rng(), progress_bar(steps, progress) as bar:
        torch.manual_seed(seed)
        if checkpoint is not None and Path(checkpoint).exists():
            training.load(checkpoint)
            bar.update(len(history.loss))
        while len(history.loss) < steps and not history.stopped_early:
            start, step = time.perf_counter(), len(history.loss)
            model.train()
            value = loss(model, *(part[_rows(step, size, len(part), seed, part.device)] for part in data))
            _check_loss(value, history, lr)
            training.optimizer.zero_grad()
            value.backward()
            if clip is not None and isinstance(model, Ensemble):
                model.clip_gradients(clip)
            elif clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            training.optimizer.step()
            if training.schedule is not None:
                training.schedule.step()
            history.loss.append(value.item())
            if isinstance(nfe := getattr(model, "nfe", None), int):
                history.nfe.append(nfe)
            due = (step + 1) % every == 0 or step + 1 == steps
            if due and validation is not None:
                history.validation.append((step + 1, evaluate(model, loss, validation)))
                history.stopped_early = training.keep_best() == patience
            history.seconds += time.perf_counter() - start
            if due and checkpoint is not None:
                training.save(checkpoint)
            bar.update()
            bar.set_postfix(loss=f"{history.loss[-1]:.3g}", refresh=False)
    if patience is not None:
        model.load_state_dict(training.best)
    return history


@torch.no_grad()
def evaluate(model: nn.Module, loss: Loss, data: Data) -> float:
    """Return ``loss(model, *data)`` as a number, with the model in ``eval()`` and without a graph.

    Args:
        model: the model; it is left in the mode that it was in.
        loss: as for :func:`fit`.
        data: a tensor, or several with one row a sample.
    """
    was_training = model.training
    model.eval()
    value = loss(model, *_tensors(data, "data")).item()
    model.train(was_training)
    return value


class _Training:
    """What a training is made of besides the data, and what a checkpoint holds of it."""

    def __init__(
        self, model: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], lr: float, schedule: Any, steps: int
    ) -> None:
        self.model, self.history = model, History()
        self.optimizer = optimizer([p for p in model.parameters() if p.requires_grad], lr=lr)
        self.schedule: Any = None
        if schedule == "cosine":
            self.schedule = lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        elif schedule == "onecycle":
            self.schedule = lr_scheduler.OneCycleLR(self.optimizer, lr, total_steps=steps)
        self.best: dict[str, Tensor] = {}
        self.settings: dict[str, Any] = {"lr": lr, "optimizer": type(self.optimizer).__name__, "schedule": schedule}
        if schedule is not None:
            self.settings["steps"] = steps

    def keep_best(self) -> int:
        """Keep the weights if the last validation loss is the lowest; return how many measurements ago that was."""
        losses = [value for _, value in self.history.validation]
        lowest = losses.index(min(losses))
        if lowest == len(losses) - 1:
            self.best = copy.deepcopy(self.model.state_dict())
        return len(losses) - 1 - lowest

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to ``path``; whoever reads there meanwhile finds the old file or the new one, whole."""
        state = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "history": asdict(self.history),
            "best": self.best,
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        torch.save(state, f"{path}.new")
        os.replace(f"{path}.new", path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from what ``path`` holds; raise ``ValueError`` where that is another training."""
        state = torch.load(path, weights_only=True)
        for name, value in self.settings.items():
            if state["settings"].get(name) != value:
                raise ValueError(
                    f"checkpoint {os.fspath(path)!r} was made with {name}={state['settings'].get(name)!r}, and this "
                    f"call has {name}={value!r}: name another file, or remove this one to begin again"
                )
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as failure:
            raise ValueError(f"checkpoint {os.fspath(path)!r} is of another model: {failure}") from None
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        vars(self.history).update(state["history"])
        self.best = state["best"]
        torch.set_rng_state(state["random"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


@lru_cache(maxsize=1)
def _order(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order of ``n`` samples in an epoch, (n,)."""
    return torch.randperm(n, generator=torch.Generator().manual_seed((seed << 32) + epoch))


def _rows(step: int, size: int, n: int, seed: int, device: torch.device) -> Tensor | slice:
    """Return which of ``n`` samples the step trains on, (size,)."""
    if size == n:
        return slice(None)
    epoch, i = divmod(step, n // size)
    return _order(n, seed, epoch)[i * size : (i + 1) * size].to(device)


def _tensors(data: Data, name: str) -> tuple[Tensor, ...]:
    """Return ``data`` as a tuple of tensors with one row a sample."""
    parts = (data,) if isinstance(data, Tensor) else tuple(data)
    if not parts or not all(isinstance(part, Tensor) and part.ndim for part in parts):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise TypeError(f"{name} must be a tensor or several, such as (x, y), with a row for each sample; got {kinds}")
    if len({len(part) for part in parts}) > 1 or len(parts[0]) == 0:
        sizes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"{name} must have as many rows in every tensor, at least one; the shapes are {sizes}")
    return parts


def _check(
    loss: Any, data: tuple[Tensor, ...], steps: Any, lr: Any, size: Any, schedule: Any, validation: Any, patience: Any
) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what cannot be trained with."""
    if isinstance(loss, nn.modules.loss._Loss) or getattr(loss, "__module__", "") == "torch.nn.functional":
        raise TypeError("loss is called as loss(model, *batch): write loss=supervised(…) around a criterion of torch")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a number of gradient steps, at least 1, got {steps!r}")
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr!r}")
    if size is not None and not 1 <= size <= len(data[0]):
        raise ValueError(f"batch_size must be between 1 and the {len(data[0])} samples of data, got {size!r}")
    if schedule not in (None, "cosine", "onecycle"):
        raise ValueError(f"schedule must be None, 'cosine' or 'onecycle', got {schedule!r}")
    if patience is not None and (validation is None or patience < 1):
        raise ValueError(f"patience={patience!r} counts measurements on validation data: it needs some, and 1 or more")


def _check_loss(value: Any, history: History, lr: float) -> None:
    """Raise ``TypeError`` for what is no loss, and :class:`TrainingDiverged` for one that is not finite."""
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        what = f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"loss must return one number that depends on the model's parameters; it returned {what}")
    if not math.isfinite(value.item()):
        why = "nothing has been trained yet, so it comes from the data, the labels or the loss: look for NaN there"
        if history.loss:
            last = ", ".join(f"{x:.3g}" for x in history.loss[-3:])
            why = f"the losses before were {last}: try a smaller lr, or clip=1.0"
        raise TrainingDiverged(f"the loss is {value.item()} at step {len(history.loss)}, with lr={lr:g}; {why}")
