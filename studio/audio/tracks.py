"""Writes several tracks at once, and brings all of them into another format."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from studio.audio.writing import SoundWriter, encode


@contextmanager
def track_writers(
    folder: Path, names: Sequence[str], sample_rate_hz: int, channels: int, expected_samples: int
) -> Iterator[list[SoundWriter]]:
    """Open a 32-bit float WAV for each track; they are complete when the block ends."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                SoundWriter(
                    folder / f"{name}.wav", "wav", sample_rate_hz, channels, expected_samples
                )
            )
            for name in names
        ]


def encode_tracks(
    folder: Path,
    names: Sequence[str],
    audio_format: str,
    gain: float,
    on_progress: Callable[[float], None],
) -> None:
    """Write tracks also in another format, under one gain; progress counts over all of them."""
    if audio_format == "wav":
        return
    for number, name in enumerate(names):

        def on_block(share: float, before: int = number) -> None:
            on_progress((before + share) / len(names))

        on_block(0.0)
        target = folder / f"{name}.{audio_format}"
        encode(folder / f"{name}.wav", target, audio_format, gain, on_block)
