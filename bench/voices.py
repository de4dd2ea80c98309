"""How right Whisper is on recordings of people: this server against the programs it builds on.

`make voices` fetches the recordings and the released `base` weights. In each language the
recordings are transcribed one by one and all in one recording, with 0.9 s between them. Each
program runs in a process of its own.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import measure, report
from bench.voices_score import Score, normaliser, total
from bench.voices_work import SERVERS, work
from scripts import voices

PACKAGES = ["openai-whisper", "faster-whisper", "ctranslate2", "openvino", "openvino-genai"]
PROMPTS = {"en": 64}
PROMPTS_ELSE = 40
NAMES = {"en": "English", "fr": "French", "it": "Italian", "es": "Spanish", "ru": "Russian"}
REFERENCE = "openai-whisper, f32"
LIBRARY = "faster-whisper, library"
GENAI = "openvino-genai, `WhisperPipeline`"
ENGINES = (*SERVERS, LIBRARY, GENAI, REFERENCE)


@dataclass(frozen=True)
class Run:
    """What an engine made of a language: a text for each prompt, and for all in one recording."""

    engine: str
    language: str
    alone: Score
    together: Score
    wall_s: tuple[float, float]
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="*", default=list(voices.LANGUAGES))
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--count", type=int, help="prompts in each language (English 64, else 40)")
    parser.add_argument("--keep", type=Path, help="where to keep texts, to continue later")
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    if not voices.is_fetched():
        raise SystemExit(f"bench.voices {voices.MISSING}.")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        runs = _runs(options, options.keep or Path(name))
    lines = [f"Machine: {measure.machine(PACKAGES)}.", ""]
    for title, of in _TABLES.items():
        lines += [f"## {title}", "", *table(runs, options.languages, options.engines, of), ""]
    print("\n".join(lines))
    if options.write:
        report.write("voices", "Speech to text: recordings of people", lines)


def _runs(options: argparse.Namespace, folder: Path) -> list[Run]:
    """All runs; those whose texts are in the folder are not repeated."""
    runs = []
    for language in options.languages:
        count = options.count or PROMPTS.get(language, PROMPTS_ELSE)
        reference: Run | None = None
        for engine in sorted(options.engines, key=lambda name: name != REFERENCE):
            answer = (
                folder / f"{language}-{count}-{re.sub(r'[^a-z0-9]+', '-', engine.lower())}.json"
            )
            if not answer.exists():
                _work(engine, language, count, answer)
            runs.append(
                _run(engine, language, count, json.loads(answer.read_text("utf-8")), reference)
            )
            if engine == REFERENCE:
                reference = runs[-1]
            print(_row(runs[-1]), flush=True)
    return runs


def _work(engine: str, language: str, count: int, answer: Path) -> None:
    """Run an engine in a process of its own, and write its texts and peak memory into a file."""
    answer.parent.mkdir(parents=True, exist_ok=True)
    unfinished = answer.with_suffix(".part")
    command = [sys.executable, "-m", "bench.voices", "--worker"]
    cost = measure.run(
        [*command, engine, language, str(count), str(unfinished)], answer.with_suffix(".log")
    )
    made = {**json.loads(unfinished.read_text("utf-8")), "peak_bytes": cost.peak_bytes}
    unfinished.write_text(json.dumps(made, ensure_ascii=False), "utf-8")
    unfinished.replace(answer)


def _run(
    engine: str, language: str, count: int, made: dict[str, Any], reference: Run | None
) -> Run:
    prompts = voices.prompts(language, count)
    normalise = normaliser(language)
    texts = [normalise(prompt.text) for prompt in prompts]
    whole = [word for text in texts for word in text]
    said = [normalise(text) for text in made["alone"]]
    together = [normalise(made["together"])]
    kept = (reference.alone.said, reference.together.said) if reference else (None, None)
    return Run(
        engine,
        language,
        Score.of(texts, said, kept[0]),
        Score.of([whole], together, kept[1]),
        (made["alone_s"], made["together_s"]),
        made["peak_bytes"] / 1e6,
    )


def _row(run: Run) -> str:
    return (
        f"{run.language} {run.engine}: alone {run.alone.text}, together {run.together.text}, "
        f"{run.wall_s[0]:.0f} s, {run.wall_s[1]:.0f} s, {run.peak_mb:.0f} MB"
    )


_TABLES: dict[str, Callable[[Sequence[Run]], str]] = {
    "WER, each recording separately": lambda runs: total(run.alone for run in runs).text,
    "WER, all in one recording": lambda runs: total(run.together for run in runs).text,
    "Peak memory": lambda runs: f"{max(run.peak_mb for run in runs):,.0f} MB",
}
NOTE = (
    "Word error rate after Whisper's own text normalisation; in addition, words for the numbers 0 "
    "to 9 equal their digits in all languages. In brackets: runs of three or more consecutive "
    "words that the engine lost{}."
)
KEPT = " but openai-whisper in float32 has"


def table(
    runs: Sequence[Run],
    languages: Sequence[str],
    engines: Sequence[str],
    of: Callable[[Sequence[Run]], str],
) -> list[str]:
    """One row an engine, one column a language, and one for all languages."""
    by_key = {(run.engine, run.language): run for run in runs}
    words = {run.language: run.alone.words for run in runs}
    columns = [f"{NAMES[language]}, {words[language]} words" for language in languages]
    head = " | ".join([*columns, f"all, {sum(words.values()):,} words"])
    note = NOTE.format(KEPT if REFERENCE in engines else "")
    lines = [note, ""] if of is not _TABLES["Peak memory"] else []
    lines += [f"| | {head} |", "|---|---:|" + "---:|" * len(languages)]
    for engine in engines:
        own = [by_key[engine, language] for language in languages]
        cells = " | ".join([*(of([run]) for run in own), of(own)])
        lines.append(f"| {engine} | {cells} |")
    return lines


if __name__ == "__main__":
    main()
