"""Edited transcripts."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from studio.errors import InvalidOption
from studio.karaoke.options import parse_video
from studio.karaoke.video import JobTrack, KaraokeVideo
from studio.results import TrackFolder
from studio.storage.disk_results import DiskResult
from studio.storage.on_demand import OnDemand
from studio.storage.results import ResultId
from studio.storage.uploads import SoundInfo
from studio.transcription import editing
from studio.transcription.result import transcript_track
from studio.transcription.transcript import Segment, Transcript, Word
from tests.support.problems import assert_problem
from tests.support.server import Server
from tests.support.sounds import write_wav
from tests.support.speech import Spoken
from tests.support.storage import disk_storage

RATE_HZ = 16_000


@pytest.fixture
def spoken_id(live_server: Server, recording: Spoken, tmp_path: Path) -> str:
    """A file with a fresh transcript."""
    path = write_wav(tmp_path / "speech.wav", recording.sound[None], RATE_HZ)
    file_id = live_server.upload(path)
    live_server.process(file_id, "whisper")
    assert live_server.wait(file_id)["status"] == "completed"
    return file_id


def read(server: Server, file_id: str) -> tuple[dict[str, Any], str]:
    """The transcript and its ETag."""
    answer = server.get(f"/download/{file_id}/transcription?format=json")
    return answer.json(), answer.headers["ETag"]


def text_of(server: Server, file_id: str, file_format: str) -> str:
    return server.get(f"/download/{file_id}/transcription?format={file_format}").text


def put(server: Server, file_id: str, body: Any, etag: str | None) -> requests.Response:
    headers = {} if etag is None else {"If-Match": etag}
    url = f"{server.url}/files/{file_id}/transcription"
    return requests.put(url, json=body, headers=headers, timeout=60)


def segment(text: str = "Hello there.", start_s: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"start_s": start_s, "end_s": start_s + 0.5, "text": text, **more}


def test_every_format_is_made_from_the_edited_transcript(
    live_server: Server, spoken_id: str
) -> None:
    original, etag = read(live_server, spoken_id)
    before = {one: text_of(live_server, spoken_id, one) for one in ("txt", "srt", "vtt", "lrc")}
    answer = put(live_server, spoken_id, {"segments": [segment("Grüße, 世界!")]}, etag)
    assert (answer.status_code, answer.json()["edited"]) == (200, True), answer.text
    for file_format in ("txt", "srt", "vtt", "json", "tsv", "lrc"):
        assert "世界" in text_of(live_server, spoken_id, file_format), file_format
    edited, new_etag = read(live_server, spoken_id)
    assert answer.headers["ETag"] == new_etag != etag
    assert (edited["text"], edited["duration_s"]) == ("Grüße, 世界!", original["duration_s"])
    [track] = live_server.get(f"/files/{spoken_id}").json()["tracks"]
    assert track["edited"]
    size = len(text_of(live_server, spoken_id, "srt").encode())
    assert track["formats"]["srt"]["bytes"] == size

    url = f"{live_server.url}/files/{spoken_id}/transcription"
    back = requests.delete(url, headers={"If-Match": new_etag}, timeout=60)
    assert (back.status_code, back.json()["edited"]) == (200, False)
    assert read(live_server, spoken_id)[0] == original
    for file_format, text in before.items():
        assert text_of(live_server, spoken_id, file_format) == text


def test_a_transcript_that_was_read_can_be_sent_back(live_server: Server, spoken_id: str) -> None:
    original, etag = read(live_server, spoken_id)
    assert put(live_server, spoken_id, original, etag).status_code == 200
    # Tokens are those of the model, which an edited text has not.
    for segment in original["segments"]:
        assert segment.pop("tokens")
    edited = read(live_server, spoken_id)[0]
    assert not any(segment.pop("tokens", []) for segment in edited["segments"])
    assert edited == original


def test_nobody_overwrites_an_edit_unseen(live_server: Server, spoken_id: str) -> None:
    _, etag = read(live_server, spoken_id)
    body = {"segments": [segment()]}
    assert_problem(put(live_server, spoken_id, body, None), "precondition_required", "If-Match")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda number: put(
                    live_server, spoken_id, {"segments": [segment(f"Edit {number}.")]}, etag
                ),
                range(4),
            )
        )
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    first = next(number for number, one in enumerate(answers) if one.status_code == 200)
    assert text_of(live_server, spoken_id, "txt") == f"Edit {first}.\n"
    # As a proxy that compresses the transcript writes it.
    assert put(live_server, spoken_id, body, f"W/{etag}").status_code == 412
    weak = f"W/{answers[first].headers['ETag']}"
    assert put(live_server, spoken_id, body, weak).status_code == 200
    assert put(live_server, spoken_id, body, "*").status_code == 200


def test_an_edit_survives_reuse_by_its_file_only(
    live_server: Server, spoken_id: str, recording: Spoken, tmp_path: Path
) -> None:
    original, etag = read(live_server, spoken_id)
    put(live_server, spoken_id, {"segments": [segment("By hand.")]}, etag)
    live_server.process(spoken_id, "whisper", initial_prompt="Something else.")
    live_server.wait(spoken_id)
    assert "By hand" not in text_of(live_server, spoken_id, "txt")
    again = live_server.process(spoken_id, "whisper")
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert text_of(live_server, spoken_id, "txt") == "By hand.\n"
    path = write_wav(tmp_path / "other.wav", recording.sound[None], RATE_HZ)
    other = live_server.upload(path)
    assert live_server.process(other, "whisper").status_code == 200
    assert read(live_server, other)[0] == original


def test_a_reused_transcript_has_the_name_of_its_own_upload(
    live_server: Server, spoken_id: str, recording: Spoken, tmp_path: Path
) -> None:
    """Formats with a title would tell others how the first upload was called."""
    formats = ("lrc", "plain.lrc", "ass", "ultrastar.txt")
    for file_format in formats:
        assert "speech" in text_of(live_server, spoken_id, file_format)
    path = write_wav(tmp_path / "Queen - Song.wav", recording.sound[None], RATE_HZ)
    other = live_server.upload(path)
    answer = live_server.process(other, "whisper")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    [track] = live_server.get(f"/files/{other}").json()["tracks"]
    assert {one for one in formats if track["formats"][one]["ready"]} == set()
    for file_format in formats:
        text = text_of(live_server, other, file_format)
        assert "Song" in text and "speech" not in text, file_format
    [track] = live_server.get(f"/files/{other}").json()["tracks"]
    assert {one for one in formats if track["formats"][one]["ready"]} == set(formats)


OPTIONS = parse_video({}, ["vocals"])


@pytest.fixture
def folder(tmp_path: Path) -> TrackFolder:
    """A job's results: a transcript that was edited once."""
    storage = disk_storage(tmp_path / "uploads", tmp_path / "outputs")
    storage.open()
    incoming = storage.receive()
    incoming.write(b"sound")
    upload = storage.accept(incoming, "song.wav", "wav", SoundInfo(3.0, RATE_HZ, 1))
    result = ResultId(upload.file_id, "a" * 32)
    with storage.work(result.name) as work:
        transcript = Transcript("en", 1.0, 3.0, ()).to_dict()
        (work / editing.FILE).write_text(json.dumps(transcript))
        storage.publish(work, result)
    folder = TrackFolder(storage.result(result), storage.source(upload), upload.filename)
    editing.save(folder, {"segments": [segment("Old words.")]})
    return folder


