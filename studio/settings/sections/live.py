"""Live transcription."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import setting


@dataclass(frozen=True)
class Live:
    """Live transcription."""

    LIVE_SESSIONS: int = setting(
        8, values.integer(1, 1000), "Simultaneous live sessions; each uses one thread."
    )
    LIVE_CLIENT_SESSIONS: int = setting(
        4, values.integer(0, 1000), "Simultaneous live sessions per client; 0: no limit."
    )
    LIVE_WAITING_S: int = setting(
        60,
        values.integer(5, 3600),
        "Longest backlog of a live session, in seconds of speech; beyond it chunks are rejected, "
        "or wait with `/v1/realtime`.",
    )
    LIVE_SILENCE_S: int = setting(
        1, values.integer(1, 600), "Seconds of silence that a live session keeps."
    )
    LIVE_LENGTH_S: int = setting(
        14_400, values.integer(10, 10**7), "Longest live session, in seconds of audio."
    )
    LIVE_IDLE_S: int = setting(
        120,
        values.integer(1, 10**6),
        "Seconds without a message after which a live session is closed.",
    )
    LIVE_CHUNK_BYTES: int = setting(
        512 * 1024, values.integer(1024, 10**9), "Largest chunk of live audio, in bytes."
    )
