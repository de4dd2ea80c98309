"""One Wyoming client: its events are read within limits, and answered in order."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from pydantic import ValidationError
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong

from studio import logs
from studio.transcription.languages import language_code
from studio.transcription.live.events import SessionError
from studio.transcription.live.settings import (
    MAX_HOTWORDS_CHARACTERS,
    LiveSettings,
    check_settings,
)
from studio.web.compat.wyoming.info import Speech, info_of
from studio.web.compat.wyoming.utterance import Utterance

# The data of an event are JSON; its payload is audio.
MAX_DATA_BYTES = 1 << 16
WRITE_TIMEOUT_S = 10.0
AUTOMATIC = "auto"
JOINT = ", "
NO_EVENT = "This is not an event of the Wyoming protocol."

log = logging.getLogger(__name__)
defects = logs.RateLimitedLog(log)


class _Limited:
    """Reads from a connection; limits sizes and waiting times."""

    def __init__(
        self, reader: asyncio.StreamReader, max_payload_bytes: int, timeout_s: float
    ) -> None:
        self._reader = reader
        self._max_bytes = max(MAX_DATA_BYTES, max_payload_bytes)
        self._timeout_s = timeout_s

    async def readline(self) -> bytes:
        return await asyncio.wait_for(self._reader.readline(), self._timeout_s)

    async def readexactly(self, size: int) -> bytes:
        if size > self._max_bytes:
            sentence = f"A message has {size:,} bytes; the maximum is {self._max_bytes:,}."
            raise SessionError("chunk_too_large", f"{sentence} Send shorter chunks.")
        return await asyncio.wait_for(self._reader.readexactly(size), self._timeout_s)

    @property
    def is_closed(self) -> bool:
        """Whether the client has sent its last byte."""
        return self._reader.at_eof()


class Connection:
    """One client: reads its events, and answers them in order."""

    def __init__(
        self,
        speech: Speech,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._speech = speech
        self._reader = _Limited(reader, speech.limits.chunk_bytes, speech.limits.idle_s)
        self._writer = writer
        self._client = str((writer.get_extra_info("peername") or ("",))[0])
        self._settings = self._settings_of(Transcribe())
        self._utterance: Utterance | None = None

    async def serve(self) -> None:
        """Answer events until the client leaves, is silent for too long, or makes a mistake."""
        try:
            while (event := await self._read()) is not None:
                await self._answer(event)
                # In Python 3.11, `wait_for` may return a result in place of a cancellation.
                if (task := asyncio.current_task()) and task.cancelling():
                    raise asyncio.CancelledError
        except SessionError as error:
            await self.refuse(error.message, error.code)
        except asyncio.CancelledError:
            await self.refuse(
                "The server is shutting down. Connect again later.", "server_stopping"
            )
        except TimeoutError:
            sentence = f"Nothing was sent for {self._speech.limits.idle_s:g} s."
            await self.refuse(sentence, "idle")
        except (OSError, EOFError):
            log.debug("the Wyoming client %s has left", self._client)
        except Exception as error:
            defects.exception("unhandled error in a Wyoming connection", error=error)
            await self.refuse("The server could not answer. Its log has the cause.")
        finally:
            self._end_utterance()
            await self._close()

    async def refuse(self, sentence: str, code: str = "internal_error") -> None:
        """Send an error and close the connection."""
        with suppress(OSError):
            await self._write(Error(sentence, code).event())
        await self._close()

    async def _close(self) -> None:
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), WRITE_TIMEOUT_S)
        except OSError:
            self._writer.transport.abort()

    async def _read(self) -> Event | None:
        """The next event. Raises SessionError if it is none, TimeoutError and EOFError."""
        try:
            event = await async_read_event(self._reader)  # type: ignore[arg-type]
        except (AttributeError, KeyError, TypeError, RecursionError):
            raise SessionError("bad_request", NO_EVENT) from None
        if event is None:
            if not self._reader.is_closed:
                raise SessionError("bad_request", NO_EVENT)
        elif not (isinstance(event.type, str) and isinstance(event.data, dict)):
            raise SessionError("bad_request", NO_EVENT)
        return event

    async def _write(self, event: Event) -> None:
        await asyncio.wait_for(async_write_event(event, self._writer), WRITE_TIMEOUT_S)

    async def _answer(self, event: Event) -> None:
        """Answer an event; events of unknown types are ignored, as the protocol demands."""
        if Describe.is_type(event.type):
            info = await asyncio.to_thread(info_of, self._speech)
            await self._write(info.event())
        elif Ping.is_type(event.type):
            await self._write(Pong(text=event.data.get("text")).event())
        elif Transcribe.is_type(event.type):
            self._settings = self._settings_of(Transcribe.from_event(event))
        elif AudioStart.is_type(event.type):
            self._begin_utterance()
        elif AudioChunk.is_type(event.type):
            if self._utterance is None:
                raise SessionError("bad_request", "Send `audio-start` before `audio-chunk`.")
            await self._utterance.take(_chunk_of(event))
        elif AudioStop.is_type(event.type) and self._utterance is not None:
            summary = await self._utterance.finish(lambda: self._reader.is_closed)
            self._end_utterance()
            transcript = Transcript(summary["text"], language=summary["language"])
            await self._write(transcript.event())

    def _settings_of(self, request: Transcribe) -> LiveSettings:
        """The settings for the next utterance. Raises SessionError."""
        try:
            words = [*(request.transcript_names or []), *(request.transcript_terms or [])]
            settings = LiveSettings(
                variant=request.name or self._speech.default,
                language=_language_of(request.language),
                hotwords=hotwords_of(words),
                interim_results=False,
                words=False,
            )
        except (ValidationError, TypeError, AttributeError):
            raise SessionError(
                "invalid_setting",
                "`transcribe` has a value of the wrong type.",
            ) from None
        check_settings(settings, self._speech.catalogue)
        return settings

    def _begin_utterance(self) -> None:
        """Begin an utterance; one that has not ended is given up. Raises SessionError."""
        self._end_utterance()
        self._utterance = Utterance(self._speech, self._settings, self._client)

    def _end_utterance(self) -> None:
        if self._utterance is None:
            return
        utterance, self._utterance = self._utterance, None
        utterance.close()
        figures = utterance.session.figures()
        log.info(
            "Wyoming utterance of %s: %.1f s of audio, %.1f s of decoding",
            self._client,
            figures.audio_s,
            figures.decoding_s,
        )


def _chunk_of(event: Event) -> AudioChunk:
    """The chunk of an event. Raises SessionError."""
    for name in ("rate", "width", "channels"):
        if not isinstance(value := event.data.get(name), int):
            raise SessionError("bad_audio", f"`{name}` is {value!r:.40}; it must be a number.")
    return AudioChunk.from_event(event)


def hotwords_of(words: Iterable[str]) -> str:
    """As many words as fit: they are hints only, and no utterance should fail for them."""
    joined, dropped = "", 0
    for word in words:
        longer = JOINT.join([joined, word] if joined else [word])
        if len(longer) > MAX_HOTWORDS_CHARACTERS:
            dropped += 1
        else:
            joined = longer
    if dropped:
        log.debug("dropped %d names and terms: too many characters", dropped)
    return joined


def _language_of(language: str | None) -> str | None:
    """Whisper's code of a language such as en-GB; None to detect it. Raises SessionError."""
    if not language or language == AUTOMATIC:
        return None
    code = language_code(language)
    if code is None:
        sentence = f"Whisper does not support the language {language!r:.40}."
        raise SessionError("invalid_setting", sentence)
    return code