# It begins too early, ends after the recording, has text of the next one, and a control character.
ODD = Segment(
    1.0, 5.0, " Odd\x01 one", (Word(" Odd\x01", 1.5, 2.0, 1.0), Word(" one's", 1.2, 5.0, 1.0))
)


@pytest.fixture
def odd_folder(folder: TrackFolder) -> TrackFolder:
    """A transcript that an edit could not have, by a model."""
    editing.restore(folder)
    odd = Transcript(
        "en", 1.0, 3.0, (Segment(2.0, 2.5, " First."), ODD, Segment(2.0, 3.0, " Last."))
    )
    folder.existing(editing.FILE).path.write_text(json.dumps(odd.to_dict()))
    return folder


def saved(folder: TrackFolder, segments: Sequence[Segment]) -> list[Segment]:
    """The segments that are stored after `segments` were sent."""
    editing.save(folder, {"segments": [one.to_dict() for one in segments]})
    text = transcript_track().in_format(folder, "json").path.read_text()
    return list(Transcript.from_dict(json.loads(text)).segments)


def test_what_a_model_wrote_can_be_saved_with_corrections(odd_folder: TrackFolder) -> None:
    first, odd, last = (
        Segment(2.0, 2.5, " Better."),
        replace(ODD, words=tuple(replace(word, probability=0.5) for word in ODD.words)),
        replace(ODD, start_s=2.0, text=" Odd one", words=()),
    )
    for segments in ([first, ODD], [first, odd, last], [first, ODD]):
        assert saved(odd_folder, segments) == segments
    assert "Better" in transcript_track().in_format(odd_folder, "srt").path.read_text()


