"""The workflow of the public forge and the guide for contributors run what exists."""

import re
import shlex
import subprocess
import sys
from typing import Any

import yaml

from tests.support.server import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))


def job() -> dict[str, Any]:
    (job,) = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"].values()
    return dict(job)


def make_targets(script: str) -> list[str]:
    """The targets of the `make` commands in a shell script."""
    commands = [shlex.split(line, comments=True) for line in script.splitlines()]
    return [target for command in commands if command[:1] == ["make"] for target in command[1:]]


def test_the_workflow_is_valid() -> None:
    """Against GitHub's own schema, which check-jsonschema carries."""
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*checker, "vendor.github-workflows", str(WORKFLOW)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_lints_and_tests_with_the_makefile() -> None:
    scripts = [step["run"] for step in job()["steps"] if "run" in step]
    targets = [target for script in scripts for target in make_targets(script)]
    assert {"lint", "test"} <= set(targets) <= TARGETS


def test_the_workflow_covers_the_oldest_python_and_a_newer_one() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    oldest = re.search(r'^requires-python = ">=([\d.]+)"$', project, re.M)
    assert oldest is not None
    assert job()["strategy"]["matrix"]["python"] == [oldest[1], "3.13"]


def test_the_guide_for_contributors_names_what_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.findall(r"`(make [a-z-]+)`|^(make [a-z-]+)", guide, re.M)
    targets = {target for pair in commands for target in make_targets("".join(pair))}
    assert {"demo", "test", "lint"} <= targets <= TARGETS
    paths = re.findall(r"`(\.venv/bin/python -m pytest )?([\w.-]+/[\w./-]*|\w+\.\w+)`", guide)
    assert paths
    for _, path in paths:
        assert (ROOT / path).exists() or list((ROOT / "studio").rglob(path)), path
