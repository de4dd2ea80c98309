"""A song becomes timed lyrics in one request: its vocals are separated, then transcribed."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.transcription.formats import FORMATS
from tests.support.server import Server
from tests.support.sounds import SONG, decode_all, write_wav
from tests.support.speech import TRACK, again, data, instrumental, text, watch
from tests.support.subtitles import read_lrc, read_srt, read_ultrastar
from tests.support.tunes import melody

SINGER = {"source": "vocals", "separation_variant": "mini", "temperature": 0.0}
STEMS = ["vocals", "no_vocals", "instrumental"]
MIXTURE = SONG / "mixture.flac"
SONG_S = 18.0


@pytest.fixture(scope="module")
def sung(speaker: Server) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """The song with its lyrics: its id, the completed job, and every status on the way."""
    file_id = speaker.upload(MIXTURE)
    assert speaker.process(file_id, "whisper", **SINGER).status_code == 202
    seen = watch(speaker, file_id, lambda status: status["status"] == "completed")
    return file_id, seen[-1]["jobs"][0], seen


def test_one_job_separates_and_transcribes(
    sung: tuple[str, dict[str, Any], list[dict[str, Any]]],
) -> None:
    _, job, seen = sung
    assert job["tracks"] == ["transcription", *STEMS]
    result = job["result"]
    assert (result["source"], result["vocals_from"]) == ("vocals", job["job_id"])
    assert result["separation"]["variant"] == "mini"
    assert result["separation"]["stems"] == ["vocals"]
    assert result["duration_s"] == pytest.approx(SONG_S, abs=0.01)
    assert result["words"] > 0
    progress = [status["progress"] for status in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    stages = list(dict.fromkeys(status["stage"] for status in seen))
    order = ["waiting", "starting", "loading model", "analysing", "separating", "transcribing"]
    assert [stage for stage in order if stage in stages] == stages[:-1]
    assert "separating" in stages


def test_lyrics_have_a_time_for_every_word(
    speaker: Server, sung: tuple[str, dict[str, Any], list[dict[str, Any]]]
) -> None:
    file_id, job, _ = sung
    written = text(speaker, file_id, "lrc")
    title, length, language, *_ = written.splitlines()
    assert (title, length, language) == ("[ti:mixture]", "[length:00:18]", "[la:en]")
    lines = read_lrc(written)
    assert sum(len(line.split()) for _, line in lines) == job["result"]["words"]
    for times, line in lines:
        assert len(times) == len(line.split()) + 2, "of the line, of each word, and of the end"
    times = [time_s for line_times, _ in lines for time_s in line_times]
    assert times == sorted(times)
    assert times[0] >= 0.0 and times[-1] <= SONG_S
    shown = read_srt(text(speaker, file_id, "srt"))
    assert " ".join(" ".join(words) for _, _, words in shown) == " ".join(
        " ".join(line.split()) for _, line in lines
    )


def test_notes_have_the_pitches_of_the_melody(
    speaker: Server, sung: tuple[str, dict[str, Any], list[dict[str, Any]]]
) -> None:
    file_id, job, _ = sung
    _, lines = read_ultrastar(text(speaker, file_id, "ultrastar.txt"))
    notes = [note for line in lines for note in line]
    assert len(notes) == job["result"]["words"]
    scored = [(note, note.pitch) for note in notes if note.pitch is not None]
    assert len(scored) >= 0.5 * len(notes)
    # The small models leave instruments in the vocals and words across notes. Games ignore octaves.
    right = [
        any(
            (one.pitch - pitch) % 12 == 0
            and one.start_s < note.end_s
            and note.start_s < one.start_s + one.duration_s
            for one in melody()
        )
        for note, pitch in scored
    ]
    assert np.mean(right) >= 0.6, scored


def test_both_halves_of_the_song_can_be_had(
    speaker: Server, sung: tuple[str, dict[str, Any], list[dict[str, Any]]], tmp_path: Path
) -> None:
    file_id, _, _ = sung
    halves = []
    for track in ("vocals", "instrumental"):
        path = tmp_path / f"{track}.wav"
        path.write_bytes(speaker.get(f"/download/{file_id}/{track}").content)
        halves.append(decode_all(path))
    assert np.abs(sum(halves) - decode_all(MIXTURE)).max() < 1e-5
    archive = speaker.get(f"/download/{file_id}/all.zip")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        held = {name.rpartition(" - ")[2] for name in opened.namelist()}
    assert held == {"vocals.wav", *(f"transcription.{name}" for name in FORMATS)}
    answer = speaker.get(f"/download/{file_id}/vocals?format=srt")
    assert answer.json()["code"] == "unknown_format"
    answer = speaker.get(f"{TRACK.format(file_id)}?format=wav")
    assert answer.json()["code"] == "unknown_format"
    listed = speaker.get(f"/files/{file_id}").json()
    assert [track["track"] for track in listed["tracks"]] == ["transcription", *STEMS]
    assert listed["archive"]


def test_vocals_that_are_there_are_used_again(
    speaker: Server, sung: tuple[str, dict[str, Any], list[dict[str, Any]]]
) -> None:
    file_id, first, _ = sung
    for options in (SINGER, {"source": "vocals"}):
        job = again(speaker, file_id, beam_size=2, **options)
        assert job["result"]["vocals_from"] == first["job_id"]
        assert "separation" not in job["result"]
        assert job["tracks"] == ["transcription"]
    # The song with its accompaniment is another matter, and no separation.
    assert again(speaker, file_id, source="mixture")["result"]["source"] == "mixture"


def test_vocals_of_an_earlier_separation_are_used(speaker: Server) -> None:
    file_id = speaker.separate(MIXTURE, model_variant="mini", overlap=0.1)
    separated = speaker.get(f"/status/{file_id}").json()["job_id"]
    # Other options than above, or the same song would be answered from the other upload.
    job = again(speaker, file_id, beam_size=6, **SINGER)
    assert job["result"]["vocals_from"] == separated
    assert job["tracks"] == ["transcription"]
    tracks = speaker.get(f"/status/{file_id}").json()["tracks"]
    assert {"transcription", "drums", *STEMS} <= set(tracks)


def test_stems_without_vocals_do_not_help(speaker: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", decode_all(MIXTURE)[:, : 4 * 44_100])
    file_id = speaker.separate(song, model_variant="mini", stems=["drums"])
    job = again(speaker, file_id, **SINGER)
    assert job["result"]["vocals_from"] == job["job_id"]
    assert job["tracks"] == ["transcription", *STEMS]


def test_music_without_a_singer(speaker: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "music.wav", instrumental(44_100, 2))
    job = again(speaker, speaker.upload(song), **SINGER)
    assert job["tracks"] == ["transcription", *STEMS]
    # What the small model leaves of the instruments in the vocals may be taken for words; sure of
    # them nobody can be.
    words = [
        word for segment in data(speaker, job["file_id"])["segments"] for word in segment["words"]
    ]
    assert np.median([word["probability"] for word in words] or [0.0]) < 0.5


def test_lyrics_that_are_canceled_leave_nothing(speaker: Server, tmp_path: Path) -> None:
    whole = np.tile(decode_all(MIXTURE), 10)
    file_id = speaker.upload(write_wav(tmp_path / "long.wav", whole))
    assert speaker.process(file_id, "whisper", **SINGER).status_code == 202
    watch(speaker, file_id, lambda status: status["stage"] == "separating")
    assert speaker.post(f"/cancel/{file_id}").json()["status"] == "canceled"
    assert again(speaker, speaker.upload(MIXTURE), beam_size=3)  # the worker is free again
    assert speaker.get(f"/status/{file_id}").json()["tracks"] == []
    assert list((speaker.outputs / ".work").iterdir()) == []
    assert not (speaker.outputs / file_id).exists()
