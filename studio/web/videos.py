"""The route for karaoke videos."""

from flask import Response, request

from studio.errors import (
    AudioTooLong,
    FontMissing,
    InvalidOption,
    NotReady,
    PreconditionFailed,
    RangeNotSatisfiable,
    UnknownOption,
)
from studio.jobs.job import Job
from studio.karaoke.options import (
    COVER,
    DEFAULT_BACKGROUND,
    DEFAULT_SIZE,
    MAX_TITLE_CHARACTERS,
    VOCALS,
    parse_video,
)
from studio.karaoke.video import CONTENT_TYPE, FORMAT, NAME, JobTrack, KaraokeVideo
from studio.results import Track
from studio.storage.uploads import Upload
from studio.web import sending
from studio.web.links import LINK
from studio.web.mixes import GAIN, KEY, PAN, PEAK_SAFE, TEMPO, single_values
from studio.web.operations import Parameter, operation
from studio.web.results import IF_NONE_MATCH, OFFSET, RANGE, TRACK_ERRORS, ResultViews
from studio.web.services import Services

SIZE = Parameter(
    "size",
    "Width and height in pixels, such as 1920x1080 or 720x1280.",
    {
        "type": "string",
        "pattern": "^[0-9]{3,4}x[0-9]{3,4}$",
        "maxLength": 9,
        "default": DEFAULT_SIZE,
    },
)
TITLE = Parameter(
    "title",
    "Title at the beginning. Default: title and artist of the file; empty: none.",
    {"type": "string", "maxLength": MAX_TITLE_CHARACTERS},
)
BACKGROUND = Parameter(
    "background",
    f"Colour as six hexadecimal digits, or {COVER}: the picture in the file.",
    {
        "type": "string",
        "pattern": f"^([0-9a-fA-F]{{6}}|{COVER})$",
        "maxLength": 6,
        "default": DEFAULT_BACKGROUND,
    },
)
_OTHERS = (SIZE, TITLE, BACKGROUND, OFFSET, KEY, TEMPO, PEAK_SAFE, LINK)
# The option of models that listen to the vocals, and so give all that a video needs.
_SOURCE, _OF_VOCALS = "separation_variant", '{"source": "vocals"}'


class VideoViews(ResultViews):
    """The view of karaoke videos. They are made on demand, and the latest ones are kept."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._fonts = services.fonts

    @operation(
        name="download_karaoke",
        tag="tracks",
        summary="Download a karaoke video; supports Range and ETag",
        answers={200: CONTENT_TYPE, 206: CONTENT_TYPE, 304: None},
        parameters=(GAIN, PAN, *_OTHERS, RANGE, IF_NONE_MATCH),
        errors=(
            *TRACK_ERRORS,
            AudioTooLong,
            FontMissing,
            InvalidOption,
            PreconditionFailed,
            RangeNotSatisfiable,
            UnknownOption,
        ),
        query_is_options=True,
        rate="none",
    )
    def karaoke(self, file_id: str) -> Response:
        upload = self._upload(file_id)
        jobs = self._store.of_file(file_id)
        words_job, words = self._words(upload, jobs)
        song_job, song = self._song(upload, jobs)
        stems = list(dict.fromkeys(song.channels))
        values = single_values(request.args.to_dict(flat=False), stems, _OTHERS)
        options = parse_video(values, stems)
        video = KaraokeVideo(
            JobTrack(words, self._folder(upload, words_job), words_job.job_id),
            JobTrack(song, self._folder(upload, song_job), song_job.job_id),
            options,
            self._fonts,
        )
        with self._request():
            file = video.make()
        return sending.send(file, CONTENT_TYPE, sending.download_name(upload, NAME, FORMAT))

    def _words(self, upload: Upload, jobs: list[Job]) -> tuple[Job, Track]:
        """The latest transcript. Raises NotReady."""
        for job in jobs:
            for track in self._models.tracks(job):
                if track.lyrics is not None:
                    return job, track
        raise self._incomplete("The words of the song are missing", upload, jobs)

    def _song(self, upload: Upload, jobs: list[Job]) -> tuple[Job, Track]:
        """The vocals, and other stems of the same job if there are any. Raises NotReady."""
        joined = self._answers.joined(jobs, VOCALS)
        if joined is None:
            raise self._incomplete("The vocals are not separated", upload, jobs)
        return joined

    def _incomplete(self, missing: str, upload: Upload, jobs: list[Job]) -> NotReady:
        if jobs and not jobs[0].state.is_final:
            return self._not_ready(upload, jobs)
        return NotReady(
            f"{missing}, and a karaoke video needs both the words and the vocals. Start a job that "
            f"makes them: {self._starts(upload, _SOURCE)} with {_OF_VOCALS}."
        )
