"""What a method is to the loops that drive it: a function that makes one :class:`Step`.

Every method of the library, explicit, implicit or symplectic, is a :class:`Method`: a row of the register, and two
functions. ``start`` prepares it for a solve and returns the function that makes a step; ``interpolate`` turns a step
into a curve. The loops know nothing else about it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndelib.solvers.steps.butcher import ButcherTableau

VectorField = Callable[[Tensor, Tensor], Tensor]
"""A vector field as users write it, ``f(t, y) -> dy/dt``: ``t`` is a 0-dimensional tensor, ``dy/dt`` has y's shape."""

Field = Callable[[Any, Tensor], Tensor]
"""A vector field as steps call it. Its ``t`` is a Python float, so that asking for the time never stalls a GPU; the
field makes a tensor of it, counts the call and checks what comes back (see ``field.py``). Where every sample has its
own time (``independent.py``), ``t`` is a tensor that broadcasts against ``y``."""

Interpolant = Callable[[float], Tensor]
"""A curve over one step: ``interpolant(0.0)`` is its first state, ``interpolant(1.0)`` its last."""


class Step(NamedTuple):
    """One step from ``t`` to ``t1 = t + h``, made but not yet accepted. ``h`` is negative where time runs backwards."""

    t: float
    t1: float
    y: Tensor
    """the state at ``t``, (*)"""
    y1: Tensor
    """the state at ``t1``, (*)"""
    k: list[Tensor]
    """the slopes that the step computed, k[i] = f(t + cᵢ h, Yᵢ), each (*)"""
    f1: Tensor | None
    """``f(t1, y1)`` where the method has it for nothing; the next step starts from it"""
    error: Tensor | None
    """an estimate of the error made in this step, (*), of y's shape; ``None`` if the method has none"""
    memory: tuple[Tensor, ...] = ()
    """what else the next step needs of this one: slopes of earlier steps, a second copy of the state, …"""

    @property
    def h(self) -> float:
        """The length of the step, with its sign."""
        return self.t1 - self.t


StepFunction = Callable[[float, Tensor, float, Tensor | None, Step | None], Step]
"""``step(t, y, t1, f0, before) -> Step``. ``f0`` is f(t, y) if the caller has it; a method that needs it and gets
``None`` computes it. ``before`` is the accepted step that ended at (t, y); ``None`` if the solve begins there. A step
depends on nothing else: what a method remembers is in ``before.memory``, so any step can be made again. May raise
:class:`StepRejected` to ask for a smaller step."""


Look = Callable[[Step], None]
"""What loops of fixed steps show a step to, now and then: it warns or raises where the method does not suit f."""


class StepRejected(Exception):
    """A step could not be made with this h (Newton's method did not converge): try ``factor`` times the step."""

    def __init__(self, reason: str, factor: float = 0.25) -> None:
        super().__init__(reason)
        self.reason = reason
        self.factor = factor


class Statistics:
    """What a solve did: counters that field and methods increase while it runs.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.solvers import Statistics
        >>> counts = Statistics()
        >>> y = odeint(lambda t, y: -y, torch.ones(1), [0.0, 1.0],
        ...            method="rk4", step_size=0.1, statistics=counts)
        >>> counts.steps, counts.nfe
        (10, 40)
    """

    def __init__(self) -> None:
        self.steps = 0
        """accepted steps"""
        self.rejected = 0
        """steps that were made and thrown away"""
        self.nfe = 0
        """evaluations of f (a batch counts once)"""
        self.jacobians = 0
        """evaluations of ∂f/∂y"""
        self.factorizations = 0
        """LU decompositions of the matrix of Newton's method"""

    def clear(self) -> None:
        """Count from zero again, as every solve does that is given these counters."""
        vars(self).update(vars(Statistics()))


