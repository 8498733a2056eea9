"""``polish``: the end of a training by L-BFGS, for one model or for all members of an ensemble at once.

Adam comes near a minimum quickly and closes in slowly; a quasi-Newton method does the rest. Each member has its own
direction and step length, so that it moves as if it were alone; what they share is the forward and the backward pass.

Source: Nocedal & Wright, *Numerical Optimization* (2006), algorithms 3.1 and 7.4.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ndelib.ensembles import Ensemble
from ndelib.progress import progress_bar
from ndelib.solvers.errors import SolverError

DECREASE = 1e-4  # of Armijo's condition
MAX_TRIALS = 20
STILL = 1e-9, 5  # the end: the loss of no member has fallen by this part in so many steps


def polish(
    model: nn.Module,
    loss: Callable[..., Tensor],
    data: Tensor | Sequence[Tensor],
    *,
    steps: int = 100,
    memory: int = 20,
    progress: bool = True,
) -> list[float]:
    """Train ``model`` further by L-BFGS on all of the data, in place; the loss never rises.

    For smooth losses without randomness, in float64, from where :func:`fit` left off. (For a sum of squares and some
    hundred parameters ``fit_least_squares`` needs fewer steps.) A step costs one evaluation of the loss and its
    gradient, now and then two. A trial step at which the loss is infinite, NaN, or a
    :class:`~ndelib.solvers.SolverError` is made shorter.

    Args:
        model: a module. For an :class:`Ensemble` every member is trained as if it were alone.
        loss: ``loss(model, *data)``, a scalar. For an ensemble that of a member, without ``each``.
        data: a tensor, or several.
        steps: how many steps at most. It ends before where the loss does not fall any more.
        memory: how many former steps the direction is made of.
        progress: whether to show a bar.

    Returns:
        The loss at the start and after every step; for an ensemble the sum over the members, as of :func:`fit`.

    Raises:
        ValueError: the loss is not finite at the start, or no number; or a count is not positive.

    Example:
        >>> import torch
        >>> from ndelib.training import polish, supervised
        >>> x = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]
        >>> model = torch.nn.Linear(1, 1).double()
        >>> loss = supervised(torch.nn.functional.mse_loss)
        >>> losses = polish(model, loss, (x, 2 * x + 1), steps=20)
        >>> losses[-1] < 1e-20
        True
    """
    for name, count in (("steps", steps), ("memory", memory)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")
    objective = _Objective(model, loss, (data,) if isinstance(data, Tensor) else tuple(data))
    x = objective.get()
    f, g = objective(x)
    if not bool(f.isfinite().all()):
        raise ValueError(f"the loss is {f.tolist()} before the first step: train with fit first, or look for NaN")
    history, pairs = [f.sum().item()], list[tuple[Tensor, Tensor, Tensor]]()
    recent = [f]
    with progress_bar(steps, progress) as bar:
        for _ in range(steps):
            d = _direction(g, pairs)
            d = torch.where(((g * d).sum(1) < 0)[:, None], d, -g)
            first = (1 / g.abs().sum(1)).clamp(max=1.0) if not pairs else torch.ones_like(f)
            moved, x1, f1, g1 = _search(objective, x, f, g, d, first)
            if not bool(moved.any()):
                if not pairs:
                    break
                pairs.clear()  # once more, downhill
                continue
            s, y = x1 - x, g1 - g
            curvature = (s * y).sum(1)
            useful = curvature > 1e-10 * (s.norm(dim=1) * y.norm(dim=1))  # false where a member did not move
            pairs.append((s, y, torch.where(useful, 1 / curvature, 0.0)))
            del pairs[:-memory]
            x, f, g = x1, f1, g1
            history.append(f.sum().item())
            recent.append(f)
            if len(recent) > STILL[1] and bool((recent.pop(0) - f <= STILL[0] * f).all()):
                break
            bar.update()
            bar.set_postfix(loss=f"{history[-1]:.3g}", refresh=False)
    objective.set(x)
    return history


class _Objective:
    """The loss of every member and its gradient, as functions of all parameters in a row: (K, P) -> (K,), (K, P)."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor], data: tuple[Tensor, ...]) -> None:
        self.model, self.loss, self.data = model, loss, data
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.members = len(model) if isinstance(model, Ensemble) else 1

    def get(self) -> Tensor:
        return torch.cat([p.detach().reshape(self.members, -1) for p in self.parameters], 1)

    @torch.no_grad()
    def set(self, x: Tensor) -> None:
        for p, part in zip(
            self.parameters, x.split([p.numel() // self.members for p in self.parameters], 1), strict=True
        ):
            p.copy_(part.reshape(p.shape))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.set(x)
        if isinstance(self.model, Ensemble):
            f = self.model.measure(self.loss, *self.data)
        else:
            f = self.loss(self.model, *self.data).reshape(1)
        if f.shape != (self.members,):
            raise ValueError(f"loss must return one number; it returned {tuple(f.shape)}")
        slopes = torch.autograd.grad(f.sum(), self.parameters, allow_unused=True)
        rows = [torch.zeros_like(p) if s is None else s for p, s in zip(self.parameters, slopes, strict=True)]
        return f.detach(), torch.cat([s.reshape(self.members, -1) for s in rows], 1)


def _direction(g: Tensor, pairs: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return −H g by the two-loop recursion, a row a member; a pair with ρ = 0 plays no part."""
    q, tape = -g, []
    for s, y, rho in reversed(pairs):
        alpha = rho * (s * q).sum(1)
        q = q - alpha[:, None] * y
        tape.append(alpha)
    scale = torch.ones_like(g[:, 0])
    for _, y, rho in pairs:  # the last pair of a member that is useful
        scale = torch.where(rho > 0, 1 / (rho * y.square().sum(1)), scale)
    q = scale[:, None] * q
    for (s, y, rho), alpha in zip(pairs, reversed(tape), strict=True):
        q = q + (alpha - rho * (y * q).sum(1))[:, None] * s
    return q


def _search(
    objective: _Objective, x: Tensor, f: Tensor, g: Tensor, d: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shorten each member's step until its loss falls enough; return who moved, and where to: x, f and g."""
    slope = (g * d).sum(1)
    moved, x1, f1, g1 = torch.zeros_like(f, dtype=torch.bool), x, f, g
    for _ in range(MAX_TRIALS):
        trial = torch.where(moved[:, None], x1, x + step[:, None] * d)
        try:
            value, gradient = objective(trial)
        except SolverError:  # of some member, which is not said
            value, gradient = torch.full_like(f, torch.inf), g
        good = ~moved & (value <= f + DECREASE * step * slope) & (slope < 0) & gradient.isfinite().all(1)
        x1, g1 = torch.where(good[:, None], trial, x1), torch.where(good[:, None], gradient, g1)
        f1, moved = torch.where(good, value, f1), moved | good
        if bool((moved | (slope >= 0)).all()):
            break
        parabola = -slope * step / (2 * (value - f - slope * step))  # where its minimum is, as a part of the step
        step = step * torch.where(moved, 1.0, parabola.nan_to_num(0.1).clamp(0.1, 0.5))
    return moved, x1, f1, g1
