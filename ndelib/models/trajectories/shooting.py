"""Shooting: solve from a start, compare with the data. Single over a whole trajectory, multiple over segments.

Sources: Bock, Recent advances in parameter identification techniques for O.D.E. (1983), for multiple shooting;
Nocedal & Wright, *Numerical Optimization* (2006), chapter 17, for the augmented Lagrangian; Turan & Jäschke, Multiple
shooting for training neural differential equations on time series, IEEE Control Systems Letters 6 (2022).
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ndelib.adjoints.segments import Cut, Field, cut, solve_segments
from ndelib.models.wrapper import check_field
from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import MethodLike

Observation = Callable[[Tensor], Tensor]


def shooting_loss(
    field: Field,
    t: Tensor,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    observe: Observation | None = None,
    method: MethodLike = "rk4",
    **options: Any,
) -> Tensor:
    """Solve every row from its first point, and return the mean square distance from its other points.

    On whole trajectories this is single shooting. On the rows of :func:`segments` it is multiple shooting whose starts
    are the data. ``fit(field, shooting_loss, segments(t, y, 20), …)`` trains with it.

    Args:
        field: the vector field, ``field(t, y)``.
        t: the times, (T,), or (N, T) with a row for each trajectory.
        y: what was measured, (T, d) or (N, T, d).
        mask: True where something was measured, as y; values elsewhere play no part.
        starts: where the rows start, (N, state); the first points of y if ``None``. With it the first points count in
            the loss.
        observe: what is measured of a state, (N, T, state) -> (N, T, d); all of it if ``None``.
        method: how to solve, as for :func:`solve_segments`: ``"rk4"`` makes one step from time to time.
        **options: more options of :func:`ndelib.odeint`.

    Raises:
        ValueError: shapes do not agree, or a row has no start.
        SegmentFailed: a row cannot be solved; it says which.

    Example:
        >>> import torch
        >>> from ndelib.models import shooting_loss
        >>> t = torch.linspace(0, 1, 11)
        >>> y = torch.exp(-t)[:, None]
        >>> shooting_loss(lambda t, y: -y, t, y).item() < 1e-12
        True
        >>> value = shooting_loss(lambda t, y: 0 * y, t, y)
        >>> round(value.item(), 3)  # the mean of (1 - exp(-t))²
        0.188
    """
    check_field(field)
    if not isinstance(y, Tensor) or y.ndim not in (2, 3):
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"y must be (T, d) or (N, T, d), got {shape}")
    if y.ndim == 2:
        y, mask = y[None], None if mask is None else mask[None]
    if t.shape[-1] != y.shape[1] or t.shape[-1] < 2 or (t.ndim == 2 and len(t) != len(y)):
        raise ValueError(
            f"t must be ({y.shape[1]},) or {tuple(y.shape[:2])} for y of the shape {tuple(y.shape)}, with at least two "
            f"times; got {tuple(t.shape)}"
        )
    seen = _seen(mask, y)
    if starts is None:
        if observe is not None:
            raise ValueError(
                "starts must be given with observe=: the first points of y are no states; see MultipleShooting"
            )
        if mask is not None and not bool(values(seen[:, 0]).all()):
            row = int((~values(seen[:, 0]).all(-1)).nonzero()[0])
            raise ValueError(
                f"mask is False at the first point of row {row}, where the solve starts: give starts=, or cut that row "
                "elsewhere, or learn the starts with MultipleShooting"
            )
    states = solve_segments(field, y[:, 0] if starts is None else starts, t, method=method, **options)
    said = states if observe is None else observe(states)
    _check_said(said, y)
    if starts is None:
        said, y, seen = said[:, 1:], y[:, 1:], seen[:, 1:]
    return mean_square(said, y, seen)


def mean_square(said: Tensor, y: Tensor, seen: Tensor) -> Tensor:
    """Return the mean square of ``said`` − ``y`` over what was ``seen``; all (N, T, d)."""
    error = torch.where(seen, said - torch.where(seen, y, 0.0), 0.0)
    return error.square().sum() / seen.sum().clamp(min=1)


def _seen(mask: Tensor | None, y: Tensor) -> Tensor:
    """Return the mask as (N, T, d)."""
    if mask is None:
        return torch.ones_like(y, dtype=torch.bool)
    mask = mask[..., None] if mask.ndim == y.ndim - 1 else mask
    if mask.dtype != torch.bool or mask.shape[:-1] != y.shape[:-1] or mask.shape[-1] not in (1, y.shape[-1]):
        raise ValueError(
            f"mask must hold True and False in y's shape, {tuple(y.shape)}; it is {mask.dtype}, {tuple(mask.shape)}"
        )
    return mask.expand_as(y)


def _check_said(said: Tensor, y: Tensor) -> None:
    if said.shape != y.shape:
        raise ValueError(
            f"the states, or what observe makes of them, are {tuple(said.shape)}, and y is {tuple(y.shape)}: they must "
            "have the same shape (observe=lambda y: y[..., :1] if only the first component is measured)"
        )


class MultipleShooting(nn.Module):
    """A field and a start for every segment; the loss is the misfit, and how far segments miss the next one's start.

    With Yₖ(t) the solution from the start sₖ of segment k, and gₖ = Yₖ(start of k + 1) − sₖ₊₁ the gap behind it::

        loss = mean |observe(Yₖ(t)) − y(t)|² + continuity · mean |gₖ|² + mean λₖ · gₖ

    Errors cannot grow over more than a segment, so the loss is smooth where that of single shooting has many valleys.
    λ is zero at first; :meth:`tighten` moves it, which closes the gaps without a huge ``continuity`` (augmented
    Lagrangian). With ``length=None`` there is one segment a trajectory: single shooting with a learned start.

    Train it with ``fit(shooting, MultipleShooting.loss, shooting.rows, …)``, or call ``shooting()`` in your own loop.

    Args:
        field: the vector field to be fitted. Its parameters, and the starts, are those of this module.
        t, y, length, stride, mask: the trajectories, as for :func:`segments`.
        starts: ``"learned"``: parameters, which begin at the data; ``"data"``: the first points of the segments, fixed.
            Or a tensor, (S, state) or (state,), where learned ones begin: needed with ``observe``.
        continuity: the weight of the gaps, 0 or more.
        observe: what is measured of a state, (S, L + 1, state) -> (S, L + 1, d); all of it if ``None``.
        method: how to solve, as for :func:`solve_segments`.
        **options: more options of it.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.
        SegmentFailed: when the loss is computed, a segment cannot be solved; it says which.

    Example:
        >>> import torch
        >>> from ndelib.models import Autonomous, MultipleShooting
        >>> from ndelib.training import fit
        >>> t = torch.linspace(0, 4, 41)
        >>> y = torch.exp(-t)[:, None]
        >>> field = Autonomous(torch.nn.Linear(1, 1))
        >>> shooting = MultipleShooting(field, t, y, length=10)
        >>> history = fit(shooting, MultipleShooting.loss, shooting.rows,
        ...               steps=400, lr=0.03)
        >>> history.loss[-1] < 0.05
        True
        >>> shooting.gaps().shape
        torch.Size([3, 1])
    """

    t: Tensor
    y: Tensor
    mask: Tensor
    rows: Tensor
    multipliers: Tensor

    def __init__(
        self,
        field: Field,
        t: Any,
        y: Any,
        length: int | None = None,
        *,
        stride: int | None = None,
        mask: Any = None,
        starts: Literal["data", "learned"] | Tensor = "learned",
        continuity: float = 1.0,
        observe: Observation | None = None,
        method: MethodLike = "rk4",
        **options: Any,
    ) -> None:
        super().__init__()
        check_field(field)
        if not (isinstance(continuity, (int, float)) and 0 <= continuity < float("inf")):
            raise ValueError(f"continuity must be a number, 0 or more, got {continuity!r}")
        self.field, self.observe = field, observe
        self.method, self.options, self.continuity = method, options, float(continuity)
        pieces = cut(t, y, length, stride, mask)
        for name, rows in pieces.segments._asdict().items():
            self.register_buffer(name, rows)
        self.register_buffer("rows", torch.arange(len(self.t), device=self.t.device))
        begin, learned = _first_states(pieces, starts, observe)
        self.starts = nn.Parameter(begin) if learned else nn.Buffer(begin)
        # Segment k is followed by k + 1 if both are of one trajectory; then k + 1 begins so many points later.
        same = pieces.trajectory[:-1] == pieces.trajectory[1:]
        self.register_buffer("_before", same.nonzero()[:, 0])
        self.register_buffer("_later", pieces.first.diff()[same])
        self.register_buffer("multipliers", begin.new_zeros(len(self._before), begin.shape[1]))

    _before: Tensor
    _later: Tensor

    def states(self, rows: Tensor | None = None) -> Tensor:
        """Return the solutions Yₖ at the times of the segments, (S, L + 1, state); of some ``rows`` only, if given."""
        rows = self.rows if rows is None else rows
        return solve_segments(self.field, self.starts[rows], self.t[rows], method=self.method, **self.options)

    def gaps(self) -> Tensor:
        """Return how far segments miss the starts of the next ones, (gaps, state)."""
        return self.states()[self._before, self._later] - self.starts[self._before + 1]

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the loss of all segments, or of the numbers ``rows``, (n,)."""
        rows = self.rows if rows is None else rows
        states = self.states(rows)
        said = states if self.observe is None else self.observe(states)
        y, seen = self.y[rows], self.mask[rows]
        _check_said(said, y)
        if isinstance(self.starts, nn.Parameter):
            value = mean_square(said, y, seen)
        else:
            value = mean_square(said[:, 1:], y[:, 1:], seen[:, 1:])
        here, place = (rows[:, None] == self._before).nonzero().unbind(1)  # rows that are followed, their gaps
        if len(here):
            gaps = states[here, self._later[place]] - self.starts[self._before[place] + 1]
            value = value + self.continuity * gaps.square().mean() + (self.multipliers[place] * gaps).mean()
        return value

    @staticmethod
    def loss(model: "MultipleShooting", rows: Tensor) -> Tensor:
        """Return ``model(rows)``: the loss for :func:`ndelib.training.fit`, whose data are ``model.rows``."""
        value: Tensor = model(rows)
        return value

    @torch.no_grad()
    def tighten(self, factor: float = 2.0) -> None:
        """Add 2 · ``continuity`` · gaps to λ, then multiply ``continuity`` by ``factor``; then train on."""
        if not factor >= 1:
            raise ValueError(f"factor must be at least 1, got {factor!r}")
        self.multipliers += 2 * self.continuity * self.gaps()
        self.continuity *= factor

    def extra_repr(self) -> str:
        """Say how the trajectories were cut."""
        return f"segments={len(self.t)}, length={self.t.shape[1] - 1}, continuity={self.continuity:g}"


