"""Writes the output of a benchmark into its section of docs/benchmarks.md."""

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import date

from bench import measure
from bench.material import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"


def write(
    module: str, title: str, lines: Sequence[str], machine: str = "", options: str | None = None
) -> None:
    """Replace the section with this title and processor, or add it after those with this title.

    All other sections are kept, including those of other processors. `module` is the module in
    `bench` that produced the lines when called with `options`, by default those of this process.
    `machine` replaces the processor in the heading, for example with a GPU. Headings in `lines`
    become subheadings.
    """
    heading = f"## {title} ({machine or measure.processor()})"
    options = shlex.join(sys.argv[1:]) if options is None else options
    source = f"Measured on {date.today()} with `.venv/bin/python -m bench.{module} {options}`."
    body = [f"#{line}" if line.startswith("#") else line for line in lines]
    text = "\n".join([heading, "", source, "", *body]).strip()
    head, *sections = re.split(r"^(?=## )", REPORT.read_text("utf-8"), flags=re.MULTILINE)
    sections = [section.strip() for section in sections]
    headings = [section.splitlines()[0] for section in sections]
    same_title = [place for place, one in enumerate(headings) if one.startswith(f"## {title} (")]
    if heading in headings:
        sections[headings.index(heading)] = text
    else:
        sections.insert(same_title[-1] + 1 if same_title else len(sections), text)
    REPORT.write_text("\n\n".join([head.strip(), *sections]) + "\n", "utf-8")
