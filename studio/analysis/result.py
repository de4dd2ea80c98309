"""What an analysis produced: the tracks `analysis` and `click`."""

from dataclasses import replace

from pydantic import Field

from studio.results import Result, SoundResult, Track, TrackFolder, sound_track
from studio.storage.results import StoredFile

ANALYSIS = "analysis"
CLICK = "click"
FILE = "analysis.json"
CONTENT_TYPES = {"json": "application/json"}


class AnalysisResult(Result):
    """A summary; the track `analysis` contains all beats and chords."""

    tempo_bpm: float | None = Field(
        description="Beats per minute; null if there is no steady beat.", examples=[121.4]
    )
    beat_confidence: float = Field(
        description="How regularly onsets repeat, 0 to 1; at least 0.15 for a beat.",
        examples=[0.72],
    )
    beats_per_bar: int | None = Field(examples=[4])
    beats: int = Field(description="Number of beats.", examples=[391])
    key: str | None = Field(
        description="Key; null if it was not requested or no pitches stand out.",
        examples=["F# minor"],
    )
    chord_confidence: float | None = Field(
        description="Mean probability of the chords, 0 to 1.", examples=[0.7]
    )
    chords: int = Field(description="Number of chords.", examples=[88])
    loudness_lufs: float | None = Field(
        description="Integrated loudness; null for silence.", examples=[-11.2]
    )
    tuning_cents: float = Field(
        description="Deviation of the tuning from A4 = 440 Hz.", examples=[-4.1]
    )
    tuning_hz: float = Field(description="Frequency of A4.", examples=[438.96])
    note: str | None = Field(description="Why something was not found.")
    click: SoundResult | None = Field(description="The track `click`.")
    count_in_s: float = Field(
        description="Seconds of the track `click` before the beginning of the song.", examples=[0.0]
    )
    elapsed_s: float = Field(examples=[4.5])
    real_time_factor: float = Field(
        description="Seconds of work per second of sound.", examples=[0.02]
    )


def tracks_of(result: AnalysisResult) -> list[Track]:
    tracks = [
        Track(
            ANALYSIS,
            ANALYSIS,
            formats=CONTENT_TYPES,
            default_format="json",
            archived=("json",),
            file_stem=ANALYSIS,
            make=_make,
        )
    ]
    if result.click:
        click = sound_track(CLICK, CLICK, result.click)
        tracks.append(replace(click, starts_s=result.count_in_s))
    return tracks


def _make(folder: TrackFolder, _file_format: str) -> StoredFile:
    return folder.existing(FILE)
