"""Lyndon words and their brackets: a basis of the free Lie algebra, in which log-signatures are written.

A word is Lyndon if it comes before all of its proper suffixes in the alphabet; w = uv, with v the longest such suffix
that is Lyndon itself, makes the bracket [u, v]. Letters are channels, 0 … d − 1.

Sources: Lyndon, Trans. Amer. Math. Soc. 77 (1954) 202; Chen, Fox & Lyndon, Ann. of Math. 68 (1958) 81; Reutenauer,
*Free Lie Algebras* (1993), chapter 5; Duval, Theor. Comput. Sci. 60 (1988) 255, the enumeration.
"""

from functools import cache

Word = tuple[int, ...]


@cache
def lyndon_words(channels: int, depth: int) -> tuple[Word, ...]:
    """Return the Lyndon words of at most ``depth`` letters: shorter ones first, those of one length by the alphabet."""
    words: list[Word] = []
    word = [-1]
    while word:
        # Duval: the next word is the last one repeated to full length, its last letter that can be raised, raised.
        word[-1] += 1
        words.append(tuple(word))
        period = len(word)
        while len(word) < depth:
            word.append(word[-period])
        while word and word[-1] == channels - 1:
            word.pop()
    return tuple(sorted(words, key=lambda word: (len(word), word)))


def standard_factors(word: Word) -> tuple[Word, Word]:
    """Return u and v with ``word`` = uv, where v is the longest proper suffix that is a Lyndon word."""
    for cut in range(1, len(word)):
        if is_lyndon(word[cut:]):
            return word[:cut], word[cut:]
    raise ValueError(f"a word of one letter has no factors, got {word}")


def is_lyndon(word: Word) -> bool:
    """Return whether ``word`` comes before each of its proper suffixes."""
    return len(word) > 0 and all(word < word[cut:] for cut in range(1, len(word)))


@cache
def expand(word: Word) -> dict[Word, int]:
    """Return the bracket of a Lyndon word written out as words: [0, 1] = 01 − 10 gives {(0, 1): 1, (1, 0): −1}."""
    if len(word) == 1:
        return {word: 1}
    u, v = (expand(factor) for factor in standard_factors(word))
    total: dict[Word, int] = {}
    for a, p in u.items():
        for b, q in v.items():
            total[a + b] = total.get(a + b, 0) + p * q
            total[b + a] = total.get(b + a, 0) - p * q
    return total
