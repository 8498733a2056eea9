"""The LaTeX of the book: what Sphinx is told of it, what is mended in what Sphinx writes, and what its log tells."""

import re
import unicodedata
from collections.abc import Mapping

from tools.common import Problem

ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
TOO_WIDE = 12.0
"""Points by which a line may stick out into the margin: less is not seen."""

MATHEMATICAL = {"↦": r"\mapsto", "∝": r"\propto", "∮": r"\oint", "⊥": r"\perp", "≃": r"\simeq"}
SMALL_LETTERS = (*range(0x1D2C, 0x1D6B), *range(0x2090, 0x209D), 0x2C7C, 0x2C7D)


def signs() -> str:
    """Return the LaTeX of signs that the type lacks in one of its shapes: raised and lowered letters, and relations."""
    made = [rf"\newunicodechar{{{sign}}}{{\ensuremath{{{command}}}}}" for sign, command in MATHEMATICAL.items()]
    for code in SMALL_LETTERS:
        kind, _, letter = unicodedata.decomposition(chr(code)).partition(" ")
        command = {"<super>": r"\textsuperscript", "<sub>": r"\textsubscript"}.get(kind)
        if command:
            made.append(rf"\newunicodechar{{{chr(code)}}}{{{command}{{{chr(int(letter, 16))}}}}}")
    return "\n".join(made)


FONTS = rf"""
\setmainfont{{Linux Libertine O}}[Ligatures=TeX]
\setsansfont{{DejaVu Sans}}[Scale=MatchLowercase]
\setmonofont{{DejaVu Sans Mono}}[Scale=0.8]
\usepackage{{amsthm}}
\usepackage{{newunicodechar}}
{signs()}
\renewcommand{{\_}}{{\textunderscore\allowbreak}}
"""
"""The type, and the signs that it lacks."""

PREAMBLE = r"""
\usepackage{needspace}
\usepackage{etoolbox}
\hypersetup{bookmarksnumbered=true}
\newcolumntype{T}{L}
\newcommand{\tablebreak}{}
\AtBeginEnvironment{tabulary}{\small\renewcommand{\tablebreak}{\penalty200\hskip0pt}}
\AtBeginEnvironment{longtable}{\small}
\makeatletter
\AtBeginDocument{\spx@image@maxheight=0.42\textheight}
\newcommand{\smallheading}[1]{\par\Needspace{4\baselineskip}\textbf{#1}\par\nobreak\@afterheading}
\makeatother
"""
"""Tables in small type, with ragged columns none of which is narrow; no figure higher than half a page; headings that
stay with what follows."""

PREFACE = "About this book"
ROOM_FOR_A_BOX = r"\par\Needspace{6\baselineskip}"
ROOM_FOR_A_SECTION = r"\par\Needspace{10\baselineskip}"
MAY_BREAK = r"\penalty200\hskip0pt{}"
MAY_BREAK_IN_A_TABLE = r"\tablebreak{}"

IN_BRACES = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
PROOF = re.compile(
    r"\\begin\{sphinxadmonition\}\{note\}\s*\\sphinxAtStartPar\s*Proof\.\s*(.*?)\\end\{sphinxadmonition\}", re.DOTALL
)
BOX = re.compile(r"(?:(?:\\phantomsection *)?(\\label\{[^{}]+\})\n+)?(\\begin\{sphinxadmonition\})")
SECTION = re.compile(r"^\\(?:sub)*section\{", re.MULTILINE)
BOLD_PARAGRAPH = re.compile(rf"\\sphinxAtStartPar\n\\sphinxstylestrong{IN_BRACES}\n(?=\n|\\(?:begin|end)\b)")
CODE = re.compile(rf"\\sphinxupquote{IN_BRACES}")
TABLE = re.compile(r"\\begin\{tabulary\}\{\\linewidth\}(?:\[t\])?\{([A-Z]+)\}")
OPENING = re.compile(r"(?<=[(=\[])(?=[^)\]])")
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


