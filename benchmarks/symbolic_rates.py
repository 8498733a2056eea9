"""How often a symbolic regression finds a law: the table of chapter 14, ten seeds for each law and each noise.

``python -m benchmarks.symbolic_rates`` prints it, in a quarter of an hour on one free core. A run counts if the formula
that it chooses has the law's shape: with its constants fitted again to noise-free samples it is the law to rounding.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch

from ndelib.discovery import SymbolicRegressor
from ndelib.discovery.symbolic.tuning import tune

IMITATED = "the same, with sin"
"""Sines imitate this law."""

LAWS: dict[str, tuple[float, float, int, Callable[..., np.ndarray], list[str]]] = {
    "sqrt(x^2 + y^2)": (-3.0, 3.0, 2, np.hypot, ["exp", "log", "sqrt", "sin"]),
    "2 exp(-x/3) sin 2.5x": (
        0.0,
        6.0,
        1,
        lambda x: 2 * np.exp(-x / 3) * np.sin(2.5 * x),
        ["exp", "log", "sqrt", "sin"],
    ),
    "x^3/(e^x - 1)": (0.2, 8.0, 1, lambda x: x**3 / np.expm1(x), ["exp", "log", "cube"]),
    IMITATED: (0.2, 8.0, 1, lambda x: x**3 / np.expm1(x), ["exp", "log", "sqrt", "sin"]),
    "2.5 x/(0.7 + x)": (0.05, 5.0, 1, lambda x: 2.5 * x / (0.7 + x), ["exp", "log", "sqrt", "sin"]),
}
"""Of each: where its samples lie, how many variables, the function, and what the search may use beside + - * /."""


def found(law: str, noise: float, seed: int) -> tuple[bool, float]:
    """Say whether one run finds the shape of the law, and by how much of the spread it misses exact values elsewhere.

    The noise of the samples is relative to the spread of the values, too.
    """
    low, high, variables, function, unary = LAWS[law]
    rng = np.random.default_rng(1000 + seed)
    X = rng.uniform(low, high, (120, variables))
    y = function(*X.T)
    seen = y + noise * y.std() * rng.standard_normal(len(y))
    generations = 30 if noise or law == IMITATED else 50
    model = SymbolicRegressor(generations, unary_operators=unary, random_state=seed).fit(X, seen)
    _, loss = tune([model.get_best().expression], torch.as_tensor(X).T.contiguous(), torch.as_tensor(y), 60)
    elsewhere = np.random.default_rng(1500 + seed).uniform(low, high, (400, variables))
    exact = function(*elsewhere.T)
    missed = np.sqrt(np.mean((model.predict(elsewhere) - exact) ** 2)) / exact.std()
    return bool(loss[0].item() < 1e-8 * y.var()), float(missed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    for law in LAWS:
        for noise in (0.0, 0.05):
            runs = [found(law, noise, seed) for seed in range(seeds)]
            others = ", ".join(f"{missed:.2%}" for hit, missed in runs if not hit)
            hits = f"{sum(hit for hit, _ in runs)} of {seeds}"
            print(
                f"{law:24} noise {noise:4.0%}: {hits}; the others miss by {others or 'nothing: there are none'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
