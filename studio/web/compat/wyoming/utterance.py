"""One utterance: a live session that is fed with the audio of a Wyoming client."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

from wyoming.audio import AudioChunk

from studio.transcription.live.events import Advice, SessionError
from studio.transcription.live.receive import Receiver, receiver
from studio.transcription.live.session import Session
from studio.transcription.live.settings import LiveSettings
from studio.web.access import client_at
from studio.web.compat.wyoming.info import Speech

ADVICE = Advice(too_long="Send `audio-stop` earlier.")
# How often to look whether there is room for more audio, or whether the client has left.
LOOK_EVERY_S = 0.2


class Utterance:
    """The live session of one utterance."""

    def __init__(self, speech: Speech, settings: LiveSettings, address: str) -> None:
        loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._scheduler = speech.scheduler
        self._id = f"wyoming-{secrets.token_hex(8)}"
        self._receiver: Receiver | None = None
        self._mime_type = ""

        def emit(name: str, data: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, (name, data))

        self.session = Session(settings, speech.limits, emit, time.monotonic(), advice=ADVICE)
        self._scheduler.add(self._id, self.session, client_at(address))

    async def take(self, chunk: AudioChunk) -> None:
        """Add a chunk, as soon as there is room for it. Raises SessionError."""
        while not self._events.empty():
            self._check(*self._events.get_nowait())
        mime_type = f"audio/pcm;rate={chunk.rate};channels={chunk.channels};bits={8 * chunk.width}"
        if self._receiver is None:
            self._receiver, self._mime_type = receiver(mime_type), mime_type
        if mime_type != self._mime_type:
            raise SessionError("bad_audio", "The sample format has changed within an utterance.")
        seconds = self._receiver.seconds(chunk.audio)
        while True:
            try:
                self.session.admit(seconds)
                break
            except SessionError as error:
                if error.code != "too_far_behind":
                    raise
            # Nothing is read meanwhile, so the client has to wait as well.
            self.session.keep_alive(time.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.to_thread(self._feed, self._receiver.feed, chunk.audio)

    def _feed(self, decode: Callable[..., Any], *data: bytes) -> None:
        self.session.feed(decode(*data), time.monotonic())
        self._scheduler.wake()

    async def finish(self, has_left: Callable[[], bool]) -> dict[str, Any]:
        """The summary of the session, with all of its text. Raises SessionError."""
        if self._receiver is not None:
            await asyncio.to_thread(self._feed, self._receiver.finish)
        self.session.finish(time.monotonic())
        self._scheduler.wake()
        while True:
            try:
                name, data = await asyncio.wait_for(self._events.get(), LOOK_EVERY_S)
            except TimeoutError:
                if has_left():
                    raise ConnectionError from None
                continue
            self._check(name, data)
            if name == "finished":
                return data

    @staticmethod
    def _check(name: str, data: dict[str, Any]) -> None:
        if name == "error":
            raise SessionError(data["code"], data["message"])

    def close(self) -> None:
        self._scheduler.remove(self._id)
