"""Write the address of the repository, from pyproject.toml, into the documents that clone it.

python -m scripts.address
"""

import re
import tomllib

from config import ROOT

DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "installing.md")
_CLONE = re.compile(r"(?<=git clone )https?://\S+")


def address() -> str:
    """The address that `git clone` takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["urls"]["Repository"])


def with_address(text: str) -> str:
    """A document with the address in each of its `git clone` commands."""
    return _CLONE.sub(address(), text)


def main() -> None:
    for document in DOCUMENTS:
        document.write_text(with_address(document.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
