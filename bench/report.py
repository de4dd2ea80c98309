"""Writes what a benchmark printed into a section of its own in docs/benchmarks.md."""

import re
from collections.abc import Sequence

from bench.material import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"


def write(module: str, title: str, lines: Sequence[str]) -> None:
    """Replace the section with this title, or add it at the end; the other sections stay.

    `module` is the one in `bench` that made it. Headings in `lines` become those of the section.
    """
    made_by = f"Made by `.venv/bin/python -m bench.{module} --write`."
    body = [f"#{line}" if line.startswith("#") else line for line in lines]
    text = "\n".join([f"## {title}", "", made_by, "", *body]).strip()
    head, *sections = re.split(r"^(?=## )", REPORT.read_text("utf-8"), flags=re.MULTILINE)
    sections = [section.strip() for section in sections]
    titles = [section.splitlines()[0] for section in sections]
    if f"## {title}" in titles:
        sections[titles.index(f"## {title}")] = text
    else:
        sections.append(text)
    REPORT.write_text("\n\n".join([head.strip(), *sections]) + "\n", "utf-8")
