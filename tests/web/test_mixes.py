"""Mixes: levels of stems, key and tempo, streamed."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from flask.testing import FlaskClient

from studio import audio
from studio.audio.piped import encoded, stretched
from studio.errors import InvalidOption, NotAudio
from studio.results import TrackFolder
from studio.web.mixes import MAX_MIXES_PER_CLIENT
from tests.support.hostile_files import open_door
from tests.support.hostile_files import send as send_file
from tests.support.problems import assert_problem
from tests.support.server import Server, until
from tests.support.sounds import (
    Sound,
    convert,
    decode_all,
    ffmpeg_children,
    noise,
    read_sound,
    sound_of,
    tone,
    write_wav,
)
from tests.support.tunes import tune

RATE_HZ = 44_100


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with tags."""
    folder = tmp_path_factory.mktemp("song")
    tags = ["-metadata", "title=Ünï", "-metadata", "artist=Ann", "-metadata", "album=First"]
    return convert(write_wav(folder / "plain.wav", noise(2.0)), folder / "song.flac", *tags)


@pytest.fixture(scope="module")
def done(server: Server, song: Path) -> str:
    return server.separate(song)


def track(server: Server, file_id: str, name: str) -> Sound:
    return sound_of(server.get(f"/download/{file_id}/{name}?format=wav"))


@pytest.mark.parametrize(
    "query", ["", "vocals=1&drums=1.0&bass=0dB&other.pan=0&key=0&tempo=1", "key=-0&tempo=1.0"]
)
def test_unchanged_it_is_the_song(server: Server, done: str, song: Path, query: str) -> None:
    answer = server.get(f"/download/{done}/mix.wav?{query}")
    assert answer.headers["Content-Type"] == "audio/wav"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert np.abs(sound_of(answer) - decode_all(song)).max() < 1e-6
    flac = sound_of(server.get(f"/download/{done}/mix.flac?{query}"))
    assert np.abs(flac - decode_all(song)).max() < 1e-4


def test_levels(server: Server, done: str, song: Path) -> None:
    whole = decode_all(song)
    vocals, drums = track(server, done, "vocals"), track(server, done, "drums")
    none = sound_of(server.get(f"/download/{done}/mix.wav?vocals=0"))
    assert np.abs(none - track(server, done, "instrumental")).max() < 1e-6
    some = sound_of(server.get(f"/download/{done}/mix.wav?vocals=0.2&drums=-6dB"))
    wanted = whole - 0.8 * vocals + (10 ** (-6 / 20) - 1) * drums
    assert np.abs(some - wanted).max() < 1e-5


@pytest.mark.parametrize("pan", [-1.0, -0.3, 0.5, 1.0])
def test_balance(server: Server, done: str, song: Path, pan: float) -> None:
    """The channel that a stem leaves loses it, and the other one gains it, as in browsers."""
    whole, drums = decode_all(song), track(server, done, "drums")
    made = sound_of(server.get(f"/download/{done}/mix.wav?drums=0.5&drums.pan={pan}"))
    heard = made - (whole - drums)
    source, target = (1, 0) if pan < 0 else (0, 1)
    left, gained = np.cos(abs(pan) * np.pi / 2), np.sin(abs(pan) * np.pi / 2)
    assert np.abs(heard[source] - 0.5 * left * drums[source]).max() < 1e-5
    assert np.abs(heard[target] - 0.5 * (drums[target] + gained * drums[source])).max() < 1e-5


@pytest.mark.parametrize("audio_format", ["wav", "flac", "mp3", "ogg"])
def test_every_format_has_the_length_and_the_tags(
    server: Server, done: str, tmp_path: Path, audio_format: str
) -> None:
    answer = server.get(f"/download/{done}/mix.{audio_format}?tempo=0.8")
    assert f"song - mix.{audio_format}" in answer.headers["Content-Disposition"]
    file = tmp_path / f"mix.{audio_format}"
    file.write_bytes(answer.content)
    assert soundfile.info(str(file)).frames == 110_250
    assert audio.probe(file).duration_s == pytest.approx(2.5, abs=1e-3)
    if audio_format != "wav":
        assert audio.read_tags(file) == audio.Tags("Ünï (mix)", "Ann", "First")


