"""Formulas as MathML, which e-book readers show without a script: the renderer ``mathml`` for Sphinx.

latex2mathml translates; what it does not know is put into other words first.
"""

import re
import unicodedata
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

LETTERS = re.compile(r"\\math(bb|cal)\s*(?:\{([A-Z])\}|([A-Z]))")
KNOWN = {r"\{aligned\}": r"{split}", r"\\arg(?![a-z])": r"\operatorname{arg}"}
"""What latex2mathml does not know, and what it knows that is the same."""

ALPHABETS = {"bb": "DOUBLE-STRUCK", "cal": "SCRIPT"}


def mathml(latex: str, display: bool = False) -> str:
    """Return a formula as a ``math`` element; raise latex2mathml's exceptions where it is none."""
    latex = latex.strip()
    for unknown, known in KNOWN.items():
        latex = re.sub(unknown, known.replace("\\", r"\\"), latex)
    # Letters of their own: the attribute mathvariant, which says the same, means nothing to most readers any more.
    latex = LETTERS.sub(lambda match: _letter(match[1], match[2] or match[3]), latex)
    return str(convert(latex, display="block" if display else "inline"))


def _letter(alphabet: str, letter: str) -> str:
    """Return the double-struck or script ``letter``; some were in Unicode before the mathematical alphabets."""
    name = f"{ALPHABETS[alphabet]} CAPITAL {letter}"
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return unicodedata.lookup(f"MATHEMATICAL {name}")


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in the text."""
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def visit_displayed(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number if it has one."""
    number = f"<p>({get_node_equation_number(translator, node)})</p>" if node["number"] else ""
    translator.body.append(translator.starttag(node, "div", CLASS="math") + number + mathml(node.astext(), True))
    translator.body.append("</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
