"""Figures have captions and alternative texts, colours can be seen, sliders carry all their frames."""

import base64
import io
import json
import re
import subprocess
import sys

import matplotlib
import pytest
from PIL import Image, ImageColor

matplotlib.use("agg")
import matplotlib.pyplot as plt

from ndelib import plotting
from ndelib.plotting.slider import _labels, _named, _static_html


@pytest.fixture(autouse=True)
def _fresh_page():
    _named.clear()
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
    before = plt.get_fignums()
    bundle = plotting.caption(draw(), "a < b", alt='say "x"')._repr_mimebundle_()
    assert "<figcaption>a &lt; b</figcaption>" in bundle["text/html"]
    assert 'alt="say &quot;x&quot;"' in bundle["text/html"]
    assert bundle["text/plain"] == "a < b"
    assert plt.get_fignums() == before  # a figure left open would be shown a second time


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


def test_the_second_slider_counts_fastest_and_the_first_is_its_row():
    def marked(a, b):
        fig = plt.figure(figsize=(1, 1), facecolor=(a / 8, b / 8, 0))
        return fig

    text = _static_html(marked, {"a": [2, 6], "b": [1, 4, 7]}, "caption", lambda a, b: f"{a}, {b}", [1, 2])
    frames = json.loads(re.search(r"data = (\{.*\});", text)[1])["frames"]
    colors = []
    for frame in frames:
        image = Image.open(io.BytesIO(base64.b64decode(frame["src"].split(",")[1]))).convert("RGB")
        colors.append(tuple(round(channel / 255 * 8) for channel in image.getpixel((0, 0))[:2]))
    # The script finds frame i·3 + j for the places i and j of two sliders with 2 and 3 values.
    assert colors == [(2, 1), (2, 4), (2, 7), (6, 1), (6, 4), (6, 7)]
    assert "frame = frame * data.values[i].length + input.valueAsNumber" in text
    assert re.search(r'<img src="([^"]+)" alt="6, 7"', text)[1] == frames[5]["src"]


def test_each_slider_has_its_range_its_start_and_its_value_in_words():
    parameters = {"a < b": [1.0, 2.0, 3.0], "x0": [0.0, 0.5]}
    text = _static_html(draw, parameters, "caption", lambda h, x: "alt", [2, 0])
    inputs = re.findall(r"<input ([^>]+)>", text)
    found = [dict(re.findall(r'([a-z-]+)="([^"]*)"', attributes)) for attributes in inputs]
    wanted = ("type", "min", "max", "value", "aria-valuetext")
    assert [tuple(f[key] for key in wanted) for f in found] == [
        ("range", "0", "2", "2", "3"),
        ("range", "0", "1", "0", "0"),
    ]
    assert re.findall(r"<label [^>]+>([^<]+)</label>", text) == ["a &lt; b", "x0"]
    assert re.findall(r'<output for="([^"]+)"[^>]*>([^<]+)</output>', text) == [
        (found[0]["id"], "3"),
        (found[1]["id"], "0"),
    ]


@pytest.mark.parametrize("words", ["</script>", "<!-- <script>", "a < b"])
def test_static_slider_is_the_same_in_every_build_and_its_text_cannot_leave_the_script(words):
    arguments = (draw, {"h": [1.0, 2.0]}, "caption", lambda h: words, [0])
    text = _static_html(*arguments)
    _named.clear()  # every build starts anew
    assert text == _static_html(*arguments)
    script = text.split("<script>", 1)[1]
    assert script.count("<") == script.count("</script>") == 1
    assert json.loads(re.search(r"data = (\{.*\});", script)[1])["frames"][0]["alt"] == words


def test_two_equal_sliders_on_a_page_do_not_share_their_ids():
    arguments = (draw, {"h": [1.0, 2.0]}, "caption", lambda h: "alt", [0])
    page = _static_html(*arguments) + _static_html(*arguments)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) == 4
    assert re.findall(r'getElementById\("([^"]+)"\)', page) == ids[::2]
    assert re.findall(r'for="([^"]+)"', page) == [ids[1], ids[1], ids[3], ids[3]]


@pytest.mark.parametrize(
    ("text", "alt"),
    [(" ", "alt"), ("caption", ""), ("caption", lambda h: ""), ("caption", lambda h: "alt" if h > 1 else " ")],
)
def test_a_slider_needs_caption_and_alternative_text_for_every_frame(text, alt):
    with pytest.raises(ValueError, match="is empty: every figure of the book"):
        plotting.slider(draw, {"h": [1.0, 2.0]}, text, alt=alt)


@pytest.mark.parametrize("start", [[], [1], [0, 0, 0], [3, 0], [0, 2], [-1, 0], [0.5, 0]])
def test_a_slider_must_start_at_one_of_its_values(start):
    with pytest.raises(ValueError, match="start must hold an index below 3 and below 2"):
        plotting.slider(draw, {"h": [1, 2, 3], "x0": [0, 1]}, "caption", alt="alt", start=start)


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


def test_importing_ndelib_needs_no_plotting():
    code = "import ndelib, sys; print([m for m in ('matplotlib', 'IPython', 'ipywidgets') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_values_of_a_slider_can_be_told_apart():
    assert _labels([0.999, 1.0, 1.001, 2.0]) == ["0.999", "1", "1.001", "2"]
    assert _labels([0.25, 0.5]) == ["0.25", "0.5"]