@pytest.mark.parametrize("audio_format", ["flac", "mp3", "ogg"])
def test_tracks_have_the_tags_and_their_name(
    server: Server, song: Path, done: str, tmp_path: Path, audio_format: str
) -> None:
    """Those made on demand, and those made by their job."""
    made = server.separate(song, stems=["vocals"], format=audio_format)
    for number, (file_id, name, shown) in enumerate(
        [(made, "vocals", "vocals"), (done, "drums", "drums"), (done, "instrumental", "no_vocals")]
    ):
        answer = server.get(f"/download/{file_id}/{name}?format={audio_format}")
        file = tmp_path / f"{number}.{audio_format}"
        file.write_bytes(answer.content)
        assert audio.read_tags(file) == audio.Tags(f"Ünï ({shown})", "Ann", "First")
        assert soundfile.info(str(file)).frames >= 2 * RATE_HZ
        assert audio.probe(file).says_its_end


def pitch_hz(sound: Sound) -> float:
    """The strongest frequency of the middle of a sound."""
    middle = sound[len(sound) // 4 : 3 * len(sound) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.argmax(spectrum) * RATE_HZ / len(middle))


@pytest.mark.parametrize(
    ("query", "seconds", "wanted_hz"),
    [
        ("key=12", 2.0, 440.0),
        ("key=-2.5", 2.0, 220 * 2 ** (-2.5 / 12)),
        ("tempo=0.5", 4.0, 220.0),
        ("tempo=2&key=7", 1.0, 220 * 2 ** (7 / 12)),
    ],
)
def test_key_and_tempo(
    server: Server, done: str, query: str, seconds: float, wanted_hz: float
) -> None:
    """The song has a tone of 220 Hz."""
    mix = sound_of(server.get(f"/download/{done}/mix.wav?{query}"))
    assert mix.shape == (2, round(seconds * RATE_HZ))
    assert pitch_hz(mix[0]) == pytest.approx(wanted_hz, abs=1.5)


@pytest.mark.parametrize("tempo", [0.5, 0.9, 1.0, 2.0])
def test_sounds_are_where_they_belong(tempo: float) -> None:
    """Bursts at known times, in the new tempo; the effect adds no delay."""
    at = [1.0, 2.5, 4.0]
    sound = np.zeros((1, 5 * RATE_HZ), np.float32)
    burst = tone(0.05, 2000.0)
    for time_s in at:
        start = round(time_s * RATE_HZ)
        sound[0, start : start + len(burst)] = burst
    made = np.concatenate(
        list(stretched(iter([sound]), RATE_HZ, 1, semitones=1.0, tempo=tempo)), axis=1
    )[0]
    for time_s in at:
        middle = round((time_s + 0.025) / tempo * RATE_HZ)
        window = np.abs(made[middle - 8820 : middle + 8820])
        centre = float((window * np.arange(len(window))).sum() / window.sum())
        assert abs(centre - 8820) / RATE_HZ < 0.02


def test_peaks_are_limited_if_wanted(server: Server, tmp_path: Path) -> None:
    loud = write_wav(tmp_path / "loud.wav", 2.5 * noise(1.0), subtype="FLOAT")
    file_id = server.separate(loud)
    raw = sound_of(server.get(f"/download/{file_id}/mix.wav"))
    safe = sound_of(server.get(f"/download/{file_id}/mix.wav?peak_safe=true"))
    assert np.abs(raw).max() > 1.05
    assert np.abs(safe).max() <= 0.985
    assert safe.shape == raw.shape
    flac = sound_of(server.get(f"/download/{file_id}/mix.flac?peak_safe=1"))
    assert np.abs(flac - safe).max() < 1e-3


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("vocals=3", "invalid_option", "between 0 and 2"),
        ("vocals=7dB", "invalid_option", "decibels"),
        ("vocals=", "invalid_option", "vocals"),
        ("vocals=nan", "invalid_option", "nan"),
        (
            "vocals.pan=1.1",
            "invalid_option",
            "`vocals.pan` is '1.1'; it must be",
        ),
        ("key=13", "invalid_option", "between -12 and 12"),
        ("key=1e1", "invalid_option", "number"),
        ("tempo=0.4", "invalid_option", "between 0.5 and 2"),
        ("peak_safe=maybe", "invalid_option", "true or false"),
        ("key=1&key=2", "invalid_option", "2 times"),
        ("banjo=1", "unknown_option", "drums, bass, other, vocals, drums.pan"),
        ("click=1", "not_ready", "leave out `click`"),
    ],
)
def test_what_is_wrong(server: Server, done: str, query: str, code: str, words: str) -> None:
    assert_problem(server.get(f"/download/{done}/mix.wav?{query}"), code, words)


