"""Text that a submission has written, made harmless before it is stored or shown."""

import re

# What a terminal or an editor obeys instead of showing it: escape sequences, the direction of writing, half characters.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str, most: int) -> str:
    r"""Return text of at most ``most`` characters, in which a sign that is obeyed stands written out, as ``\x1b``."""
    text = text if len(text) <= most else f"{text[: most - 2]} …"
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)
