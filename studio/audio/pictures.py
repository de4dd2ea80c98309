"""The cover pictures of recordings: read without being decoded, and written into MP3, FLAC and OGG.

Only JPEG and PNG are carried into results, the formats that the metadata of all three know.
"""

import base64
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from studio.audio.accepted import FORMATS
from studio.audio.child import GUARDS, INPUT, Child, ChildFiles
from studio.audio.replacing import replacing
from studio.errors import InternalError, NotAudio

# Larger ones are left out.
MAX_BYTES = 5 << 20
MAX_PIXELS = 40_000_000
TAGS_FILE = "tags.txt"
# The beginning of a FLAC file, up to the end of its first block.
FLAC_HEAD_BYTES = 42
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_DECODERS = {"image/jpeg": ("jpeg_pipe", "mjpeg"), "image/png": ("png_pipe", "png")}
_FRONT_COVER = 3
_FLAC_PICTURE, _FLAC_LAST = 6, 0x80
# The picture fills the frame, dark enough for text on it.
_DARKEN = "eq=brightness=-0.25:saturation=0.8"


@dataclass(frozen=True)
class Picture:
    data: bytes
    content_type: str


def read_picture(path: Path) -> Picture | None:
    """The first picture in a recording, as it is stored; None if there is no usable one."""
    command = ["-v", "error", *GUARDS, "-format_whitelist", FORMATS]
    command += ["-codec_whitelist", "mjpeg,png", "-an", "-sn", "-dn", *INPUT]
    command += ["-map", "0:v:0", "-c", "copy", "-frames:v", "1", "-f", "image2pipe", "pipe:1"]
    data = bytearray()
    try:
        with Child(command, path) as child:
            while len(data) <= MAX_BYTES and (more := child.receive()):
                data += more
    except NotAudio:
        return None
    kind = next((kind for begin, kind in _TYPES.items() if data.startswith(begin)), None)
    return Picture(bytes(data), kind) if kind and len(data) <= MAX_BYTES else None


def background(picture: Picture, width: int, height: int) -> bytes:
    """A picture that fills a frame, as PPM. Raises NotAudio if it cannot be decoded."""
    container, decoder = _DECODERS[picture.content_type]
    command = ["-v", "error", *GUARDS, "-codec_whitelist", decoder, "-max_pixels", f"{MAX_PIXELS}"]
    command += ["-f", container, *INPUT]
    size = f"{width}:{height}"
    filters = f"scale={size}:force_original_aspect_ratio=increase,crop={size},{_DARKEN}"
    command += ["-vf", filters, "-frames:v", "1", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
    data = bytearray()
    with tempfile.NamedTemporaryFile(prefix="audio-studio-") as file:
        file.write(picture.data)
        file.flush()
        with Child(command, Path(file.name)) as child:
            while more := child.receive():
                data += more
            if not child.wait() or not data:
                raise NotAudio(f"The picture cannot be read: {child.report.last_words()}.")
    return bytes(data)


def flac_picture(picture: Picture) -> bytes:
    """The content of the metadata block for a picture, which OGG has as base64."""
    kind = picture.content_type.encode()
    numbers = [_FRONT_COVER, len(kind)]
    head = b"".join(number.to_bytes(4, "big") for number in numbers) + kind
    # No description; width, height, depth and colours are unknown.
    return head + bytes(4 + 16) + len(picture.data).to_bytes(4, "big") + picture.data


def with_flac_picture(head: bytes, picture: Picture | None) -> bytes:
    """The beginning of a FLAC file, with at least its first block, with a picture after that."""
    if picture is None:
        return head
    content = flac_picture(picture)
    is_last = head[4] & _FLAC_LAST
    block = bytes([_FLAC_PICTURE | is_last]) + len(content).to_bytes(3, "big") + content
    first = head[:4] + bytes([head[4] & ~_FLAC_LAST]) + head[5:FLAC_HEAD_BYTES]
    return first + block + head[FLAC_HEAD_BYTES:]


def add_flac_picture(path: Path, picture: Picture) -> None:
    """Rewrite a FLAC file with a picture."""
    with path.open("rb") as source, replacing(path) as longer, longer.open("wb") as target:
        target.write(with_flac_picture(source.read(FLAC_HEAD_BYTES), picture))
        shutil.copyfileobj(source, target, 1 << 20)


def add_ogg_picture(path: Path, picture: Picture, tags: dict[str, str]) -> None:
    """Rewrite an OGG file with tags and a picture, without encoding it again.

    If that fails, the file stays as it is. Raises InternalError with what ffmpeg says.
    """
    max_bytes = path.stat().st_size + 2 * len(picture.data) + (1 << 20)
    with (
        tempfile.TemporaryDirectory(prefix="audio-studio-") as folder,
        replacing(path) as longer,
    ):
        write_ogg_tags(Path(folder), picture, tags)
        command = ["-v", "error", *GUARDS, "-f", "ogg", *INPUT, *OGG_TAGS_INPUT]
        command += [*OGG_TAGS_OUTPUT, "-c", "copy", "-f", "ogg", "-fd", "1", "fd:"]
        with open(longer, "w+b") as output:
            files = ChildFiles(Path(folder), output, max_bytes)
            with Child(command, path, files) as child:
                child.drain_messages(lambda: None)
                if not child.wait():
                    raise InternalError(child.report.last_words())


OGG_TAGS_INPUT = ["-protocol_whitelist", "file", "-f", "ffmetadata", "-i", TAGS_FILE]
"""The input that `write_ogg_tags` writes, a file that ffmpeg opens by its name."""
OGG_TAGS_OUTPUT = ["-map", "0:a", "-map_metadata", "1", "-map_metadata:s:a", "1:g"]
"""The options of the output that gets these tags."""


def write_ogg_tags(folder: Path, picture: Picture, tags: dict[str, str]) -> None:
    """Write tags as a file of ffmpeg: a picture is too long for an argument."""
    block = base64.b64encode(flac_picture(picture)).decode()
    values = {**tags, "METADATA_BLOCK_PICTURE": block}
    lines = [f"{name}={_escaped(text)}\n" for name, text in values.items()]
    (folder / TAGS_FILE).write_text(";FFMETADATA1\n" + "".join(lines), "utf-8")


def _escaped(text: str) -> str:
    return "".join(f"\\{one}" if one in "=;#\\\n" else one for one in text)