def _first_states(pieces: Cut, starts: Any, observe: Observation | None) -> tuple[Tensor, bool]:
    """Return where the segments start, (S, state), and whether that is learned."""
    t, y, seen = pieces.segments
    if isinstance(starts, Tensor):
        if starts.ndim not in (1, 2) or (starts.ndim == 2 and len(starts) != len(y)):
            raise ValueError(f"starts must be ({len(y)}, state) or (state,), got the shape {tuple(starts.shape)}")
        return starts.detach().to(y).expand(len(y), -1).clone(), True
    if starts not in ("data", "learned"):
        raise ValueError(f'starts must be "data", "learned" or a tensor, got {starts!r}')
    if observe is not None:
        raise ValueError(
            f"starts must be a tensor with observe=: where the learned states begin, ({len(y)}, state) or (state,)"
        )
    if starts == "data" and not seen[:, 0].all():
        row = int((~seen[:, 0].all(-1)).nonzero()[0])
        raise ValueError(
            f'mask is False at the first point of segment {row}, at t = {t[row, 0].item():g}: take starts="learned", '
            "or another length or stride"
        )
    if seen[:, 0].all():
        return y[:, 0].clone(), starts == "learned"
    filled = torch.stack([_nearest(*row) for row in zip(y, seen, strict=True)])
    return filled, True


def _nearest(y: Tensor, seen: Tensor) -> Tensor:
    """Return for each variable of a segment its first measured value, (d,), and zero where there is none."""
    return y.gather(0, seen.to(torch.int8).argmax(0, keepdim=True))[0]
