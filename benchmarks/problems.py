"""The problems of the table: vector fields written once for NumPy, PyTorch and JAX, initial states, times, tolerances.

Sources: Lotka–Volterra and van der Pol as in Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*
(1993), I.16; Robertson as in Hairer & Wanner, *Solving Ordinary Differential Equations II* (1996), IV.1, eq. (1.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks import classifier, controlled

Array = Any
"""A NumPy array, a torch tensor or a JAX array."""


class Arrays(NamedTuple):
    """The functions that fields need, from one of the three libraries of arrays."""

    stack: Callable[[tuple[Array, ...], int], Array]
    """joins the components along an axis"""
    unstack: Callable[[Array], tuple[Array, ...]]
    """takes the last axis apart"""
    tanh: Callable[[Array], Array]


NUMPY = Arrays(np.stack, lambda y: np.unstack(y, axis=-1), np.tanh)


def lotka_volterra(arrays: Arrays, y: Array) -> Array:
    """Return ẋ = 1.5 x − x z, ż = x z − 3 z: foxes z eat rabbits x."""
    x, z = arrays.unstack(y)
    xz = x * z
    return arrays.stack((1.5 * x - xz, xz - 3.0 * z), -1)


def van_der_pol(arrays: Arrays, y: Array) -> Array:
    """Return ẋ = v, v̇ = μ (1 − x²) v − x with μ = 5: fast and slow parts, not yet stiff."""
    x, v = arrays.unstack(y)
    return arrays.stack((v, 5.0 * (1.0 - x * x) * v - x), -1)


def robertson(arrays: Arrays, y: Array) -> Array:
    """Return Robertson's three reactions, whose rates differ by nine orders of magnitude: stiff."""
    a, b, c = arrays.unstack(y)
    slow, fast, middle = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return arrays.stack((middle - slow, slow - middle - fast, fast), -1)


def robertson_jacobian(y: np.ndarray) -> np.ndarray:
    """Return ∂f/∂y of :func:`robertson`.  y: (B, 3) -> (B, 3, 3)."""
    _, b, c = np.unstack(y, axis=-1)
    zero, slow = np.zeros_like(b), np.full_like(b, 0.04)
    rows = ((-slow, 1e4 * c, 1e4 * b), (slow, -1e4 * c - 6e7 * b, -1e4 * b), (zero, 6e7 * b, zero))
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def network_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights (out, in) and biases (out,) of the 2–64–64–2 network, in float64."""
    random = np.random.default_rng(1)
    sizes = [(64, 2), (64, 64), (2, 64)]
    # A gain of 2 over the usual 1/√n: with less, the flow is so tame that a handful of steps solve it.
    return [(2 * random.normal(size=size) / np.sqrt(size[1]), random.normal(size=size[0])) for size in sizes]


def network(arrays: Arrays, y: Array, weights: list[tuple[Array, Array]]) -> Array:
    """Return tanh network of y, for ``weights`` as :func:`network_weights` gives them, as arrays of y's library."""
    *hidden, (last, last_bias) = weights
    for weight, bias in hidden:
        y = arrays.tanh(y @ weight.T + bias)
    return y @ last.T + last_bias


DRIFT, VOLATILITY = 0.1, 0.3
"""Geometric Brownian motion in Itô's calculus, dy = 0.1 y dt + 0.3 y dW, in every component by itself."""


def geometric_moments(t: np.ndarray) -> np.ndarray:
    """Return the mean and the mean square of geometric Brownian motion that starts at 1, (T, 1, 2)."""
    return np.stack((np.exp(DRIFT * t), np.exp((2 * DRIFT + VOLATILITY**2) * t)), axis=-1)[:, None]


def moments(ys: np.ndarray) -> np.ndarray:
    """Return the mean and the mean square over samples and components, (T, 1, 2), of ``ys``, (T, batch, d)."""
    ys = ys.astype("float64")
    return np.stack((ys.mean(axis=(1, 2)), (ys**2).mean(axis=(1, 2))), axis=-1)[:, None]


FIELDS: dict[str, Callable[[Arrays, Array], Array]] = {
    "lotka_volterra": lotka_volterra,
    "van_der_pol": van_der_pol,
    "robertson": robertson,
}


