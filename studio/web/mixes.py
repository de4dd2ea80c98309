"""The route for mixes: a song with other levels of its stems, in another key and tempo."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from flask import Response, request

from studio import audio
from studio.audio.mix_options import (
    MAX_GAIN,
    MAX_SEMITONES,
    PAN_OF,
    TEMPOS,
    parse_gain,
    parse_mix,
)
from studio.concurrency import ConcurrencyLimit, LimitReached
from studio.errors import (
    InvalidOption,
    NotReady,
    TooManyConversions,
    UnknownFormat,
    UnknownOption,
    UnknownTrack,
)
from studio.jobs.job import Job
from studio.storage.uploads import Upload
from studio.web import receiving, sending
from studio.web.links import LINK
from studio.web.operations import TRACK, Parameter, operation
from studio.web.results import TRACK_ERRORS, ResultViews
from studio.web.services import Services

# Each mix that is being made needs up to three processes and a server thread.
MAX_MIXES, MAX_MIXES_PER_CLIENT = 4, 2
RETRY_AFTER_S = 5
# The track that `click` adds.
CLICK_TRACK = "click"
MIX = "mix"
_GAIN_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": MAX_GAIN},
        {
            "type": "string",
            "maxLength": 12,
            "pattern": r"^[+-]?[0-9]{1,3}(\.[0-9]{1,6})?dB$",
            "examples": ["-6dB"],
        },
    ]
}
GAIN = Parameter(
    "gain",
    "Level of a stem: a factor, 0 to 2, or decibels such as -6dB. Default: unchanged.",
    _GAIN_SCHEMA,
    of_stem="{stem}",
)
PAN = Parameter(
    "pan",
    "Balance of a stem: -1 is left, 0 the middle, 1 right. Default: 0.",
    {"type": "number", "minimum": -1, "maximum": 1},
    of_stem="{stem}" + PAN_OF,
)
KEY = Parameter(
    "key",
    "Change of the key in semitones; fractions are allowed.",
    {"type": "number", "minimum": -MAX_SEMITONES, "maximum": MAX_SEMITONES, "default": 0},
)
TEMPO = Parameter(
    "tempo",
    "Speed, without a change of the key: 0.5 is half as fast.",
    {"type": "number", "minimum": TEMPOS[0], "maximum": TEMPOS[1], "default": 1},
)
CLICK = Parameter(
    "click", "Level of a click on every beat. Needs an analysis of the song.", _GAIN_SCHEMA
)
PEAK_SAFE = Parameter(
    "peak_safe",
    "Limit peaks beyond full scale, which are cut otherwise.",
    {"type": "boolean", "default": False},
)
_OTHERS = (KEY, TEMPO, CLICK, PEAK_SAFE, LINK)


def single_values(
    query: Mapping[str, list[str]], stems: Sequence[str], others: Sequence[Parameter]
) -> dict[str, str]:
    """The values of a query for a mix of stems. Raises UnknownOption or InvalidOption."""
    known = [*stems, *(stem + PAN_OF for stem in stems), *(one.name for one in others)]
    values: dict[str, str] = {}
    for name, texts in query.items():
        if name not in known:
            raise UnknownOption(
                f"Unknown query parameter {name!r}. Known for this song: {', '.join(known)}."
            )
        values[name] = receiving.single(name, texts)
    return values


class MixViews(ResultViews):
    """The view of mixes. They are made while they are sent, and not kept."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._limit = ConcurrencyLimit(MAX_MIXES, MAX_MIXES_PER_CLIENT)

    @operation(
        name="download_mix",
        tag="tracks",
        summary="Download a mix: other levels of the stems, another key and tempo",
        answers={200: TRACK},
        parameters=(GAIN, PAN, *_OTHERS),
        errors=(*TRACK_ERRORS, InvalidOption, UnknownOption),
        query_is_options=True,
        rate="none",
    )
    def mix(self, file_id: str, file_format: str) -> Response:
        upload = self._upload(file_id)
        jobs = self._store.of_file(file_id)
        job, track = self._joined(upload, jobs)
        if track.song is None:
            raise UnknownTrack(f"The stems of {job.request.model} cannot be mixed.")
        stems = list(dict.fromkeys(track.channels))
        values = single_values(request.args.to_dict(flat=False), stems, _OTHERS)
        asked = parse_mix(values, stems)
        click = parse_gain(CLICK.name, values.get(CLICK.name, "0"))
        if file_format not in audio.CONTENT_TYPES:
            raise UnknownFormat(
                f"A mix is not available as {file_format!r}, only as "
                f"{', '.join(audio.CONTENT_TYPES)}."
            )
        with ExitStack() as held:
            # Before the song is fetched and its tags are read.
            held.enter_context(self._limit.slot(self._services.access.caller(), _refusal))
            folder = self._folder(upload, job)
            song = track.song(folder)
            if click:
                song = replace(song, added=[self._click(upload, jobs, click)])
            tags = folder.all_tags()
            mix = replace(asked, tags=replace(tags, title=f"{tags.title} ({MIX})"))
            pieces = held.enter_context(closing(audio.mixed_file(mix, song, file_format)))
            response = _streamed(pieces, audio.CONTENT_TYPES[file_format])
            length_bytes = audio.mix_bytes(mix, song, file_format)
            if length_bytes is not None:
                response.content_length = length_bytes
            sending.attach(response, sending.download_name(upload, MIX, file_format))
            response.call_on_close(held.pop_all().close)
            return response

    def _click(self, upload: Upload, jobs: list[Job], gain: float) -> audio.Overlay:
        """The click. Raises NotReady."""
        for job in jobs:
            for track in self._models.tracks(job):
                if track.name == CLICK_TRACK:
                    file = self._file(upload, job, track, "wav")
                    return audio.Overlay(file.path, gain, track.starts_s)
        starts = self._starts(upload, CLICK_TRACK)
        advice = f"Start one with {starts}, or leave" if starts else "Leave"
        raise NotReady(
            "The click needs the beats of the song, and no analysis has found them in this file. "
            f"{advice} out `{CLICK.name}`."
        )


def _refusal(reached: LimitReached) -> TooManyConversions:
    return TooManyConversions(
        f"{reached.count('of your mixes', 'mixes')} are being made. Retry after {RETRY_AFTER_S} s.",
        retry_after_s=RETRY_AFTER_S,
    )


def _streamed(pieces: Generator[bytes, None, None], content_type: str) -> Response:
    """The answer with a file; its first bytes are made before, so that errors are answered."""
    first = next(pieces)

    def stream() -> Iterator[bytes]:
        with closing(pieces):
            yield first
            yield from pieces

    return Response(stream(), mimetype=content_type)
