"""`python -m bench.live`: live transcription with several speakers in real time, over real sockets.

Every speaker is a client of the official Python package that sends the bundled recording in real
time, each beginning at another sentence, to a server behind gunicorn. Latency is the time from the
end of a word (of an utterance) to the arrival of the first text that has it (of its final text).
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from bench import material, measure, report
from bench.material import ROOT
from bench.speaker import Speaker, lost_and_doubled, speakers
from scripts.scores import edits, words_of
from studio.transcription.engine import RATE_HZ, DecodeOptions
from studio.transcription.faster_engine import FasterWhisper
from tests.support.server import Server

PACKAGES = ["flask-socketio", "python-socketio", "gunicorn", "faster-whisper", "ctranslate2"]
MINI = ROOT / "pretrained" / "whisper-mini"
# Long enough that the separation never ends within a row.
SEPARATED_S = 1800.0
SEPARATES_WITHIN_S = 120.0
ENGINES = {"bundled mini": "app:create_app()", "as slow as base": "bench.slow_app:slow_app()"}
HEAD = (
    "| clients | word latency, median | 95th percentile | words timed | final latency, median | "
    "95th percentile | finals | WER | WER of the whole file | lost, duplicated |",
    "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)
NOTES = """\
Word latency is the time from the end of a word to the first text that contains it; final
latency is the time from the end of an utterance to its final text, including the 0.5 s of
silence that ends an utterance. Goals for 1, 4 and 8 clients: median word latency of at most 0.8,
1.2 and 2 s; 95th percentile of final latency of at most 1.0, 1.5 and 2.5 s; a WER at most 1
percentage point above that of the whole file decoded at once; no word lost or duplicated. A
concurrent separation may add at most 0.5 s to the median word latency. Words timed: the share
of spoken words that appear in a text of their utterance; the others were not recognised.
Finals: the number of utterances with a final text, out of all; a missing one counts as
infinitely late. Lost, duplicated: words of the final texts compared with those for the same
audio sent at once."""


@dataclass(frozen=True)
class References:
    """Of each speaker: the text of its sound sent in one piece, and of the whole file at once."""

    in_one_piece: list[str]
    whole: list[str]


def references(server: Server, group: list[Speaker]) -> References:
    """What the texts of the rows are compared with; it does not depend on the engine's speed."""
    for one in group:
        one.speak(server.url, at_once=True)
    engine = FasterWhisper(MINI / "ctranslate2", 0)
    whole = []
    for one in group:
        (segments,) = engine.transcribe([one.sound], DecodeOptions("en"))
        whole.append(" ".join(segment.text for segment in segments))
    return References([one.text for one in group], whole)


@dataclass(frozen=True)
class Row:
    """What one group of speakers met."""

    name: str
    group: list[Speaker]
    references: References
    words: Callable[[str], list[str]] = words_of

    @property
    def words_s(self) -> list[float]:
        return [latency for one in self.group for latency in one.word_latencies_s()]

    def table_row(self, beside: "Row | None" = None) -> str:
        """The row as a line of the table; with its differences to the same row alone."""
        words_s = self.words_s
        said = sum(len(said.words) for one in self.group for said in one.utterances)
        finals_s = [latency for one in self.group for latency in one.final_latencies_s()]
        came = sum(math.isfinite(latency) for latency in finals_s)
        texts = [one.text for one in self.group]
        pairs = zip(self.references.in_one_piece, texts, strict=False)
        lost, doubled = map(sum, zip(*(lost_and_doubled(*pair) for pair in pairs), strict=True))
        more = (
            f" ({statistics.median(words_s) - statistics.median(beside.words_s):+.2f} s)"
            if beside and words_s and beside.words_s
            else ""
        )
        return (
            f"| {self.name} | {_seconds(words_s, 0.5)}{more} | {_seconds(words_s, 0.95)} | "
            f"{100 * len(words_s) / said:.0f} % | {_seconds(finals_s, 0.5)} | "
            f"{_seconds(finals_s, 0.95)} | {came} of {len(finals_s)} | "
            f"{self._wrong(texts):.1f} % | {self._wrong(self.references.whole):.1f} % | "
            f"{lost}, {doubled} |"
        )

    def _wrong(self, texts: list[str]) -> float:
        """Word error rate of the group in percent."""
        errors = count = 0
        for one, text in zip(self.group, texts, strict=False):
            true = self.words(one.true_text)
            errors += edits(true, self.words(text))
            count += len(true)
        return 100 * errors / count


