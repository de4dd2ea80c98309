"""Writes what a benchmark printed into a section of its own in docs/benchmarks.md."""

import re
from collections.abc import Sequence
from datetime import date

from bench import measure
from bench.material import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"


def write(
    module: str, title: str, lines: Sequence[str], machine: str = "", options: str = "--write"
) -> None:
    """Replace the section with this title and processor, or add it behind its like.

    Other sections stay, those of other processors too. `module` is the one in `bench` that made
    it, called with `options`; `machine` stands for the processor where that counts less. Headings
    in `lines` become those of the section.
    """
    heading = f"## {title} ({machine or measure.processor()})"
    made_by = f"Made on {date.today()} by `.venv/bin/python -m bench.{module} {options}`."
    body = [f"#{line}" if line.startswith("#") else line for line in lines]
    text = "\n".join([heading, "", made_by, "", *body]).strip()
    head, *sections = re.split(r"^(?=## )", REPORT.read_text("utf-8"), flags=re.MULTILINE)
    sections = [section.strip() for section in sections]
    headings = [section.splitlines()[0] for section in sections]
    alike = [place for place, one in enumerate(headings) if one.startswith(f"## {title} (")]
    if heading in headings:
        sections[headings.index(heading)] = text
    else:
        sections.insert(alike[-1] + 1 if alike else len(sections), text)
    REPORT.write_text("\n\n".join([head.strip(), *sections]) + "\n", "utf-8")
