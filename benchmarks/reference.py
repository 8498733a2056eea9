"""What the exact results are, to far below the tolerances of the table.

They come from two of SciPy's methods at such tolerances: DOP853, and Radau for the stiff problem.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks import classifier, controlled, identification
from benchmarks.problems import Problem, geometric_moments, network_weights, robertson_jacobian

SAMPLES = 32
"""Errors are measured on the first so many samples of a batch."""
STIFF_SAMPLES = 4


def reference(problem: Problem) -> np.ndarray:
    """Return the solution at the requested times for the first samples, (T, n, d), or the gradient, (parameters,).

    Of a stochastic equation, the exact mean and mean square, (T, 1, 2); of a regression, the coefficients, (d, p).
    """
    if problem.regression:
        return identification.coefficients()
    if problem.stochastic:
        return geometric_moments(problem.t)
    if problem.controlled:
        return controlled.solution(problem.t, SAMPLES, problem.field == "controlled, cubic")
    if problem.field == "classifier":
        return classifier_gradient(problem)
    if problem.gradient:
        return reference_gradient(problem)
    if problem.method == "stiff":
        return np.stack([_stiff(problem, y0) for y0 in problem.y0[:STIFF_SAMPLES]], axis=1)
    field, y0 = problem.numpy_field(), problem.y0[:SAMPLES].astype("float64")
    solution = solve_ivp(
        lambda t, y: field(t, y.reshape(y0.shape)).ravel(),
        (0.0, problem.end),
        y0.ravel(),
        "DOP853",
        problem.t,
        rtol=1e-12,
        atol=1e-12,
    )
    return solution.y.T.reshape(-1, *y0.shape)


def _stiff(problem: Problem, y0: np.ndarray) -> np.ndarray:
    field = problem.numpy_field()
    solution = solve_ivp(
        field,
        (0.0, problem.end),
        y0,
        "Radau",
        problem.t,
        rtol=1e-10,
        atol=1e-15,
        jac=lambda t, y: robertson_jacobian(y),
    )
    return solution.y.T


def reference_gradient(problem: Problem) -> np.ndarray:
    """Return the gradient of Σ y(end)² with respect to the weights and biases of the network, in their order, flat.

    By the adjoint equation λ̇ = −λ ∂f/∂y, solved backwards together with y and the gradient at a tight tolerance.
    """
    y0, weights = problem.y0.astype("float64"), network_weights()
    return flow_vjp(weights, y0, problem.end, lambda y: 2 * y)[2]


def classifier_gradient(problem: Problem) -> np.ndarray:
    """Return the gradient of the classifier's loss with respect to encoder, field and decoder, flat."""
    encoder, field, decoder = classifier.weights()
    x = problem.y0.astype("float64")
    layers: list[np.ndarray] = []

    def to_state(z: np.ndarray) -> np.ndarray:
        logits = z @ decoder[0].T + decoder[1]
        cotangent = classifier.cross_entropy_gradient(logits, classifier.labels(problem.batch))
        layers.extend(((cotangent.T @ z).ravel(), cotangent.sum(axis=0)))
        return cotangent @ decoder[0]

    _, to_z0, to_field = flow_vjp(field, x @ encoder[0].T + encoder[1], problem.end, to_state)
    return np.concatenate(((to_z0.T @ x).ravel(), to_z0.sum(axis=0), to_field, *layers))


def flow_vjp(
    weights: list[tuple[np.ndarray, np.ndarray]],
    y0: np.ndarray,
    end: float,
    to_state: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y(end), and the gradients with respect to y0 and to the network's ``weights``, flat.

    ``to_state`` gives the loss's derivative with respect to y(end), (batch, d) -> (batch, d).
    """
    forward = solve_ivp(
        lambda t, y: network_vjp(weights, y.reshape(y0.shape), np.zeros_like(y0))[0].ravel(),
        (0.0, end),
        y0.ravel(),
        "DOP853",
        rtol=1e-11,
        atol=1e-11,
    )
    y = forward.y[:, -1]
    size = sum(w.size + b.size for w, b in weights)

    def backward(t: float, state: np.ndarray) -> np.ndarray:
        y, cotangent = state[: y0.size].reshape(y0.shape), state[y0.size : 2 * y0.size].reshape(y0.shape)
        slope, to_y, to_weights = network_vjp(weights, y, cotangent)
        return np.concatenate((slope.ravel(), -to_y.ravel(), -to_weights))

    start = np.concatenate((y, to_state(y.reshape(y0.shape)).ravel(), np.zeros(size)))
    state = solve_ivp(backward, (end, 0.0), start, "DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
    return y.reshape(y0.shape), state[y0.size : 2 * y0.size].reshape(y0.shape), state[2 * y0.size :]


def network_vjp(
    weights: list[tuple[np.ndarray, np.ndarray]], y: np.ndarray, cotangent: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the network's value at y, and ``cotangent`` times its derivatives in y and in the weights."""
    inputs = [y]
    for weight, bias in weights[:-1]:
        inputs.append(np.tanh(inputs[-1] @ weight.T + bias))
    value = inputs[-1] @ weights[-1][0].T + weights[-1][1]
    gradients: list[np.ndarray] = []
    for layer in reversed(range(len(weights))):
        if layer < len(weights) - 1:
            cotangent = cotangent * (1 - inputs[layer + 1] ** 2)
        gradients = [(cotangent.T @ inputs[layer]).ravel(), cotangent.sum(axis=0), *gradients]
        cotangent = cotangent @ weights[layer][0]
    return value, cotangent, np.concatenate(gradients)
