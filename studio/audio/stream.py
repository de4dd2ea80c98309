"""Decodes recordings while they are made."""

from contextlib import suppress
from threading import Lock, Thread

import numpy as np
import numpy.typing as npt

from studio.audio.child import GUARDS, INPUT, SOUND_ONLY, Child
from studio.audio.mono import MonoMixer, mono_graph
from studio.errors import DecoderEnded, NotAudio

# What browsers record, by ffmpeg's name of the container.
CODECS = {
    "matroska": "opus,libopus,vorbis,libvorbis,pcm_f32le",
    "ogg": "opus,libopus,vorbis,libvorbis",
    "mov": "aac,opus,libopus,alac,flac",
}
END_TIMEOUT_S = 30.0
# More sound than this from one piece of a stream is no recording of a voice, but a bomb.
MAX_S = 600.0
# ffmpeg gives the mean, left and right: more channels are mixed to two.
CHANNELS = 2
FRAME_BYTES = 4 * (1 + CHANNELS)


class StreamDecoder:
    """Decodes one recording that comes in pieces of any length, as a browser records it.

    `container` is ffmpeg's name of its format, one of CODECS. Sound comes out mono at `rate_hz`, as
    soon as ffmpeg has it.
    """

    def __init__(self, container: str, rate_hz: int) -> None:
        command = ["-v", "error", *GUARDS, "-format_whitelist", container]
        command += ["-codec_whitelist", CODECS[container], "-probesize", "4096"]
        command += ["-f", container, *SOUND_ONLY, *INPUT]
        command += ["-filter_complex", mono_graph(f"aresample={rate_hz}", CHANNELS)]
        command += ["-map", "[out]", "-c:a", "pcm_f32le", "-f", "f32le"]
        command += ["-flush_packets", "1", "pipe:1"]
        self._child = Child(command, None)
        self._rate_hz = rate_hz
        self._mixer = MonoMixer(rate_hz)
        self._went_well = False
        self._decoded = bytearray()
        self._lock = Lock()
        self._reader = Thread(target=self._read, name="stream-decoder", daemon=True)
        self._reader.start()

    def feed(self, data: bytes) -> npt.NDArray[np.float32]:
        """Take the next piece; what has been decoded so far, float32 (samples,).

        Raises NotAudio when the recording cannot be decoded.
        """
        try:
            self._child.send(data)
        except (BrokenPipeError, ValueError):
            raise NotAudio("The recording cannot be decoded. Start a new one.") from None
        return self._taken()

    def finish(self) -> npt.NDArray[np.float32]:
        """The recording has ended; the rest of its sound. Raises NotAudio where it had none."""
        self._child.send_end()
        self._reader.join(END_TIMEOUT_S)
        in_time = not self._reader.is_alive()
        rest = self._taken()
        self.close()
        if not in_time or (len(rest) == 0 and not self._went_well):
            raise NotAudio("The recording could not be decoded to the end.")
        return rest

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._reader.is_alive():
            self._child.kill()
        self._reader.join()
        self._child.close()

    def _read(self) -> None:
        """Gather what is decoded until the child ends, or is ended for taking too much."""
        total_bytes = 0
        while data := self._child.receive(is_live=True):
            total_bytes += len(data)
            self._child.allow(total_bytes / FRAME_BYTES / self._rate_hz)
            with self._lock:
                self._decoded += data
                if len(self._decoded) > MAX_S * self._rate_hz * FRAME_BYTES:
                    self._child.kill()
                    return
        with suppress(NotAudio, DecoderEnded):
            self._went_well = self._child.wait()

    def _taken(self) -> npt.NDArray[np.float32]:
        with self._lock:
            whole = len(self._decoded) // FRAME_BYTES * FRAME_BYTES
            data = bytes(self._decoded[:whole])
            del self._decoded[:whole]
        frames = np.frombuffer(data, "<f4").reshape(-1, 1 + CHANNELS)
        clean = np.nan_to_num(frames.T).astype(np.float32)
        return self._mixer.mix(clean[0], clean[1:])
