"""The time of this server's engines and of faster-whisper as a library on one long recording."""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import measure, report
from bench.voices_work import one_recording, transcriber
from scripts import voices
from studio.inference.process import prepare_process
from studio.transcription.engine import RATE_HZ
from tests.support.sounds import decode_all

PACKAGES = ["faster-whisper", "ctranslate2", "openvino", "openvino-genai"]
LIBRARY = "faster-whisper, library"
ROWS = (
    LIBRARY,
    "this server, OpenVINO",
    "this server, OpenVINO, greedy",
    "this server, OpenVINO, `batch_size` 8",
    "this server, CTranslate2",
    "openvino-genai, `WhisperPipeline`",
)


def speed(count: int, rounds: int) -> list[str]:
    """Rounds that take turns, each engine in a process that has loaded its model and is warm."""
    seconds: dict[str, list[float]] = {name: [] for name in ROWS}
    audio_s = 0.0
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        log = Path(name) / "log"
        for _ in range(rounds):
            for row in ROWS:
                command = [sys.executable, "-m", "bench.voices_speed", "--worker", row, str(count)]
                measure.run(command, log)
                audio_s, took_s = map(float, log.read_text().splitlines()[-1].split())
                seconds[row].append(took_s)
    lines = [
        f"{audio_s / 60:.1f} minutes of English in one recording; beam 5 unless noted, word times, "
        f"int8, all cores; medians of {rounds} interleaved rounds, with models already loaded. "
        "The speed-up is the median of the ratios of the rounds.",
        "",
        "| | time | speed-up |",
        "|---|---:|---:|",
    ]
    for row in ROWS:
        ratio = statistics.median(
            library / own for library, own in zip(seconds[LIBRARY], seconds[row], strict=True)
        )
        lines.append(f"| {row} | {statistics.median(seconds[row]):.1f} s | {ratio:.2f} |")
    return lines


def _work(row: str, count: str) -> None:
    """What a process does: print the seconds of sound, and those that transcribing took."""
    prepare_process()
    run = transcriber(row)
    prompts = voices.prompts("en", int(count))
    sounds = [decode_all(prompt.path, RATE_HZ, 1)[0] for prompt in prompts]
    run(prompts[0].path, sounds[0])
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "together.wav"
        sound = one_recording(sounds, path)
        began_s = time.monotonic()
        run(path, sound)
        print(len(sound) / RATE_HZ, time.monotonic() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64, help="prompts in the recording")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    if not voices.is_fetched():
        raise SystemExit(f"bench.voices_speed {voices.MISSING}.")
    lines = [f"Machine: {measure.machine(PACKAGES)}.", "", *speed(options.count, options.rounds)]
    print("\n".join(lines))
    if options.write:
        report.write("voices_speed", "Speech to text: speed on recordings of people", lines)


if __name__ == "__main__":
    main()
