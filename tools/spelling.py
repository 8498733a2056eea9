"""Spelling: ``python -m tools.spelling``.

codespell finds the usual mistakes in every file (its settings are in ``pyproject.toml``). The book is in British
English, and codespell's own table of British and American words, read backwards, finds American ones in prose: in
pages, in the Markdown cells of notebooks, in comments and docstrings. Code keeps the words of its libraries.
"""

import ast
import importlib.resources
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tools.chapters import read_notebook
from tools.common import ROOT, Problem, relative, run_program

# Words of the table that are British too, in another sense: a verb or a noun, a dialog box, a journal's "Math. Comp.".
ALSO_BRITISH = {"dialog", "disk", "disks", "license", "licensed", "math", "practice", "practices", "program"}
ALSO_BRITISH |= {"programs", "story", "stories", "tire", "tires"}
ALSO_BRITISH |= {"center", "centers"}  # the kind of fixed point, which `classify` of ndelib calls by that name

# What is no prose: code, formulas, roles, addresses.
NO_PROSE = [
    re.compile(r"```.*?```", re.DOTALL),
    re.compile(r"``.*?``|`[^`]*`", re.DOTALL),
    re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.DOTALL),
    re.compile(r"</?\w[^>]*>"),
    re.compile(r"\]\([^)]*\)|https?://\S+"),
    re.compile(r"^:::.*$|^:\w+:.*$", re.MULTILINE),
    re.compile(r"\b\w+[._]\w[\w.]*"),  # names of functions and files
    re.compile(r"\*[^*\n]+\*"),  # a title, as its author spelled it
    re.compile(r"^ {8}\w+(?:, \w+)*:(?= )", re.MULTILINE),  # an argument in a docstring, as its users know it
]
SKIPPED = {".venv", "_build", "dist", "grades", "node_modules"}


def american_words() -> dict[str, str]:
    """Return American words and what they are in British English."""
    table = importlib.resources.files("codespell_lib") / "data" / "dictionary_en-GB_to_en-US.txt"
    pairs = [line.split("->") for line in table.read_text(encoding="utf-8").splitlines() if "->" in line]
    british = {word for word, _ in pairs}
    words = {american.strip(): word for word, americans in pairs for american in americans.split(",")}
    return {american: word for american, word in words.items() if american not in british | ALSO_BRITISH}


def prose_of(text: str) -> str:
    """Return ``text`` with blanks for what is no prose; every line keeps its number."""
    for pattern in NO_PROSE:
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return text


def prose(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield the prose of a file in pieces: where a piece stands, the number of its first line, its text."""
    name = relative(path)
    if path.suffix == ".ipynb":
        for number, cell in enumerate(read_notebook(path).cells, start=1):
            if cell.cell_type == "markdown":
                yield f"{name}:cell {number}", 1, cell.source
    elif path.suffix == ".py":
        yield from ((name, line, text) for line, text in _comments_and_docstrings(path.read_text(encoding="utf-8")))
    else:
        yield name, 1, path.read_text(encoding="utf-8")


def _comments_and_docstrings(code: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def americanisms(path: Path, words: dict[str, str]) -> Iterator[str]:
    """Yield a line for every American word in the prose of a file."""
    for place, first, text in prose(path):
        for number, line in enumerate(prose_of(text).splitlines(), start=first):
            for found in re.findall(r"[A-Za-z]+", line):
                if found.lower() in words:
                    yield f"{place}:{number}: {found} ==> {words[found.lower()]}"


def prose_files() -> list[Path]:
    """Return the files of the repository that hold prose."""
    paths = [path for suffix in ("md", "ipynb", "py") for path in ROOT.rglob(f"*.{suffix}")]
    parts = {path: path.relative_to(ROOT).parts for path in paths}
    return sorted(path for path in paths if not any(part in SKIPPED or part[0] == "." for part in parts[path]))


def main() -> None:
    """Print every word that is spelled wrongly, with its place."""
    codespell = subprocess.run([str(Path(sys.executable).parent / "codespell"), "."], cwd=ROOT)
    words = american_words()
    found = [line for path in prose_files() for line in americanisms(path, words)]
    print("\n".join(found))
    if codespell.returncode or found:
        raise Problem("misspelled words, see above (pyproject.toml, [tool.codespell], lists those that are right)")


if __name__ == "__main__":
    run_program(main)
