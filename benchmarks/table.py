"""The arithmetic of the table, and the table: what was measured goes in, Markdown comes out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median

BASELINES = "torchdiffeq", "torchsde", "torchcde", "pysindy"
"""The rows that all others are compared with: the first of them that a problem has."""


@dataclass
class Row:
    """What was measured of one solver on one problem; ``walls[i]`` and ``fields[i]`` are of round i, in seconds."""

    solver: str
    walls: list[float] = field(default_factory=list)
    fields: list[float] = field(default_factory=list)
    """of one evaluation of f alone; empty where that was not measured"""
    nfe: int | None = None
    error: float | None = None
    compiling: float | None = None
    remark: str = ""
    absent: str = ""
    """why there are no numbers, where there are none"""


def ratio(row: Row, baseline: Row) -> float:
    """Return the median over rounds of the time relative to the baseline's time in the same round.

    Pairs from the same round have seen the same load of the machine; the ratio of two medians need not.
    """
    # A slow solver has fewer rounds than others; they are the first ones, so zip pairs what belongs together.
    return median(a / b for a, b in zip(row.walls, baseline.walls, strict=False))


def fastest_ratio(row: Row, baseline: Row) -> float:
    """Return the ratio of the fastest times, those that were disturbed least."""
    return min(row.walls) / min(baseline.walls)


def overhead(row: Row) -> float | None:
    """Return the fastest wall / (NFE × fastest time of one f): 1 is a solver that costs nothing."""
    return min(row.walls) / (row.nfe * min(row.fields)) if row.nfe and row.fields else None


def spread(walls: Sequence[float]) -> float | None:
    """Return the interquartile range of the times relative to their median: how noisy they are."""
    if len(walls) < 3:
        return None
    ordered = sorted(walls)
    return (_quantile(ordered, 0.75) - _quantile(ordered, 0.25)) / median(ordered)


def _quantile(ordered: Sequence[float], q: float) -> float:
    position = q * (len(ordered) - 1)
    i = min(int(position), len(ordered) - 2)
    return ordered[i] + (position - i) * (ordered[i + 1] - ordered[i])


def duration(seconds: float | None) -> str:
    """Return a time with three digits and a unit: 1.23 ms."""
    if seconds is None:
        return "–"
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{three_digits(seconds * scale)} {unit}"
    return f"{three_digits(seconds * 1e6)} µs"


def three_digits(x: float) -> str:
    """Return a positive number with three digits, without an exponent: 0.0123, 1.23, 123, 1230."""
    decimals = max(0, 2 - math.floor(math.log10(x))) if x > 0 else 0
    return f"{x:.{decimals}f}"


COLUMNS = "solver", "time", "ratio", "fastest", "ratio", "spread", "f calls", "error", "overhead", "compiling", "remark"
ALIGNMENT = ":--", *repeat("--:", len(COLUMNS) - 2), ":--"


def cells(row: Row, baseline: Row | None) -> list[str]:
    """Return the texts of a row."""
    if row.absent:
        return [row.solver, *repeat("", len(COLUMNS) - 2), row.absent]
    cost, noise = overhead(row), spread(row.walls)
    return [
        row.solver,
        duration(median(row.walls)),
        "–" if baseline is None else three_digits(ratio(row, baseline)),
        duration(min(row.walls)),
        "–" if baseline is None else three_digits(fastest_ratio(row, baseline)),
        "–" if noise is None else f"{100 * noise:.0f} %",
        "–" if row.nfe is None else str(row.nfe),
        "–" if row.error is None else f"{row.error:.0e}",
        "–" if cost is None else three_digits(cost),
        duration(row.compiling),
        row.remark,
    ]


def block(title: str, conditions: str, rows: Sequence[Row]) -> str:
    """Return the Markdown of one problem: a heading, what is solved, and a row a solver."""
    baseline = find_baseline(rows)
    lines = [COLUMNS, ALIGNMENT, *(cells(row, baseline) for row in rows)]
    return f"## {title}\n\n{conditions}\n\n{markdown(lines)}\n"


def find(solver: str, rows: Sequence[Row]) -> Row | None:
    """Return the row of a solver if it has one with numbers."""
    return next((row for row in rows if row.solver == solver and not row.absent), None)


def find_baseline(rows: Sequence[Row]) -> Row | None:
    """Return the row that all others of a problem are compared with, if there is one."""
    return next((row for row in map(lambda name: find(name, rows), BASELINES) if row is not None), None)


def summary(blocks: Mapping[str, Sequence[Row]]) -> str:
    """Return one table of all problems (by title) and solvers: the ratios to the times of the baseline."""
    solvers = list(dict.fromkeys(row.solver for rows in blocks.values() for row in rows))
    lines = [
        ["time ÷ torchdiffeq's, torchsde's, torchcde's or PySINDy's", *solvers],
        [":--", *repeat("--:", len(solvers))],
    ]
    for title, rows in blocks.items():
        baseline = find_baseline(rows)
        line = [title]
        for solver in solvers:
            row = find(solver, rows)
            line.append("–" if row is None or baseline is None else three_digits(ratio(row, baseline)))
        lines.append(line)
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as a Markdown table whose columns are aligned; the second line is the alignment."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
