"""Models that ndelib and PySINDy build with the same words, and the coefficients that PySINDy found.

``python tests/discovery/pysindy_numbers.py`` writes the numbers again, where PySINDy is installed
(``pip install --no-deps pysindy==2.1.0 derivative==0.6.3``); the tests read them and need neither.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = Path(__file__).with_suffix(".json")


def lorenz(n: int = 1500, h: float = 0.002) -> tuple[np.ndarray, np.ndarray]:
    """Times and states of the Lorenz system by Runge–Kutta steps, the same on every machine to rounding."""

    def f(x: np.ndarray) -> np.ndarray:
        return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    states = [np.array([-8.0, 8.0, 27.0])]
    for _ in range(n - 1):
        x = states[-1]
        k1 = f(x)
        k2 = f(x + h / 2 * k1)
        k3 = f(x + h / 2 * k2)
        k4 = f(x + h * k3)
        states.append(x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return h * np.arange(n), np.array(states)


def noisy(x: np.ndarray, size: float) -> np.ndarray:
    """Add what looks like noise but is a formula."""
    k = np.arange(x.size).reshape(x.shape)
    return x + size * np.sqrt(2) * np.sin(k**2 % 1009)


def cases(package: Any) -> dict[str, Any]:
    """Fit the models of one package, ``ndelib.discovery`` or ``pysindy``, by name."""
    t, x = lorenz()
    u = np.sin(3 * t)[:, None]
    uneven = np.delete(np.arange(len(t)), np.arange(3, len(t), 7))
    pieces, times = [x[:400], x[500:700], x[800:]], [t[:400], t[500:700], t[800:]]
    models: dict[str, Any] = {}

    def model(name: str, x: Any, t: Any, u: Any = None, **parts: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = {"feature_library": package.PolynomialLibrary(2), "optimizer": package.STLSQ()} | parts
            models[name] = package.SINDy(**parts).fit(x, t=t, u=u)

    for size in (0.0, 0.05):
        data = noisy(x, size)
        for degree in (2, 3):
            library = package.PolynomialLibrary(degree)
            model(f"STLSQ, noise {size}, degree {degree}", data, t, feature_library=library)
            for threshold, alpha in ((2.0, 0.0), (20.0, 0.5)):
                parts = {"feature_library": package.PolynomialLibrary(degree)}
                parts["optimizer"] = package.STLSQ(threshold=threshold, alpha=alpha, normalize_columns=True)
                model(f"STLSQ, normalised, noise {size}, degree {degree}, threshold {threshold}", data, t, **parts)
        biased = package.STLSQ(threshold=0.2, alpha=5.0, unbias=False)
        model(f"STLSQ, biased, noise {size}", data, t, optimizer=biased)
        for regularizer in ("L0", "L1", "L2"):
            for nu in (1.0, 0.01):
                sr3 = package.SR3(reg_weight_lam=0.05, regularizer=regularizer, relax_coeff_nu=nu, max_iter=200)
                model(f"SR3, {regularizer}, ν {nu}, noise {size}", data, t, optimizer=sr3)
        normalised = package.SR3(reg_weight_lam=5.0, normalize_columns=True, unbias=True)
        model(f"SR3, normalised, noise {size}", data, t, optimizer=normalised)
        for order in (1, 3, 4):
            method = package.FiniteDifference(order=order)
            model(f"differences of order {order}, noise {size}", data, t, differentiation_method=method)
        model(
            f"without ends, noise {size}", data, t, differentiation_method=package.FiniteDifference(drop_endpoints=True)
        )
        model(f"a step, noise {size}", data, 0.002)
        joined = package.PolynomialLibrary(2, include_bias=False) + package.FourierLibrary(2)
        model(f"joined libraries, noise {size}", data, t, feature_library=joined)
    model("powers only", x, t, feature_library=package.PolynomialLibrary(3, include_interaction=False))
    model("products only", x, t, feature_library=package.PolynomialLibrary(3, interaction_only=True))
    functions = [lambda x: np.sin(x), lambda x, y: x * y]
    model("custom functions", x, t, feature_library=package.CustomLibrary(functions, include_bias=True))
    model("uneven times", x[uneven], t[uneven])
    model("several trajectories", pieces, times)
    model("an input", x, t, u=u)
    return models


if __name__ == "__main__":
    import pysindy

    found = {
        name: {"terms": model.get_feature_names(), "coefficients": model.coefficients().tolist()}
        for name, model in cases(pysindy).items()
    }
    NUMBERS.write_text(
        json.dumps({"pysindy": pysindy.__version__, "models": found}, ensure_ascii=False, indent=0) + "\n"
    )
