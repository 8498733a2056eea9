"""The workflow files are read by GitHub only: here is what can be said of them without it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tools.common import ROOT
from tools.environment import NEWEST, OLDEST

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = [f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_are_three() -> None:
    assert [path.name for path in WORKFLOWS] == ["publish.yml", "test.yml", "weekly.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_what_github_needs(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow[True], "`on:`, which YAML reads as true, says when"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert {"runs-on", "timeout-minutes", "steps"} <= job.keys()
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_githubs_own_and_pinned_to_a_commit(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    assert path.read_text(encoding="utf-8").count("uses:") == len(re.findall(r"uses: .*  # v\d", path.read_text()))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    runs = " ".join(step.get("run", "") for step in steps(path))
    for verb in re.findall(r"make ([a-z-]+)", runs):
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb
    for program in re.findall(r"(?:^|\s)(\.ci/\w+)", runs):
        assert (ROOT / program).exists()
    for module in re.findall(r"-m (colab\.\w+)", runs):
        assert (ROOT / "tests" / f"{module.replace('.', '/')}.py").exists()


def test_the_tests_run_with_every_python_that_the_book_supports() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in readme
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_other_jobs_use_one_of_these_pythons(path: Path) -> None:
    versions = [step["with"]["python-version"] for step in steps(path) if "python-version" in step.get("with", {})]
    assert all(version in [*PYTHONS, "${{ matrix.python }}"] for version in versions)


def test_publishing_reads_the_address_as_the_book_does() -> None:
    """The shell of publish.yml and the settings must agree on whether there is an address."""
    (command,) = [
        step["run"] for step in steps(ROOT / ".github" / "workflows" / "publish.yml") if step.get("id") == "address"
    ]
    pattern = re.search(r"s/(.+?)/\\1/p", command)
    assert pattern
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    found = re.findall(pattern[1].replace("[[:space:]]", r"\s").replace("[:space:]", r"\s"), config, flags=re.MULTILINE)
    assert found == [yaml.safe_load(config)["html"]["baseurl"]]
