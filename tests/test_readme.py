"""What the README shows works as it stands there."""

import re
from pathlib import Path

from tools.chapters import all_chapters

ROOT = Path(__file__).parent.parent
TWENTIES = ["", *(f"-{digit}" for digit in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])]
NUMBERS = dict(enumerate([*(f"Twenty{digit} of thirty chapters are" for digit in TWENTIES), "Thirty chapters are"], 20))
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_code_of_the_readme_runs(capsys):
    names: dict[str, object] = {}
    for code in BLOCKS:  # one after the other, as a reader would paste them
        exec(code, names)
        assert capsys.readouterr().out


def test_the_readme_has_code():
    assert BLOCKS


def test_the_readme_says_how_many_chapters_are_written():
    assert f"{NUMBERS[len(all_chapters())]} written" in (ROOT / "README.md").read_text(encoding="utf-8")
