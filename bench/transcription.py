"""`make bench`, second part: this server's speech engine against openai-whisper, in one run.

Both run the same base-size checkpoint at equal beam and options, each in a process of its own that
loads its model before the clock starts. The weights are random, because speed and memory do not
depend on them; so the number of tokens of each window is fixed. Then: batches on a longer
recording, and the bundled model from end to end.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import measure, report
from bench.material import ROOT, random_whisper
from scripts.scores import word_errors
from studio.inference.process import prepare_process
from studio.transcription.engine import RATE_HZ, DecodeOptions, Speech, SpeechEngine
from studio.transcription.faster_engine import FasterWhisper
from studio.transcription.openai_engine import OpenaiWhisper
from tests.support.server import decode_all

PACKAGES = ["torch", "openai-whisper", "faster-whisper", "ctranslate2", "openvino"]
ENGINES = ("openai-whisper", "faster-whisper")
MINI = ROOT / "pretrained" / "whisper-mini"
SPOKEN = ROOT / "samples" / "speech"
WINDOW_S = 29
TOKENS = 50
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=4, help="windows of 29 s in the first part")
    parser.add_argument("--long-windows", type=int, default=16, help="windows in the second part")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        weights = random_whisper(Path(name))
        lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
        for part in (
            against_openai(weights, options.windows),
            batches(weights, options.long_windows),
            bundled(),
        ):
            lines += [*part, ""]
            print("\n".join(part) + "\n", flush=True)
    if options.write:
        report.write("transcription", "Speech to text", lines)


def against_openai(weights: Path, windows: int) -> list[str]:
    """Both engines, greedy and with a beam of 5; medians of rounds that take turns."""
    lines = [
        f"{windows} windows of {WINDOW_S} s, {TOKENS} tokens each, one after the other:",
        "",
        "| beam | openai-whisper | faster-whisper | times as fast | peak memory |",
        "|---:|---:|---:|---:|---:|",
    ]
    for beam in (1, 5):
        found: dict[str, list[tuple[float, float]]] = {engine: [] for engine in ENGINES}
        for _ in range(ROUNDS):
            for engine in ENGINES:
                found[engine].append(_worker(engine, weights, windows, 1, beam))
        slow_s, fast_s = (float(np.median([s for s, _ in found[name]])) for name in ENGINES)
        slow_mb, fast_mb = (float(np.median([m for _, m in found[name]])) for name in ENGINES)
        ratio = float(
            np.median([
                slow / fast
                for (slow, _), (fast, _) in zip(*(found[name] for name in ENGINES), strict=True)
            ])
        )  # fmt: skip
        lines.append(
            f"| {beam} | {slow_s:.1f} s | {fast_s:.1f} s | {ratio:.2f} | "
            f"{slow_mb:,.0f} MB, {fast_mb:,.0f} MB |"
        )
    return lines


def batches(weights: Path, windows: int) -> list[str]:
    """The server's engine, one window at a time against eight together."""
    lines = [
        f"{windows} windows of {WINDOW_S} s, faster-whisper:",
        "",
        "| beam | batch_size | time | times as fast | peak memory |",
        "|---:|---:|---:|---:|---:|",
    ]
    for beam in (1, 5):
        found: dict[int, list[tuple[float, float]]] = {1: [], 8: []}
        for _ in range(ROUNDS):
            for size, costs in found.items():
                costs.append(_worker(ENGINES[1], weights, windows, size, beam))
        for size, costs in found.items():
            ratios = [one / own for (one, _), (own, _) in zip(found[1], costs, strict=True)]
            wall_s, peak_mb = (float(np.median(column)) for column in zip(*costs, strict=True))
            lines.append(
                f"| {beam} | {size} | {wall_s:.1f} s | {float(np.median(ratios)):.2f} | "
                f"{peak_mb:,.0f} MB |"
            )
    return lines


def bundled() -> list[str]:
    """The bundled model on the bundled recording, with both engines."""
    true = json.loads((SPOKEN / "spoken.json").read_text("utf-8"))["text"]
    speech = decode_all(SPOKEN / "spoken.flac", RATE_HZ, 1)[0]
    lines = ["| engine | words wrong, bundled model on the bundled recording |", "|---|---:|"]
    for name in ENGINES:
        (segments,) = load(name, MINI).transcribe([speech], DecodeOptions("en"))
        errors, words = word_errors(true, " ".join(one.text for one in segments))
        lines.append(f"| {name} | {errors} of {words} |")
    return lines


def load(name: str, weights: Path) -> SpeechEngine:
    """An engine on the weights of a folder that has them for both."""
    if name == "faster-whisper":
        return FasterWhisper(weights / "ctranslate2", 0)
    return OpenaiWhisper(weights / "model.pt", "")


def _worker(engine: str, weights: Path, windows: int, batch: int, beam: int) -> tuple[float, float]:
    """Seconds and peak megabytes of transcribing in a process of its own."""
    log = weights / "worker.log"
    command = [sys.executable, "-m", "bench.transcription", "--worker", engine, str(weights)]
    cost = measure.run([*command, str(windows), str(batch), str(beam)], log)
    return float(log.read_text().split()[-1]), cost.peak_bytes / 1e6


def _work(engine: str, weights: str, windows: str, batch: str, beam: str) -> None:
    """What the process does: print the seconds that transcribing took."""
    prepare_process()
    model = load(engine, Path(weights))
    options = DecodeOptions(
        "en", word_timestamps=False, beam_size=int(beam), temperatures=(0.0,), most_tokens=TOKENS
    )
    rng = np.random.default_rng(0)
    sounds: list[Speech] = [
        rng.normal(0, 0.1, WINDOW_S * RATE_HZ).astype(np.float32) for _ in range(int(windows))
    ]
    list(model.transcribe(sounds[:1], options))
    began_s = time.monotonic()
    size = int(batch)
    for start in range(0, len(sounds), size):
        list(model.transcribe(sounds[start : start + size], options))
    print(time.monotonic() - began_s)


if __name__ == "__main__":
    main()
