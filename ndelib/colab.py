"""The start of every notebook: seeds, figure style, device. The same call at home and on Colab.

The cell that calls `setup` is written by ``tools/stamp.py``; ``tests/colab`` runs it with Colab's versions.
"""

import importlib.util
import platform
import random

import numpy as np
import torch


def setup(seed: int = 0) -> torch.device:
    """Seed every random number generator, apply the book's figure style, say the versions, pick the device.

    A second call starts the same random numbers again and changes nothing else.

    Args:
        seed: given to Python's ``random``, NumPy's global generator and PyTorch (CPU and every GPU).

    Returns:
        The GPU where PyTorch finds one through CUDA, else the CPU.

    Raises:
        TypeError: ``seed`` is not an int.
        ValueError: ``seed`` is negative or does not fit into 32 bits, which is all that NumPy takes.

    Example:
        >>> import ndelib
        >>> device = ndelib.setup(seed=0)
        ndelib ... · torch ... · numpy ... · Python ... · ...
    """
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed must be an int, not {type(seed).__name__}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be between 0 and 2**32 - 1, not {seed}")

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # seeds the GPUs too

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        # The book's states and networks are small: a second thread gains them little, while threads of several
        # notebooks on one machine fight for its cores and cost up to a factor of sixty. We cannot see who else
        # runs here, so one thread always; it also keeps sums, and so results, independent of the core count.
        # A reader with one large model undoes it with torch.set_num_threads(n).
        torch.set_num_threads(1)

    if importlib.util.find_spec("matplotlib"):  # a bare install has none, and needs none
        from ndelib import plotting

        plotting.use_style()

    print(_versions(device))
    return device


def _versions(device: torch.device) -> str:
    """One line that tells another reader what these results were computed with."""
    from ndelib import __version__  # here, because ndelib/__init__.py imports this file first

    place = f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
    return (
        f"ndelib {__version__} · torch {torch.__version__} · numpy {np.__version__}"
        f" · Python {platform.python_version()} · {place}"
    )
