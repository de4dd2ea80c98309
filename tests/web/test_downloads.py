"""Downloads: every track in every format, parts of it, its name, and all stems in one ZIP."""

import io
import mimetypes
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import requests
import soundfile
from werkzeug.http import parse_options_header

from studio.audio import MEDIA_TYPES
from studio.settings.values import AUDIO_FILE_TYPES, MORE_FILE_TYPES
from tests.support.hostile_files import open_door, send
from tests.support.server import Server
from tests.support.sounds import convert, noise, read_sound, sound_of, write_wav

STEMS = ["drums", "bass", "other", "vocals"]
TRACKS = [*STEMS, "no_drums", "no_bass", "no_other", "no_vocals", "instrumental"]
SAMPLES = 132_300
RATE_HZ = 44_100
CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
}
SUBTYPES = {"wav": "FLOAT", "flac": "PCM_24", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}


@pytest.fixture(scope="module")
def done(server: Server, short_wav: Path) -> str:
    """A file of three seconds that was separated into all stems."""
    return server.separate(short_wav)


def name_of(answer: requests.Response) -> str:
    """The file name that a client takes from a download."""
    kind, options = parse_options_header(answer.headers["Content-Disposition"])
    assert kind == "attachment"
    return options["filename"]


@pytest.mark.parametrize("audio_format", CONTENT_TYPES)
@pytest.mark.parametrize("track", TRACKS)
def test_every_track_in_every_format(
    server: Server, done: str, track: str, audio_format: str
) -> None:
    answer = server.get(f"/download/{done}/{track}?format={audio_format}")
    assert answer.headers["Content-Type"] == CONTENT_TYPES[audio_format]
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert name_of(answer) == f"short - {track}.{audio_format}"
    sound = sound_of(answer)
    info = soundfile.info(io.BytesIO(answer.content))
    assert (info.subtype, info.channels) == (SUBTYPES[audio_format], 2)
    if audio_format == "mp3":  # whole frames of 1152 samples, and the encoder's delay
        assert 0 <= sound.shape[1] - SAMPLES <= 3 * 1152
    else:
        assert sound.shape == (2, SAMPLES)
    assert float(np.sqrt(np.mean(sound**2))) > 1e-5


def test_formats_hold_the_same_sound(server: Server, done: str) -> None:
    gain = server.get(f"/status/{done}").json()["jobs"][0]["result"]["gain"]
    whole = sound_of(server.get(f"/download/{done}/vocals")) * gain
    flac = sound_of(server.get(f"/download/{done}/vocals?format=flac"))
    ogg = sound_of(server.get(f"/download/{done}/vocals?format=ogg"))
    assert np.abs(flac - whole).max() <= 2**-23
    assert np.corrcoef(ogg.ravel(), whole.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("stem", STEMS)
def test_a_stem_and_what_is_left_are_the_song(
    server: Server, done: str, short_wav: Path, stem: str
) -> None:
    part = sound_of(server.get(f"/download/{done}/{stem}"))
    rest = sound_of(server.get(f"/download/{done}/no_{stem}"))
    assert np.abs(part + rest - read_sound(short_wav)).max() <= 1e-6


def test_instrumental_is_what_is_left_without_the_vocals(
    server: Server, done: str, short_wav: Path
) -> None:
    vocals = sound_of(server.get(f"/download/{done}/vocals"))
    instrumental = sound_of(server.get(f"/download/{done}/instrumental"))
    assert np.abs(vocals + instrumental - read_sound(short_wav)).max() <= 1e-6


def test_the_stems_are_different_sounds(server: Server, done: str) -> None:
    sounds = [sound_of(server.get(f"/download/{done}/{stem}")) for stem in STEMS]
    for number, one in enumerate(sounds):
        for other in sounds[number + 1 :]:
            assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-3", 0, 3),
        ("bytes=100-1999", 100, 1999),
        ("bytes=1000-", 1000, None),
        ("bytes=-500", -500, None),
    ],
)
def test_a_part_of_a_track(
    server: Server, done: str, asked: str, first: int, last: int | None
) -> None:
    whole = server.get(f"/download/{done}/vocals")
    assert whole.headers["Accept-Ranges"] == "bytes"
    total = len(whole.content)
    part = server.get(f"/download/{done}/vocals", headers={"Range": asked})
    assert part.status_code == 206
    first, last = first % total, total - 1 if last is None else last
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/{total}"
    assert part.content == whole.content[first : last + 1]


