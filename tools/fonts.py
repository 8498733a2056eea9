# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "fontpkg-inter==4.1.post1",
#     "fontpkg-jetbrains-mono==2.211",
#     "matplotlib==3.11.2",
#     "fonttools==4.68.0",
#     "brotli==1.2.0",
# ]
# ///
"""Make the fonts of the site, ``_static/fonts`` and ``_static/fonts.css``, from those of the packages named above.

The site brings its type with it, so that a page looks and breaks its lines the same on every machine. Inter is the
text and JetBrains Mono the code: both under the SIL Open Font License and without a reserved name, so a subset may keep
the name. Each is cut down to the letters that the book may need, and to the weights 400 to 700. What mathematics asks
for and they lack, such as ∘ and ↦, comes from DejaVu, in files that a page loads only when it shows such a sign.

``make fonts`` runs this in an environment of its own. The same versions make the same bytes.
"""

import io
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

STATIC = Path(__file__).resolve().parent.parent / "_static"

# Latin with its accents, Greek, raised and lowered letters, quotation marks and dashes, arrows, mathematics, ticks.
LETTERS = [
    *range(0x20, 0x7F), *range(0xA0, 0x180), 0x192, *range(0x218, 0x21C), 0x2BC, *range(0x2C6, 0x2C8),
    *range(0x2D8, 0x2DE), *range(0x300, 0x314), *range(0x370, 0x400), 0x1D40, 0x1D43, 0x1D4F, *range(0x1D62, 0x1D66),
    *range(0x1E80, 0x1E90), *range(0x2010, 0x2028), *range(0x2030, 0x203B), 0x2044, *range(0x2070, 0x20A0), 0x20AC,
    0x2102, 0x2115, 0x211D, 0x2122, *range(0x2150, 0x215F), *range(0x2190, 0x2196), 0x21A6, 0x21D0, 0x21D2, 0x21D4,
    *range(0x2200, 0x2300), *range(0x25A0, 0x25A2), 0x25B6, 0x25B8, 0x25CB, 0x25CF, 0x2713, 0x2717, 0x2C7C,
]  # fmt: skip
WEIGHTS = (400, 700)
# Accents find their letter, letters their neighbours, and digits stand in columns where a style asks for it. The
# ligatures are left out: code shows what was typed.
FEATURES = ["ccmp", "kern", "locl", "mark", "mkmk", "tnum"]

# Faces complete each other only where their style and weight say the same; so the signs have them too.
FACE = """\
@font-face {{
  font-family: "{family}";
  font-style: {style};
  font-weight: 400 700;
  font-display: swap;
  src: url("fonts/{file}") format("woff2");{ranges}
}}
"""
HEAD = """\
/* The fonts of the site, written by tools/fonts.py, which says where they come from. Their licences lie beside them. */

"""
# What stands in while Inter is on its way has its width and height, so that no line breaks anew when it comes. The
# width is the mean over the letters of the chapters.
FALLBACKS = """\
@font-face {
  font-family: "Inter until it comes";
  src: local("Arial"), local("Liberation Sans"), local("Arimo"), local("Helvetica");
  size-adjust: 107%;
  ascent-override: 90.4%;
  descent-override: 22.5%;
  line-gap-override: 0%;
}
@font-face {
  font-family: "Inter until it comes, wide";
  src: local("DejaVu Sans"), local("Verdana");
  size-adjust: 94%;
  ascent-override: 103.5%;
  descent-override: 25.8%;
  line-gap-override: 0%;
}
"""


def cut(source: Path, letters: Iterable[int], axes: dict[str, object] | None = None) -> tuple[bytes, set[int]]:
    """Return the font ``source`` as WOFF2 with no more than ``letters``, and those of them that it has."""
    options = subset.Options(layout_features=FEATURES, hinting=False, name_IDs=["*"], notdef_outline=True)
    font = TTFont(source, recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=letters)
    subsetter.subset(font)
    if axes:
        whole = io.BytesIO()
        font.save(whole)
        font = instancer.instantiateVariableFont(TTFont(whole, recalcTimestamp=False), axes)
    font.flavor = "woff2"
    packed = io.BytesIO()
    font.save(packed)
    return packed.getvalue(), set(font.getBestCmap())


def unicode_range(codes: Sequence[int]) -> str:
    """Return ``codes``, which ascend, as CSS names them: ``U+2200-2205, U+2207``."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(f"U+{a:X}" if a == b else f"U+{a:X}-{b:X}" for a, b in runs)


def family(name: str, upright: Path, italic: Path | None, extra: Path, axes: dict[str, object]) -> str:
    """Write the fonts of a family and return its style sheet; ``extra`` gives the letters that ``upright`` lacks."""
    file = re.sub(r"\W+", "-", name.lower())
    content, present = cut(upright, LETTERS, axes)
    files = [(f"{file}.woff2", "normal", "", content)]
    if italic:
        files.append((f"{file}-italic.woff2", "italic", "", cut(italic, LETTERS, axes)[0]))
    content, added = cut(extra, set(LETTERS) - present)
    ranges = f"\n  unicode-range: {unicode_range(sorted(added))};"
    files += [(f"{file}-symbols.woff2", style, ranges, content) for _, style, _, _ in list(files)]
    for file, *_, content in files:
        (STATIC / "fonts" / file).write_bytes(content)
    return "".join(FACE.format(family=name, file=file, style=style, ranges=ranges) for file, style, ranges, _ in files)


def main() -> None:
    """Write every font, its licence and the style sheet."""
    inter = Path(str(resources.files("fontpkg_inter")))
    jetbrains = Path(str(resources.files("fontpkg_jetbrains_mono")))
    dejavu = Path(str(resources.files("matplotlib"))) / "mpl-data" / "fonts" / "ttf"
    (STATIC / "fonts").mkdir(exist_ok=True)
    sheet = HEAD + family(
        "Inter",
        inter / "files" / "Inter[opsz,wght].ttf",
        inter / "files" / "Inter-Italic[opsz,wght].ttf",
        dejavu / "DejaVuSans.ttf",
        {"wght": WEIGHTS, "opsz": 14},
    )
    sheet += family(
        "JetBrains Mono",
        jetbrains / "files" / "JetBrainsMono[wght].ttf",
        None,
        dejavu / "DejaVuSansMono.ttf",
        {"wght": WEIGHTS},
    )
    (STATIC / "fonts.css").write_text(sheet + FALLBACKS, encoding="utf-8")
    for name, source in (
        ("Inter", inter / "LICENSE"),
        ("JetBrainsMono", jetbrains / "LICENSE"),
        ("DejaVu", dejavu / "LICENSE_DEJAVU"),
    ):
        text = source.read_text(encoding="utf-8")
        plain = "\n".join(line.rstrip() for line in text.splitlines())
        (STATIC / "fonts" / f"LICENSE-{name}.txt").write_text(plain.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
