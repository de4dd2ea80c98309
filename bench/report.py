"""Writes what a benchmark printed into its own part of docs/benchmarks.md."""

import re
from collections.abc import Sequence

from bench.material import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"


def write(part: str, title: str, lines: Sequence[str]) -> None:
    """Replace the part of one benchmark, or add it at the end; the other parts stay.

    `part` is the module in `bench` that made it, which also marks the part's borders.
    """
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    made_by = f"Made by `.venv/bin/python -m bench.{part} --write`."
    text = "\n".join([begin, f"# {title}", "", made_by, "", *lines]).rstrip() + f"\n{end}"
    report = REPORT.read_text("utf-8")
    borders = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if borders.search(report):
        report = borders.sub(lambda _: text, report)
    else:
        report = f"{report.rstrip()}\n\n{text}\n"
    REPORT.write_text(report, "utf-8")
