"""How every figure of the book looks, and what each colour means in all of them.

The hues are close to those of Okabe & Ito, *Color Universal Design* (2008), which colour-blind readers can tell apart;
each has a contrast of at least 3 : 1 against white. Where two meanings meet, shape tells them apart too.
"""

import matplotlib.pyplot as plt
from cycler import cycler

COLORS = {
    "truth": "#222222",  # the exact solution, the data-generating system
    "model": "#0072B2",  # what this chapter computes or learns
    "data": "#D55E00",  # observations
    "baseline": "#A65C8B",  # what the model is compared with
    "stable": "#007D5C",  # what attracts
    "unstable": "#B3261E",  # what repels
    "field": "#8A94A0",  # arrows and level curves in the background
}
"""One colour, one meaning, through the whole book."""


SCREEN_DPI = 100  # a figure 6 inches wide takes 600 pixels of a page, and its text is legible on a phone of 360
FILE_DPI = 160  # and is stored with more, for screens that have them


def use_style() -> None:
    """Make matplotlib draw in the book's style: white ground, few lines, text that stays legible on a phone."""
    plt.rcParams.update(
        {
            "figure.figsize": (6.0, 3.4),
            "figure.dpi": SCREEN_DPI,
            "savefig.dpi": FILE_DPI,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#555555",
            "axes.labelcolor": "#222222",
            "axes.prop_cycle": cycler(
                color=[COLORS["model"], COLORS["data"], COLORS["stable"], COLORS["baseline"], COLORS["truth"]]
            ),
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "xtick.color": "#444444",
            "ytick.color": "#444444",
        }
    )
