"""What the README shows works as it stands there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_code_of_the_readme_runs(capsys):
    names: dict[str, object] = {}
    for code in BLOCKS:  # one after the other, as a reader would paste them
        exec(code, names)
        assert capsys.readouterr().out


def test_the_readme_has_code():
    assert BLOCKS
