"""The TCP server of the Wyoming protocol."""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from threading import Thread
from typing import Any

from studio.web.compat.wyoming.connection import Connection
from studio.web.compat.wyoming.info import Speech

MAX_CONNECTIONS = 64
MAX_LINE_BYTES = 1 << 16
STOP_TIMEOUT_S = 5.0
# More steps than asyncio needs until an accepted connection is among the connections.
ACCEPTING_STEPS = 8

log = logging.getLogger(__name__)


class WyomingServer:
    """A server with one thread, on which all of its connections are served."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run_loop, name="wyoming", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError if the address cannot be used."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        self._thread.start()
        self._run(self._listen(listening))
        log.info("Wyoming clients may connect to %s:%d", host, listening.getsockname()[1])

    def stop(self) -> None:
        """Tell all clients that the server stops, and close their connections."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_S)

    def _run_loop(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_TIMEOUT_S)

    async def _listen(self, listening: socket.socket) -> None:
        self._server = await asyncio.start_server(
            self._accept, sock=listening, limit=MAX_LINE_BYTES
        )

    async def _close(self) -> None:
        if self._server is not None:
            # asyncio would lose connections that it is just accepting when the server closes.
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            for _ in range(ACCEPTING_STEPS):
                await asyncio.sleep(0)
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STOP_TIMEOUT_S / 2)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self._speech, reader, writer)
        if len(self._connections) >= MAX_CONNECTIONS:
            sentence = f"{MAX_CONNECTIONS} connections are open. Close one first."
            await connection.refuse(sentence, "too_many_connections")
            return
        self._connections.add(task)
        try:
            await connection.serve()
        finally:
            self._connections.discard(task)
