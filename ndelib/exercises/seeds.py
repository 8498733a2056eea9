"""Seeds for the inputs of hidden tests, which a secret changes when a class is graded.

The tests of the published assignments can be read by everybody, and so can what they call a function with. With a
secret they call it with other data, which nobody knows before.
"""

import hashlib

_secret = ""


def fresh_seed(number: int) -> int:
    """Return ``number`` itself, or where a class is graded another one, which follows from it and the class's secret.

    Example:
        >>> import torch
        >>> from ndelib.exercises import fresh_seed
        >>> drawn = torch.Generator().manual_seed(fresh_seed(3))
        >>> drawn.initial_seed()  # in a notebook the seed is the number itself
        3
    """
    if not _secret:
        return number
    return int.from_bytes(hashlib.sha256(f"{_secret} {number}".encode()).digest()[:4], "big")


def set_secret(secret: str) -> None:
    """Let the seeds of this process follow from ``secret``; from nothing, they are the numbers themselves again."""
    global _secret
    _secret = secret
