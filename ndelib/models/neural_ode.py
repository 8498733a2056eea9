"""The neural ODE: a model whose layers are a differential equation, and what it shares with models that have layers.

Sources: Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, NeurIPS 2018; Massaroli, Poli,
Park, Yamashita & Asama, Dissecting neural ODEs, NeurIPS 2020 (input network, field, output network).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.adjoints import GRADIENTS, odeint, odeint_with_cost
from ndelib.models.wrapper import arguments, check_field, initial, output
from ndelib.solvers import Statistics
from ndelib.solvers.control import Tolerance
from ndelib.solvers.options import check_finite, check_times, times_tensor
from ndelib.solvers.steps.methods import MethodLike, closest, find_method

Layer = Callable[[Tensor], Tensor]


class StateModel(nn.Module):
    """What is around the state of a model: x → encoder → z(0), …, z(T) → decoder → output.

    How z moves is for the models to say: a neural ODE solves, a residual network adds.
    """

    nfe: int = 0
    """evaluations of the field in the last forward pass"""

    def __init__(self, encoder: Layer | None, decoder: Layer | None) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def start(self, field: Callable[..., Any], x: Tensor) -> Tensor:
        """Return the initial state of ``field``, (B, *state), for the model's input ``x``, (B, *in)."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor, got {type(x).__name__}")
        if x.is_floating_point() or x.is_complex():
            check_finite(x, "x")
        return initial(field, x if self.encoder is None else self.encoder(x))

    def read(self, field: Callable[..., Any], z: Tensor) -> Tensor:
        """Return the model's output, (B, *out), for the final state ``z``, (B, *state)."""
        return output(field, z) if self.decoder is None else self.decoder(z)


class NeuralODE(StateModel):
    """A model whose output is the solution of ``dz/dt = field(t, z)`` at a later time: (B, *in) -> (B, *out).

    Args:
        field: the vector field, ``field(t, z) -> dz/dt``, of z's shape: a module, or a function without parameters.
            :class:`MLP` and its kin make one of a network. An :class:`Augmented` field, a :class:`DataControlled` one
            or one with :class:`AdaptiveDepth` gets from the model what it needs besides.
        t: when the input enters and when the output is read. Times between them end a step, too: without ``step_size``
            a fixed-step method makes one step an interval. A tensor that needs a gradient gets one.
        encoder: a layer before the solve, x -> z(t[0]); ``None`` takes x itself.
        decoder: a layer behind the solve that reads the whole state. ``None`` gives the state itself; for an
            :class:`Augmented` field, the coordinates that x had.
        method, gradient: how to solve, and how to differentiate the solve, as for :func:`ndelib.odeint`.
        rtol, atol: the tolerances of the solve, as there. They are coarser here: the error of a model on its data is
            far above them. ``gradient="adjoint"`` has its error from them, so it may need finer ones.
        **options: more options of :func:`ndelib.odeint`: ``step_size=0.1``, ``batch="independent"``, …

    After a forward pass, ``model.nfe`` is how often it evaluated the field.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.models import MLP, NeuralODE
        >>> model = NeuralODE(MLP(2), decoder=torch.nn.Linear(2, 3))
        >>> x = torch.zeros(5, 2)
        >>> model(x).shape
        torch.Size([5, 3])
        >>> model.nfe > 6  # evaluations of the field, for all five at once
        True
        >>> model.trajectory(x, torch.linspace(0, 1, 11)).shape
        torch.Size([11, 5, 2])
    """

    def __init__(
        self,
        field: Callable[..., Any],
        t: Tensor | Sequence[float] = (0.0, 1.0),
        *,
        encoder: Layer | None = None,
        decoder: Layer | None = None,
        method: MethodLike = "dopri5",
        gradient: str = "backprop",
        rtol: Tolerance = 1e-4,
        atol: Tolerance = 1e-5,
        **options: Any,
    ) -> None:
        super().__init__(encoder, decoder)
        check_field(field)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient {gradient!r} is unknown: {closest(str(gradient), GRADIENTS)}")
        if len(check_times(times_tensor(t).detach())) < 2:
            raise ValueError("t must hold the time of the input and that of the output, such as (0.0, 1.0); it has one")
        find_method(method)
        self.field, self.t = field, t if isinstance(t, Tensor) else tuple(t)
        self.method, self.gradient = method, gradient
        self.options = {"rtol": rtol, "atol": atol, **options}

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (B, *out), for the input ``x``, (B, *in)."""
        return self.read(self.field, self.trajectory(x)[-1])

    def trajectory(self, x: Tensor, t: Tensor | Sequence[float] | None = None) -> Tensor:
        """Return the states at the times ``t``, (T, B, *state), before any decoder; x enters at ``t[0]``."""
        counts, how = Statistics(), self._how(x)
        z = odeint(self.field, self.start(self.field, x), self.t if t is None else t, statistics=counts, **how)
        self.nfe = counts.nfe
        return z

    def with_cost(self, x: Tensor, running_cost: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        """Return the output, (B, *out), and the integral of a running cost over the solve, for a loss that has both.

        ``running_cost(t, z)``, such as :func:`kinetic_energy` of the field, is one of :func:`ndelib.odeint_with_cost`.
        """
        counts, how = Statistics(), self._how(x)
        z0 = self.start(self.field, x)
        z, cost = odeint_with_cost(self.field, running_cost, z0, self.t, statistics=counts, **how)
        self.nfe = counts.nfe
        return self.read(self.field, z[-1]), cost[-1]

    def _how(self, x: Tensor) -> dict[str, Any]:
        """Return how to solve: the model's options, and what the field takes after t and z."""
        args = arguments(self.field, x)
        dims = (0,) * len(args) if self.options.get("batch") == "independent" else None
        return {"method": self.method, "gradient": self.gradient, "args": args, "args_dims": dims, **self.options}

    def extra_repr(self) -> str:
        """Say how the equation is solved."""
        name = find_method(self.method).name
        t = self.t.tolist() if isinstance(self.t, torch.Tensor) else self.t
        return f"t={t}, method={name!r}, gradient={self.gradient!r}"