def test_a_translation_stays_one(folder: TrackFolder) -> None:
    path = folder.existing(editing.FILE).path
    path.write_text(json.dumps({**json.loads(path.read_text()), "translated_into": "en"}))
    editing.save(folder, {"segments": [segment()], "language": "de"})
    track = transcript_track()
    assert "[la:en]" in track.in_format(folder, "lrc").path.read_text()
    assert track.lyrics is not None and track.lyrics(folder).language == "en"


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        ([replace(ODD, start_s=2.0), replace(ODD, start_s=1.1)], "segments.1` lasts from 1.1 s"),
        ([replace(ODD, end_s=6.5)], "within the 5.0 s"),
        ([replace(ODD, text=" Odd\x01 ones")], "U\\+0001"),
        ([replace(ODD, text=" Odd ones")], "segments.0.words` are not the words"),
    ],
)
def test_what_a_model_did_not_write_obeys_the_rules(
    odd_folder: TrackFolder, segments: list[Segment], names: str
) -> None:
    with pytest.raises(InvalidOption, match=names):
        saved(odd_folder, segments)


def versions(folder: TrackFolder) -> list[Path]:
    assert isinstance(folder.files, DiskResult)
    return list((folder.files.path / editing.FOLDER).iterdir())


@pytest.mark.parametrize("offset_ms", [0, 100])
def test_a_format_that_waits_while_an_edit_is_saved_has_the_new_words(
    folder: TrackFolder, monkeypatch: pytest.MonkeyPatch, offset_ms: int
) -> None:
    wait = OnDemand.make

    def make(self: OnDemand, *given: Any) -> None:
        monkeypatch.undo()
        editing.save(folder, {"segments": [segment("New words.")]})
        wait(self, *given)

    monkeypatch.setattr(OnDemand, "make", make)
    file = transcript_track().in_format(folder, "srt", offset_ms)
    assert "New words." in file.path.read_text()
    assert len(versions(folder)) == 1


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_video_that_is_made_while_an_edit_is_saved_has_the_new_words(
    folder: TrackFolder, monkeypatch: pytest.MonkeyPatch, is_restored: bool
) -> None:
    track = transcript_track()
    assert track.lyrics is not None
    read_lyrics, made = track.lyrics, list[int]()

    def write(_video: KaraokeVideo, path: Path, _on_wait: Any) -> None:
        path.write_text(repr(read_lyrics(folder)))
        made.append(1)
        if len(made) == 1 and is_restored:
            editing.restore(folder)
        elif len(made) == 1:
            editing.save(folder, {"segments": [segment("New words.")]})

    monkeypatch.setattr(KaraokeVideo, "write", write)
    words = JobTrack(track, folder)
    sound = JobTrack(replace(track, duration_s=3.0), folder)
    file = KaraokeVideo(words, sound, OPTIONS, None).make()
    assert ("New" in file.path.read_text()) is not is_restored
    assert "Old" not in file.path.read_text()
    assert len(versions(folder)) == (0 if is_restored else 1)
    assert len(made) == 2


