"""Lines of the log: text for people, or one JSON object each for programs.

While a request is answered, its id stands in every line.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

NOISY = ("urllib3", "filelock", "httpx", "httpcore", "faster_whisper", "werkzeug", "flask-limiter")


class TextFormatter(logging.Formatter):
    """A line for people; the id of the request stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of logging
        line = super().formatMessage(record)
        known = request_id.get()
        return f"{line} [{known}]" if known else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what stands in the record's `fields` is added to it."""

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


def configure(log_format: str, level: int) -> None:
    """Write the log to stderr in a format, `text` or `json`; nothing where that is done already."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
