"""`python -m bench.voices_time`: where the time of a transcription goes, by part of Whisper."""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import measure, report
from bench.voices_work import one_recording, transcriber
from scripts import voices
from studio.inference.process import prepare_process
from studio.transcription.engine import RATE_HZ
from studio.transcription.openvino.networks import Request
from tests.support.sounds import decode_all

TITLE = "Speech to text: time by part"
ENGINE = "this server, OpenVINO"
PARTS = {
    "features": "encoder, a window",
    "states": "keys and values of a window",
    "embedded": "decoder, a step",
    "prompt": "decoder, several tokens: prompts, word times",
    "hidden": "head, a step",
}
"""The parts of the network by their first input."""
REST = "all else: voice activity, spectra, rules, Python"

Times = dict[str, list[float]]


@contextmanager
def timed() -> Iterator[Times]:
    """The seconds of each inference, by part of the network."""
    times: Times = defaultdict(list)
    infer = Request.infer

    def timed_infer(request: Request) -> None:
        began_s = time.perf_counter()
        infer(request)
        name = next(iter(request._given))
        if name == "embedded" and request._given[name].shape[1] > 1:
            name = "prompt"
        times[PARTS[name]].append(time.perf_counter() - began_s)

    Request.infer = timed_infer  # type: ignore[assignment,method-assign]
    try:
        yield times
    finally:
        Request.infer = infer  # type: ignore[method-assign]


def table(count: int) -> list[str]:
    """A row for each part, on `count` prompts in one recording."""
    prepare_process()
    run = transcriber(ENGINE)
    prompts = voices.prompts("en", count)
    sounds = [decode_all(prompt.path, RATE_HZ, 1)[0] for prompt in prompts]
    run(prompts[0].path, sounds[0])
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "together.wav"
        sound = one_recording(sounds, path)
        with timed() as times:
            began_s = time.perf_counter()
            run(path, sound)
            all_s = time.perf_counter() - began_s
    lines = [
        f"{len(sound) / RATE_HZ / 60:.1f} minutes of English in one recording, `base`, beam 5, "
        f"word times, the defaults of this server; {all_s:.1f} s in all.",
        "",
        "| part | times | mean | together | share |",
        "|---|---:|---:|---:|---:|",
    ]
    for part in sorted(times, key=lambda part: -sum(times[part])):
        spent_s = sum(times[part])
        mean_ms = 1e3 * spent_s / len(times[part])
        lines.append(
            f"| {part} | {len(times[part])} | {mean_ms:.1f} ms | {spent_s:.1f} s "
            f"| {spent_s / all_s:.0%} |"
        )
    rest_s = all_s - sum(map(sum, times.values()))
    return [*lines, f"| {REST} | | | {rest_s:.1f} s | {rest_s / all_s:.0%} |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64, help="prompts in the recording")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    if not voices.is_fetched():
        raise SystemExit(f"bench.voices_time {voices.MISSING}.")
    lines = [f"Machine: {measure.machine(['faster-whisper', 'openvino'])}.", ""]
    lines += table(options.count)
    print("\n".join([f"## {TITLE}", "", *lines]))
    if options.write:
        report.write("voices_time", TITLE, lines)


if __name__ == "__main__":
    main()