def test_a_video_that_waits_while_the_first_edit_is_saved_is_not_that_of_the_original(
    folder: TrackFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the original stays: only the words show that an edit has replaced it."""
    editing.restore(folder)
    track = transcript_track()
    assert track.lyrics is not None
    read_lyrics = track.lyrics

    def write(_video: KaraokeVideo, path: Path, _on_wait: Any) -> None:
        if not versions(folder):
            editing.save(folder, {"segments": [segment("New words.")]})
        path.write_text(repr(read_lyrics(folder)))

    monkeypatch.setattr(KaraokeVideo, "write", write)
    words = JobTrack(track, folder)
    video = KaraokeVideo(words, JobTrack(replace(track, duration_s=3.0), folder), OPTIONS, None)
    assert "New" in video.make().path.read_text()
    editing.restore(folder)
    monkeypatch.setattr(
        KaraokeVideo, "write", lambda _video, path, _on_wait: path.write_text("original")
    )
    assert video.make().path.read_text() == "original"


WORD = {"text": " Hi", "start_s": 0.5, "end_s": 0.7}


@pytest.mark.parametrize(
    ("body", "code", "names"),
    [
        ([], "invalid_json", "object"),
        ({}, "invalid_option", "'segments' is missing"),
        ({"segments": [segment()], "title": "x"}, "unknown_option", "title"),
        ({"segments": [{"text": "x"}]}, "invalid_option", "segments.0.start_s"),
        ({"segments": [segment(start_s=-1)]}, "invalid_option", "segments.0.start_s"),
        ({"segments": [segment(start_s=1e6)]}, "invalid_option", "segments.0"),
        ({"segments": [segment(), segment(start_s=0.1)]}, "invalid_option", "segments.1"),
        ({"segments": [{**segment(), "start_s": "0"}]}, "invalid_option", "segments.0.start_s"),
        ({"segments": [segment(start_s=float("nan"))]}, "invalid_option", "segments.0.start_s"),
        ({"segments": [segment("a\0b")]}, "invalid_option", "U+0000"),
        ({"segments": [segment("\ud800")]}, "invalid_option", "segments.0.text"),
        ({"segments": [segment("Hello", words=[WORD])]}, "invalid_option", "words"),
        ({"segments": [segment("Hi", words=[{**WORD, "end_s": 0.1}])]}, "invalid_option", "words"),
        ({"segments": [segment("x" * 10_001)]}, "invalid_option", "segments.0.text"),
        ({"segments": [segment("x" * 10_000)] * 101}, "invalid_option", "1,010,000 characters"),
    ],
)
def test_a_wrong_edit_changes_nothing(
    live_server: Server, shared_id: str, body: Any, code: str, names: str
) -> None:
    original, etag = read(live_server, shared_id)
    url = f"{live_server.url}/files/{shared_id}/transcription"
    headers = {"If-Match": etag, "Content-Type": "application/json"}
    answer = requests.put(url, data=json.dumps(body), headers=headers, timeout=60)
    assert_problem(answer, code, names)
    assert read(live_server, shared_id) == (original, etag)


@pytest.fixture(scope="module")
def shared_id(
    live_server: Server, recording: Spoken, tmp_path_factory: pytest.TempPathFactory
) -> str:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    file_id = live_server.upload(write_wav(path, recording.sound[None], RATE_HZ))
    live_server.process(file_id, "whisper")
    live_server.wait(file_id)
    return file_id


def test_only_transcripts_are_edited(live_server: Server, short_wav: Path) -> None:
    file_id = live_server.upload(short_wav)
    assert_problem(put(live_server, file_id, {"segments": []}, "*"), "not_ready")
    live_server.process(file_id, "demucs", model_variant="swift")
    live_server.wait(file_id)
    url = f"{live_server.url}/files/{file_id}/vocals"
    answer = requests.put(url, json={}, headers={"If-Match": "*"}, timeout=60)
    assert_problem(answer, "not_editable", "vocals")