@pytest.mark.slow
@pytest.mark.parametrize("count_in_bars", [0, 2])
def test_a_click_is_on_the_beats(server: Server, tmp_path: Path, count_in_bars: int) -> None:
    """A count-in before the song is left out."""
    truth, sound = tune(0)
    file_id = server.separate(write_wav(tmp_path / "song.wav", sound), stems=["drums"])
    assert_problem(
        server.get(f"/download/{file_id}/mix.wav?click=1"), "not_ready", "/process/analysis/"
    )
    server.process(file_id, "analysis", count_in_bars=count_in_bars)
    assert server.wait(file_id)["status"] == "completed"
    with_click = sound_of(server.get(f"/download/{file_id}/mix.wav?click=0.5"))
    without = sound_of(server.get(f"/download/{file_id}/mix.wav"))
    assert with_click.shape == without.shape
    loud = np.flatnonzero(np.abs(with_click - without)[0] > 0.05)
    starts_s = loud[np.diff(loud, prepend=-RATE_HZ) > 0.1 * RATE_HZ] / RATE_HZ
    near_s = [np.abs(starts_s - beat_s).min() for beat_s in truth.beats_s[2:-2]]
    assert np.median(near_s) < 0.04
    assert np.abs(with_click - without)[0].max() == pytest.approx(0.25, abs=0.05)


def test_what_cannot_be_mixed(server: Server, done: str, short_wav: Path) -> None:
    assert_problem(server.get(f"/download/{done}/mix.mid"), "unknown_format", "wav, flac, mp3, ogg")
    untouched = server.upload(short_wav)
    assert_problem(server.get(f"/download/{untouched}/mix.wav"), "not_ready", untouched)


def test_one_stem_is_enough(server: Server, short_wav: Path) -> None:
    file_id = server.separate(short_wav, stems=["vocals"])
    none = sound_of(server.get(f"/download/{file_id}/mix.wav?vocals=0"))
    assert np.abs(none - track(server, file_id, "instrumental")).max() < 1e-6


def test_clients_that_leave_free_their_places(server: Server, done: str) -> None:
    url = f"{server.url}/download/{done}/mix.wav?tempo=0.5"
    for _ in range(6):
        answer = requests.get(url, stream=True, timeout=60)
        assert answer.status_code == 200
        next(answer.iter_content(1000))
        answer.close()
    until(lambda: server.get(f"/download/{done}/mix.ogg").status_code == 200)


@pytest.fixture
def door(tmp_path: Path, weights: Path) -> Iterator[FlaskClient]:
    """A client of the application in this process."""
    (tmp_path / "weights").symlink_to(weights)
    yield from open_door(tmp_path)


