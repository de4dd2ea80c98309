"""`make bench`: this server's separation against `python -m demucs.separate`, in one run.

Both run the same full-size htdemucs (random weights: speed and memory do not depend on them) on
the same song, and both load their model in the measured time. Then: the price of bf16 and of a
smaller overlap with the bundled model, two songs at once, and memory on a short and a long file.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import material, measure, memory, quality, speed

REPORT = material.ROOT / "docs" / "benchmarks.md"
PACKAGES = ["torch", "demucs", "openvino"]
PARTS = ["speed", "parity", "together", "quality", "memory"]
HEAD = (
    "# Benchmarks\n\n"
    "Made by `.venv/bin/python -m bench.separation --write`; `make bench` prints it. The machine\n"
    "may be shared, so absolute times vary from day to day; compare within one table.\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the song")
    parser.add_argument("--pair-minutes", type=float, default=2.0, help="length of the two songs")
    parser.add_argument("--short-minutes", type=float, default=3.0, help="short file for memory")
    parser.add_argument("--long-minutes", type=float, default=60.0, help="long file for memory")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts")
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[], help="not these parts")
    parser.add_argument(
        "--write", action="store_true", help="put the parts into docs/benchmarks.md; others stay"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        weights = material.full_size_weights(folder / "weights")
        parts: dict[str, Callable[[], list[str]]] = {
            "speed": lambda: speed.against_demucs(folder, weights, options.minutes),
            "parity": lambda: quality.parity(folder, weights),
            "together": lambda: speed.two_songs(folder, weights, options.pair_minutes),
            "quality": lambda: quality.prices(folder),
            "memory": lambda: memory.short_and_long(
                folder, options.short_minutes, options.long_minutes
            ),
        }
        machine = f"Machine: {measure.machine(PACKAGES)}."
        for part in PARTS:
            if part in options.only and part not in options.skip:
                heading, *rest = parts[part]()
                section = "\n".join([heading, "", machine, *rest]) + "\n"
                print(f"\n{section}", flush=True)
                if options.write:
                    REPORT.write_text(_replaced(REPORT.read_text("utf-8"), section), "utf-8")


def _replaced(report: str, section: str) -> str:
    """The report with a section in the place of the one whose heading begins alike, or added."""
    old = report.split("\n## ")[1:]
    sections = [f"## {text.strip()}\n" for text in old]
    same = [i for i, text in enumerate(sections) if _subject(text) == _subject(section)]
    if same:
        sections[same[0]] = section
    else:
        sections.append(section)
    return "\n".join([HEAD, *sections])


def _subject(section: str) -> list[str]:
    """The first words of a heading: the rest tells sizes, which may differ from run to run."""
    return section.split()[1:3]


if __name__ == "__main__":
    main()
