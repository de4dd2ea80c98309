"""Makes karaoke videos: a mix of a song, and its words, filled while they are sung."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studio import audio
from studio.audio.lyrics import LyricLine, Lyrics
from studio.audio.pictures import Picture
from studio.errors import AudioTooLong, InvalidOption, NotReady, ResultsGone
from studio.karaoke.fonts import LETTERS, Fonts
from studio.karaoke.options import COVER, DEFAULT_BACKGROUND, VideoOptions
from studio.karaoke.screen import Screen
from studio.results import Track, TrackFolder, for_current
from studio.storage.on_demand import check_wanted
from studio.storage.results import ResultFolder, StoredFile, remove_oldest

NAME, FORMAT, CONTENT_TYPE = "karaoke", "mp4", "video/mp4"
FOLDER, FILE = "karaoke", "video.mp4"
# A request waits for its video, which takes a fraction of this time.
MAX_S = 3600.0
# Latest videos kept per transcript.
MAX_KEPT = 3


@dataclass(frozen=True)
class JobTrack:
    """A track of a completed job, and its files. `job_id` names the job in kept videos."""

    track: Track
    folder: TrackFolder
    job_id: str = ""


class KaraokeVideo:
    """A video of the words of one job with the sound of another, which may be the same.

    `fonts` is a folder with more fonts.
    """

    def __init__(
        self, words: JobTrack, sound: JobTrack, options: VideoOptions, fonts: Path | None
    ) -> None:
        self._words = words
        self._sound = sound
        self._options = options
        self._fonts = fonts

    def make(self) -> StoredFile:
        """The file, which is made if it does not exist. Raises a StudioError."""
        # The song itself may have to be fetched from a store, which a kept video does not need.
        song_s = self._sound.track.duration_s
        assert song_s is not None
        duration_s = song_s / self._options.mix.tempo
        if duration_s > MAX_S:
            raise AudioTooLong(
                f"The video would last {duration_s:,.0f} s; at most {MAX_S:,.0f} s are possible "
                "here. The command `audio-studio karaoke` has no limit."
            )

        def of_version(files: ResultFolder, version: str) -> StoredFile:
            return self._add(files, version, duration_s)

        return for_current(self._words.track.version, self._words.folder.files, of_version)

    def _add(self, files: ResultFolder, version: str, duration_s: float) -> StoredFile:
        """The video among `files`, which are those of one version of the words."""

        def write(path: Path) -> None:
            self.write(path, check_wanted)
            # The words were read when the video's turn came, perhaps after an edit.
            if self._words.track.version(self._words.folder.files.infos()) != version:
                raise ResultsGone("The transcript was edited while the video was made. Try again.")

        kept, identity = f"{FOLDER}/", self._identity()
        name = f"{kept}{identity}/{FILE}"
        is_new = files.file(name).info() is None
        file = files.add(
            name,
            lambda: audio.max_video_bytes(self._frame(), duration_s),
            write,
        )
        if is_new:
            remove_oldest(files, kept, identity, MAX_KEPT)
        return file

    def write(self, target: Path, on_wait: Callable[[], None]) -> None:
        """Write the video to `target`. `on_wait` may raise to cancel. Raises a StudioError."""
        tags = _titled(self._words.folder.tags(), self._options)
        with tempfile.TemporaryDirectory(prefix="audio-studio-") as name:
            folder = Path(name)
            self._prepare(folder, _titles(tags))
            if self._options.background == COVER:
                self._place_cover(folder)
            audio.write_video(
                target,
                folder,
                self._frame(),
                replace(self._options.mix, tags=tags),
                self._song(),
                on_wait=on_wait,
            )

    def _song(self) -> audio.Song:
        song = self._sound.track.song
        assert song is not None
        return song(self._sound.folder)

    def _prepare(self, folder: Path, titles: list[str]) -> None:
        """Write the script, the fonts and the background of the video."""
        options, lyrics = self._options, self._lyrics()
        text = "".join([line.text for line in lyrics.lines] + titles)
        fonts = Fonts.for_text(text, self._fonts, lyrics.language)
        screen = Screen(options.width, options.height, fonts)
        offset_s = options.offset_ms / 1000
        lines = [_in_time(line, offset_s, options.mix.tempo) for line in lyrics.lines]
        (folder / audio.SCRIPT).write_text(screen.script(lines, titles), "utf-8")
        place_fonts(fonts, folder)

    def _place_cover(self, folder: Path) -> None:
        picture = _cover(self._words.folder.upload.path, self._words.folder.filename)
        options = self._options
        data = audio.background(picture, options.width, options.height)
        (folder / audio.PICTURE).write_bytes(data)

    def _lyrics(self) -> Lyrics:
        read = self._words.track.lyrics
        assert read is not None
        lyrics = read(self._words.folder)
        if not lyrics.lines:
            raise NotReady(
                "The transcript of the song has no words, so there is nothing to show in a video."
            )
        return lyrics

    def _frame(self) -> audio.Frame:
        options = self._options
        colour = DEFAULT_BACKGROUND if options.background == COVER else options.background
        return audio.Frame(options.width, options.height, colour)

    def _identity(self) -> str:
        """Names these options and this sound; changed transcripts have folders of their own."""
        key = json.dumps([self._sound.job_id, asdict(self._options)], sort_keys=True)
        return hashlib.sha256(key.encode()).hexdigest()[:16]


def check_cover(path: Path, options: VideoOptions) -> None:
    """Raise InvalidOption if the background is the cover of a recording that has none."""
    if options.background == COVER:
        _cover(path, path.name)


def check_fonts(
    path: Path, options: VideoOptions, lyrics: str, language: str | None, folder: Path | None
) -> None:
    """Raise FontMissing if the video of a recording cannot show its titles or its words.

    Words that are not known yet (no `lyrics`) are assumed to be in the script of the language.
    `folder` has more fonts.
    """
    tags = _titled(audio.read_tags(path).completed(path.name), options)
    words = lyrics or LETTERS.get(language or "", "")
    Fonts.for_text("".join([words, *_titles(tags)]), folder, language)


def _cover(path: Path, filename: str) -> Picture:
    picture = audio.read_picture(path)
    if picture is None:
        raise InvalidOption(
            f"`background` is {COVER!r}, but {filename!r} contains no JPEG or PNG of up to "
            f"{audio.MAX_PICTURE_BYTES >> 20} MiB. Use a colour, such as {DEFAULT_BACKGROUND}."
        )
    return picture


def _titled(tags: audio.Tags, options: VideoOptions) -> audio.Tags:
    """The tags of a recording with the title of its video."""
    return tags if options.title is None else replace(tags, title=options.title)


def _titles(tags: audio.Tags) -> list[str]:
    """What the video shows at the beginning."""
    return [tags.title, tags.artist or ""] if tags.title else []


def _in_time(line: LyricLine, offset_s: float, tempo: float) -> LyricLine:
    """A line at its time in the video, which begins at 0."""

    def at(time_s: float) -> float:
        return max(0.0, time_s + offset_s) / tempo

    words = (replace(word, start_s=at(word.start_s), end_s=at(word.end_s)) for word in line.words)
    return replace(line, words=tuple(words))


def place_fonts(fonts: Fonts, folder: Path) -> None:
    """Put the fonts that a script uses, and no others, where libass looks for them."""
    (folder / audio.FONTS).mkdir()
    for number, font in enumerate(fonts.used):
        target = folder / audio.FONTS / f"{number}.{font.file_type}"
        if isinstance(font.file, bytes):
            target.write_bytes(font.file)
        else:
            target.symlink_to(font.file.resolve())
