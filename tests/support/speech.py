"""What the tests of speech share: the bundled recording, what is said in it, the bundled model."""

import difflib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.scores import word_errors, words_of
from studio.transcription.engine import RATE_HZ, Speech
from studio.transcription.openai_weights import read_checkpoint
from studio.transcription.transcript import Segment, Word
from tests.support.server import ROOT, Server
from tests.support.sounds import SONG, Sound, decode_all, write_wav

MINI = ROOT / "pretrained" / "whisper-mini"
SPEECH = ROOT / "samples" / "speech"
RECORDING = SPEECH / "spoken.flac"
TRACK = "/download/{}/transcription"
# What the bundled model may get wrong of the bundled recording, which it was not trained on.
MAX_WRONG = 0.05
# The same where the words lie elsewhere in a window, or the sound was encoded again.
MAX_WRONG_ELSEWHERE = 0.1
# The same through the microphone of a browser, which cleans the sound, and loses parts of it when
# the machine is busy.
MAX_WRONG_HEARD = 0.5


@dataclass(frozen=True)
class Spoken:
    """The recording at 16 kHz, its text and sentences, and (word, start, end) in seconds."""

    sound: Speech
    text: str
    sentences: list[str]
    words: list[tuple[str, float, float]]

    def part(self, first: int, last: int) -> Speech:
        """The sound of some sentences, with half of the pauses around them."""
        ends = np.cumsum([0, *(len(sentence.split()) for sentence in self.sentences)])
        starts = [self.words[end][1] for end in ends[:-1]]
        borders = [0.0]
        borders += [(self.words[end - 1][2] + self.words[end][1]) / 2 for end in ends[1:-1]]
        borders += [max(starts[-1], len(self.sound) / RATE_HZ)]
        return self.sound[round(borders[first] * RATE_HZ) : round(borders[last] * RATE_HZ)]


def spoken() -> Spoken:
    data = json.loads((SPEECH / "spoken.json").read_text("utf-8"))
    sentences = data["sentences"]
    words = [word for sentence in sentences for word in sentence["words"]]
    return Spoken(
        decode_all(RECORDING, RATE_HZ, 1)[0],
        data["text"],
        [sentence["text"] for sentence in sentences],
        [(word["word"], word["start_s"], word["end_s"]) for word in words],
    )


def wrong(true: str, said: str) -> float:
    """Word error rate."""
    errors, words = word_errors(true, said)
    return errors / words


def text_of(segments: list[Segment]) -> str:
    return " ".join(segment.text.strip() for segment in segments)


def late_s(true: list[tuple[str, float, float]], found: list[Word]) -> list[float]:
    """How far the starts of the words that were understood are from the true ones, in seconds."""
    said = [" ".join(words_of(word.text)) for word in found]
    blocks = difflib.SequenceMatcher(None, [word for word, _, _ in true], said, autojunk=False)
    return [
        abs(found[match.b + n].start_s - true[match.a + n][1])
        for match in blocks.get_matching_blocks()
        for n in range(match.size)
    ]


def instrumental(rate_hz: int = RATE_HZ, channels: int = 1) -> Sound:
    """The bundled song without its singer, float32 (channels, samples)."""
    parts = [decode_all(SONG / f"{stem}.flac", rate_hz, channels) for stem in ("drums", "bass")]
    sound: Sound = sum(parts) + decode_all(SONG / "other.flac", rate_hz, channels)
    return sound


def write_speech(path: Path, times: int = 1, rate_hz: int = RATE_HZ) -> Path:
    """The recording, several times with pauses that make it a window each, as a mono WAV file."""
    sound = decode_all(RECORDING, rate_hz, 1)
    pause = np.zeros((1, 6 * rate_hz), np.float32)
    return write_wav(path, np.concatenate([sound, pause] * times, axis=1), rate_hz)


def word_of(data: dict[str, Any]) -> Word:
    """A word as the JSON of a transcript has it."""
    return Word(**data)


def transcribed(server: Server, path: Path, filename: str | None = None, **options: Any) -> str:
    """Upload and transcribe a file; its id once the text is there."""
    file_id = server.upload(path, filename)
    again(server, file_id, **options)
    return file_id


def again(server: Server, file_id: str, **options: Any) -> dict[str, Any]:
    """Transcribe an upload, without random tries unless asked for; the completed job."""
    answer = server.process(file_id, "whisper", **{"temperature": 0.0, **options})
    assert answer.status_code in (200, 202), answer.text
    status = server.wait(file_id)
    assert status["status"] == "completed", status
    return dict(status["jobs"][0])


def watch(
    server: Server, file_id: str, until: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Every status of a file up to the one that is waited for; its job must not fail before."""
    seen: list[dict[str, Any]] = []
    while not seen or not until(seen[-1]):
        assert not seen or seen[-1]["status"] in ("queued", "processing"), seen[-1]
        time.sleep(0.02)
        seen.append(server.get(f"/status/{file_id}").json())
    return seen


def text(server: Server, file_id: str, file_format: str = "txt") -> str:
    answer = server.get(f"{TRACK.format(file_id)}?format={file_format}")
    assert answer.status_code == 200, answer.text
    return answer.content.decode("utf-8")


def data(server: Server, file_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text(server, file_id, "json"))
    return found


def write_checkpoint(path: Path) -> None:
    """The bundled model as a checkpoint of openai-whisper, in float16 like the released ones."""
    import torch

    checkpoint = read_checkpoint(MINI / "ctranslate2")
    state = {name: value.half() for name, value in checkpoint["model_state_dict"].items()}
    torch.save({**checkpoint, "model_state_dict": state}, path)


def make_whisper(path: Path) -> None:
    """A checkpoint of openai-whisper with random weights: layers and heads of `tiny`, narrow."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    sound = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 96, "n_audio_head": 6}
    words = {"n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 96, "n_text_head": 6}
    dimensions = {**sound, "n_audio_layer": 1, **words, "n_text_layer": 4}
    torch.manual_seed(7)
    state = Whisper(ModelDimensions(**dimensions)).state_dict()
    torch.save({"dims": dimensions, "model_state_dict": state}, path)