@dataclass(frozen=True)
class Problem:
    """One block of the table: an equation, a batch of initial states, the method and how exact it has to be."""

    name: str
    title: str
    field: str
    """a name in ``FIELDS``, ``"network"``, ``"geometric"`` for geometric Brownian motion, ``"controlled, linear"`` or
    ``"controlled, cubic"`` for the equation of ``controlled.py`` along such a path, ``"classifier"`` for the model of
    ``classifier.py``, ``"regression"`` for the equations of ``identification.py``"""
    batch: int
    dtype: str
    end: float
    """the solution is wanted at t = 0 and at ten equally spaced times up to here"""
    method: str
    rtol: float
    atol: float
    steps: int | None = None
    """of a fixed-step method, over the whole interval"""
    gradient: bool = False
    """also backpropagate to the weights: the sum of squares of the last state, or the loss of the classifier"""

    @property
    def t(self) -> np.ndarray:
        """The requested times, (11,)."""
        return np.linspace(0.0, self.end, 11)

    @property
    def controlled(self) -> bool:
        """Whether it is a controlled equation."""
        return self.field.startswith("controlled")

    @property
    def regression(self) -> bool:
        """Whether nothing is solved, but equations are found: ``batch`` is then the number of samples."""
        return self.field == "regression"

    @property
    def stochastic(self) -> bool:
        """Whether it is a stochastic equation: ``method`` is then that of torchsde, and errors are those of moments."""
        return self.field == "geometric"

    @property
    def y0(self) -> np.ndarray:
        """The initial states, (batch, d), of the problem's dtype. A smaller batch is the beginning of a larger one."""
        if self.controlled:
            return controlled.initial(self.batch).astype(self.dtype)
        if self.field == "classifier":
            return classifier.images(self.batch).astype(self.dtype)
        if self.stochastic:
            return np.ones((self.batch, 10), self.dtype)
        u = np.random.default_rng(0).random((self.batch, 2))
        if self.field == "robertson":
            c = 0.5 * u[:, 0]
            y0 = np.stack((1.0 - c, np.zeros_like(c), c), axis=-1)
        elif self.field == "lotka_volterra":
            y0 = 1.0 + u
        else:
            y0 = 4.0 * u - 2.0
        return y0.astype(self.dtype)

    def numpy_field(self) -> Callable[[float, np.ndarray], np.ndarray]:
        """Return f(t, y) for arrays (batch, d); it computes in the dtype of y."""
        if self.field != "network":
            field = FIELDS[self.field]
            return lambda t, y: field(NUMPY, y)
        weights = network_weights()
        cast = {d: [(w.astype(d), b.astype(d)) for w, b in weights] for d in ("float32", "float64")}
        return lambda t, y: network(NUMPY, y, cast[y.dtype.name])


def _explicit(name: str, title: str, field: str, batch: int, end: float) -> Problem:
    return Problem(name, title, field, batch, "float64", end, "dopri5", rtol=1e-6, atol=1e-6)


PROBLEMS = [
    _explicit("lotka-volterra-256", "Lotka–Volterra, batch 256", "lotka_volterra", 256, 10.0),
    _explicit("lotka-volterra-16384", "Lotka–Volterra, batch 16 384", "lotka_volterra", 16_384, 10.0),
    _explicit("van-der-pol-256", "van der Pol, μ = 5, batch 256", "van_der_pol", 256, 10.0),
    _explicit("van-der-pol-16384", "van der Pol, μ = 5, batch 16 384", "van_der_pol", 16_384, 10.0),
    Problem("mlp", "2–64–64–2 tanh network, batch 256", "network", 256, "float32", 5.0, "dopri5", 1e-5, 1e-5),
    Problem(
        "rk4",
        "RK4, 100 steps: Lotka–Volterra, batch 256",
        "lotka_volterra",
        256,
        "float64",
        10.0,
        "rk4",
        0.0,
        0.0,
        steps=100,
    ),
    Problem("robertson", "Robertson, stiff, batch 256", "robertson", 256, "float64", 4e4, "stiff", 1e-6, 1e-10),
    Problem(
        "mlp-gradient",
        "2–64–64–2 tanh network, batch 256, with its gradient (by backpropagation where nothing else is said)",
        "network",
        256,
        "float32",
        5.0,
        "dopri5",
        1e-5,
        1e-5,
        gradient=True,
    ),
    Problem(
        "classifier",
        "Neural ODE on images of 8 × 8, batch 128: loss and gradient (by backpropagation where nothing else is said)",
        "classifier",
        128,
        "float32",
        1.0,
        "dopri5",
        1e-4,
        1e-5,
        gradient=True,
    ),
    *(
        Problem(
            f"geometric-{method}",
            f"Geometric Brownian motion, {title}, 1000 steps, 1024 × 10",
            "geometric",
            1024,
            "float32",
            1.0,
            method,
            0.0,
            0.0,
            steps=1000,
        )
        for method, title in (("euler", "Euler–Maruyama"), ("milstein", "Milstein"), ("srk", "SRK of order 1.5"))
    ),
    *(
        Problem(
            f"controlled-{name}",
            f"Controlled equation, {title}, batch 32",
            f"controlled, {path}",
            32,
            "float32",
            50.0,
            "rk4" if steps else "dopri5",
            0.0 if steps else 1e-4,
            0.0 if steps else 1e-6,
            steps=steps,
        )
        for name, path, steps, title in (
            ("linear", "linear", None, "linear path through 51 observations"),
            ("cubic", "cubic", None, "Hermite path through 51 observations"),
            ("rk4", "cubic", 100, "Hermite path through 51 observations, 100 steps"),
        )
    ),
    Problem(
        "sindy", "SINDy: the equations of Lorenz from 5000 samples", "regression", 5000, "float64", 10.0, "", 0.0, 0.0
    ),
]
