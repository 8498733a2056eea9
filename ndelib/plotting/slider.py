"""The interactive figure: a slider that redraws with a kernel, and one that leafs through frames without."""

import hashlib
import html
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython import get_ipython
from IPython.display import HTML, display
from matplotlib.figure import Figure

from ndelib.plotting.figure import caption, check_words, data_uri, image_tag, to_png

_MOST_FRAMES = 64  # some 15 kB each: more would make the page slow to load

_named: Counter[str] = Counter()  # how many sliders of this page have the same frames, and so the same name


def slider(
    draw: Callable[..., Figure],
    parameters: Mapping[str, Sequence[float]],
    text: str,
    *,
    alt: str | Callable[..., str],
    start: Sequence[int] | None = None,
) -> None:
    """Show ``draw`` as a figure with one slider for each parameter (one or two).

    In a live notebook the figure is redrawn by ipywidgets; what cannot show widgets shows the figure that it starts
    with. On the book's static pages, where no kernel runs, every frame is drawn in advance and the slider chooses among
    them; it works with the mouse, a finger and the arrow keys.

    Args:
        draw: called with one value of each parameter, in their order; returns a matplotlib figure.
        parameters: the label of each slider and the values that it takes.
        text: the caption.
        alt: the alternative text, or a function of the parameters that returns it for each frame.
        start: the index of the first value shown, for each parameter; the middle one if missing.

    Raises:
        ValueError: there are not one or two parameters, one has no value, or they make more than 64 frames; ``text``
            or ``alt`` is empty; ``start`` is not an index into the values of each parameter.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from ndelib import plotting
        >>> def draw(slope):
        ...     figure, axis = plt.subplots()
        ...     axis.plot([0, 1], [0, slope])
        ...     return figure
        >>> plotting.slider(draw, {"slope": [0.5, 1, 2]}, "A line.", alt="It rises")
        <IPython.core.display.HTML object>
    """
    parameters = {label: tuple(values) for label, values in parameters.items()}
    if len(parameters) not in (1, 2) or not all(len(values) for values in parameters.values()):
        raise ValueError(f"parameters must give one or two sliders with at least one value each, got {parameters!r}")
    frames = 1
    for values in parameters.values():
        frames *= len(values)
    if frames > _MOST_FRAMES:
        raise ValueError(f"parameters make {frames} frames; the page can carry {_MOST_FRAMES}: use fewer values")
    lengths = [len(values) for values in parameters.values()]
    indices = list(start) if start is not None else [length // 2 for length in lengths]
    if len(indices) != len(lengths) or not all(i in range(n) for i, n in zip(indices, lengths, strict=True)):
        raise ValueError(f"start must hold an index below {' and below '.join(map(str, lengths))}, got {start!r}")
    describe = alt if callable(alt) else (lambda *_: alt)
    check_words(text, describe(*(values[i] for values, i in zip(parameters.values(), indices, strict=True))))
    if _is_live():
        _show_widgets(draw, parameters, text, describe, indices)
    else:
        display(HTML(_static_html(draw, parameters, text, describe, indices)))


def _is_live() -> bool:
    """Say whether a reader sits at the kernel; the book's build sets NDELIB_STATIC, as nobody sits there."""
    return "NDELIB_STATIC" not in os.environ and getattr(get_ipython(), "kernel", None) is not None


def _show_widgets(
    draw: Callable[..., Figure],
    parameters: Mapping[str, Sequence[float]],
    text: str,
    describe: Callable[..., str],
    indices: Sequence[int],
) -> None:
    import ipywidgets  # only here: the static form needs no widgets

    sliders = [
        ipywidgets.SelectionSlider(
            options=list(zip(_labels(values), values, strict=True)),
            index=indices[i],
            description=label,
            style={"description_width": "initial"},
        )
        for i, (label, values) in enumerate(parameters.items())
    ]

    def drawn() -> dict[str, Any]:
        values = [control.value for control in sliders]
        return caption(draw(*values), text, alt=describe(*values))._repr_mimebundle_()

    # The figure is the value of an HTML widget. For an Output widget, as `interact` has, nbclient (nbconvert, nbmake)
    # answers on the channel on which it awaits the cell's end, so now and then misses that end and waits for ever: its
    # issue 312.
    bundle = drawn()
    picture = ipywidgets.HTML()
    # Where no widget can be shown there is the first figure; where one can, it takes that figure's place.
    name = f"nde-first-{picture.model_id}"
    hide = f"<style>#{name} {{ display: none }}</style>"
    picture.value = hide + bundle["text/html"]

    def redraw(_: Any) -> None:
        try:
            picture.value = hide + drawn()["text/html"]
        except Exception as error:  # else only the log would tell, and the figure would be that of other values
            picture.value = f"{hide}<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"
            raise

    for control in sliders:
        control.observe(redraw, "value")
    display({**bundle, "text/html": f'<div id="{name}">{bundle["text/html"]}</div>'}, raw=True)
    display(ipywidgets.VBox([*sliders, picture]))


def _static_html(
    draw: Callable[..., Figure],
    parameters: Mapping[str, Sequence[float]],
    text: str,
    describe: Callable[..., str],
    indices: Sequence[int],
) -> str:
    grid = list(itertools.product(*parameters.values()))
    for values in grid:
        check_words(text, describe(*values))
    pngs = [to_png(draw(*values)) for values in grid]
    shape = [len(values) for values in parameters.values()]
    first = indices[0] * shape[1] + indices[1] if len(shape) == 2 else indices[0]
    frames: list[dict[str, Any]] = [
        {"src": data_uri(png), "alt": describe(*values)} for png, values in zip(pngs, grid, strict=True)
    ]
    # The name is the content's digest: the same figure gives the same page, byte for byte.
    name = "nde-" + hashlib.sha256(b"".join(pngs)).hexdigest()[:12]
    _named[name] += 1
    if _named[name] > 1:
        name += f"-{_named[name]}"
    labels = [_labels(values) for values in parameters.values()]
    controls = "".join(
        f'<div class="nde-control" style="display:flex;gap:.8em;align-items:center">'
        f'<label for="{name}-{i}">{html.escape(label)}</label>'
        f'<input type="range" id="{name}-{i}" min="0" max="{len(values) - 1}" value="{indices[i]}" '
        f'aria-valuetext="{labels[i][indices[i]]}" style="flex:1;min-width:0">'
        f'<output for="{name}-{i}" style="min-width:4em">{labels[i][indices[i]]}</output></div>'
        for i, (label, values) in enumerate(parameters.items())
    )
    data = {"frames": frames, "values": labels}
    return (
        f'<figure class="nde-figure nde-slider" id="{name}">{image_tag(pngs[first], describe(*grid[first]))}'
        f"{controls}<figcaption>{html.escape(text)}</figcaption></figure>"
        f"<script>{_SCRIPT % {'name': json.dumps(name), 'data': _script_json(data)}}</script>"
    )


def _labels(values: Sequence[float]) -> list[str]:
    """Return the values as text, with as many digits as it takes to tell them apart."""
    for digits in range(3, 18):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _script_json(data: Any) -> str:
    """Return JSON that may stand inside a ``<script>`` element: no text in it opens a comment or closes the element."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


_SCRIPT = """(() => {
  const figure = document.getElementById(%(name)s), data = %(data)s;
  const image = figure.querySelector("img"), inputs = [...figure.querySelectorAll("input")];
  const outputs = figure.querySelectorAll("output");
  const show = () => {
    let frame = 0;
    inputs.forEach((input, i) => {
      const value = data.values[i][input.valueAsNumber];
      frame = frame * data.values[i].length + input.valueAsNumber;
      input.setAttribute("aria-valuetext", value);
      outputs[i].textContent = value;
    });
    image.src = data.frames[frame].src;
    image.alt = data.frames[frame].alt;
  };
  inputs.forEach(input => input.addEventListener("input", show));
  // On the book's site the frames are files: fetch them when somebody reaches for the figure.
  const fetchAll = () => data.frames.forEach(frame => { new Image().src = frame.src; });
  ["pointerenter", "focusin"].forEach(event => figure.addEventListener(event, fetchAll, {once: true}));
  show();  // a browser may restore the slider's place after a reload
})();"""
