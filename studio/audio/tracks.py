"""Writes several tracks at once, with their peaks, and converts or joins them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from studio.audio.peaks import Peaks
from studio.audio.sound import Sound
from studio.audio.tags import Tags
from studio.audio.writing import SoundWriter, encode, read_blocks


class PeaksWriter(SoundWriter):
    """Writes a track, and its peaks beside it."""

    def __init__(
        self,
        path: Path,
        audio_format: str,
        sample_rate_hz: int,
        channels: int,
        expected_samples: int,
    ) -> None:
        super().__init__(path, audio_format, sample_rate_hz, channels, expected_samples)
        self._peaks: Peaks | None = Peaks(sample_rate_hz)

    def write(self, block: Sound) -> None:
        super().write(block)
        if self._peaks is not None and block.shape[1]:
            self._peaks.add(block)

    def close(self) -> None:
        super().close()
        peaks, self._peaks = self._peaks, None
        if peaks is not None:
            peaks.write_all(self.path.parent, self.path.stem)


@contextmanager
def track_writers(
    folder: Path,
    names: Sequence[str],
    sample_rate_hz: int,
    channels: int,
    expected_samples: int,
    *,
    with_peaks: bool = False,
) -> Iterator[list[SoundWriter]]:
    """Open a 32-bit float WAV for each track; they are complete when the block ends.

    Peaks are of the samples as written: do not ask for them if the tracks change afterwards.
    """
    kind = PeaksWriter if with_peaks else SoundWriter
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                kind(folder / f"{name}.wav", "wav", sample_rate_hz, channels, expected_samples)
            )
            for name in names
        ]


def encode_tracks(
    folder: Path,
    names: Sequence[str],
    audio_format: str,
    gain: float,
    on_progress: Callable[[float], None],
    *,
    read_tags: Callable[[], Tags] = Tags,
) -> None:
    """Write tracks also in another format, under one gain; progress counts over all of them.

    `read_tags` returns the tags of the recording.
    """
    if audio_format == "wav":
        return
    tags = read_tags()
    for number, name in enumerate(names):

        def on_block(share: float, before: int = number) -> None:
            on_progress((before + share) / len(names))

        on_block(0.0)
        target = folder / f"{name}.{audio_format}"
        wav = folder / f"{name}.wav"
        encode(wav, target, audio_format, gain, on_block, tags=tags.of_track(name))


def join_tracks(
    sources: Sequence[Path],
    target: Path,
    audio_format: str,
    gain: float,
    on_block: Callable[[], None],
) -> None:
    """Write tracks of equal length and rate as one file that has the channels of all of them.

    `on_block` may raise to cancel.
    """
    import soundfile

    infos = [soundfile.info(str(source)) for source in sources]
    channels = sum(info.channels for info in infos)
    with SoundWriter(
        target, audio_format, infos[0].samplerate, channels, infos[0].frames, gain=gain
    ) as writer:
        for blocks in zip(*map(read_blocks, sources), strict=True):
            on_block()
            writer.write(np.concatenate(blocks))