def _seconds(values: list[float], share: float) -> str:
    """A percentile, the higher of two neighbours, so that infinite values stay what they are."""
    if not values:
        return "none"
    return f"{sorted(values)[min(len(values) - 1, math.floor(share * len(values)))]:.2f} s"


def speak(server: Server, name: str, count: int, rounds: int, known: References) -> Row:
    """A row: `count` speakers at once."""
    return speak_together(server, Row(name, speakers(count, rounds), known))


def speak_together(server: Server, row: Row) -> Row:
    """The same row after its speakers have spoken, all at the same time."""
    threads = [Thread(target=one.speak, args=(server.url,)) for one in row.group]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return row


def _status(server: Server, file_id: str) -> dict[str, Any]:
    status: dict[str, Any] = server.get(f"/status/{file_id}").json()
    return status


def separate(server: Server, folder: Path) -> str:
    """Begin a long separation; the id of its file, once it has separated something."""
    file_id = server.upload(material.song(folder / "song.wav", SEPARATED_S))
    assert server.process(file_id).status_code == 202
    ends_s = time.monotonic() + SEPARATES_WITHIN_S
    while not (_status(server, file_id)["progress"] or 0) > 0:
        if time.monotonic() > ends_s:
            raise SystemExit(f"no separation began: {_status(server, file_id)}")
        time.sleep(0.2)
    return file_id


def table(
    application: str, clients: list[int], beside: int, rounds: int, known: References | None
) -> Iterator[str | References]:
    """The rows of one engine, each as soon as it is measured, and at first the references."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        most = max([*clients, beside])
        server = Server(
            Path(name), WHISPER_MODEL="mini", LIVE_SESSIONS=most, LIVE_CHUNK_BYTES=1 << 24
        )
        server.start(application=application)
        try:
            if known is None:
                known = references(server, speakers(most, rounds))
                yield known
            else:
                warm = speakers(1, 1)[0]
                warm.sound = warm.sound[: 4 * RATE_HZ]
                warm.speak(server.url, at_once=True)
            rows = {}
            for count in clients:
                rows[count] = speak(server, str(count), count, rounds, known)
                yield rows[count].table_row()
            if beside:
                file_id = separate(server, Path(name))
                row = speak(server, f"{beside}, with a separation", beside, rounds, known)
                status = _status(server, file_id)["status"]
                assert status == "processing", f"the separation is {status}"
                yield row.table_row(rows.get(beside))
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how often the recording is said")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--beside", type=int, default=4, help="clients beside a separation; 0: no")
    parser.add_argument("--engine", choices=ENGINES, nargs="*", default=list(ENGINES))
    parser.add_argument("--write", action="store_true", help="write it into docs/benchmarks.md")
    options = parser.parse_args()
    lines: list[str] = []

    def tell(*more: str) -> None:
        print("\n".join(more), flush=True)
        lines.extend(more)

    tell(f"Machine: {measure.machine(PACKAGES)}.", "", NOTES, "")
    known: References | None = None
    for name in options.engine:
        tell(f"Engine: {name}.", "", *HEAD)
        for made in table(ENGINES[name], options.clients, options.beside, options.rounds, known):
            if isinstance(made, References):
                known = made
            else:
                tell(made)
        tell("")
    if options.write:
        report.write("live", "Live transcription", lines)


if __name__ == "__main__":
    main()