@dataclass(frozen=True)
class Method:
    """A method: a row of :func:`ndelib.methods`, or one of your own, and how its steps are made.

    Every solve takes one as ``method=``. An explicit Runge–Kutta method is better given as a
    :class:`~ndelib.solvers.ButcherTableau`, which has its error estimate, compilation and a batch's own steps for
    nothing. A step may use tensors that need a gradient (a network that corrects it): ``"backprop"`` finds them, for
    ``"checkpoint"`` and ``"reversible"`` they belong into ``params``; the continuous adjoints differentiate the
    equation and not the method, and refuse.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.solvers import Method, Step
        >>> def start(field, statistics):
        ...     def step(t, y, t1, f0, before=None):
        ...         k = field(t, y) if f0 is None else f0
        ...         y1 = y + (t1 - t) * k
        ...         return Step(t, t1, y, y1, k=[k], f1=None, error=None)
        ...     return step
        >>> own = Method("own_euler", 1, "one step", "me", start)
        >>> y0 = torch.ones(1)
        >>> odeint(lambda t, y: -y, y0, [0.0, 1.0], method=own, step_size=0.1)
        tensor([[1.0000],
                [0.3487]])
    """

    name: str
    order: float
    """of the global error, as h goes to zero"""
    kind: str
    """``"explicit Runge–Kutta"``, ``"implicit Runge–Kutta"``, ``"symplectic"``, ``"multistep"``, ``"reversible"`` or
    ``"stochastic"``"""
    source: str
    """who found it, and the page that the coefficients are from"""
    start: Callable[..., StepFunction]
    """``start(field, statistics, **options) -> step``, for one solve"""
    error_order: float | None = None
    """the error estimate of a step behaves like h^(error_order + 1); ``None``: the method makes fixed steps only"""
    interpolate: Callable[[Field, Step], Interpolant] | None = None
    """dense output over one step; may call the field again. ``None``: cubic Hermite interpolation (``dense.py``)"""
    tableau: ButcherTableau | None = None
    """the table of an explicit Runge–Kutta method"""
    solves_stages: bool = False
    """Whether Newton's method finds the stages. To make such a step again digit by digit, ``step`` takes the stages
    ``k`` of the first time as ``stages=``."""
    reverse: Callable[..., StepFunction] | None = None
    """like ``start``, for the step back: from the end of a step, with its ``memory``, to where it began, exactly but
    for rounding. ``None``: steps of the method cannot be undone. For a symmetric method it is ``start``."""
    look: Callable[..., Look] | None = None
    """``look(field, statistics, **options)``, for one solve with fixed steps, where no error estimate notices anything;
    it may ask the field. ``None``: there is nothing to look at"""
    options: frozenset[str] = frozenset()
    """names of the options of ``odeint`` that only some methods understand and that this ``start`` accepts"""
    adjoint: str | None = None
    """the method that solves the equation of the continuous adjoints, where these steps are made for f alone;
    ``None``: this one"""

    @property
    def adaptive(self) -> bool:
        """Whether the method estimates its error, so that its step size can be controlled."""
        return self.error_order is not None


def checked_steps(method: Method, make_step: StepFunction) -> StepFunction:
    """Return ``make_step`` of a user's ``method``, with ``TypeError`` or ``ValueError`` for what is no step from y."""
    if not callable(make_step):
        raise TypeError(
            f"start of method {method.name!r} must return the function that makes a step, got {make_step!r}"
        )

    def step(t: float, y: Tensor, t1: float, f0: Tensor | None, before: Step | None = None, **known: Any) -> Step:
        made = make_step(t, y, t1, f0, before, **known)
        if not isinstance(made, Step):
            raise TypeError(f"a step of method {method.name!r} must be a Step, got {type(made).__name__}")
        for name, x in (("y1", made.y1), *([("error", made.error)] if method.adaptive else [])):
            if not isinstance(x, Tensor) or (x.shape, x.dtype, x.device) != (y.shape, y.dtype, y.device):
                like = f"{x.dtype} {tuple(x.shape)} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(
                    f"{name} of a step of method {method.name!r} must be like y, {y.dtype} {tuple(y.shape)} on "
                    f"{y.device}; it is {like}"
                )
        return made

    return step


def time_like(t: float, y: Tensor) -> Tensor:
    """Return ``t`` as the 0-dimensional real tensor that vector fields receive, on the device of ``y``."""
    # torch.full fills on the device: unlike torch.tensor it copies nothing from the host, so a GPU never waits.
    return torch.full((), t, dtype=y.dtype.to_real(), device=y.device)
