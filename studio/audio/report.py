"""What ffmpeg says while it runs."""

import re

from studio.errors import NotAudio

# The tags of the file are of no use; ffmpeg indents them by four spaces.
MAX_LINES = 200
MAX_LINE_BYTES = 4096
MAX_TAG_BYTES = 16 << 20
# ffmpeg says so and still exits with 0.
_LOST = b"Error during demuxing"
_DAMAGED = b"Error submitting packet to decoder"


class Report:
    """What ffmpeg says: its first lines but for the file's tags, and its last words.

    `lost_sound` is true where it gave up before the end; `damaged_packets` are those it left out.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.lost_sound = False
        self.damaged_packets = 0
        self._last = b""
        self._rest = b""
        self._tag_bytes = 0

    def hear(self, data: bytes) -> None:
        """Take what was said next. Raises NotAudio when the tags never end."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            if line.startswith(b"    "):
                self._tag_bytes += len(line)
            elif line:
                self._last = line[:MAX_LINE_BYTES]
                self.lost_sound |= _LOST in line
                self.damaged_packets += _DAMAGED in line
                if len(self.lines) < MAX_LINES:
                    self.lines.append(self._last.decode("utf-8", "replace"))
        if self._tag_bytes > MAX_TAG_BYTES:
            raise NotAudio("The file contains too many tags. Remove them and upload it again.")

    def says(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def last_words(self) -> str:
        """The last line, without ffmpeg's own names."""
        line = re.sub(r"^(\[.*?\] )+", "", self._last.decode("utf-8", "replace"))
        return line.replace("fd:", "the file").rstrip(".!") or "ffmpeg gave no reason"
