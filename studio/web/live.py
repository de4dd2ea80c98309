"""The Socket.IO namespace `/transcribe`."""

from typing import Any

from flask_socketio import Namespace, emit

PATH = "/transcribe"
NOT_YET = {
    "code": "model_not_implemented",
    "message": "Live transcription is not part of this version yet.",
}


class Transcribe(Namespace):  # type: ignore[misc]
    """Accepts connections; until there is a speech engine, every chunk is answered by `error`.

    The greeting travels as `connected`: `connect` is a reserved name of the protocol.
    """

    def on_connect(self, _auth: Any = None) -> None:
        emit("connected", {"message": "Connected to transcription service"})

    def on_audio(self, *_data: Any) -> None:
        emit("error", NOT_YET)

    def on_finish(self, *_data: Any) -> None:
        emit("error", NOT_YET)
