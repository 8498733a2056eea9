"""The book's figures: style and palette, fields and phase portraits, captions, and sliders that need no kernel."""

from ndelib.plotting.fields import direction_field, phase_line, phase_portrait, plot_trajectory, vector_field
from ndelib.plotting.figure import CaptionedFigure, caption
from ndelib.plotting.slider import slider
from ndelib.plotting.style import COLORS, use_style

__all__ = [
    "COLORS",
    "CaptionedFigure",
    "caption",
    "direction_field",
    "phase_line",
    "phase_portrait",
    "plot_trajectory",
    "slider",
    "use_style",
    "vector_field",
]
