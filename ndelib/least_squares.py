"""``fit_least_squares``: the Levenberg–Marquardt method, for small networks whose loss is a sum of squares.

Gradient descent knows the slope of the loss. Here the loss is Σ r², and the Jacobian of the residuals r tells about its
curvature as well: a few dozen steps do what thousands of gradient steps do not, as long as a linear system of the size
of the parameters is cheap. That is so for some hundred parameters.

Sources: Levenberg, Q. Appl. Math. 2 (1944) 164; Marquardt, SIAM J. Appl. Math. 11 (1963) 431.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from ndelib.ensembles import Called, Ensemble
from ndelib.solvers.errors import SolverError

Residuals = Callable[..., Tensor]

SMALLEST, LARGEST = 1e-14, 1e10  # of the damping
MOST = 5000  # parameters of a member: the matrix of as many rows takes 200 MB


class LeastSquares:
    """The residuals of every member at every sample, and their Jacobians, as functions of flat parameters."""

    def __init__(self, model: nn.Module, residuals: Residuals) -> None:
        if isinstance(model, Ensemble):
            structure, state, self.members, first = model.structure, model.stacked(), len(model), 1
        else:  # what is fixed stays in the module
            structure, state, self.members, first = model, dict[str, Tensor](model.named_parameters()), 1, 0
        self.parameters = {name: p for name, p in state.items() if isinstance(p, nn.Parameter) and p.requires_grad}
        self._fixed = {name: x for name, x in state.items() if first and name not in self.parameters}
        if not self.parameters:
            raise ValueError(f"{type(model).__name__} has no parameter that is trained")
        shapes = [p.shape[first:] for p in self.parameters.values()]
        sizes = [shape.numel() for shape in shapes]
        self.size = sum(sizes)
        if self.size > MOST:
            raise ValueError(
                f"the model has {self.size} parameters: least squares solves systems of that size, and takes at most "
                f"{MOST}. Train it with fit"
            )
        called = Called(structure, residuals)

        def one(flat: Tensor, rest: dict[str, Tensor], *row: Tensor) -> tuple[Tensor, Tensor]:
            parts = flat.split(sizes)
            state = {name: x.view(s) for name, x, s in zip(self.parameters, parts, shapes, strict=True)} | rest
            value = functional_call(called, {f"member.{name}": x for name, x in state.items()}, row)
            if not isinstance(value, Tensor):
                raise TypeError(f"residuals must return a tensor, got {type(value).__name__}")
            return value.flatten(), value.flatten()

        self._one = one

    def start(self) -> Tensor:
        """Return the parameters of all members, (members, size)."""
        return torch.cat([p.detach().reshape(self.members, -1) for p in self.parameters.values()], 1)

    def keep(self, flat: Tensor) -> None:
        """Write flat parameters into the model."""
        i = 0
        for p in self.parameters.values():
            n = p.numel() // self.members
            p.data.copy_(flat[:, i : i + n].reshape(p.shape))
            i += n

    def linearise(self, flat: Tensor, data: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the residuals (members, R) and their Jacobians (members, R, size)."""
        rows = vmap(jacrev(self._one, has_aux=True), in_dims=(None, None, *[0] * len(data)))
        with torch.enable_grad():  # under no_grad, vmap of torch.linalg.solve has wrong derivatives (torch 2.13)
            jacobian, r = vmap(rows, in_dims=(0, 0, *[None] * len(data)))(flat, self._fixed, *data)
        return r.detach().flatten(1), jacobian.detach().flatten(1, -2)