def as_a_book(latex: str, parts: Mapping[str, str] | None = None) -> str:
    """Return ``latex`` with parts, with the chapters numbered as their titles say and no other page, and with proofs.

    No heading and no box begins where the page ends, a link to a theorem leads to it, and code in a sentence or in a
    table may be broken after an opening bracket and after =, in a table also between words LikeThese.

    Args:
        latex: what Sphinx writes.
        parts: caption of each part, by the name of the page that it begins with.

    Raises:
        Problem: the page that a part begins with is not in ``latex``.
    """
    for page, caption in (parts or {}).items():
        latex = _with_part(latex, page, caption)
    start = r"\phantomsection\label{\detokenize{intro::doc}}"
    latex = latex.replace(
        start, rf"\chapter*{{{PREFACE}}}\markboth{{{PREFACE}}}{{{PREFACE}}}{start}"
    )  # it has no heading
    latex = latex.replace(r"\chapter{References}", "")  # the bibliography has a heading of its own
    latex = re.sub(r"\\chapter\{(?:(\d+) )?(.)", _numbered, latex)
    latex = latex.replace(r"\tablename\ \thetable{} \textendash{} continued", "continued")  # no table has a number
    latex = TABLE.sub(_no_narrow_column, latex)
    latex = PROOF.sub(lambda match: rf"\begin{{proof}}{match[1]}\end{{proof}}", latex)
    latex = BOX.sub(_roomy_box, latex)
    latex = BOLD_PARAGRAPH.sub(lambda match: rf"\smallheading{{{match[1]}}}" + "\n", latex)
    latex = SECTION.sub(lambda match: f"{ROOM_FOR_A_SECTION}\n{match[0]}", latex)
    return CODE.sub(lambda match: rf"\sphinxupquote{{{_breakable(match[1])}}}", latex)


def _with_part(latex: str, page: str, caption: str) -> str:
    """Return ``latex`` with the page of a part before the chapter that ``page`` became."""
    chapter = rf"\\chapter\{{.*\}}\n.*\\label\{{\\detokenize\{{{re.escape(page)}::doc\}}\}}"
    latex, found = re.subn(chapter, lambda match: part_page(caption) + match[0], latex)
    if found != 1:
        raise Problem(f"{page} begins {found} chapters of the LaTeX, so there is no place for {caption!r}")
    return latex


def part_page(caption: str) -> str:
    """Return the page that opens a part; ``Part VI: Physics`` has the number six, and *Reference* none."""
    number, _, title = caption.removeprefix("Part ").rpartition(": ")
    if not number:
        return rf"\setcounter{{secnumdepth}}{{-2}}\part{{{title}}}" + "\n"
    count = 1 + ROMAN.index(number)
    return rf"\setcounter{{secnumdepth}}{{1}}\setcounter{{part}}{{{count - 1}}}\part{{{title}}}" + "\n"


def _no_narrow_column(match: re.Match[str]) -> str:
    """Return the beginning of a table each of whose columns has at least half of what an equal share would be."""
    return rf"\setlength{{\tymin}}{{{0.52 / len(match[1]):.3f}\linewidth}}{match[0]}"


def _breakable(code: str) -> str:
    code = OPENING.sub(lambda _: MAY_BREAK, code)
    return HUMP.sub(lambda _: MAY_BREAK_IN_A_TABLE, code)


def _numbered(match: re.Match[str]) -> str:
    number, title = match[1], match[2]
    if number is None:
        return rf"\setcounter{{secnumdepth}}{{-1}}\chapter{{{title}"
    return rf"\setcounter{{secnumdepth}}{{1}}\setcounter{{chapter}}{{{int(number) - 1}}}\chapter{{{title}"


def _roomy_box(match: re.Match[str]) -> str:
    """Return the beginning of a box. Sphinx gives the label of a theorem no anchor: links would lead elsewhere."""
    anchor = rf"\phantomsection{match[1]}" if match[1] else ""
    return f"{ROOM_FOR_A_BOX}{anchor}\n{match[2]}"


def faults(log: str) -> list[str]:
    """Return what a reader of the PDF would see: missing glyphs, lines that leave the page, links to nowhere."""
    found = re.findall(r"^Missing character: There is no .+", log, re.MULTILINE)
    wide = re.finditer(r"^Overfull \\hbox \(([\d.]+)pt too wide\).*", log, re.MULTILINE)
    found += [match[0] for match in wide if float(match[1]) > TOO_WIDE]
    return found + re.findall(r"^LaTeX Warning: (?:Reference|Citation|Hyper reference) .+", log, re.MULTILINE)
