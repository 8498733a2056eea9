"""Text that a submission has written, made harmless before it is stored or shown."""

import re

# What is obeyed instead of shown: by a terminal all but tab and line feed, by a reader the signs that turn the
# direction of what follows; and halves of characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return text whose control characters are written out, as ``\x1b``."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(text: str, most: int) -> str:
    """Return text cut to ``most`` characters, with its control characters written out."""
    return visible(text if len(text) <= most else f"{text[: most - 2]} …")
