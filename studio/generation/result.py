"""What a generation produced: the tracks `music`, `music_2`, and so on."""

from pydantic import Field

from studio.results import ModelResult, SoundResult, Track, sound_track

TRACK = "music"
GROUP = "music"


class GenerationResult(ModelResult, SoundResult):
    """Music, and what made it. `loudness_lufs` has None for a silent track."""

    music: list[str] = Field(description="Names of the tracks.", examples=[["music"]])
    generated_s: float = Field(description="Seconds of new music in each track.", examples=[20.0])
    seed: int | None = Field(examples=[7])
    steps: int = Field(examples=[1_003])
    loudness_lufs: list[float | None] = Field(
        description="Loudness of each track; null for silence.", examples=[[-14.0]]
    )


def track_names(variations: int) -> list[str]:
    """Names for `variations` tracks."""
    return [TRACK, *(f"{TRACK}_{number}" for number in range(2, variations + 1))]


def tracks_of(result: GenerationResult) -> list[Track]:
    return [sound_track(name, GROUP, result) for name in result.music]
