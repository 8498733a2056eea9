"""Models that make steps: the roll-out, its loss over samples and times at once, and the start that fits best.

Sources: Chen, Zhang, Arjovsky & Bottou, Symplectic recurrent neural networks, ICLR 2020 (multi-step training, initial
states by L-BFGS-B); Xiong, Tong, He, Yang, Yang & Zhu, Nonseparable symplectic neural networks, ICLR 2021; Byrd, Lu,
Nocedal & Zhu, *A limited memory algorithm for bound constrained optimization*, SIAM J. Sci. Comput. 16 (1995) 1190.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.checks import check_count, check_positive, check_state, join
from ndelib.physics.hamiltonian.networks import HNN, PhaseSpaceField
from ndelib.solvers.errors import SolverError
from ndelib.solvers.graph import values
from ndelib.solvers.steps.methods import METHODS
from ndelib.solvers.steps.step import Statistics, Step, StepRejected

KINDS = ("explicit Runge–Kutta", "symplectic")


class RollOutDiverged(SolverError):
    """A roll-out became infinite or NaN. The message says which sample, at which step, and what to try."""


class Stepper(nn.Module):
    """A map y -> y of a step of length ``h``, iterated. A heir says ``step``, or ``roll_out`` where steps remember.

    Data are trajectories (N, T + 1, 2n), whose T intervals have the length h.
    """

    size: int | None = None

    def __init__(self, h: float) -> None:
        super().__init__()
        self.h = check_positive(h, "h", "the length of a step")

    def step(self, y: Tensor, h: Any = None) -> Tensor:
        """Return the state after a step of length ``h``, the model's own if ``None``: (*, 2n) -> (*, 2n)."""
        return self.roll_out(y, 1, h)[-1]

    def roll_out(self, y0: Tensor, steps: int, h: Any = None) -> list[Tensor]:
        """Return the states from ``y0`` on, steps + 1 of them."""
        states = [y0]
        for _ in range(steps):
            states.append(self.step(states[-1], h))
        return states

    def trajectory(self, y0: Tensor, steps: int, h: Any = None) -> Tensor:
        """Return the states after 0, 1, …, ``steps`` steps, (steps + 1, *, 2n).

        Args:
            y0: the initial states [q, p], (*, 2n).
            steps: how many.
            h: the length of a step; the model's own if ``None``, negative ones go back in time.
        """
        check_state(y0, self.size, type(self).__name__)
        check_count(steps, "steps", "how many steps to make", least=0)
        return torch.stack(self.roll_out(y0, steps, h))

    def loss(self, y: Tensor, starts: Tensor | None = None) -> Tensor:
        """Return the mean square distance between roll-outs and data, over samples, times and components.

        Args:
            y: trajectories (N, T + 1, 2n), times h apart; the roll-outs start at their first points.
            starts: where the roll-outs start instead, (N, 2n): then the first points count, too.

        Raises:
            RollOutDiverged: a roll-out is not finite; it says which.
        """
        return self.errors(y, starts).square().mean()

    def errors(self, y: Tensor, starts: Tensor | None = None) -> Tensor:
        """Return roll-out − data, (N, T, 2n), or (N, T + 1, 2n) with ``starts``; differentiable."""
        self._check_data(y, starts)
        states = torch.stack(self.roll_out(y[..., 0, :] if starts is None else starts, y.shape[-2] - 1), -2)
        check_finite(states, self.h)
        return states - y if starts is not None else (states - y)[..., 1:, :]

    def _check_data(self, y: Any, starts: Tensor | None = None) -> None:
        """Raise ``TypeError`` or ``ValueError`` where the trajectories are none."""
        check_state(y, self.size, type(self).__name__)
        if y.ndim < 2 or y.shape[-2] < 2:
            raise ValueError(
                f"y must be trajectories (N, T + 1, 2n) with at least two times; its shape is {tuple(y.shape)}. Pairs "
                "of neighbours are (N, 2, 2n): torch.stack([y0, y1], 1)"
            )
        if starts is not None and starts.shape != y[..., 0, :].shape:
            raise ValueError(
                f"starts must be {tuple(y[..., 0, :].shape)}, a state a trajectory; its shape is {tuple(starts.shape)}"
            )