def fit_least_squares(
    model: nn.Module,
    residuals: Residuals,
    data: Tensor | Sequence[Tensor],
    *,
    steps: int = 50,
    damping: float = 1e-2,
) -> list[float]:
    """Train ``model`` by Levenberg–Marquardt: so that the squares of ``residuals(model, *sample)`` have the least mean.

    A step solves (JᵀJ/R + λI) δ = Jᵀr/R for the R residuals of all samples, and takes δ off the parameters. Where
    that lowers the loss, λ is divided by 3; where it does not, the step is taken back and λ is multiplied by 4. Each
    member of an :class:`Ensemble` has its own λ.

    For sums of squares and up to some hundred parameters it needs the fewest steps. For more parameters, or a loss that
    is no sum of squares, take ``polish`` after ``fit``.

    Args:
        model: a module with at most some hundred parameters, or an ensemble of such. It is trained in place.
        residuals: ``residuals(model, *sample)``, a tensor of what should be zero, for *one* row of the data. A step in
            which it becomes infinite or raises a ``SolverError`` or ``ArithmeticError`` is taken back.
        data: a tensor (N, *), or several with one row a sample.
        steps: how many steps are tried.
        damping: the first λ. A large one begins as gradient descent does.

    Returns:
        The mean square of the residuals before the first step and after each, of all members together.

    Raises:
        TypeError, ValueError: an argument has a wrong value, the model is too large, or its residuals are not finite.

    Example:
        >>> import torch
        >>> from ndelib.models import perceptron
        >>> from ndelib.training import Ensemble, fit_least_squares
        >>> x = torch.linspace(-2, 2, 64, dtype=torch.float64)[:, None]
        >>> make = lambda: perceptron(1, 1, width=8).double()
        >>> model = Ensemble(make, seeds=5)
        >>> miss = lambda net, x, y: net(x) - y
        >>> losses = fit_least_squares(model, miss, (x, x.sin()), steps=40)
        >>> losses[-1] < 1e-4
        True
    """
    data = (data,) if isinstance(data, Tensor) else tuple(data)
    if not data or not all(isinstance(part, Tensor) and part.ndim for part in data):
        raise TypeError("data must be a tensor or several, such as (x, y), with a row for each sample")
    if len({len(part) for part in data}) > 1 or len(data[0]) == 0:
        sizes = ", ".join(str(tuple(part.shape)) for part in data)
        raise ValueError(f"data must have as many rows in every tensor, at least one; the shapes are {sizes}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a number of steps, at least 1, got {steps!r}")
    if not 0 < damping < float("inf"):
        raise ValueError(f"damping must be a number above 0, got {damping!r}")
    with torch.no_grad():
        return _descend(LeastSquares(model, residuals), data, steps, damping)


def _descend(problem: LeastSquares, data: Sequence[Tensor], steps: int, damping: float) -> list[float]:
    flat = problem.start()
    r, J = problem.linearise(flat, data)
    loss = r.square().mean(1)
    if not bool(loss.isfinite().all()):
        raise ValueError("the residuals are not finite at the start: look for NaN in the data and in the model")
    eye = torch.eye(problem.size, dtype=flat.dtype, device=flat.device)
    lam = torch.full_like(loss, damping)
    losses = [loss.mean().item()]
    for _ in range(steps):
        count = r.shape[1]
        A = J.mT @ J / count + lam[:, None, None] * eye
        b = J.mT @ r[..., None] / count
        delta, failed = torch.linalg.solve_ex(A, b)
        try:
            r1, J1 = problem.linearise(flat - delta[..., 0], data)
            loss1 = r1.square().mean(1)
            better = (loss1 < loss) & (failed == 0)  # NaN is not better
        except (SolverError, ArithmeticError):  # the second: a mass matrix without an inverse
            better = torch.zeros_like(loss, dtype=torch.bool)
            r1, J1, loss1 = r, J, loss
        flat = torch.where(better[:, None], flat - delta[..., 0], flat)
        r, J = torch.where(better[:, None], r1, r), torch.where(better[:, None, None], J1, J)
        loss = torch.where(better, loss1, loss)
        lam = torch.where(better, lam / 3, lam * 4).clamp(SMALLEST, LARGEST)
        losses.append(loss.mean().item())
    problem.keep(flat)
    return losses
