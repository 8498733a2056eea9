"""Neural controlled differential equations: the recurrent networks of continuous time.

The observations of a sample become a path X, with the time as a channel, and the state follows dz = f(z) dX. So it
moves only where the data or the time move, and z(T) depends on the curve X, however many observations made it.

Sources: Kidger, Morrill, Foster & Lyons, Neural controlled differential equations for irregular time series, NeurIPS
2020; Morrill, Kidger, Yang & Lyons, On the choice of interpolation scheme for neural CDEs, TMLR 2022 (causality);
Morrill, Salvi, Kidger & Foster, Neural rough differential equations for long time series, ICML 2021 (log-ODE).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ndelib.adjoints import GRADIENTS, cdeint
from ndelib.models.fields import Activation, perceptron
from ndelib.models.sequences.paths import INTERPOLATIONS
from ndelib.models.sequences.samples import Samples, SequenceModel, check_count, read
from ndelib.solvers import Statistics
from ndelib.solvers.controlled.logsignature import logsig_channels, logsig_windows
from ndelib.solvers.controlled.observations import fill_linear
from ndelib.solvers.controlled.paths import LinearInterpolation, Path
from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import MethodLike, closest, find_method


class ControlledField(nn.Module):
    """The field f of dz = f(z) dX: ``field(t, z)``, (*, hidden) -> (*, hidden, channels); a perceptron and tanh.

    That tanh bounds every entry of the matrix by 1: no component of z moves farther than all channels of X together.
    """

    def __init__(self, hidden: int, channels: int, width: int, depth: int, activation: Activation) -> None:
        super().__init__()
        self.hidden, self.channels = hidden, channels
        self.net = perceptron(hidden, hidden * channels, width, depth, activation)

    def forward(self, t: Any, z: Tensor) -> Tensor:
        """Return the matrix; ``t`` plays no part: the time is a channel of the path."""
        return self._rows(z).mT

    def prod(self, t: Any, z: Tensor, dX: Tensor) -> Tensor:
        """Return f(z) dX, (*, hidden), for ``dX``, (*, channels); faster than small matrices, above all with vmap."""
        return (self._rows(z) * dX.unsqueeze(-1)).sum(-2)

    def _rows(self, z: Tensor) -> Tensor:
        """Return the transposed matrix, (*, channels, hidden)."""
        return self.net(z).tanh().unflatten(-1, (self.channels, self.hidden))


class NeuralCDE(SequenceModel):
    """A neural controlled differential equation on sequences: (t, x, mask) -> (B, outputs).

    z begins as an affine map of the first point of the path X, follows dz = f(z) dX to the end of X, and is read there.
    All samples go through one solve: a path rests where its sample has ended, and so does z.

    Args:
        channels: of the observations x.
        hidden: the size of the state z.
        outputs: of the model.
        width, depth, activation: of the perceptron in f, as for :func:`perceptron`; f ends in tanh.
        interpolation: how observations become a path: ``"linear"``; ``"cubic"``, the natural spline; ``"hermite"``,
            with backward differences; or ``"rectilinear"``, in which first the time moves, then the data. For
            :meth:`online` use the last.
        time: whether the time is a channel of the path. Without it the model cannot tell fast from slow.
        intensity: whether the number of observations so far is a channel, too, for each channel of x.
        fill: what a channel has that a sample never observes, and with ``"rectilinear"`` before its first observation;
            0 for data with mean 0. ``None``: that is an error.
        method: of the solve; a fixed-step one for speed.
        steps: how many steps a fixed-step method makes from row to row.
        gradient: as for :func:`ndelib.odeint`.
        readout: a layer behind the state; an affine one if ``None``.
        **options: more options of :func:`ndelib.cdeint`.

    It is called as ``model(t, x, mask)``. ``t``: the times, (T,), or (B, T) if every sample has its own. ``x``: the
    observations, (B, T, channels), NaN where there is none. ``mask``: ``None``; or where x was observed, (B, T) or
    (B, T, channels) of bool; or the length of each sample, (B,). Rows before a sample's first observation and after its
    last one change nothing. Scale t to a length of order one, and x to a standard deviation of one.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.models import NeuralCDE
        >>> model = NeuralCDE(channels=3, hidden=8, outputs=2)
        >>> t, x = torch.linspace(0, 1, 20), torch.randn(5, 20, 3)
        >>> model(t, x).shape
        torch.Size([5, 2])
        >>> x[2, 12:] = torch.nan  # the sample has ended
        >>> x[3, :, 1][torch.rand(20) < 0.3] = torch.nan  # missing values
        >>> model.trajectory(t, x).shape
        torch.Size([5, 20, 8])
    """

    nfe: int = 0
    """evaluations of the field in the last forward pass"""

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int,
        *,
        width: int = 32,
        depth: int = 1,
        activation: Activation = nn.Tanh,
        interpolation: str = "linear",
        time: bool = True,
        intensity: bool = False,
        fill: float | None = None,
        method: MethodLike = "midpoint",
        steps: int = 1,
        gradient: str = "backprop",
        readout: nn.Module | None = None,
        **options: Any,
    ) -> None:
        super().__init__(channels, hidden, outputs, readout)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation {interpolation!r} is unknown: {closest(str(interpolation), INTERPOLATIONS)}"
            )
        if interpolation == "rectilinear" and not time:
            raise ValueError("interpolation='rectilinear' moves the time and the data in turns: it needs time=True")
        check_count(steps, "steps")
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient {gradient!r} is unknown: {closest(str(gradient), GRADIENTS)}")
        find_method(method)
        self.interpolation, self.time, self.intensity, self.fill = interpolation, time, intensity, fill
        self.method, self.gradient, self.options = method, gradient, options
        if steps > 1:
            self.options = {"step_size": 1 / steps, **options}
        self.path_channels = time + channels * (1 + intensity)
        self.initial = nn.Linear(self.path_channels, hidden)
        self.field = ControlledField(hidden, self._driving_channels(), width, depth, activation)

    def _driving_channels(self) -> int:
        """Return how many columns f has."""
        return self.path_channels

    def path(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Path:
        """Return the path X of a batch, (B, path_channels) at each place, over the number of the row, 0 … T − 1.

        The rectilinear path has two knots a row, and goes over 0 … 2T − 2.
        """
        samples = read(t, x, mask, self.channels)
        return INTERPOLATIONS[self.interpolation](samples, self._augmented(samples))

    def _augmented(self, samples: Samples) -> Tensor:
        """Return the channels of the path in every row, (B, T, path_channels): time, x (NaN where missing), counts."""
        x, missing = samples.x, samples.missing
        if x.shape[1] < 2:
            raise ValueError("x has a single row, and a path needs two: it would not move, and z neither")
        never = missing.all(1)
        if bool(never.any()):
            if self.fill is None:
                sample, channel = never.nonzero()[0].tolist()
                raise ValueError(
                    f"channel {channel} of x[{sample}] holds NaN only: give fill=0.0, if its mean is 0, and "
                    "intensity=True to tell the model what was observed; or leave it out"
                )
            x = torch.where(never.unsqueeze(1), self.fill, x)
        if self.interpolation == "rectilinear":
            x = self._begun(samples, x)
        parts = [samples.t.unsqueeze(-1)] if self.time else []
        counts = [(~missing).cumsum(1).to(x)] if self.intensity else []
        return torch.cat([*parts, x, *counts], dim=-1)

    def _begun(self, samples: Samples, x: Tensor) -> Tensor:
        """Return ``x`` with ``fill`` in each sample's first row where that has no value: a later one comes too late."""
        at_first = samples.rows.unsqueeze(-1) == samples.first.unsqueeze(-1)
        late = at_first & values(x).isnan()
        if self.fill is None and bool(late.any()):
            sample, _, channel = late.nonzero()[0].tolist()
            raise ValueError(
                f"channel {channel} of x[{sample}] has no value in the sample's first row, and with 'rectilinear' a "
                "later one may not stand in for it: give fill=0.0, if its mean is 0"
            )
        return x if self.fill is None else torch.where(late, self.fill, x)

    def _solve(self, X: Path, places: Tensor | None) -> Tensor:
        """Return the states at ``places`` of the path, or at its ends, (B, places, hidden)."""
        counts = Statistics()
        z0 = self.initial(self._start(X))
        how = {"method": self.method, "gradient": self.gradient, "statistics": counts, **self.options}
        z: Tensor = cdeint(X, self.field, z0, places, **how)
        self.nfe = counts.nfe
        return z

    def _start(self, X: Path) -> Tensor:
        """Return what the initial state is made of, (B, path_channels)."""
        return X.evaluate(X.interval[0])

    def trajectory(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the states after every row, (B, T, hidden); of a :class:`NeuralRDE` those after every window."""
        X = self.path(t, x, mask)
        every = 2 if self.interpolation == "rectilinear" else 1
        return self._solve(X, X.grid_points[::every])

    def forward(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs at the end of every sample, (B, outputs)."""
        outputs: Tensor = self.readout(self._solve(self.path(t, x, mask), None)[:, -1])
        return outputs

    def online(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs after every row, (B, T, outputs), each from that row and those before it alone.

        Raises:
            ValueError: the path before a row depends on later ones. That is so for ``"cubic"`` always, and for
                ``"linear"`` and ``"hermite"`` where values are missing, which are on the line to the next one.
        """
        if self.interpolation == "cubic":
            raise ValueError(
                "online outputs need a causal path, and every piece of a natural cubic spline depends on all "
                "observations: use interpolation='rectilinear', or 'hermite' where no value is missing"
            )
        if self.interpolation != "rectilinear":
            samples = read(t, x, mask, self.channels)
            alive = (samples.rows >= samples.first) & (samples.rows <= samples.last)
            gaps = samples.missing & alive.unsqueeze(-1)
            if bool(gaps.any()):
                sample, row, channel = gaps.nonzero()[0].tolist()
                raise ValueError(
                    f"online outputs need a causal path, and channel {channel} of x[{sample}] is missing in row {row}: "
                    f"interpolation={self.interpolation!r} draws the line there to the next observation. Use "
                    "'rectilinear'"
                )
        outputs: Tensor = self.readout(self.trajectory(t, x, mask))
        return outputs

    def extra_repr(self) -> str:
        """Say how the path is made, and the equation solved."""
        return f"interpolation={self.interpolation!r}, method={find_method(self.method).name!r}"


class NeuralRDE(NeuralCDE):
    """A neural CDE for long series by the log-ODE method: one step a window, driven by log-signatures of the data.

    Over a window of many rows the linear path is summarised by its log-signature: at depth 1 how far it moved, at depth
    2 also the areas between its channels, which say in which order they moved. f has a column for each of these numbers
    (:func:`ndelib.solvers.logsig_channels`).

    Args:
        channels, hidden, outputs: as for :class:`NeuralCDE`.
        logsig_depth: 1, 2 or 3.
        window: how many rows a window advances.
        **options: those of :class:`NeuralCDE`, ``interpolation`` excepted; ``steps`` are in a window.

    Log-signatures of different levels have different sizes: call :meth:`calibrate` with the training data once, before
    the training. ``trajectory`` and ``online`` give what is after every window, (B, windows + 1, …), the beginning
    included.

    Example:
        >>> import torch
        >>> from ndelib.models import NeuralRDE
        >>> model = NeuralRDE(channels=2, hidden=8, outputs=3, window=50)
        >>> t, x = torch.linspace(0, 1, 1001), torch.randn(4, 1001, 2).cumsum(1)
        >>> model.calibrate(t, x)(t, x).shape
        torch.Size([4, 3])
        >>> model.nfe  # two in each of twenty windows
        40
    """

    scale: Tensor

    def __init__(
        self, channels: int, hidden: int, outputs: int, *, logsig_depth: int = 2, window: int = 50, **options: Any
    ) -> None:
        if "interpolation" in options:
            raise TypeError("interpolation is not an option of NeuralRDE: its paths are linear")
        if not isinstance(window, int) or window < 1:
            raise ValueError(f"window must be a whole number of rows, at least 1, got {window!r}")
        if logsig_depth not in (1, 2, 3):
            raise ValueError(f"logsig_depth must be 1, 2 or 3, got {logsig_depth!r}")
        self._logsig_depth, self._window = logsig_depth, window
        super().__init__(channels, hidden, outputs, **options)
        self.register_buffer("scale", torch.ones(self._driving_channels()))

    def _driving_channels(self) -> int:
        return logsig_channels(self.path_channels, self._logsig_depth)

    def path(self, t: Any, x: Tensor, mask: Tensor | None = None) -> Path:
        """Return the path of log-signatures over the number of the window, (B, logsig_channels) at each place.

        Its increments are those of the windows, divided by ``scale``. It begins with the first point of the data.
        """
        signatures = self._signatures(t, x, mask)
        start, moves = signatures[:, :1], signatures.diff(dim=1) / self.scale
        return LinearInterpolation(torch.cat([start, start + moves.cumsum(1)], dim=1))

    def _signatures(self, t: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        samples = read(t, x, mask, self.channels)
        rows = fill_linear(self._augmented(samples), samples.t)
        return logsig_windows(rows, self._logsig_depth, float(self._window))

    def _start(self, X: Path) -> Tensor:
        return super()._start(X)[:, : self.path_channels]

    @torch.no_grad()
    def calibrate(self, t: Any, x: Tensor, mask: Tensor | None = None) -> "NeuralRDE":
        """Set the size of each entry of the log-signatures to its root mean square over these data; return the model.

        Root mean square, not standard deviation: an entry that hardly varies, as the time, would be blown up.
        """
        moves = self._signatures(t, x, mask).diff(dim=1)
        alive = (moves != 0).any(-1)  # windows after the end of a sample hold zeros
        size = moves[alive].square().mean(0).sqrt()
        self.scale.copy_(torch.where(size > 0, size, 1.0))
        return self
