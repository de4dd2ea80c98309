"""Asks a server at a steady rate from many clients, and notes how long the answers take."""

import http.client
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread

from bench.measure import no_garbage_collection

Connect = Callable[[int], http.client.HTTPConnection]
"""The connection of the client with this number."""


@dataclass
class Responses:
    """What came of many requests: milliseconds of each answer, and what went wrong."""

    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def row(self, name: str, target: str) -> str:
        p50_ms = statistics.median(self.milliseconds)
        p99_ms = statistics.quantiles(self.milliseconds, n=100)[98]
        return (
            f"| {name} | {target} | p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms; "
            f"{len(self.milliseconds)} requests, {len(self.errors)} errors |"
        )


def ask(
    connect: Connect, number: int, path: str, times_s: list[float], responses: Responses
) -> None:
    """Ask at the given times of the monotonic clock, on one kept connection."""
    caller = connect(number)
    for at_s in times_s:
        time.sleep(max(0.0, at_s - time.monotonic()))
        began_s = time.monotonic()
        try:
            caller.request("GET", path)
            answer = caller.getresponse()
            answer.read()
            if answer.status != 200:
                responses.errors.append(f"status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            responses.errors.append(repr(error))
            caller.close()
        responses.milliseconds.append((time.monotonic() - began_s) * 1000)
    caller.close()


def steadily(connect: Connect, path: str, clients: int, rate_s: float, seconds: float) -> Responses:
    """Ask `rate_s` times a second from so many clients in turn."""
    responses = Responses()
    with no_garbage_collection():
        began_s = time.monotonic() + 0.5
        times_s = [began_s + number / rate_s for number in range(round(seconds * rate_s))]
        threads = [
            Thread(target=ask, args=(connect, number, path, times_s[number::clients], responses))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return responses
