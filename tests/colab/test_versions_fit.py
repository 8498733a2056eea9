"""Colab's versions satisfy ndelib's floors, so that ``--no-deps`` in the setup cell leaves nothing out.

pip resolves ndelib and what the chapters import for Colab's Python, where nothing else is to be had than stand-ins
of Colab's versions and of what the setup cell adds to them: packages with a name and a version, and nothing in them.
Any Python can do that, offline.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import stamp
from tools.common import ROOT

from .machine import pins

COLAB_PYTHON = "3.13"
# Of packages that the real test takes from elsewhere or in another version: what Colab had when DESIGN was written.
BESIDES = {"torch": "2.11.0", "numpy": "2.0.2"}


def colab_versions() -> dict[str, str]:
    added = map(Requirement, stamp.COLAB_LACKS)
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in [*pins(), *added]}
    return pinned | BESIDES


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel that has metadata only."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def build_ndelib(project: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def resolve(folder: Path) -> dict[str, str]:
    """Let pip choose versions for ``ndelib[chapters]`` from the wheels in ``folder`` alone: {name: version}.

    Raises:
        AssertionError: no choice satisfies every floor; the message names the requirement.
    """
    report = folder / "report.json"
    options = ["--dry-run", "--no-index", "--no-cache-dir", "--quiet", "--disable-pip-version-check"]
    there = ["--only-binary=:all:", f"--python-version={COLAB_PYTHON}", f"--target={folder / 'nowhere'}"]
    command = [sys.executable, "-m", "pip", "install", *options, *there, f"--find-links={folder}"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [*command, f"--report={report}", "ndelib[chapters]"],
        env=ours | {"PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"ndelib asks for what Colab does not have:\n{done.stderr}"
    chosen = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    return {canonicalize_name(item["name"]): item["version"] for item in chosen}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-ins")
    for name, version in colab_versions().items():
        write_wheel(folder, name, version)
    return folder


def test_colab_has_everything_that_ndelib_and_the_chapters_ask_for(stand_ins: Path, tmp_path: Path) -> None:
    shutil.copytree(stand_ins, tmp_path, dirs_exist_ok=True)
    build_ndelib(ROOT, tmp_path)
    resolved = resolve(tmp_path)
    assert resolved.pop("ndelib") == stamp.library_version(ROOT)
    assert resolved == {name: colab_versions()[name] for name in resolved}
    assert {"torch", "numpy", "matplotlib", "ipywidgets", "ipython", "scikit-learn", "scipy", "tqdm"} <= set(resolved)


@pytest.mark.parametrize("raised", ["numpy>=2.3", "ipywidgets>=8"])
def test_a_floor_above_colabs_version_is_named(stand_ins: Path, tmp_path: Path, raised: str) -> None:
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    shutil.copytree(stand_ins, wheels)
    (project / "ndelib").mkdir(parents=True)
    for name in ("README.md", "LICENSE", "ndelib/__init__.py"):
        shutil.copy(ROOT / name, project / name)
    name = Requirement(raised).name
    metadata, count = re.subn(rf'"{name}>=[^"]*"', f'"{raised}"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert count == 1, f"pyproject.toml has no floor for {name}"
    (project / "pyproject.toml").write_text(metadata, encoding="utf-8")
    build_ndelib(project, wheels)
    with pytest.raises(AssertionError, match=f"requirement {raised}"):
        resolve(wheels)
