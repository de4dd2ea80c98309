"""A second separation network costs one class: the overlap-add and the job take it as it is."""

from pathlib import Path

import numpy as np
import soundfile

from studio.family import JobContext
from studio.separation.network import Bag, Member, Stems, Windows
from studio.separation.options import SeparationOptions
from studio.separation.separate import separate
from studio.sources import Source
from tests.support.sounds import noise, write_wav

RATE_HZ = 22_050


class Shares:
    """Gives three quarters of the mixture to the first source and the rest to the second."""

    segment_samples = RATE_HZ
    batch = 3
    parallel = 2
    note: str | None = None

    def window_samples(self, length: int) -> int:
        return length + 100

    def __call__(self, windows: Windows) -> Stems:
        return np.stack([windows * np.float32(0.75), windows * np.float32(0.25)], axis=1)


def test_another_network_separates_a_song(tmp_path: Path) -> None:
    bag = Bag(
        (Member(Shares(), (1.0, 1.0)),),
        ("voice", "band"),
        RATE_HZ,
        2,
        engine="toy",
        precision="f32",
    )
    sound = noise(7.3, seed=3)
    path = write_wav(tmp_path / "song.wav", sound, subtype="FLOAT")
    options = SeparationOptions(overlap=0.5, format="flac")
    result = separate(bag, Source(path, 7.3), JobContext(options, tmp_path))
    assert (result.stems, result.engine, result.sample_rate_hz) == (
        ["voice", "band"],
        "toy",
        RATE_HZ,
    )
    voice, band = (soundfile.read(tmp_path / f"{stem}.wav")[0] for stem in result.stems)
    assert len(voice) == result.samples
    mixture = voice + band
    # The mixture is normalised to mean 0 for the network, so each share of its mean differs.
    assert np.abs((voice - voice.mean()) - 0.75 * (mixture - mixture.mean())).max() < 1e-5
    assert (tmp_path / "voice.flac").is_file()
