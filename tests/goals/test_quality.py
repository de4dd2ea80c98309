"""The bundled model separates a song it has never heard; signal-to-distortion ratio in dB."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scripts.scores import sdr_db
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, SONG, Sound, convert, decode_all, read_sound, write_wav

# What the model must reach on the song of samples/; its card has the median over many songs.
MIN_SDR_DB = {"drums": 7.6, "bass": 7.4, "other": 8.5, "vocals": 7.5}
# The model tells the accompaniment by its place, too, which a mono song does not have.
MIN_MONO_SDR_DB = MIN_SDR_DB | {"bass": 5.8, "other": 2.0, "vocals": 7.0}
# The mixture itself, taken for a stem, is the answer of a model that does nothing.
MIN_GAIN_DB = 6.0
MP3_LOSS_DB = 1.0


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mini"), DEMUCS_MODEL="mini").start()
    yield server
    server.stop_later()


@pytest.fixture(scope="module")
def mixture() -> Sound:
    return read_sound(SONG / "mixture.flac")


@pytest.fixture(scope="module")
def true_stems() -> dict[str, Sound]:
    return {stem: read_sound(SONG / f"{stem}.flac") for stem in MIN_SDR_DB}


def separated(server: Server, song: Path, folder: Path) -> dict[str, Sound]:
    """The stems of a song as a caller downloads them, and the track without vocals."""
    file_id = server.separate(song)
    stems = {}
    for track in (*MIN_SDR_DB, "instrumental"):
        path = folder / f"{track}.wav"
        path.write_bytes(server.get(f"/download/{file_id}/{track}").content)
        stems[track] = read_sound(path)
    return stems


def assert_separated(
    true: dict[str, Sound],
    mixture: Sound,
    stems: dict[str, Sound],
    loss_db: float = 0.0,
    least: dict[str, float] = MIN_SDR_DB,
) -> None:
    reached = {stem: sdr_db(true[stem], stems[stem]) for stem in least}
    for stem, least_db in least.items():
        assert stems[stem].shape == true[stem].shape
        assert reached[stem] >= least_db - loss_db, reached
        assert reached[stem] >= sdr_db(true[stem], mixture) + MIN_GAIN_DB - loss_db, reached


def test_the_sample_song_is_the_sum_of_its_stems(
    mixture: Sound, true_stems: dict[str, Sound]
) -> None:
    assert mixture.shape[0] == 2
    assert 10 * RATE_HZ <= mixture.shape[1] <= 30 * RATE_HZ
    assert np.abs(sum(true_stems.values()) - mixture).max() < 4 * 2**-15
    assert sum(path.stat().st_size for path in SONG.iterdir()) <= 6 * 1024 * 1024


@pytest.mark.slow
def test_the_stems_of_a_song(
    mini: Server, mixture: Sound, true_stems: dict[str, Sound], tmp_path: Path
) -> None:
    stems = separated(mini, SONG / "mixture.flac", tmp_path)
    assert np.abs(stems["instrumental"] + stems["vocals"] - mixture).max() < 1e-5
    assert_separated(true_stems, mixture, stems)


@pytest.mark.slow
def test_the_stems_of_an_mp3(
    mini: Server, mixture: Sound, true_stems: dict[str, Sound], tmp_path: Path
) -> None:
    song = convert(SONG / "mixture.flac", tmp_path / "song.mp3", "-b:a", "192k")
    stems = separated(mini, song, tmp_path)
    heard = decode_all(song)
    assert np.abs(stems["instrumental"] + stems["vocals"] - heard).max() < 1e-5
    assert_separated(true_stems, mixture, stems, MP3_LOSS_DB)


def test_the_stems_of_a_mono_song(
    mini: Server, mixture: Sound, true_stems: dict[str, Sound], tmp_path: Path
) -> None:
    """Measured against the stems in mono, which are what the file holds."""
    song = write_wav(tmp_path / "mono.wav", mixture.mean(axis=0, keepdims=True), subtype="FLOAT")
    stems = separated(mini, song, tmp_path)
    mono = {stem: mono_of(sound) for stem, sound in true_stems.items()}
    assert_separated(mono, mono_of(mixture), stems, MP3_LOSS_DB, MIN_MONO_SDR_DB)


def mono_of(sound: Sound) -> Sound:
    return np.repeat(sound.mean(axis=0, keepdims=True), 2, axis=0)
