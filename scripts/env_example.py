"""Write `.env.example` from the settings in config.py.

python -m scripts.env_example
"""

import dataclasses

from config import ROOT, Config

FILE = ROOT / ".env.example"
HEAD = """# Copy this file to .env, and remove the # before the settings that you change.
# docs/settings.md has the same list.
"""


def content() -> str:
    """Each setting with its help, commented out, at its default."""
    lines = [HEAD]
    for field in dataclasses.fields(Config):
        default = field.default
        if isinstance(default, frozenset | tuple):
            default = ",".join(sorted(default))
        lines += [f"# {field.metadata['help']}", f"#{field.name}={default}", ""]
    return "\n".join(lines)


def main() -> None:
    FILE.write_text(content(), "utf-8")


if __name__ == "__main__":
    main()
