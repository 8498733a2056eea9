"""How diffrax solves a problem of the table, compiled by JAX."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.problems import DRIFT, FIELDS, VOLATILITY, Arrays, Problem, moments, network, network_weights

JAX = Arrays(jnp.stack, lambda y: jnp.unstack(y, axis=-1), jnp.tanh)


class RungeKutta4(diffrax.AbstractERK):
    """The classical Runge–Kutta method, which diffrax leaves to its users."""

    tableau = diffrax.ButcherTableau(
        a_lower=(np.array([1 / 2]), np.array([0.0, 1 / 2]), np.array([0.0, 0.0, 1.0])),
        b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        b_error=np.zeros(4),
        c=np.array([1 / 2, 1 / 2, 1.0]),
    )
    interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        """Return the order of the method."""
        return 4


SOLVERS = {"dopri5": diffrax.Dopri5, "rk4": RungeKutta4, "stiff": diffrax.Kvaerno5}


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be compiled (at the first solve) and solved."""
    if problem.stochastic:
        return prepare_stochastic(problem)
    if problem.field == "classifier":
        raise Cannot("")  # a model of PyTorch
    jax.config.update("jax_enable_x64", True)
    y0, t = jnp.asarray(problem.y0), jnp.asarray(problem.t.astype(problem.dtype))
    weights = [tuple(jnp.asarray(part.astype(problem.dtype)) for part in layer) for layer in network_weights()]

    def f(t: Any, y: Any, weights: Any) -> Any:
        return network(JAX, y, weights) if problem.field == "network" else FIELDS[problem.field](JAX, y)

    fixed = problem.steps is not None
    controller = diffrax.ConstantStepSize() if fixed else diffrax.PIDController(rtol=problem.rtol, atol=problem.atol)
    first = problem.end / problem.steps if problem.steps is not None else None

    def integrate(y0: Any, weights: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(f),
            SOLVERS[problem.method](),
            t[0],
            t[-1],
            first,
            y0,
            weights,
            saveat=diffrax.SaveAt(ts=t),
            stepsize_controller=controller,
            max_steps=100_000,
        )

    if problem.method == "stiff":  # sample by sample, else Newton's method would have one matrix for the whole batch
        run = jax.jit(jax.vmap(integrate, in_axes=(0, None)))
    elif problem.gradient:
        run = jax.jit(jax.grad(lambda weights, y0: jnp.sum(integrate(y0, weights).ys[-1] ** 2)))
    else:
        run = jax.jit(integrate)

    def solve() -> Any:
        return jax.block_until_ready(run(weights, y0) if problem.gradient else run(y0, weights))

    def to_numpy(result: Any) -> np.ndarray:
        if problem.gradient:
            return np.concatenate([np.ravel(part) for layer in result for part in layer])
        return np.asarray(result.ys).swapaxes(0, 1) if problem.method == "stiff" else np.asarray(result.ys)

    def count() -> int | None:
        if problem.gradient or problem.method == "stiff":
            return None
        stages = 4 if fixed else 6  # of Dopri5's seven, the last is the next step's first
        return stages * int(solve().stats["num_steps"])

    remark = "Kvaerno5, a step per sample" if problem.method == "stiff" else ""
    return Solver(solve, to_numpy, count, compiled=True, remark=remark)


STOCHASTIC_SOLVERS = {"euler": diffrax.Euler, "milstein": diffrax.ItoMilstein}


def prepare_stochastic(problem: Problem) -> Solver:
    """Return a stochastic problem, ready to be compiled and solved; on the fastest path there is, for fixed steps."""
    if problem.method not in STOCHASTIC_SOLVERS or problem.steps is None:
        raise Cannot("has no Itô method of order 1.5 for diagonal noise")
    # With 64 bits allowed, ItoMilstein of diffrax 0.7.2 turns a float32 state into a float64 one, and fails.
    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    y0, t = jnp.asarray(problem.y0), jnp.asarray(problem.t.astype(problem.dtype))

    def integrate(y0: Any, key: Any) -> Any:
        path = diffrax.UnsafeBrownianPath(jax.ShapeDtypeStruct(y0.shape, y0.dtype), key)
        diffusion = diffrax.ControlTerm(lambda t, y, args: lineax.DiagonalLinearOperator(VOLATILITY * y), path)
        return diffrax.diffeqsolve(
            diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: DRIFT * y), diffusion),
            STOCHASTIC_SOLVERS[problem.method](),
            t[0],
            t[-1],
            problem.end / problem.steps,
            y0,
            saveat=diffrax.SaveAt(ts=t),
            max_steps=2 * problem.steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys

    run = jax.jit(jax.vmap(integrate, out_axes=1))  # sample by sample: an operator on the whole batch would be a matrix
    keys = jax.random.split(jax.random.key(0), problem.batch)

    def solve() -> Any:
        return jax.block_until_ready(run(y0, keys))

    return Solver(solve, lambda ys: moments(np.asarray(ys)), lambda: None, compiled=True, remark="UnsafeBrownianPath")
