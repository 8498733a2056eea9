"""Hypersolvers: a cheap method, and a network that adds what it leaves out.

A method of order p makes in a step of length h the error h^(p+1) R(t, y) + O(h^(p+2)). A hypersolver learns g ≈ R, for
one field f, and steps with  y + h ψ(t, y) + h^(p+1) g(t, y, f(t, y)),  where h ψ is the step of the method.

Source: Poli, Massaroli, Yamashita, Asama & Park, Hypersolvers: toward fast continuous-depth models, NeurIPS 2020.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers import TABLEAUS, ButcherTableau, Method, Statistics, Step, odeint
from ndelib.solvers.steps.runge_kutta import runge_kutta_step
from ndelib.solvers.steps.step import Field, StepFunction, VectorField, time_like

Correction = Callable[[Tensor, Tensor, Tensor], Tensor]


class Hypersolver(Method):
    """The method ``base`` with the correction g, as a method of its own: ``odeint(f, y0, t, method=Hypersolver(…))``.

    Every solve takes it and makes fixed steps. Each step costs what a step of ``base`` costs, and one evaluation of g,
    which nobody counts. The gradients ``"backprop"`` and ``"checkpoint"`` (there pass ``params=g``) reach g; the
    continuous adjoints take g as given, without parameters that need a gradient, and go back by ``"rk4"``.

    Args:
        base: the table of an explicit Runge–Kutta method, of order p.
        g: the correction, ``g(t, y, f(t, y))`` -> R of y's shape; for one field f, and good where it was trained.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.models import HyperEuler
        >>> y0 = torch.ones(1)
        >>> for g in (lambda t, y, dy: 0 * y, lambda t, y, dy: y / 2):
        ...     y = odeint(lambda t, y: -y, y0, [0.0, 1.0],
        ...                method=HyperEuler(g), step_size=0.1)
        ...     print(f"{y[-1].item() - 0.367879:.4f}")
        -0.0192
        0.0007
    """

    def __init__(self, base: ButcherTableau, g: Correction) -> None:
        if not callable(g):
            raise TypeError(f"g must be a function g(t, y, dy), got {type(g).__name__}")
        super().__init__(
            name=f"hyper_{base.name}",
            order=base.order + 1,  # where g is the residual
            kind="hypersolver",
            source="Poli et al., NeurIPS 2020",
            start=self._start,
            adjoint="rk4",
        )
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "g", g)

    base: ButcherTableau
    g: Correction

    def _start(self, field: Field, statistics: Statistics) -> StepFunction:
        """Return the function that makes a step."""

        def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None) -> Step:
            made = runge_kutta_step(self.base, field, t, y, t1, f0)
            y1 = made.y1 + (t1 - t) ** (self.base.order + 1) * self._correction(t, y, made.k[0])
            return Step(t, t1, y, y1, made.k, f1=None, error=None)

        return step

    def _correction(self, t: float, y: Tensor, dy: Tensor) -> Tensor:
        """Return g(t, y, dy), (*)."""
        correction = self.g(time_like(t, y), y, dy)
        if correction.shape != y.shape:
            raise ValueError(
                f"g(t, y, dy) must return the shape of y, {tuple(y.shape)}; it returned {tuple(correction.shape)}"
            )
        return correction

    @torch.no_grad()
    def residual(self, f: VectorField, y: Tensor, t: float, h: float) -> Tensor:
        """Return what g should be: R = (y(t + h) − y − h ψ(t, y)) / h^(p+1), (*), where y(t) is ``y``.

        The difference is of the size h^(p+1), so it is taken in float64, also where f computes in float32. y(t + h) is
        that of two steps of ``dopri8``.
        """

        def precise(t: Tensor, x: Tensor) -> Tensor:
            return f(t.to(y.dtype.to_real()), x.to(y.dtype)).to(x.dtype)

        start = y.to(torch.promote_types(y.dtype, torch.float64))
        true = odeint(precise, start, [t, t + h], method="dopri8", step_size=abs(h) / 2)[-1]
        step = runge_kutta_step(self.base, lambda t, x: precise(time_like(t, x), x), t, start, t + h)
        return ((true - step.y1) / h ** (self.base.order + 1)).to(y.dtype)

    def residual_loss(self, f: VectorField, y: Tensor, t: float, h: float) -> Tensor:
        """Return the mean square of g − R at the states ``y``, (B, *), at the time ``t``: for training g, step by step.

        Args:
            f: the field that g is for; it is not trained.
            y: states as the solver will meet them, such as those of an accurate solve.
            t: their time.
            h: the length of the step.

        Raises:
            ValueError: h is zero, or g returns another shape than y's.
        """
        if h == 0:
            raise ValueError("h must be the length of a step, not zero")
        with torch.no_grad():
            dy = f(time_like(t, y), y)
        return (self._correction(t, y, dy) - self.residual(f, y, t, h)).square().mean()

    def trajectory_loss(self, f: VectorField, y0: Tensor, t: Tensor | Sequence[float], **options: Any) -> Tensor:
        """Return the mean square distance of the hypersolver's states from the true ones at the times ``t``.

        Its gradient goes through all steps, so g learns to make up for earlier errors. It costs more than
        :meth:`residual_loss`.

        Args:
            f: the field; keep its parameters out of the optimiser.
            y0: initial states, (B, *).
            t: the times, (T,): without ``step_size`` the hypersolver makes one step an interval.
            **options: options of :func:`ndelib.odeint` for the hypersolver.
        """
        with torch.no_grad():
            true = odeint(f, y0, t, method="dopri5", rtol=1e-6, atol=1e-6)
        return (odeint(f, y0, t, method=self, **options) - true)[1:].square().mean()


class HyperEuler(Hypersolver):
    """Euler's method with a correction: y + h f + h² g(t, y, f). One evaluation of f a step, order 2 where g = R.

    Args:
        g: the correction, ``g(t, y, f(t, y))``; see :class:`Hypersolver`.

    Example:
        >>> import torch
        >>> from ndelib.models import Concat, HyperEuler, perceptron
        >>> from ndelib.training import fit
        >>> def f(t, y):
        ...     return torch.stack([y[:, 1], -y[:, 0]], -1)
        >>> net, y = Concat(perceptron(4, 2)), torch.randn(256, 2)
        >>> method = HyperEuler(lambda t, y, dy: net(y, dy))
        >>> def loss(net, y):
        ...     return method.residual_loss(f, y, t=0.0, h=0.2)
        >>> history = fit(net, loss, y, steps=200, lr=0.01)
        >>> history.loss[-1] < 0.01 * history.loss[0]
        True
    """

    def __init__(self, g: Correction) -> None:
        super().__init__(TABLEAUS["euler"], g)


class HyperMidpoint(Hypersolver):
    """The midpoint method with a correction, h³ g(t, y, f). Two evaluations of f a step, order 3 where g = R.

    Args:
        g: the correction, ``g(t, y, f(t, y))``; see :class:`Hypersolver`.
    """

    def __init__(self, g: Correction) -> None:
        super().__init__(TABLEAUS["midpoint"], g)


class HyperHeun(Hypersolver):
    """Heun's method with a correction, h³ g(t, y, f). Two evaluations of f a step, order 3 where g = R.

    Args:
        g: the correction, ``g(t, y, f(t, y))``; see :class:`Hypersolver`.
    """

    def __init__(self, g: Correction) -> None:
        super().__init__(TABLEAUS["heun2"], g)