def check_finite(states: Tensor, h: float) -> None:
    """Raise :class:`RollOutDiverged` where states (*, T + 1, d) are not finite, inside ``torch.func`` too."""
    plain = values(states)  # inside of vmap with an axis of members, somewhere
    if bool(plain.isfinite().all()):
        return
    axis = _axis_of_members(states, plain)
    bad = ~(plain if axis is None else plain.movedim(axis, 0)).isfinite()
    if plain.ndim > states.ndim and axis is None:
        which, step = "a member of the ensemble", None
        when = "somewhere"
    else:
        bad = bad.any(-1)
        step = int(bad.nonzero()[:, -1].min())
        where = bad.select(-1, step).nonzero()[0].tolist()
        names = ["sample"] * len(where) if axis is None else ["member"] + ["sample"] * (len(where) - 1)
        which = ", ".join(f"{name} {i}" for name, i in zip(names, where, strict=True)) or "the trajectory"
        when = "at its start: look for NaN in the data" if step == 0 else f"after step {step} of {bad.shape[-1] - 1}"
        which += f" (and {int(bad.any(-1).sum()) - 1} others)"
    raise RollOutDiverged(
        f"the roll-out of {which} is not finite {when}; h = {h:g}. Try shorter trajectories first and longer ones "
        "later, a smaller learning rate, clip=1.0, or more substeps",
        t=(step or 0) * h,
        h=h,
    )


def _axis_of_members(states: Tensor, plain: Tensor) -> int | None:
    """Return the axis that vmap added to ``states``; ``None`` without vmap, or if this torch does not say."""
    if plain.ndim != states.ndim + 1:
        return None
    axis = getattr(torch._C._functorch, "maybe_get_bdim", lambda x: -1)(states)
    return axis if isinstance(axis, int) and 0 <= axis < plain.ndim else None


