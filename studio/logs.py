"""Log formats: text, or one JSON object per line.

All lines logged during a request contain its ID.
"""

import json
import logging
import re
import threading
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

NOISY = ("urllib3", "filelock", "httpx", "httpcore", "faster_whisper", "werkzeug")

# These log what clients send.
TALKATIVE = ("engineio", "socketio")
# Control characters, line separators and bidirectional controls.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Escape control characters, so that text from callers cannot break lines."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


class TextFormatter(logging.Formatter):
    """A text line that ends with the ID of the request."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of logging
        line = one_line(super().formatMessage(record))
        known = request_id.get()
        return f"{line} [{known}]" if known else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of logging
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


class JsonFormatter(logging.Formatter):
    """One JSON object per line, including the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := request_id.get():
            line["request_id"] = known
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class OneLine(logging.Filter):
    """Replaces a traceback by the name and message of the error."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            record.msg = f"{record.getMessage()}: {type(error).__name__}: {error!s:.200}"
            record.args, record.exc_info, record.exc_text = (), None, None
        return True


class RateLimitedLog:
    """Logs at most one line per second, with the number of suppressed ones."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._written_s = float("-inf")
        self._left_out = 0

    def warning(self, text: str, *values: object) -> None:
        self._write(logging.WARNING, text, values, None)

    def exception(self, text: str, *values: object, error: BaseException) -> None:
        self._write(logging.ERROR, text, values, error)

    def _write(
        self, level: int, text: str, values: tuple[object, ...], error: BaseException | None
    ) -> None:
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._written_s < 1.0:
                self._left_out += 1
                return
            left_out, self._left_out, self._written_s = self._left_out, 0, now_s
        if left_out:
            text += f" ({left_out} more since the last such line)"
        self._log.log(level, text, *values, exc_info=error)


def _log_thread(ended: threading.ExceptHookArgs) -> None:
    """Log the exception that ended a thread, instead of printing it."""
    if ended.exc_type is not SystemExit and ended.exc_value is not None:
        name = ended.thread.name if ended.thread else "unknown"
        logging.getLogger(__name__).error(
            "thread %s ended with an error", name, exc_info=ended.exc_value
        )


def configure(log_format: str, level: int) -> None:
    """Log to stderr as `text` or `json`; does nothing if this is already configured."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name in TALKATIVE:
        talkative = logging.getLogger(name)
        talkative.setLevel(logging.ERROR)
        if not talkative.filters:
            talkative.addFilter(OneLine())
