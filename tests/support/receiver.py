"""A receiver of webhooks: a real HTTP server that notes what it gets and answers as it is told."""

from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Event, Thread
from typing import Any

import standardwebhooks

from tests.support.listening import LOOK_EVERY_S
from tests.support.server import WAIT_S

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """The message, checked as receivers do: by the library of Standard Webhooks."""
        checker = standardwebhooks.Webhook(secret)
        told: dict[str, Any] = checker.verify(self.body, self.headers)
        return told


class Receiver:
    """Listens on loopback; `answers` are the statuses of its answers, the last one for ever.

    It answers once `go` is set.
    """

    def __init__(
        self,
        *answers: int,
        port: int | None = None,
        location: str = "",
        go: Event | None = None,
    ) -> None:
        self.got: Queue[Delivery] = Queue()
        left = list(answers or (204,))
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                names = {name.lower(): text for name, text in self.headers.items()}
                # Before the answer: who has been answered may look at once.
                got.put(Delivery(names, body))
                if go is not None:
                    go.wait(WAIT_S)
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/told?by=studio"
        Thread(target=self._http.serve_forever, args=(LOOK_EVERY_S,), daemon=True).start()

    def next(self) -> Delivery:
        return self.got.get(timeout=WAIT_S)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
