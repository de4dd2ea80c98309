"""The one place where faster-whisper is imported."""

from threading import Lock
from typing import Any

_first_import = Lock()


def import_faster_whisper() -> Any:
    """The `faster_whisper` package with its modules, ready for any number of threads.

    The package imports its modules. If a thread imports one of them while another imports the
    package, each waits for the other, and Python lets one go on with a half-initialised module.
    """
    with _first_import:
        import faster_whisper

        return faster_whisper
