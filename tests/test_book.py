"""The repository's own state: the notebooks, the contents and the settings of the book are in order."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.chapters import all_chapters, faults, read_notebook
from tools.common import ROOT
from tools.strip import VOLATILE

PLANNED = re.compile(r"(\d+)\. (.+?) \*\(planned\)\*\. \w")
WRITTEN = re.compile(r"(\d+)\. \[(.+?)\]\((chapters/\d\d_\w+\.ipynb)\)\. \w")


def on_disk() -> list[str]:
    return [f"chapters/{path.name}" for path in all_chapters()]


def toc_chapters(toc: dict) -> list[str]:
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [f"{name}.ipynb" for name in files if name.startswith("chapters/")]


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.name)
def test_a_chapter_is_committed_in_the_canonical_form(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.name)
def test_a_chapter_is_committed_without_outputs(path: Path) -> None:
    verify = [sys.executable, "-m", "tools.strip", "--verify", str(path)]
    done = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{path.name} has outputs or metadata to strip: run 'make format'. {done.stdout}"


@pytest.mark.parametrize("path", all_chapters(), ids=lambda path: path.name)
def test_no_line_of_a_formula_reads_as_a_list(path: Path) -> None:
    """Markdown takes a line that begins with "+ " for an item, and cuts the formula in two, without a warning."""
    cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
    assert [line for source in cells for line in source.splitlines() if re.match(r"\s*\+ ", line)] == []


def test_the_exercises_are_committed_without_outputs() -> None:
    notebooks = [str(path) for path in (ROOT / "exercises").glob("*/*.ipynb")]
    verify = [sys.executable, "-m", "tools.strip", "--verify", *notebooks]
    done = subprocess.run(verify, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert not notebooks or done.returncode == 0, f"outputs to strip: {done.stdout}"


def test_toc_has_exactly_the_chapters_that_are_written() -> None:
    listed = toc_chapters(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    assert sorted(listed) == on_disk(), "the chapters in _toc.yml are not those on disk, in chapters/"
    assert listed == sorted(listed), "the chapters in _toc.yml are out of order"


def test_contents_has_thirty_chapters_in_order_linked_when_written() -> None:
    contents = (ROOT / "contents.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\d+\. .*$", contents, flags=re.MULTILINE)
    assert [int(entry.split(".")[0]) for entry in entries] == list(range(1, 31))
    assert len(re.findall(r"^## Part [IV]+: ", contents, flags=re.MULTILINE)) == 7
    for entry in entries:
        assert PLANNED.match(entry) or WRITTEN.match(entry), f"neither a link nor planned: {entry}"
    linked = [match.group(3) for entry in entries if (match := WRITTEN.match(entry))]
    assert linked == on_disk(), "the links of contents.md are not the chapters on disk"


def test_parts_in_toc_are_named_as_in_contents() -> None:
    contents = (ROOT / "contents.md").read_text(encoding="utf-8")
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = [part["caption"] for part in toc["parts"] if any("chapters/" in page["file"] for page in part["chapters"])]
    assert parts
    for caption in parts:
        assert f"## {caption}\n" in contents


def test_the_repository_address_stands_in_one_place_only() -> None:
    """While the owner has set none, no page may lead to an address that somebody else could claim."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"]
    for name in ("_config.yml", "_toc.yml", "intro.md", "contents.md", "references.md", "README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        if name == "_config.yml" and address:
            text = text.replace(address, "")
        assert not re.search(r"git(hub|lab)\.(com|io)|colab\.research|mybinder", text), f"an address in {name}"
    assert config["repository"]["branch"] == "" or address


def test_the_lock_pins_every_package_exactly_and_leaves_torch_its_accelerators() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.match(r"[\w.-]+==[\w.]+( ; .+)?$", line)] == []
    assert "torch==2.13.0" in pins
    assert [line for line in pins if re.match(r"nvidia|cuda|triton", line)] == []


def test_every_direct_requirement_is_locked() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    wanted = [line.strip() for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()]
    for requirement in [line for line in wanted if line and not line.startswith("#")]:
        name, _, pinned = requirement.partition("==")
        assert re.search(rf"^{re.escape(name)}=={re.escape(pinned)}", lock, flags=re.MULTILINE), (
            f"requirements.in asks for {requirement}; run 'make lock'"
        )


def test_every_verb_that_the_papers_mention_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md", "intro.md"):
        for verb in re.findall(r"`make ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), f"{name} speaks of make {verb}"


def test_stripping_is_not_given_the_cell_ids() -> None:
    assert "cell.id" not in VOLATILE.split()
