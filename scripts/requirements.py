"""Write the requirements files from the dependencies in pyproject.toml.

python -m scripts.requirements
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO, MCP, SCALE = (f"audio-studio[{extra}]" for extra in ("demo", "mcp", "scale"))


def contents() -> dict[str, str]:
    """The text of each requirements file by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    included = {DEMO: ["-r requirements.txt"], MCP: extras["mcp"], SCALE: extras["scale"]}
    developers = [line for one in extras["dev"] for line in included.get(one, [one])]
    return {
        "requirements-prod.txt": _file("Server dependencies", project["dependencies"]),
        "requirements.txt": _file(
            "Dependencies of the server and of `make demo`",
            ["-r requirements-prod.txt", *extras["demo"]],
        ),
        "requirements-gpu.txt": _file(
            "Dependencies of the server on a computer with an NVIDIA GPU",
            ["-r requirements-prod.txt", *extras["gpu"]],
        ),
        "requirements-scale.txt": _file(
            "Dependencies of servers with PostgreSQL and an object store (docs/scaling.md)",
            ["-r requirements-prod.txt", *extras["scale"]],
        ),
        "requirements-mcp.txt": _file(
            "Dependencies of `audio-studio mcp` (docs/command-line.md)",
            ["-r requirements-prod.txt", *extras["mcp"]],
        ),
        "requirements-dev.txt": _file("Dependencies of tests, checks and benchmarks", developers),
    }


def _file(purpose: str, lines: list[str]) -> str:
    return "\n".join(
        [f"# {purpose}. `make lock` writes this file from pyproject.toml.", *lines, ""]
    )


def main() -> None:
    for name, text in contents().items():
        (ROOT / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
