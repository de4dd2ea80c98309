"""HTTP servers of tests, on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

# How often a server looks whether to stop.
LOOK_EVERY_S = 0.02


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port of a server that answers by means of the handler, and logs nothing."""
    silent = type("Silent", (handler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), silent) as server:
        thread = Thread(target=server.serve_forever, args=(LOOK_EVERY_S,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
