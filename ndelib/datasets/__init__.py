"""The book's data, each with its source and licence: images, points in the plane and above, and time series."""

from ndelib.datasets.images import digits
from ndelib.datasets.points import annuli, moons, spirals
from ndelib.datasets.series import co2, japanese_vowels, lynx_hare, sunspots

__all__ = ["annuli", "co2", "digits", "japanese_vowels", "lynx_hare", "moons", "spirals", "sunspots"]
