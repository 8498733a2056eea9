"""Figures have captions and alternative texts, colours can be seen, sliders carry all their frames."""

import io
import json
import re
import subprocess
import sys

import matplotlib
import pytest
import torch
from PIL import Image, ImageColor

matplotlib.use("agg")
import matplotlib.pyplot as plt

from ndelib import plotting
from ndelib.plotting.slider import _labels, _static_html


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def draw(h=1.0, x0=0.0):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1], [x0, h])
    return fig


def test_a_figure_needs_caption_and_alternative_text():
    for text, alt in [("", "what is seen"), ("what it means", " ")]:
        with pytest.raises(ValueError, match="every figure of the book has a caption"):
            plotting.caption(draw(), text, alt=alt)


def test_caption_and_alternative_text_are_in_the_page_and_escaped():
    bundle = plotting.caption(draw(), "a < b", alt='say "x"')._repr_mimebundle_()
    assert "<figcaption>a &lt; b</figcaption>" in bundle["text/html"]
    assert 'alt="say &quot;x&quot;"' in bundle["text/html"]
    assert bundle["text/plain"] == "a < b"
    assert not plt.get_fignums()  # a figure left open would be shown a second time


def test_packing_keeps_the_colours():
    fig, ax = plt.subplots(figsize=(6, 4))
    ax.plot(0.5, 0.5, "o", color=plotting.COLORS["unstable"], markersize=6)
    ax.fill_between([0, 1], 0, 1, color=plotting.COLORS["stable"], alpha=0.2)
    image = Image.open(io.BytesIO(plotting.figure.to_png(fig))).convert("RGB")
    wanted = ImageColor.getrgb(plotting.COLORS["unstable"])
    closest = min(sum(abs(a - b) for a, b in zip(color, wanted, strict=True)) for _, color in image.getcolors(1 << 20))
    assert closest < 24


def luminance(color):
    channels = [value / 255 for value in ImageColor.getrgb(color)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("meaning", plotting.COLORS)
def test_every_colour_stands_out_from_white(meaning):
    assert 1.05 / (luminance(plotting.COLORS[meaning]) + 0.05) >= 3


def test_static_slider_holds_every_frame_in_order():
    text = _static_html(draw, {"h": [1.0, 2.0, 3.0], "x0": [0.0, 0.5]}, "caption", lambda h, x: f"{h} and {x}", [1, 0])
    data = json.loads(re.search(r"data = (\{.*\});", text)[1])
    assert [frame["alt"] for frame in data["frames"]] == [f"{h} and {x}" for h in (1.0, 2.0, 3.0) for x in (0.0, 0.5)]
    assert len({frame["src"] for frame in data["frames"]}) == 6
    assert data["values"] == [["1", "2", "3"], ["0", "0.5"]]
    first = re.search(r'<img src="([^"]+)" alt="([^"]+)"', text)
    assert first.groups() == (data["frames"][2]["src"], "2.0 and 0.0")
    for label_for, name in zip(
        re.findall(r'<label for="([^"]+)"', text), re.findall(r'range" id="([^"]+)"', text), strict=True
    ):
        assert label_for == name


def test_static_slider_is_the_same_in_every_build_and_its_text_cannot_end_the_script():
    arguments = (draw, {"h": [1.0, 2.0]}, "caption", lambda h: "</script>", [0])
    text = _static_html(*arguments)
    assert text == _static_html(*arguments)
    assert text.count("</script>") == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "one or two sliders"),
        ({"a": [1], "b": [1], "c": [1]}, "one or two sliders"),
        ({"a": []}, "at least one value"),
        ({"a": range(9), "b": range(9)}, "81 frames"),
    ],
)
def test_a_slider_that_cannot_be_made_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        plotting.slider(draw, parameters, "caption", alt="alt")


def test_strokes_of_a_direction_field_have_the_slope_of_the_field():
    _, ax = plt.subplots()
    plotting.direction_field(lambda t, y: 3 * y, (0, 2), (1, 2), density=3, ax=ax)
    (quiver,) = ax.collections
    slopes = torch.as_tensor(quiver.V / quiver.U).reshape(3, 3)
    assert torch.allclose(slopes, 3 * torch.tensor([1.0, 1.5, 2.0]).double()[:, None].expand(3, 3))


def test_phase_portrait_survives_solutions_that_blow_up():
    _, ax = plt.subplots()
    found = plotting.phase_portrait(lambda t, y: y**3 - y, (-2, 2), (-2, 2), starts=[(1.5, 1.5), (0.5, 0.5)], ax=ax)
    assert [p.kind for p in found].count("stable star") == 1
    assert len(found) == 9


def test_importing_ndelib_needs_no_plotting():
    code = "import ndelib, sys; print([m for m in ('matplotlib', 'IPython', 'ipywidgets') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_values_of_a_slider_can_be_told_apart():
    assert _labels([0.999, 1.0, 1.001, 2.0]) == ["0.999", "1", "1.001", "2"]
    assert _labels([0.25, 0.5]) == ["0.25", "0.5"]
