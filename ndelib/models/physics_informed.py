"""Physics-informed networks: a network is the solution itself, and is trained until it satisfies the equation.

For an initial value problem (:class:`PINN`) and for equations u_t = F(t, x, u, u_x, u_xx) in one dimension
(:class:`SpaceTimeNetwork`); beside them their strong rival, the method of lines, as a field for ``odeint``.

Sources: Lagaris, Likas & Fotiadis, Artificial neural networks for solving ordinary and partial differential equations,
IEEE Trans. Neural Networks 9 (1998), for conditions that hold by construction; Raissi, Perdikaris & Karniadakis,
Physics-informed neural networks, J. Comput. Phys. 378 (2019); Trefethen, *Spectral Methods in MATLAB* (2000), program
cheb, for the differentiation matrix.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import jvp

from ndelib.models.wrapper import check_field

RightSide = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""F(t, x, u, u_x, u_xx), all of one shape."""


class PINN(nn.Module):
    """The solution of an initial value problem as a network: y(t) = y0 + (t − t0) · net(t), so y(t0) = y0 exactly.

    It is no field, and nothing is solved: its loss is the mean square of dy/dt − f(t, y) at given times.

    Args:
        net: a network of the time, (n, 1) -> (n, d), such as ``perceptron(1, d)``.
        y0: the initial state, (d,).
        t0: its time.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.models import PINN, perceptron
        >>> from ndelib.training import fit
        >>> pinn = PINN(perceptron(1, 1, width=16), torch.ones(1))
        >>> t = torch.linspace(0, 2, 50)
        >>> def loss(pinn, t):
        ...     return pinn.loss(t, lambda t, y: -y)
        >>> history = fit(pinn, loss, t, steps=500, lr=0.01)
        >>> (pinn(t)[:, 0] - torch.exp(-t)).abs().max().item() < 0.02
        True
    """

    y0: Tensor
    t0: Tensor

    def __init__(self, net: Callable[[Tensor], Tensor], y0: Tensor, t0: float = 0.0) -> None:
        super().__init__()
        if not callable(net):
            raise TypeError(f"net must be a network of the time, (n, 1) -> (n, d), got {type(net).__name__}")
        if not isinstance(y0, Tensor) or not y0.is_floating_point() or y0.ndim != 1:
            got = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
            raise ValueError(f"y0 must be a tensor of floating-point numbers, (d,), got {got}")
        if not (y0.isfinite().all() and math.isfinite(t0)):
            raise ValueError(f"y0 and t0 must be finite, got {y0.tolist()} and {t0}")
        self.net = net
        self.register_buffer("y0", y0.detach().clone())
        self.register_buffer("t0", torch.tensor(float(t0), dtype=y0.dtype, device=y0.device))

    def forward(self, t: Tensor) -> Tensor:
        """Return y at the times ``t``, (n,) -> (n, d)."""
        _check_points(t=t)
        value = self.net(t[:, None])
        if value.shape != (len(t), len(self.y0)):
            raise ValueError(f"net must return {(len(t), len(self.y0))}, as y0 has; it returned {tuple(value.shape)}")
        return self.y0 + (t - self.t0)[:, None] * value

    def residual(self, t: Tensor, field: Callable[..., Tensor]) -> Tensor:
        """Return dy/dt − field(t, y) at the times ``t``, (n,) -> (n, d); the field gets t as (n, 1)."""
        check_field(field)
        y, dydt = _with_derivative(self.forward, t)
        slope = field(t[:, None], y)
        if slope.shape != y.shape:
            raise ValueError(
                f"field must return {tuple(y.shape)}, the shape of y; it returned {tuple(slope.shape)}. It gets the "
                "times as (n, 1): components are y[..., :1]"
            )
        return dydt - slope

    def loss(self, t: Tensor, field: Callable[..., Tensor], weight: Tensor | None = None) -> Tensor:
        """Return the mean square of the residual at the times ``t``; ``weight``, (n,), is a factor of each square."""
        square = self.residual(t, field).square()
        return square.mean() if weight is None else (weight[:, None] * square).mean()


def _with_derivative(f: Callable[[Tensor], Any], x: Tensor) -> tuple[Any, Any]:
    """Return f(x) and its derivative, for a function of each entry of ``x``, (n,), alone: a tangent of ones."""
    value, derivative = jvp(f, (x,), (torch.ones_like(x),))[:2]
    return value, derivative


