"""The register of methods for stochastic differential equations, and the check that one fits an equation."""

from dataclasses import dataclass

from ndelib.solvers.steps.methods import closest
from ndelib.solvers.stochastic import euler_maruyama, stratonovich
from ndelib.solvers.stochastic import runge_kutta as stochastic_runge_kutta
from ndelib.solvers.stochastic.step import StochasticMethod

SDE_METHODS: dict[str, StochasticMethod] = {
    **euler_maruyama.METHODS,
    **stratonovich.METHODS,
    **stochastic_runge_kutta.METHODS,
}

ELSEWHERE = {
    "euler_maruyama": "euler",
    "sra1": "srk",
    "srid2": "srk",
    "log_ode": "midpoint",
    "adjoint_reversible_heun": "reversible_heun",
}


@dataclass(frozen=True)
class StochasticMethodInfo:
    """One row of :func:`sde_methods`."""

    name: str
    calculus: tuple[str, ...]
    strong: dict[str, float]
    """the strong order by noise type"""
    weak: float
    source: str


def sde_methods() -> list[StochasticMethodInfo]:
    """List the methods for stochastic differential equations: calculus, orders by type of noise, and source.

    ``"reversible_heun"``, whose steps can be undone, is for equations that oscillate, or for times of a few 1/θ where
    they decay like exp(−θt): later its error grows like exp(θt), whatever the step, and the solve warns.
    """
    return [
        StochasticMethodInfo(m.name, m.calculus, dict(m.strong or {}), m.weak, m.source) for m in SDE_METHODS.values()
    ]


def find_sde_method(name: str | StochasticMethod | None, noise_type: str, sde_type: str) -> StochasticMethod:
    """Return the method called ``name`` if it can solve equations of these types, the usual one for ``None``.

    A method of the user's own may stand for its name.

    Raises:
        ValueError: it is unknown, or cannot; the message names those that can.
        TypeError: it is neither a name nor a method for stochastic equations.
    """
    if name is None:
        name = "midpoint" if sde_type == "stratonovich" else "srk"
        if not SDE_METHODS[name].supports(noise_type, sde_type):
            name = "euler"
    if isinstance(name, str):
        if name not in SDE_METHODS:
            hint = ELSEWHERE.get(name)
            meant = f"here that is, or the closest to it is, {hint!r}" if hint else closest(name, SDE_METHODS)
            raise ValueError(f"method {name!r} is unknown for stochastic equations: {meant}")
        method = SDE_METHODS[name]
    elif isinstance(name, StochasticMethod):
        method, name = name, name.name
        if not method.strong:
            raise ValueError(f"method {name!r} must say its strong order for each noise type: strong={{'diagonal': …}}")
    else:
        raise TypeError(f"method must be a name, a StochasticMethod or None, got {type(name).__name__}")
    if not method.supports(noise_type, sde_type):
        fit = ", ".join(other for other, m in SDE_METHODS.items() if m.supports(noise_type, sde_type))
        assert method.strong is not None
        if noise_type not in method.strong:
            why = f"needs noise_type {' or '.join(map(repr, method.strong))}"
            convert = ""
        else:
            why = f"solves equations of sde_type {' or '.join(map(repr, method.calculus))} only"
            convert = f"; or convert the equation with ndelib.to_{method.calculus[0]}(sde)"
        raise ValueError(
            f"method {name!r} {why}, and this equation has noise_type={noise_type!r}, sde_type={sde_type!r}: choose "
            f"{fit}{convert}"
        )
    return method.running_on(noise_type)
