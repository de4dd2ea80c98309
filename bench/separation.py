"""`make bench`: this server's separation against `python -m demucs.separate`, in one run.

Both run the same full-size htdemucs (random weights: speed and memory do not depend on them) on
the same song, and both load their model in the measured time. Then: the price of bf16 and of a
smaller overlap with the bundled model, two songs at once, and memory on a short and a long file.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import material, measure, memory, quality, report, speed

PACKAGES = ["torch", "demucs", "openvino"]
PARTS = {
    "speed": "Separation: one song",
    "parity": "Separation: difference from `apply_model(shifts=0)`",
    "together": "Separation: two songs at once",
    "quality": "Separation: SDR of the bundled model",
    "memory": "Separation: peak memory of the server, bundled model",
    "engines": "Separation: peak memory of the server, full-size htdemucs",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the song")
    parser.add_argument("--pair-minutes", type=float, default=2.0, help="length of the two songs")
    parser.add_argument("--short-minutes", type=float, default=3.0, help="short file for memory")
    parser.add_argument("--long-minutes", type=float, default=60.0, help="long file for memory")
    parser.add_argument(
        "--engine-minutes", type=float, default=0.5, help="song for the memory of each engine"
    )
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
            "engines": lambda: memory.by_engine(folder, weights, options.engine_minutes),
        }
        machine = f"Machine: {measure.machine(PACKAGES)}."
        for part, title in PARTS.items():
            if part in options.only and part not in options.skip:
                lines = [machine, "", *parts[part]()]
                print("\n".join([f"## {title}", "", *lines, ""]), flush=True)
                if options.write:
                    report.write("separation", title, lines)


if __name__ == "__main__":
    main()
