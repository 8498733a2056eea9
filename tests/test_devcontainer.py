"""The dev container is read by editors and by GitHub only: here is what can be said of it without them."""

import json
import re
from typing import Any

from tools.browser import NAMES
from tools.common import ROOT
from tools.environment import NEWEST, OLDEST

PATH = ROOT / ".devcontainer" / "devcontainer.json"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def container() -> dict[str, Any]:
    """Strict JSON, without the comments that editors would take."""
    settings: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return settings


def test_it_has_a_python_that_the_book_supports() -> None:
    image, _, tag = container()["image"].rpartition(":")
    assert image == "mcr.microsoft.com/devcontainers/python"
    assert OLDEST <= tuple(map(int, tag.split("."))) <= NEWEST


def test_what_it_runs_exists_and_is_what_the_readme_says() -> None:
    *_, install, make = container()["postCreateCommand"].split(" && ")
    verb = make.removeprefix("make ")
    assert re.search(rf"^{verb}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    packages = install.rpartition("--no-install-recommends ")[2].split()
    assert set(packages) & set(NAMES)
    assert [name for name in packages if f"`{name}`" not in README] == []


def test_the_editor_finds_the_environment_of_the_book() -> None:
    editor = container()["customizations"]["vscode"]
    assert editor["settings"]["python.defaultInterpreterPath"].endswith("/.venv/bin/python")
    assert {"ms-python.python", "ms-toolsai.jupyter", "charliermarsh.ruff"} <= set(editor["extensions"])


def test_the_readme_names_it() -> None:
    assert "[dev container](.devcontainer/devcontainer.json)" in README