def heat(nu: float | Tensor) -> RightSide:
    """Return F of the heat equation u_t = ν u_xx; ν may be a parameter that is trained.

    Example:
        >>> import torch
        >>> from ndelib.models import heat
        >>> F = heat(0.5)
        >>> F(*(torch.tensor(v) for v in (0.0, 0.0, 1.0, 2.0, 3.0)))
        tensor(1.5000)
    """
    return lambda t, x, u, u_x, u_xx: nu * u_xx


def burgers(nu: float | Tensor) -> RightSide:
    """Return F of Burgers' equation u_t = −u u_x + ν u_xx; ν may be a parameter that is trained."""
    return lambda t, x, u, u_x, u_xx: nu * u_xx - u * u_x


class SpaceTimeNetwork(nn.Module):
    """The solution u(t, x) of u_t = F(t, x, u, u_x, u_xx) on an interval as a network, with its conditions exact.

    With boundary values that do not change, u = u₀(x) + t (x − a)(b − x) net(t, x). With a periodic boundary the
    network sees cos and sin of 2π(x − a)/(b − a), and u = u₀(x) + t net(t, cos, sin).

    Args:
        net: a network, (n, 2) -> (n, 1), of (t, x); with a periodic boundary (n, 3) -> (n, 1), of (t, cos, sin).
        u0: the initial state as a function of torch, (n,) -> (n,); it has the boundary values, and twice a derivative.
        interval: (a, b).
        boundary: ``"dirichlet"`` or ``"periodic"``.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib.models import SpaceTimeNetwork, heat, perceptron
        >>> u = SpaceTimeNetwork(perceptron(2, 1), torch.sin, (0.0, torch.pi))
        >>> x = torch.linspace(0, torch.pi, 5)
        >>> torch.equal(u(torch.zeros(5), x), torch.sin(x))  # for any weights
        True
        >>> u.residual(torch.rand(5), x, heat(1.0)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        u0: Callable[[Tensor], Tensor],
        interval: tuple[float, float] = (0.0, 1.0),
        boundary: Literal["dirichlet", "periodic"] = "dirichlet",
    ) -> None:
        super().__init__()
        for name, value in (("net", net), ("u0", u0)):
            if not callable(value):
                raise TypeError(f"{name} must be a function, got {type(value).__name__}")
        self.interval, self.boundary = _check_interval(interval), _check_boundary(boundary)
        self.net, self.u0 = net, u0

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return u at the points (t, x), (n,) and (n,) -> (n,)."""
        _check_points(t=t, x=x)
        a, b = self.interval
        if self.boundary == "dirichlet":
            shape, inputs = (x - a) * (b - x), [t, x]
        else:
            angle = 2 * math.pi * (x - a) / (b - a)
            shape, inputs = torch.ones_like(x), [t, angle.cos(), angle.sin()]
        value = self.net(torch.stack(inputs, -1))
        if value.shape != (len(t), 1):
            raise ValueError(f"net must return {(len(t), 1)}, one number a point; it returned {tuple(value.shape)}")
        return self.u0(x) + t * shape * value[:, 0]

    def derivatives(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return u, u_t, u_x and u_xx at the points, each (n,)."""
        u_t = _with_derivative(lambda t: self(t, x), t)[1]
        (u, u_x), (_, u_xx) = _with_derivative(lambda x: _with_derivative(lambda x: self(t, x), x), x)
        return u, u_t, u_x, u_xx

    def residual(self, t: Tensor, x: Tensor, F: RightSide) -> Tensor:
        """Return u_t − F(t, x, u, u_x, u_xx) at the points, (n,)."""
        u, u_t, u_x, u_xx = self.derivatives(t, x)
        return u_t - F(t, x, u, u_x, u_xx)

    def loss(self, t: Tensor, x: Tensor, F: RightSide) -> Tensor:
        """Return the mean square of the residual."""
        return self.residual(t, x, F).square().mean()


class MethodOfLines(nn.Module):
    """The equation u_t = F(t, x, u, u_x, u_xx) on a grid, as a field for ``odeint``: (*, n) -> (*, n).

    Args:
        F: the right-hand side, such as ``heat(0.1)``; parameters in it get their gradients through the solve, for which
            gradients other than backpropagation need ``params=``.
        n: how many points, both ends included; with a periodic boundary the right end is left out.
        interval: (a, b).
        boundary: ``"dirichlet"``: the values at both ends stay what they are. ``"periodic"``.
        space: ``"differences"``: central, of order 2, on even points. ``"chebyshev"``: of the polynomial through points
            that are dense at the ends; for smooth solutions 20 or 30 are enough, but u_xx is stiff: its largest
            eigenvalue is 0.19 (n − 1)⁴/(b − a)², against 4 (n − 1)²/(b − a)² for differences.
        dtype: of the points and matrices.

    Raises:
        TypeError, ValueError: an argument has a wrong value; the message names it.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.models import MethodOfLines, heat
        >>> rod = MethodOfLines(heat(1.0), 17, (0.0, torch.pi), space="chebyshev")
        >>> u = odeint(rod, torch.sin(rod.x), [0.0, 1.0])
        >>> error = u[-1] - torch.sin(rod.x) / torch.e
        >>> error.abs().max().item() < 1e-6
        True
    """

    x: Tensor
    first: Tensor
    second: Tensor

    def __init__(
        self,
        F: RightSide,
        n: int,
        interval: tuple[float, float] = (0.0, 1.0),
        *,
        boundary: Literal["dirichlet", "periodic"] = "dirichlet",
        space: Literal["differences", "chebyshev"] = "differences",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if not callable(F):
            raise TypeError(f"F must be a function F(t, x, u, u_x, u_xx), such as heat(0.1), got {type(F).__name__}")
        if isinstance(n, bool) or not isinstance(n, int) or n < 3:
            raise ValueError(f"n must be a number of points, at least 3, got {n!r}")
        if space not in ("differences", "chebyshev"):
            raise ValueError(f'space must be "differences" or "chebyshev", got {space!r}')
        if space == "chebyshev" and boundary == "periodic":
            raise ValueError('space="chebyshev" has points at both ends: with a periodic boundary take "differences"')
        self.F, self.boundary = F, _check_boundary(boundary)
        x, first, second = _grid(n, *_check_interval(interval), boundary, space)
        for name, value in (("x", x), ("first", first), ("second", second)):
            self.register_buffer(name, value.to(dtype))

    def forward(self, t: Any, u: Tensor) -> Tensor:
        """Return du/dt on the grid."""
        if u.shape[-1:] != self.x.shape:
            raise ValueError(f"u must be (*, {len(self.x)}), a value for each point, got {tuple(u.shape)}")
        slope = self.F(t, self.x, u, u @ self.first.T, u @ self.second.T)
        if self.boundary == "periodic":
            return slope
        return torch.cat([torch.zeros_like(u[..., :1]), slope[..., 1:-1], torch.zeros_like(u[..., :1])], -1)


def _grid(n: int, a: float, b: float, boundary: str, space: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return points, (n,), and the matrices of the first and the second derivative, (n, n), in float64."""
    one = torch.eye(n, dtype=torch.float64)
    if space == "chebyshev":
        s = -torch.cos(math.pi * torch.arange(n, dtype=torch.float64) / (n - 1))  # from −1 to 1
        c = torch.ones_like(s)
        c[0] = c[-1] = 2.0
        c = c * (-1.0) ** torch.arange(n)
        first = c[:, None] / c / (s[:, None] - s + one)
        first -= torch.diag(first.sum(1))  # constants have no slope
        first *= 2 / (b - a)
        return a + (b - a) * (s + 1) / 2, first, first @ first
    h = (b - a) / (n if boundary == "periodic" else n - 1)
    right, left = one.roll(1, 1), one.roll(-1, 1)  # (right @ u)[i] = u[i + 1]
    # At the ends of a bounded interval the rows are wrong, and not used: the values there do not change.
    return a + h * torch.arange(n, dtype=torch.float64), (right - left) / (2 * h), (right - 2 * one + left) / h**2


def _check_points(**points: Tensor) -> None:
    shapes = {name: tuple(x.shape) for name, x in points.items() if isinstance(x, Tensor)}
    if len(shapes) < len(points) or len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"{' and '.join(points)} must be tensors (n,) of one length, got {shapes}")


def _check_interval(interval: Any) -> tuple[float, float]:
    a, b = (float(end) for end in interval)
    if not (a < b and math.isfinite(a) and math.isfinite(b)):
        raise ValueError(f"interval must be two finite numbers, the smaller first, got {interval!r}")
    return a, b


def _check_boundary(boundary: str) -> str:
    if boundary not in ("dirichlet", "periodic"):
        raise ValueError(f'boundary must be "dirichlet" or "periodic", got {boundary!r}')
    return boundary
