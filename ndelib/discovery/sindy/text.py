"""Equations as text and in LaTeX."""

import re
from collections.abc import Iterable, Sequence

from torch import Tensor

GREEK = re.compile(
    "(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega"
    "|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega)"
)


def number(value: float, precision: int) -> str:
    """Write the size of a coefficient; one that ``precision`` decimals would round to zero is not hidden."""
    text = f"{abs(value):.{precision}f}"
    return text if float(text) or not value else f"{abs(value):.{precision}g}"


def latex_number(value: float, precision: int) -> str:
    """Write it with a power of ten instead of an e."""
    return re.sub(r"e([+-]\d+)", lambda found: rf"\cdot 10^{{{int(found[1])}}}", number(value, precision))


def terms(pairs: Iterable[tuple[str, str, bool]], zero: str) -> str:
    """Join terms, each a number, a name and whether it is negative; 1 as a name is not written."""
    text = ""
    for size, name, is_negative in pairs:
        sign = ("-" if is_negative else "") if not text else (" - " if is_negative else " + ")
        text += sign + (size if name == "1" else f"{size} {name}")
    return text or zero


def expression(coefficients: Tensor, names: Sequence[str], precision: int) -> str:
    """Write Σ ξ_j θ_j without the terms whose coefficient is zero."""
    kept = [(c, name) for c, name in zip(coefficients.tolist(), names, strict=True) if c]
    return terms([(number(c, precision), name, c < 0) for c, name in kept], f"{0:.{precision}f}")


def latex_expression(coefficients: Tensor, names: Sequence[str], precision: int) -> str:
    """Write the same in LaTeX."""
    kept = [(c, name) for c, name in zip(coefficients.tolist(), names, strict=True) if c]
    return terms([(latex_number(c, precision), name, c < 0) for c, name in kept], "0")


def latex_variable(name: str, dot: bool = False) -> str:
    r"""Write a variable in LaTeX, x0 as x_{0} and theta as \\theta; with a dot for its derivative."""
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    letters = letters.removesuffix("_") or name
    if GREEK.fullmatch(letters):
        letters = f"\\{letters}"
    elif len(letters) > 1 and letters.isalpha():
        letters = rf"\mathrm{{{letters}}}"
    if dot:
        letters = rf"\dot{{{letters}}}"
    return f"{letters}_{{{digits}}}" if digits and letters != name else letters


def aligned(left: Iterable[str], right: Iterable[str]) -> str:
    r"""Set equations under each other: what stands between two $$."""
    lines = [f"{a} &= {b}" for a, b in zip(left, right, strict=True)]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"
