"""What continuation raises when it has no solution to begin with."""


class ContinuationError(RuntimeError):
    """No start, or no other branch, was found; the message says what was seen and what to try."""