class FieldStepper(Stepper):
    """A field, a method of the book's solvers, and steps of a fixed length: ``odeint`` without what it must ask first.

    ``substeps`` steps of length h / substeps make one step.
    """

    def __init__(self, field: Callable[..., Any], h: float, method: str, substeps: int = 1, **options: Any) -> None:
        super().__init__(h)
        self.field, self.method, self.options = field, method, options
        self.substeps = check_count(substeps, "substeps", "how many steps of the method make one of h")
        self.size = getattr(field, "size", None)
        known = [name for name, row in METHODS.items() if row.kind in KINDS]
        if method not in known:
            raise ValueError(
                f"method must be one that makes steps of a fixed length: {', '.join(known)}; got {method!r}"
            )
        if method in ("symplectic_euler", "leapfrog", "yoshida4") and self._halves() is None:
            raise ValueError(
                f"method {method!r} needs a separable field, with halves: HNN(SeparableEnergy(kinetic, potential)) or "
                "SeparableField(velocity, force). Others take 'rk4', 'implicit_midpoint' or 'tao'"
            )

    def _halves(self) -> Any:
        try:
            return getattr(self.field, "halves", None)
        except TypeError:
            return None

    def forward(self, t: Any, y: Any) -> Any:
        """Return dy/dt, as the field does: (*, 2n), or a pair (q, p)."""
        return self.field(t, y)

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """The field's ``velocity(t, p)`` and ``force(t, q)``."""
        halves: tuple[Callable[..., Tensor], Callable[..., Tensor]] = self.field.halves  # type: ignore[attr-defined]
        return halves

    def energy(self, y: Tensor) -> Tensor:
        """Return the energy of states, (*); for fields that have one."""
        if not hasattr(self.field, "energy"):
            raise TypeError(f"{type(self.field).__name__} has no energy: it is a field without one behind it")
        value: Tensor = self.field.energy(y)
        return value

    def roll_out(self, y0: Tensor, steps: int, h: Any = None) -> list[Tensor]:
        """Return the states from ``y0`` on, steps + 1 of them."""
        states, before = [y0], None
        for made in self._steps(y0, steps, h):
            before = made
            states.append(before.y1)
        return states

    def _steps(self, y0: Tensor, steps: int, h: Any) -> Any:
        """Yield the last step of the method in every step of the model."""
        h = self._length(h) / self.substeps
        make = self._start(y0.shape[-1] // 2)
        y, before, i = y0, None, 0
        try:
            for _ in range(steps):
                for _ in range(self.substeps):
                    before = make(i * h, y, (i + 1) * h, None, before)
                    y, i = before.y1, i + 1
                yield before
        except StepRejected as failure:
            raise RollOutDiverged(
                f"step {i} of the roll-out could not be made with h = {h:g}: {failure.reason}. Take more substeps",
                t=i * h,
                h=h,
            ) from None

    def _length(self, h: Any) -> float:
        if h is None:
            return self.h
        if isinstance(h, bool) or not isinstance(h, (int, float)) or not math.isfinite(h) or h == 0:
            raise ValueError(f"h must be the length of a step, a finite number other than 0, got {h!r}")
        return float(h)

    def _start(self, n: int) -> Callable[..., Step]:
        row = METHODS[self.method]
        given = {"split": n, "halves": self._halves(), **self.options}
        options = {name: value for name, value in given.items() if name in row.options and value is not None}
        made: Callable[..., Step] = row.start(self.field, Statistics(), **options)
        return made


class SRNN(FieldStepper):
    """A symplectic recurrent network: a field trained through the steps of a solver, on many steps at once.

    The data need no derivatives. Which field, and which method, are the rungs of Chen et al.'s ladder. Their H-NET is
    ``HNN(SeparableEnergy(kinetic, potential))``, an energy: with leapfrog every step is symplectic. Their O-NET is
    ``SeparableField(velocity, force)`` or ``Baseline(2 * n)``, networks for the derivatives;
    ``Baseline`` with ``"rk4"`` is a neural ODE.

    The trained field may be solved with any other method and step, but what it learned is the field whose steps of
    *this* method and length fit the data: that differs from the true one by the method's error.

    Args:
        field: the field to train.
        h: the time between two states of the data.
        method: ``"euler"``, ``"rk4"`` or another explicit Runge–Kutta method, ``"symplectic_euler"``, ``"leapfrog"``,
            ``"yoshida4"``, ``"implicit_midpoint"`` or ``"tao"``.
        substeps: how many steps of the method make one of h.

    Raises:
        ValueError: h is not positive, the method is unknown, or needs halves that the field does not have.

    Example:
        >>> import torch
        >>> from ndelib.physics import HNN, SRNN, EnergyNetwork, SeparableEnergy
        >>> from ndelib.training import fit
        >>> t = torch.linspace(0, 6, 61)
        >>> y = torch.stack([t.cos(), -t.sin()], -1)  # a spring
        >>> windows = y.unfold(0, 6, 1).mT  # (56, 6, 2)
        >>> kinetic, potential = EnergyNetwork(1, 32), EnergyNetwork(1, 32)
        >>> model = SRNN(HNN(SeparableEnergy(kinetic, potential)), h=0.1)
        >>> history = fit(model, SRNN.loss, windows, steps=100, lr=0.01)
        >>> history.loss[-1] < 0.05 * history.loss[0]
        True
        >>> model.trajectory(y[0], steps=1000).shape
        torch.Size([1001, 2])
    """

    def __init__(self, field: PhaseSpaceField, h: float, method: str = "leapfrog", substeps: int = 1) -> None:
        if not isinstance(field, nn.Module):
            raise TypeError(f"field must be a module, such as HNN(SeparableEnergy(…)), got {type(field).__name__}")
        super().__init__(field, h, method, substeps)


class NSSNN(FieldStepper):
    """A nonseparable symplectic network: any energy, trained through Tao's explicit method in a doubled phase space.

    Tao's method keeps two copies (q, p) and (x, y) of the state and couples them by ω. The loss is Xiong et al.'s: both
    copies must fit the data. Every step is symplectic in (q, x, p, y); of (q, p) alone it is so up to O(h²).

    Args:
        energy: ``energy(y)``, (*, 2n) -> (*), as for :class:`HNN`.
        h: the time between two states of the data.
        omega: ω ≥ 0, a frequency. Too small, and the copies part after a while. The same where ωh' is near a multiple
            of π/2, with h' the step of the method, because half a turn only exchanges them. ``None``: π / (4 h').
        substeps: how many steps of Tao's method make one of h.

    Raises:
        ValueError: h is not positive, or omega is negative or infinite.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.physics import NSSNN
        >>> model = NSSNN(lambda y: ((y**2 + 1) / 2).prod(-1) * 2, h=0.01)
        >>> y0 = torch.tensor([0.0, -1.0], dtype=torch.float64)
        >>> y = model.trajectory(y0, steps=1000)
        >>> bool((model.energy(y) - model.energy(y0)).abs().max() < 1e-3)
        True
        >>> q, p = odeint(model, (y0[:1], y0[1:]), [0.0, 10.0],
        ...               method="tao", step_size=0.01)
        >>> torch.allclose(torch.cat([q[-1], p[-1]]), y[-1])
        True
    """

    def __init__(
        self, energy: Callable[[Tensor], Tensor], h: float, omega: float | None = None, substeps: int = 1
    ) -> None:
        good = isinstance(omega, (int, float)) and not isinstance(omega, bool) and math.isfinite(omega) and omega >= 0
        if omega is not None and not good:
            raise ValueError(
                f"omega, the coupling of the two copies, must be a finite number >= 0, or None for π / (4 h); got "
                f"{omega!r}"
            )
        super().__init__(HNN(energy), h, "tao", substeps, omega=omega)
        self.omega = omega

    def copies(self, y0: Tensor, steps: int, h: Any = None) -> tuple[Tensor, Tensor]:
        """Return the trajectories of both copies, (q, p) and (x, y), (steps + 1, *, 2n) each, started as one."""
        check_state(y0, self.size, type(self).__name__)
        check_count(steps, "steps", "how many steps to make", least=0)
        first, second = self._copies(y0, steps, h)
        return torch.stack(first), torch.stack(second)

    def _copies(self, y0: Tensor, steps: int, h: Any = None) -> tuple[list[Tensor], list[Tensor]]:
        n = y0.shape[-1] // 2
        first, second = [y0], [y0]
        for made in self._steps(y0, steps, h):
            u, w, _ = made.memory  # u = (q, y), w = (x, p)
            first.append(made.y1)
            second.append(torch.cat([w[..., :n], u[..., n:]], -1))
        return first, second

    def errors(self, y: Tensor, starts: Tensor | None = None) -> Tensor:
        """Return roll-out − data of both copies, (2, N, T, 2n), or (2, N, T + 1, 2n) with ``starts``."""
        self._check_data(y, starts)
        copies = self._copies(y[..., 0, :] if starts is None else starts, y.shape[-2] - 1)
        errors = []
        for states in copies:
            stacked = torch.stack(states, -2)
            check_finite(stacked, self.h)
            errors.append(stacked - y if starts is not None else (stacked - y)[..., 1:, :])
        return torch.stack(errors)

    def loss(self, y: Tensor, starts: Tensor | None = None) -> Tensor:
        """Return the mean of |roll-out − data| over both copies, samples, times and components.

        Args:
            y: trajectories (N, T + 1, 2n), times h apart; (N, 2, 2n) are pairs.
            starts: where the roll-outs start instead of their first points, (N, 2n).
        """
        return self.errors(y, starts).abs().mean()

    def doubled_step(self, z: Tensor, h: Any = None) -> Tensor:
        """Make one step of the doubled state [q, x, p, y], (*, 4n) -> (*, 4n): a symplectic map.

        ``trajectory`` starts it with x = q and y = p.
        """
        if z.shape[-1] % 4:
            raise ValueError(f"z must be [q, x, p, y], (*, 4n); its shape is {tuple(z.shape)}")
        q, x, p, y = z.chunk(4, -1)
        u, w, n = join((q, y)), join((x, p)), q.shape[-1]
        h = self._length(h) / self.substeps
        make, before = self._start(n), Step(0.0, 0.0, z, z, [], None, None, (u, w, self.field(0.0, u)))
        for i in range(self.substeps):
            before = make(i * h, before.y1, (i + 1) * h, None, before)
        u, w, _ = before.memory
        return torch.cat([u[..., :n], w[..., :n], w[..., n:], u[..., n:]], -1)


def fit_initial_states(
    model: Stepper,
    y: Tensor,
    *,
    starts: Tensor | None = None,
    bounds: tuple[float, float] | None = None,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> Tensor:
    """Return the initial states whose roll-outs fit noisy trajectories best, by L-BFGS-B; the model stays as it is.

    One call of SciPy for all trajectories: the sum of their losses, and its gradient by one backward pass.

    Args:
        model: any model with ``errors(y, starts)``: :class:`SRNN`, :class:`SSINN`, :class:`NSSNN`, SympNets …
        y: trajectories (N, T + 1, 2n), times h apart.
        starts: where to begin the search, (N, 2n); the first points of ``y`` if ``None``.
        bounds: the lowest and the highest value of every component; none if ``None``.
        max_iterations: of L-BFGS-B.
        tolerance: end when no component of the gradient of a trajectory's mean square error is larger.

    Returns:
        The states, (N, 2n). Train on with ``model.loss(y, starts)``.

    Raises:
        RollOutDiverged: the roll-out from ``starts`` is not finite.

    Example:
        >>> import torch
        >>> from ndelib.physics import HNN, SRNN, SeparableEnergy
        >>> from ndelib.physics import fit_initial_states
        >>> half = lambda x: (x**2).sum(-1) / 2
        >>> model = SRNN(HNN(SeparableEnergy(half, half)), h=0.1)
        >>> start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> y = model.trajectory(start, 100).movedim(0, 1)
        >>> noisy = y + 0.1 * torch.randn(y.shape, dtype=y.dtype)
        >>> found = fit_initial_states(model, noisy)
        >>> bool((found - start).norm() < 0.1)
        True
    """
    from scipy.optimize import minimize

    check_count(max_iterations, "max_iterations", "how many iterations L-BFGS-B may make")
    check_positive(tolerance, "tolerance", "where the search ends")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"bounds must be (lowest, highest), got {bounds!r}")
    model._check_data(y, starts)
    first = (y[..., 0, :] if starts is None else starts).detach()
    if not bool(torch.isfinite(first).all()):
        raise ValueError("starts, or the first points of y, are not finite: give starts= without NaN")
    trainable = [p for p in model.parameters() if p.requires_grad]

    def objective(x: Any) -> tuple[float, Any]:
        state = torch.as_tensor(x, dtype=first.dtype, device=first.device).reshape(first.shape).requires_grad_()
        with torch.enable_grad():
            try:
                # mean over times, components and copies; sum over trajectories, which do not see each other
                value = model.errors(y, state).square().mean() * (first.numel() / first.shape[-1])
            except RollOutDiverged:
                if not moved:
                    raise
                return 10 * (1 + min(moved)), 0.0 * x  # worse than the best: the line search turns back
            (slope,) = torch.autograd.grad(value, state)
        moved.append(value.item())
        return value.item(), slope.reshape(-1).double().cpu().numpy()

    moved: list[float] = []
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        found = minimize(
            objective,
            first.reshape(-1).double().cpu().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=None if bounds is None else [bounds] * first.numel(),
            options={"maxiter": max_iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20},
        )
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    return torch.as_tensor(found.x, dtype=first.dtype, device=first.device).reshape(first.shape)