def test_a_mix_without_a_place_reads_nothing_of_the_song(
    door: FlaskClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = send_file(door, song.read_bytes(), song.name).get_json()["file_id"]
    door.post(f"/process/demucs/{file_id}", json={"model_variant": "swift"})
    assert door.get(f"/status/{file_id}?wait=60").get_json()["status"] == "completed"
    url = f"/download/{file_id}/mix.wav"
    with monkeypatch.context() as patch, ExitStack() as open_mixes:
        for _ in range(MAX_MIXES_PER_CLIENT):
            assert open_mixes.enter_context(door.get(url)).status_code == 200
        patch.setattr(TrackFolder, "all_tags", lambda _: pytest.fail("the tags were read"))
        assert door.get(url).status_code == 429
    with monkeypatch.context() as patch:
        patch.setattr(TrackFolder, "all_tags", fail)
        for _ in range(MAX_MIXES_PER_CLIENT + 1):
            assert door.get(url).get_json()["code"] == "not_audio"
    with door.get(url) as answer:
        assert answer.status_code == 200


def fail(_folder: TrackFolder) -> audio.Tags:
    raise NotAudio("The tags cannot be read in this test.")


def long_song(folder: Path, seconds: float) -> audio.Song:
    """A song with one stem."""
    path = write_wav(folder / f"{seconds}.wav", noise(seconds))
    stem = write_wav(folder / f"{seconds} stem.wav", noise(seconds, seed=1), subtype="FLOAT")
    samples = read_sound(stem).shape[1]
    return audio.Song(path, {"vocals": stem}, seconds, RATE_HZ, 2, samples)


def test_a_mix_that_is_given_up_leaves_nothing_running(tmp_path: Path) -> None:
    song = long_song(tmp_path, 20.0)
    mix = audio.Mix({"vocals": 0.5}, semitones=1.0)
    with closing(audio.mixed_file(mix, song, "ogg")) as pieces:
        next(pieces)
        assert ffmpeg_children()
    until(lambda: not ffmpeg_children())


def test_a_song_that_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    """What fails on the way reaches the caller, through all processes."""
    song = long_song(tmp_path, 2.0)
    song.mixture.write_bytes(b"no sound at all")
    mix = audio.Mix({"vocals": 0.5}, semitones=1.0)
    with pytest.raises(NotAudio):
        list(audio.mixed_file(mix, song, "mp3"))


FORMATS = ["wav", "flac", "mp3", "ogg"]


@pytest.mark.parametrize("is_peak_safe", [False, True])
@pytest.mark.parametrize("audio_format", FORMATS)
def test_errors_come_before_the_first_bytes(
    tmp_path: Path, audio_format: str, is_peak_safe: bool
) -> None:
    """So that they are answered, instead of breaking the connection."""
    song = replace(long_song(tmp_path, 1.0), channels=1)
    mix = audio.Mix(pans={"vocals": 0.5}, is_peak_safe=is_peak_safe)
    with (
        closing(audio.mixed_file(mix, song, audio_format)) as pieces,
        pytest.raises(InvalidOption, match="balance of 'vocals'"),
    ):
        next(pieces)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_a_mix_that_the_system_interrupts_is_an_error(audio_format: str) -> None:
    """It looked as if ffmpeg had ended, and the file had less sound."""

    def blocks() -> Iterator[Sound]:
        yield noise(0.5)
        raise BlockingIOError("no processes left")

    pieces = encoded(blocks(), audio_format, RATE_HZ, 2, RATE_HZ, tags=audio.Tags(""))
    with pytest.raises(BlockingIOError, match="no processes left"):
        list(pieces)


@pytest.mark.parametrize("audio_format", ["flac", "mp3", "ogg"])
def test_the_cover_is_carried_into_tracks_and_mixes(
    server: Server, covered: tuple[str, bytes], tmp_path: Path, audio_format: str
) -> None:
    file_id, cover = covered
    for number, path in enumerate((f"vocals?format={audio_format}", f"mix.{audio_format}")):
        answer = server.get(f"/download/{file_id}/{path}")
        file = tmp_path / f"{number}.{audio_format}"
        file.write_bytes(answer.content)
        picture = audio.read_picture(file)
        assert picture is not None and picture.data == cover
        assert audio.read_tags(file).title == f"Ünï ({'mix' if number else 'vocals'})"
        assert soundfile.info(str(file)).frames >= 2 * RATE_HZ
        assert audio.probe(file).duration_s == pytest.approx(2.0, abs=0.08)


@pytest.fixture(scope="module")
def covered(
    server: Server, song: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, bytes]:
    """The song with a picture, separated; and the picture."""
    folder = tmp_path_factory.mktemp("covered")
    picture = folder / "cover.jpg"
    command = [audio.ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=300x300"]
    subprocess.run([*command, "-frames:v", "1", str(picture)], check=True)
    options = ["-i", str(picture), "-map", "0:a", "-map", "1:v", "-c:v", "copy"]
    options += ["-disposition:v", "attached_pic"]
    path = convert(song, folder / "song.mp3", *options)
    return server.separate(path, stems=["vocals"]), picture.read_bytes()
