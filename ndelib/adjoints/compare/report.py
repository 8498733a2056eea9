"""The result of comparing gradients: a row for each, shown as text in a terminal and as a table in a notebook."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from textwrap import fill

from torch import Tensor


@dataclass(frozen=True)
class GradientReport:
    """What one gradient cost and how right it was: a row of :class:`GradientTable`.

    Where the gradient failed, ``failure`` says how, and what was not measured is NaN or ``None``.
    """

    label: str
    gradient: str
    method: str
    seconds_forward: float = math.nan
    """median time of the solve and the loss; for "forward" of all its solves, which give the gradient as well"""
    seconds_backward: float = math.nan
    """median time from the loss to the gradient"""
    calls_forward: int | None = None
    """how often f was called for the solve"""
    calls_backward: int | None = None
    """how often f was called for the gradient"""
    kept: int | None = None
    """bytes alive between the two passes: the loss and all that waits for the backward pass"""
    peak: int | None = None
    """most bytes of tensors alive at once, forwards and backwards, besides those that existed before"""
    cuda_peak: int | None = None
    """the same as CUDA's allocator counts it, which includes work space of kernels; ``None`` on a CPU"""
    error: float = math.nan
    """the largest of ``errors``"""
    errors: Mapping[str, float] = field(default_factory=dict)
    """relative error ‖g − g*‖/‖g*‖ of the gradient for ``"y0"``, for all of ``"params"`` together and for ``"t"``"""
    gradients: tuple[Tensor, ...] = field(default=(), repr=False, compare=False)
    """the gradient itself, for y0 (each tensor of a tuple), each of the parameters, and t if it asks for one"""
    warning: str = ""
    """what an ``AdjointWarning`` said"""
    failure: str = ""
    """the error that ended it: its class and message"""

    @property
    def seconds(self) -> float:
        """Time forwards and backwards."""
        return self.seconds_forward + self.seconds_backward


@dataclass(frozen=True, repr=False)
class GradientTable:
    """The result of :func:`compare_gradients`: ``rows``, and ``table["checkpoint"]`` is one of them.

    ``print`` shows it as text; a notebook shows it as a table if it is the last line of a cell.
    """

    rows: tuple[GradientReport, ...]
    reference: str
    """what the errors are measured against"""
    reference_gradients: tuple[Tensor, ...] = field(default=(), compare=False)
    """the gradient that counts as exact, in the order of ``GradientReport.gradients``; empty if there is none"""

    def __iter__(self) -> Iterator[GradientReport]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> GradientReport:
        """Return the row with this label, or the only one of this gradient."""
        for found in ([r for r in self.rows if r.label == name], [r for r in self.rows if r.gradient == name]):
            if len(found) == 1:
                return found[0]
        raise KeyError(f"no row, or more than one, is {name!r}; the labels are {', '.join(r.label for r in self.rows)}")

    @property
    def caption(self) -> str:
        """What the table shows, in a sentence."""
        return f"Cost of each gradient, and its relative error against {self.reference}."

    @property
    def notes(self) -> list[str]:
        """What failed or warned, a sentence each."""
        return [f"{r.label}: {r.failure or r.warning}" for r in self.rows if r.failure or r.warning]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings, and a list of cells a row; what was not measured is a dash."""
        on_cuda = any(r.cuda_peak is not None for r in self.rows)
        headings = ["gradient", "method", "forward", "backward", "calls of f", "on the way back", "kept", "peak"]
        headings += ["CUDA peak"] * on_cuda + ["error"]
        rows = []
        for r in self.rows:
            cells = [r.label, r.method, _time(r.seconds_forward), _time(r.seconds_backward)]
            cells += [_count(r.calls_forward), _count(r.calls_backward), _bytes(r.kept), _bytes(r.peak)]
            cells += [_bytes(r.cuda_peak)] * on_cuda
            rows.append([*cells, "failed" if r.failure else f"{r.error:.1e}" + "*" * bool(r.warning)])
        return headings, rows

    def __repr__(self) -> str:
        headings, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        pads = [str.ljust] * 2 + [str.rjust] * (len(widths) - 2)
        lines = []
        for row in (headings, ["-" * width for width in widths], *rows):
            lines.append(
                "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip()
            )
        notes = [fill(note, width=88, subsequent_indent="    ") for note in (self.caption, *self.notes)]
        return "\n".join([*lines, *notes])

    def _repr_html_(self) -> str:
        headings, rows = self._cells()
        head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
        body = ""
        for label, *cells in rows:
            data = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            body += f'<tr><th scope="row">{escape(label)}</th>{data}</tr>'
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<table><caption>{escape(self.caption)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{notes}"
        )


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms" if seconds >= 1e-5 else "0 ms"


def _count(number: int | None) -> str:
    return "–" if number is None else str(number)


def _bytes(number: int | None) -> str:
    """Return a number of bytes with three digits, in units of a power of 1000."""
    if number is None:
        return "–"
    size, units = float(number), ["B", "kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
