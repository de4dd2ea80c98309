"""Programs that cannot share the environment of the tests: each gets one of its own, by uv."""

import sys
import tomllib

from tests.support.server import ROOT


def python_with(package: str) -> list[str]:
    """The command of a Python that has a package of the extra `programs` in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = project["optional-dependencies"]["programs"]
    [pin] = [pin for pin in pins if pin.partition("==")[0] == package]
    uv = [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--isolated"]
    return [*uv, "--python", sys.executable, "--with", pin, "python"]
