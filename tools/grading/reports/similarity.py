"""How much code two submissions share, by the fingerprints of their tokens.

Names, numbers, strings, comments and layout do not count, so renaming hides nothing; what everybody was given does not
count either. A fingerprint is the smallest hash in a window of hashes of ``K`` tokens in a row; it finds every
shared run of at least ``K + WINDOW - 1`` tokens: the winnowing of Schleimer, Wilkerson and Aiken (2003). It points at
pairs for a person to look at. Short questions have few right answers, and a high number alone proves nothing.
"""

import io
import itertools
import keyword
import tokenize
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

K = 12
WINDOW = 8
COMMON = 0.25
"""A fingerprint that more than this share of the class has says nothing: it is the usual way to write it."""
LEAST_CLASS = 8
LEAST_SHARED = 3
LONGEST_CELL = 50_000
"""Characters of a cell that are looked at: the tokenizer's time can grow with the square of a text's length."""
LONGEST_NOTEBOOK = 200_000
"""Characters of a notebook that are looked at; one that took many seconds would hold the class."""
_NO_TOKENS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@dataclass(frozen=True)
class Pair:
    """Two submissions: the share of the smaller one's fingerprints that the other has too, and how many those are."""

    first: str
    second: str
    share: float
    shared: int


def tokens(source: str) -> list[str]:
    """Return the tokens of a cell with names, numbers and texts made equal; as far as it can be read."""
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source[:LONGEST_CELL]).readline):
            if token.type in _NO_TOKENS:
                continue
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                found.append("n")
            elif token.type in (tokenize.NUMBER, tokenize.STRING):
                found.append("0" if token.type == tokenize.NUMBER else "s")
            else:
                found.append(token.string)
    except Exception:  # whatever a student's text does to the tokenizer
        pass
    return found


def fingerprints(cells: Iterable[str]) -> set[int]:
    """Return the fingerprints of a notebook's cells."""
    found, left = set(), LONGEST_NOTEBOOK
    for source in cells:
        code = tokens(source[:left])
        left -= min(left, len(source))
        hashes = [zlib.crc32(" ".join(code[i : i + K]).encode("utf-8", "replace")) for i in range(len(code) - K + 1)]
        for start in range(max(1, len(hashes) - WINDOW + 1) if hashes else 0):
            found.add(min(hashes[start : start + WINDOW]))
    return found


def similar(notebooks: Mapping[str, list[str]], given: Iterable[str], least: float = 0.5) -> list[Pair]:
    """Return the pairs of ``notebooks`` that share at least that much, the most alike first.

    Args:
        notebooks: the code cells of each, by name.
        given: the cells of the notebook that was handed out.
        least: the smallest share that is reported.
    """
    given = list(given)
    known, handed_out = fingerprints(given), {source.strip() for source in given}
    prints = {
        name: fingerprints(source for source in cells if source.strip() not in handed_out) - known
        for name, cells in notebooks.items()
    }
    holders = defaultdict(list)
    for name, marks in prints.items():
        for mark in marks:
            holders[mark].append(name)
    most = max(LEAST_CLASS, int(COMMON * len(prints)))
    own = Counter(name for names in holders.values() if len(names) <= most for name in names)
    few = [sorted(names) for names in holders.values() if len(names) <= most]
    shared = Counter(pair for names in few for pair in itertools.combinations(names, 2))
    pairs = [
        Pair(first, second, number / min(own[first], own[second]), number)
        for (first, second), number in shared.items()
        if number >= LEAST_SHARED
    ]
    close = [pair for pair in pairs if pair.share >= least]
    return sorted(close, key=lambda pair: (-pair.share, -pair.shared, pair.first, pair.second))
