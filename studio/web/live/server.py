"""The Socket.IO server with live transcription, and limits on its connections and messages."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from engineio.payload import Payload
from flask import Flask
from flask_socketio import SocketIO

from studio.inference.variants import Catalogue
from studio.transcription.catalogue import WhisperVariant
from studio.transcription.live.scheduler import Scheduler
from studio.transcription.live.settings import Limits
from studio.web.access import Access
from studio.web.live import jobs, messages, namespaces, sockets, transcription

POLLED_PACKETS = 10_000
# 16-bit samples at 16 kHz.
LIVE_BYTES_PER_S = 32_000
# The size of a message relative to its chunk: base64 adds a third.
BASE64_AND_MORE = 2
# Connections beside the live sessions: clients that are about to join, or to be refused.
SPARE_SOCKETS = 12


@dataclass(frozen=True)
class Live:
    """Where live speech is transcribed. `default` is the variant unless a client chooses another
    one of `catalogue`. `node` is the name of this server if it is one of several."""

    scheduler: Scheduler
    limits: Limits
    default: str
    catalogue: Catalogue[WhisperVariant]
    node: str = ""


def add(app: Flask, live_speech: Live, access: Access) -> SocketIO:
    """Add the server to the application. Events of a client are handled in order."""
    # A polling client sends its queued packets at once. Engine.IO closes the connection if there
    # are more than this; their size is limited below.
    Payload.max_decode_packets = POLLED_PACKETS
    limits = live_speech.limits
    message_bytes = round(
        max(limits.waiting_s * LIVE_BYTES_PER_S, BASE64_AND_MORE * limits.chunk_bytes)
    )
    socketio = SocketIO(
        app,
        async_mode="threading",
        async_handlers=False,
        cors_allowed_origins=access.origins_for_sockets,
        # Their own loggers print each error a second time.
        logger=logging.getLogger("socketio"),
        engineio_logger=logging.getLogger("engineio"),
        max_http_buffer_size=messages.REQUEST_TIMES * message_bytes,
    )
    if live_speech.node:
        _begin_ids_with(live_speech.node, socketio.server.eio)
    report = partial(transcription.report_too_large, socketio, message_bytes)
    messages.install(socketio.server, message_bytes, report)
    socketio.on_namespace(
        transcription.Transcribe(
            socketio,
            live_speech.scheduler,
            limits,
            default=live_speech.default,
            catalogue=live_speech.catalogue,
            access=access,
        )
    )
    socketio.on_error_default(namespaces.on_defect)
    sockets.install(socketio.server, (transcription.PATH, jobs.PATH), SPARE_SOCKETS)
    return socketio


def _begin_ids_with(node: str, engine: Any) -> None:
    """Begin connection IDs with the name of this node, so that a proxy knows whose they are."""
    generate_id = engine.generate_id
    engine.generate_id = lambda: f"{node}.{generate_id()}"
