"""Images: handwritten digits."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Labelled = tuple[Tensor, Tensor]


def digits(
    *,
    flat: bool = False,
    test: float = 0.25,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Labelled, Labelled]:
    """Return scikit-learn's 1797 handwritten digits of 8 × 8 pixels, as ``(x, y), (x_test, y_test)``.

    Source: Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI Machine Learning Repository (1998),
    https://doi.org/10.24432/C50P49, its test set, which is bundled with scikit-learn (``load_digits``). Licence:
    CC BY 4.0. The writers of these digits are not named, so a random split puts the same hands in both parts.

    Args:
        flat: whether an image is a vector of 64 numbers.
        test: the fraction of the images in the test set.
        seed: of the split.
        device: of images and labels; the CPU if ``None``.
        dtype: of the images; torch's default if ``None``.

    Returns:
        Images (N, 1, 8, 8) or (N, 64), between 0 and 1, and their labels (N,), 0 to 9; for training, and for testing.

    Raises:
        ValueError: ``test`` leaves one of the parts empty.
        ImportError: scikit-learn is not installed.

    Example:
        >>> from ndelib.datasets import digits
        >>> (x, y), (x_test, y_test) = digits()
        >>> x.shape, y.shape, len(x_test)
        (torch.Size([1348, 1, 8, 8]), torch.Size([1348]), 449)
    """
    pixels, labels = _bundled_digits()
    x = torch.tensor(pixels / 16, dtype=dtype or torch.get_default_dtype(), device=device)
    y = torch.tensor(labels, dtype=torch.long, device=device)
    cut = round(test * len(x))
    if not 0 < cut < len(x):
        raise ValueError(f"test must be a fraction that leaves images on both sides, between 0 and 1, got {test!r}")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    x, y = x[order] if flat else x[order].reshape(-1, 1, 8, 8), y[order]
    return (x[cut:], y[cut:]), (x[:cut], y[:cut])


@lru_cache(maxsize=1)
def _bundled_digits() -> Any:
    """Return pixels and labels as scikit-learn has them; reading its file takes a tenth of a second, so only once."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as failure:
        raise ImportError("digits() are bundled with scikit-learn: pip install scikit-learn") from failure
    return load_digits(return_X_y=True)
