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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the song")
    parser.add_argument("--short-minutes", type=float, default=3.0, help="short file for memory")
    parser.add_argument("--long-minutes", type=float, default=60.0, help="long file for memory")
    parser.add_argument(
        "--only", choices=["speed", "parity", "together", "quality", "memory"], help="one part"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        weights = material.full_size_weights(folder / "weights")
        parts: dict[str, Callable[[], list[str]]] = {
            "speed": lambda: speed.against_demucs(folder, weights, options.minutes),
            "parity": lambda: quality.parity(folder, weights),
            "together": lambda: speed.two_songs(folder, weights, options.minutes),
            "quality": lambda: quality.prices(folder),
            "memory": lambda: memory.short_and_long(
                folder, options.short_minutes, options.long_minutes
            ),
        }
        lines = [f"Machine: {measure.machine(PACKAGES)}."]
        print(lines[0], flush=True)
        for part, make in parts.items():
            if options.only in (None, part):
                made = ["", *make()]
                print("\n".join(made), flush=True)
                lines += made
    if options.write:
        made_by = "Made by `.venv/bin/python -m bench.separation --write`; `make bench` prints it."
        REPORT.write_text("\n".join(["# Benchmarks", "", made_by, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
