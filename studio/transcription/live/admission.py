"""Decides whether a session takes more audio."""

from studio.transcription.live.events import Advice, SessionError
from studio.transcription.live.settings import Limits


def check_length(received_s: float, seconds: float, limits: Limits, advice: Advice) -> None:
    """Raise SessionError if `seconds` more would make the session too long."""
    if received_s + seconds > limits.length_s:
        raise SessionError(
            "session_too_long",
            f"A session lasts at most {limits.length_s:g} s. {advice.too_long}",
        )


def check_backlog(waiting_s: float, seconds: float, limits: Limits) -> None:
    """Raise SessionError if too much audio waits to be decoded to take `seconds` more."""
    if waiting_s > 0 and waiting_s + seconds > limits.waiting_s:
        raise SessionError(
            "too_far_behind",
            f"{waiting_s:.0f} s of audio are waiting to be decoded; this chunk was rejected. "
            "Send it again later.",
        )


def idle(limits: Limits, advice: Advice) -> dict[str, str]:
    """The data of the `error` for a session whose client has sent nothing for too long."""
    sentence = (
        f"The session was closed because no message arrived for {limits.idle_s:g} s. {advice.idle}"
    )
    return {"code": "idle", "message": sentence}
