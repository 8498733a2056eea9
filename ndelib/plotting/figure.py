"""A figure with the caption and the alternative text that every figure of the book has."""

import base64
import html
import io
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from ndelib.plotting.style import FILE_DPI, SCREEN_DPI


class CaptionedFigure:
    """A drawn figure with its caption; IPython shows it. Made by :func:`caption`."""

    def __init__(self, png: bytes, text: str, alt: str) -> None:
        self.png = png
        self.text = text
        self.alt = alt

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return the figure as HTML with its caption, and as a bare image for PDF (IPython's protocol)."""
        figure = (
            f'<figure class="nde-figure">{image_tag(self.png, self.alt)}'
            f"<figcaption>{html.escape(self.text)}</figcaption></figure>"
        )
        return {"text/html": figure, "image/png": base64.b64encode(self.png).decode(), "text/plain": self.text}


def caption(figure: Figure, text: str, *, alt: str) -> CaptionedFigure:
    """Close ``figure`` and return it with a caption, for display as the last line of a cell.

    Args:
        figure: what matplotlib drew.
        text: the caption: one or two sentences in plain Unicode that can be read without the chapter.
        alt: the alternative text: what the picture shows, for a reader who does not see it.

    Raises:
        ValueError: ``text`` or ``alt`` is empty.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from ndelib import plotting
        >>> figure, axis = plt.subplots()
        >>> lines = axis.plot([0, 1, 2], [1.0, 0.5, 0.25])
        >>> shown = plotting.caption(figure, "Half is left.", alt="A falling curve")
        >>> shown.text
        'Half is left.'
    """
    check_words(text, alt)
    return CaptionedFigure(to_png(figure), text, alt)


def check_words(text: str, alt: str) -> None:
    """Raise ``ValueError`` if a figure's caption ``text`` or its alternative text ``alt`` is empty."""
    for name, value in (("text", text), ("alt", alt)):
        if not value.strip():
            raise ValueError(f"{name} is empty: every figure of the book has a caption and an alternative text")


def to_png(figure: Figure) -> bytes:
    """Close ``figure`` and return it as a PNG with 256 colours, a third of the size of a full-colour one."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=FILE_DPI)
    plt.close(figure)
    packed = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def image_tag(png: bytes, alt: str) -> str:
    """Return the ``<img>`` element for ``png``, sized so that the page does not jump while it loads."""
    width, height = Image.open(io.BytesIO(png)).size
    scale = SCREEN_DPI / FILE_DPI
    return (
        f'<img src="{data_uri(png)}" alt="{html.escape(alt, quote=True)}" '
        f'width="{round(width * scale)}" height="{round(height * scale)}" style="max-width:100%;height:auto">'
    )


def data_uri(png: bytes) -> str:
    """Return ``png`` as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
