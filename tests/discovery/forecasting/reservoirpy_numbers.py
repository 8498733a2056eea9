"""A reservoir by formulas, and what reservoirpy makes of it: its states, and a ridge read-out of them.

``python tests/discovery/forecasting/reservoirpy_numbers.py`` writes the numbers again, where reservoirpy is installed
(``pip install reservoirpy==0.4.2``); the tests read them and need it not.
"""

import json
from pathlib import Path

import numpy as np

NUMBERS = Path(__file__).with_suffix(".json")
UNITS, LEAK, RIDGE = 12, 0.7, 1e-3


def weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, W_in and b by formulas, the same on every machine."""
    i, j = np.arange(UNITS)[:, None], np.arange(UNITS)
    return 0.4 * np.sin(3 * i + 5 * j**2), np.cos(7.0 * i + np.arange(2)), 0.3 * np.sin(np.arange(UNITS) ** 2)


def series() -> np.ndarray:
    """Two variables at 300 times."""
    k = np.arange(300)[:, None]
    return np.concatenate([np.sin(0.3 * k), np.cos(0.2 * k) * np.sin(0.05 * k)], axis=1)


if __name__ == "__main__":
    import reservoirpy
    from reservoirpy.nodes import Reservoir, Ridge

    W, W_in, b = weights()
    u = series()
    states = Reservoir(lr=LEAK, W=W, Win=W_in, bias=b).run(u)
    readout = Ridge(ridge=RIDGE).fit(states[50:-1], u[51:])
    found = {
        "states": states[[0, 1, 2, 10, 299]].tolist(),
        "W_out": readout.Wout.tolist(),
        "bias": readout.bias.tolist(),
    }
    NUMBERS.write_text(json.dumps({"reservoirpy": reservoirpy.__version__, **found}) + "\n")
