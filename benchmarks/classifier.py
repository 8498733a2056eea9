"""The classifier of the table, 64 → 32 → neural ODE → 10: images as small as the book's digits, with labels.

NumPy only. The images are random: how long a solve takes depends on their number and size.
"""

import numpy as np

PIXELS, HIDDEN, WIDTH, CLASSES = 64, 32, 64, 10
"""of an image of 8 × 8; the size of the state, of the field's hidden layer, and how many labels there are"""

Layer = tuple[np.ndarray, np.ndarray]


def images(batch: int) -> np.ndarray:
    """Return images with pixels between 0 and 1, (batch, PIXELS)."""
    return np.random.default_rng(5).random((batch, PIXELS))


def labels(batch: int) -> np.ndarray:
    """Return their labels, (batch,)."""
    return np.random.default_rng(6).integers(CLASSES, size=batch)


def weights() -> tuple[Layer, list[Layer], Layer]:
    """Return weights (out, in) and biases (out,) of the encoder, of the field's two layers, and of the decoder."""
    random = np.random.default_rng(7)
    sizes = [(HIDDEN, PIXELS), (WIDTH, HIDDEN), (HIDDEN, WIDTH), (CLASSES, HIDDEN)]
    encoder, *field, decoder = [
        (2 * random.normal(size=size) / np.sqrt(size[1]), 0.1 * random.normal(size=size[0])) for size in sizes
    ]
    return encoder, field, decoder


def cross_entropy_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the derivative of the mean cross entropy with respect to ``logits``, (batch, CLASSES)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = np.eye(CLASSES)[labels]
    return (odds / odds.sum(axis=1, keepdims=True) - wanted) / len(labels)
