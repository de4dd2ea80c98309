"""What a generation produced: the tracks `music`, `music_2`, and so on."""

from studio.results import ModelResult, SoundResult, Track, sound_track

TRACK = "music"
GROUP = "music"


class GenerationResult(ModelResult, SoundResult):
    """Music, and what made it. `loudness_lufs` has None for a silent track."""

    music: list[str]
    generated_s: float
    seed: int | None
    steps: int
    loudness_lufs: list[float | None]


def track_names(variations: int) -> list[str]:
    """The names of so many tracks."""
    return [TRACK, *(f"{TRACK}_{number}" for number in range(2, variations + 1))]


def tracks_of(result: GenerationResult) -> list[Track]:
    return [sound_track(name, GROUP, result) for name in result.music]
