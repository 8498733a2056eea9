"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS)
def test_code_of_the_readme_runs(code, capsys):
    exec(code, {})
    assert capsys.readouterr().out


def test_the_readme_has_code():
    assert BLOCKS
