"""Write `.env.example` from the settings.

python -m scripts.env_example
"""

import dataclasses
from typing import Any

from config import ROOT, Config

FILE = ROOT / ".env.example"
HEAD = """# Copy this file to .env, and remove the # before the settings that you change.
# docs/settings.md has the same list.
"""


def content() -> str:
    """Each setting with its help, commented out, at its default."""
    lines = [HEAD]
    for title, fields in sections():
        lines += [f"## {title}", ""]
        for field in fields:
            lines += [f"# {field.metadata['help']}", f"#{field.name}={shown(field.default)}", ""]
    return "\n".join(lines)


def sections() -> list[tuple[str, "tuple[dataclasses.Field[Any], ...]"]]:
    """The settings of each section, with its title."""
    bases = reversed(Config.__bases__)
    return [(str(base.__doc__).rstrip("."), dataclasses.fields(base)) for base in bases]


def shown(default: Any) -> str:
    """A default as people would write it."""
    return ",".join(sorted(default)) if isinstance(default, frozenset | tuple) else str(default)


def main() -> None:
    FILE.write_text(content(), "utf-8")


if __name__ == "__main__":
    main()