def test_a_part_beyond_the_end(server: Server, done: str) -> None:
    size = len(server.get(f"/download/{done}/vocals").content)
    answer = server.get(f"/download/{done}/vocals", headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_a_download_goes_on_only_if_the_file_is_the_same(server: Server, done: str) -> None:
    address = f"/download/{done}/bass"
    tag = server.get(address).headers["ETag"]
    go_on = {"Range": "bytes=10-19"}
    assert server.get(address, headers={**go_on, "If-Range": tag}).status_code == 206
    assert server.get(address, headers={**go_on, "If-Range": '"another"'}).status_code == 200


def test_an_unchanged_track_is_not_sent_again(server: Server, done: str) -> None:
    tags = set()
    for track in ("vocals", "bass", "vocals?format=flac"):
        first = server.get(f"/download/{done}/{track}")
        again = server.get(
            f"/download/{done}/{track}", headers={"If-None-Match": first.headers["ETag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        tags.add(first.headers["ETag"])
    assert len(tags) == 3
    changed = server.get(f"/download/{done}/vocals", headers={"If-None-Match": '"another"'})
    assert changed.status_code == 200


def test_head_tells_the_size_only(server: Server, done: str) -> None:
    whole = server.get(f"/download/{done}/vocals")
    head = requests.head(f"{server.url}/download/{done}/vocals", timeout=30)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.content))
    assert head.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.parametrize(
    ("filename", "stem"),
    [
        ("夜曲.wav", "夜曲"),
        ('say "yes".wav', 'say "yes"'),
        ("Ünïcødé + 100%.wav", "Ünïcødé + 100%"),
        ("a.b.c.WAV", "a.b.c"),
        ("semi; filename=evil.exe.wav", "semi; filename=evil.exe"),
    ],
)
def test_a_download_keeps_the_name_of_the_upload(
    server: Server, short_wav: Path, filename: str, stem: str
) -> None:
    """Written by hand as a browser does it: the name in UTF-8, quotes as %22."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
    body += filename.replace('"', "%22").encode()
    body += b'"\r\n\r\n' + short_wav.read_bytes() + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    sent = server.post("/upload", data=body, headers=kind).json()
    assert sent["filename"] == filename
    file_id = sent["file_id"]
    assert server.process(file_id).status_code in (200, 202)
    assert server.wait(file_id)["filename"] == filename

    answer = server.get(f"/download/{file_id}/vocals?format=flac")
    raw = answer.headers["Content-Disposition"]
    assert raw.endswith(f"; filename*=UTF-8''{quote(f'{stem} - vocals.flac', safe='')}")
    assert raw.isascii()
    plain = raw.partition('filename="')[2].partition('"')[0]
    assert plain.endswith("vocals.flac")
    assert name_of(answer) == f"{stem} - vocals.flac"

    archive = server.get(f"/download/{file_id}/all.zip")
    assert name_of(archive) == f"{stem} - stems.zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.namelist() == [f"{stem} - {track}.wav" for track in STEMS]


@pytest.mark.parametrize("audio_format", ["wav", "mp3"])
def test_all_stems_in_one_zip(server: Server, done: str, audio_format: str) -> None:
    answer = server.get(f"/download/{done}/all.zip?format={audio_format}", stream=True)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert "Transfer-Encoding" not in answer.headers
    content = answer.content
    assert int(answer.headers["Content-Length"]) == len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [f"short - {stem}.{audio_format}" for stem in STEMS]
        for stem in STEMS:
            single = server.get(f"/download/{done}/{stem}?format={audio_format}").content
            assert opened.read(f"short - {stem}.{audio_format}") == single


@pytest.mark.parametrize("track", ["vocals", "instrumental"])
@pytest.mark.parametrize(
    "audio_format",
    [
        pytest.param("ogg", marks=pytest.mark.slow),
        pytest.param("mp3", marks=pytest.mark.slow),
        "flac",
    ],
)
def test_first_downloads_at_once_are_the_same_file(
    server: Server, tmp_path: Path, track: str, audio_format: str
) -> None:
    """Each encoding of an OGG has a random number of its own: one is made, the others wait."""
    song = write_wav(tmp_path / "song.wav", noise(5.0, seed=uuid.uuid4().int))
    address = f"/download/{server.separate(song)}/{track}?format={audio_format}"
    with ThreadPoolExecutor(6) as clients:
        found = list(clients.map(server.get, [address] * 6))
    assert {answer.status_code for answer in found} == {200}
    found.append(server.get(address))
    assert len({answer.headers["ETag"] for answer in found}) == 1
    assert len({answer.content for answer in found}) == 1
    kept = server.get(
        address, headers={"Range": "bytes=100-199", "If-Range": found[0].headers["ETag"]}
    )
    assert (kept.status_code, kept.content) == (206, found[0].content[100:200])


def test_only_the_wanted_stems(server: Server, short_wav: Path) -> None:
    file_id = server.separate(short_wav, stems=["vocals"])
    assert server.get(f"/status/{file_id}").json()["tracks"] == [
        "vocals",
        "no_vocals",
        "instrumental",
    ]
    for track, status in (("vocals", 200), ("instrumental", 200), ("drums", 404)):
        assert server.get(f"/download/{file_id}/{track}").status_code == status
    with zipfile.ZipFile(io.BytesIO(server.get(f"/download/{file_id}/all.zip").content)) as opened:
        assert opened.namelist() == ["short - vocals.wav"]


def test_one_stem_alone_sounds_as_with_the_others(
    server: Server, done: str, short_wav: Path
) -> None:
    alone = server.separate(short_wav, stems=["bass"])
    whole = sound_of(server.get(f"/download/{done}/bass"))
    assert np.abs(sound_of(server.get(f"/download/{alone}/bass")) - whole).max() <= 1e-6


@pytest.mark.parametrize("audio_format", ["flac", "mp3", "ogg"])
def test_the_format_of_the_job_is_the_usual_one(
    server: Server, short_wav: Path, audio_format: str
) -> None:
    file_id = server.separate(short_wav, format=audio_format)
    answer = server.get(f"/download/{file_id}/drums")
    assert answer.headers["Content-Type"] == CONTENT_TYPES[audio_format]
    assert name_of(answer) == f"short - drums.{audio_format}"
    listed = server.get(f"/files/{file_id}").json()["tracks"][0]["formats"]
    assert listed[audio_format]["ready"] is True
    with zipfile.ZipFile(io.BytesIO(server.get(f"/download/{file_id}/all.zip").content)) as opened:
        assert opened.namelist()[0] == f"short - drums.{audio_format}"


def test_stems_that_would_clip_share_one_gain(server: Server, tmp_path: Path) -> None:
    """A song at full scale: fixed-point stems are all turned down by the gain that is told."""
    loud = write_wav(tmp_path / "loud.wav", np.clip(noise(3.0, seed=5) * 40, -1, 1))
    file_id = server.separate(loud)
    gain = server.get(f"/status/{file_id}").json()["jobs"][0]["result"]["gain"]
    assert 0 < gain < 1
    for track in TRACKS:
        whole = sound_of(server.get(f"/download/{file_id}/{track}"))
        fixed = sound_of(server.get(f"/download/{file_id}/{track}?format=flac"))
        assert np.abs(fixed).max() < 1
        assert np.abs(fixed - whole * np.float32(gain)).max() <= 2**-22


def test_the_latest_job_that_has_the_track_answers(server: Server, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "two.wav", noise(2.0, seed=6))
    file_id = server.separate(song)
    before = server.get(f"/download/{file_id}/vocals").content
    assert server.process(file_id, stems=["vocals"], overlap=0.0).status_code == 202
    assert server.wait(file_id)["tracks"] == [
        "vocals",
        "no_vocals",
        "instrumental",
        *TRACKS[:3],
        *TRACKS[4:7],
    ]
    assert server.get(f"/download/{file_id}/vocals").content != before
    assert server.get(f"/download/{file_id}/drums").status_code == 200
    with zipfile.ZipFile(io.BytesIO(server.get(f"/download/{file_id}/all.zip").content)) as opened:
        assert opened.namelist() == ["two - vocals.wav"]


def test_an_upload_can_be_played_as_it_was_sent(server: Server, short_wav: Path) -> None:
    file_id = server.upload(short_wav, "shört.wav")
    answer = server.get(f"/download/{file_id}/original")
    assert answer.content == short_wav.read_bytes()
    assert answer.headers["Content-Type"].startswith("audio/")
    assert name_of(answer) == "shört.wav"
    part = server.get(f"/download/{file_id}/original", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, answer.content[4:8])


def test_an_upload_has_the_type_of_its_extension_on_every_system(
    short_wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small containers have no table of media types."""
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: (None, None))
    kinds = {"wav": "audio/wav", "flac": "audio/flac", "m4a": "audio/mp4", "ogg": "audio/ogg"}
    with contextmanager(open_door)(tmp_path / "door") as door:
        for file_type, media_type in kinds.items():
            path = convert(short_wav, tmp_path / f"short.{file_type}")
            file_id = send(door, path.read_bytes(), path.name).get_json()["file_id"]
            with door.get(f"/download/{file_id}/original") as answer:
                assert answer.headers["Content-Type"] == media_type


def test_every_extension_has_a_type_that_players_know() -> None:
    for file_type in AUDIO_FILE_TYPES | MORE_FILE_TYPES:
        assert MEDIA_TYPES[file_type].startswith(("audio/", "video/"))
