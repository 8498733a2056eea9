"""Figures in the dark theme: dark like the page, their ink light, every colour of the palette still seen."""

import base64
import io
import itertools

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator

from ndelib.plotting import COLORS
from tests.site.pages import CHAPTERS, DESK, THEMES, Visit, every_chapter, opened

TEXT, GRAPHICS = 4.5, 3.0
"""The contrasts that WCAG 2 wants of text and of lines (1.4.3 and 1.4.11, AA)."""


def luminance(color: tuple[int, ...]) -> float:
    """Return WCAG's relative luminance of a colour with components up to 255."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def pixels(element: Locator) -> Image.Image:
    return Image.open(io.BytesIO(element.screenshot())).convert("RGB")


def ground_and_ink(image: Image.Image) -> tuple[float, float]:
    """Return the luminance of the commonest colour, and of the one in a thousand pixels that differs most from it."""
    counts = sorted(image.getcolors(image.width * image.height), reverse=True)
    ground = luminance(counts[0][1])
    inks = sorted((-contrast(luminance(color), ground), luminance(color), count) for count, color in counts)
    seen = itertools.accumulate(count for *_, count in inks)
    enough = next(i for i, pixels in enumerate(seen) if pixels >= image.width * image.height / 1000)
    return ground, inks[enough][1]


def test_the_contrast_is_that_of_the_standard():
    assert contrast(luminance((0, 0, 0)), luminance((255, 255, 255))) == pytest.approx(21)
    assert contrast(luminance((118, 118, 118)), luminance((255, 255, 255))) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@every_chapter
def test_figures_have_the_ground_of_the_page_and_ink_that_is_seen(visit: Visit, theme: str):
    page = visit.look(DESK, theme)
    body = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    for figure in page.locator(".nde-figure img").all():
        figure.scroll_into_view_if_needed()
        ground, ink = ground_and_ink(pixels(figure))
        assert contrast(ground, luminance(body)) < 1.1, figure.get_attribute("alt")
        assert contrast(ground, ink) >= TEXT, figure.get_attribute("alt")


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_of_the_palette_is_seen(browser: Browser, site: str, theme: str):
    """One figure of a chapter is replaced by stripes, and goes through the theme's style as any figure does."""
    stripes = Image.new("RGB", (20 * (len(COLORS) + 1), 20), "white")
    for number, color in enumerate(COLORS.values(), start=1):
        stripes.paste(color, (20 * number, 0, 20 * number + 20, 20))
    packed = io.BytesIO()
    stripes.save(packed, "PNG")
    source = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode()
    for page, _ in opened(browser, f"{site}/{CHAPTERS[0]}", DESK, theme):
        figure = page.locator(".nde-figure img").first
        show = "(image, [src, w]) => { image.width = w; image.height = 20; image.src = src; return image.decode(); }"
        figure.evaluate(show, [source, stripes.width])
        figure.scroll_into_view_if_needed()
        seen = pixels(figure)
        levels = [luminance(seen.getpixel((20 * number + 10, 10))) for number in range(len(COLORS) + 1)]
        contrasts = dict(zip(COLORS, (contrast(levels[0], level) for level in levels[1:]), strict=True))
        assert {name: value for name, value in contrasts.items() if value < GRAPHICS} == {}, contrasts
