"""With a kernel, sliders redraw a widget; they ask nothing of the client that would keep a notebook from ending."""

import importlib
import re

import ipywidgets
import matplotlib
import nbclient
import pytest
from nbclient.output_widget import OutputWidget
from nbformat.v4 import new_code_cell, new_notebook

matplotlib.use("agg")
import matplotlib.pyplot as plt

from ndelib import plotting
from tools.common import ROOT

DRAW = """
import matplotlib.pyplot as plt
from ndelib import plotting

def draw(h, x0=0.0):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1], [x0, h])
    return fig
"""
ONE = 'plotting.slider(draw, {"h": [1, 2, 3]}, "Lines.", alt=lambda h: f"up to {h}")'
TWO = 'plotting.slider(draw, {"h": [1, 2], "x0": [0, 5]}, "a < b", alt=lambda h, x: f"{x} to {h}", start=[0, 1])'


def draw(h, x0=0.0):
    if h == x0:
        raise ArithmeticError("h < x0 is wanted")
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1], [x0, h])
    return fig


@pytest.fixture
def shown(monkeypatch):
    """Return the list to which sliders that take a kernel to be there add what they display."""
    module, outputs = importlib.import_module("ndelib.plotting.slider"), []
    monkeypatch.setattr(module, "_is_live", lambda: True)
    monkeypatch.setattr(module, "display", lambda thing, raw=False: outputs.append(thing))
    yield outputs
    ipywidgets.Widget.close_all()


def picture_of(html):
    return re.search(r'<figure class="nde-figure"><img src="[^"]+" alt="[^"]*".*</figure>', html)[0]


def test_each_move_of_a_slider_redraws_the_figure_with_its_words(shown):
    plotting.slider(draw, {"h": [1, 2], "x0": [0, 5]}, "a < b", alt=lambda h, x: f"{x} to {h}", start=[0, 1])
    h, x0, picture = shown[1].children
    assert [(control.description, control.index, len(control.options)) for control in (h, x0)] == [
        ("h", 0, 2),
        ("x0", 1, 2),
    ]
    pictures = [picture_of(picture.value)]
    for control, index in [(h, 1), (x0, 0), (h, 0), (x0, 1)]:
        control.index = index
        pictures.append(picture_of(picture.value))
    assert [re.search('alt="([^"]*)"', text)[1] for text in pictures] == [
        "5 to 1",
        "5 to 2",
        "0 to 2",
        "0 to 1",
        "5 to 1",
    ]
    assert len(set(pictures)) == 4
    assert pictures[0] == pictures[-1]
    assert all("<figcaption>a &lt; b</figcaption>" in text for text in pictures)
    assert not plt.get_fignums()


def test_the_first_figure_is_there_for_whom_no_widget_is_shown_and_hidden_for_the_others(shown):
    for _ in range(2):
        plotting.slider(draw, {"h": [1, 2, 3]}, "Lines.", alt="up")
    names = [re.match('<div id="([^"]+)">', first["text/html"])[1] for first in shown[::2]]
    assert len(set(names)) == 2
    for name, first, box in zip(names, shown[::2], shown[1::2], strict=True):
        assert first["image/png"]
        assert first["text/plain"] == "Lines."
        control, picture = box.children
        assert picture_of(first["text/html"]) == picture_of(picture.value)
        control.index = 0
        assert f"<style>#{name} {{ display: none }}</style>" in picture.value


def test_a_drawing_that_fails_says_so_in_place_of_the_figure_and_the_next_move_mends_it(shown):
    with pytest.raises(ArithmeticError):
        plotting.slider(draw, {"h": [0, 1]}, "Lines.", alt="up", start=[0])
    assert shown == []
    plotting.slider(draw, {"h": [0, 1]}, "Lines.", alt="up")
    control, picture = shown[1].children
    with pytest.raises(ArithmeticError):
        control.index = 0
    assert picture.value.endswith("<pre>ArithmeticError: h &lt; x0 is wanted</pre>")
    control.index = 1
    assert picture_of(picture.value) == picture_of(shown[0]["text/html"])


def test_a_notebook_that_is_executed_does_not_wait_for_sliders(monkeypatch):
    """While nbclient plays a front end it can miss that the cell has ended: sliders must not make it play one."""
    played = []
    monkeypatch.setattr(OutputWidget, "send", lambda self, *arguments, **_: played.append(arguments))
    monkeypatch.delenv("NDELIB_STATIC", raising=False)
    notebook = new_notebook(cells=[new_code_cell(source) for source in (DRAW, ONE, TWO)])
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=120, startup_timeout=120, resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()
    assert played == []
    models = [state["_model_name"] for state in client.widget_state.values()]
    assert models.count("SelectionSliderModel") == 3
    assert "OutputModel" not in models
    for cell, alt in zip(notebook.cells[1:], ("up to 2", "5 to 1"), strict=True):
        first, widgets = cell.outputs
        assert f'alt="{alt}"' in picture_of(first.data["text/html"])
        assert first.data["image/png"]
        assert "application/vnd.jupyter.widget-view+json" in widgets.data
