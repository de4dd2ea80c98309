"""The Prometheus metrics of a server, in their own registry."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from studio.jobs.job import State
from studio.jobs.tables import TotalRow

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LOAD_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


@dataclass(frozen=True)
class CurrentValues:
    """Values that are read at every scrape: jobs by model and state, the sums of those that have
    ended, live sessions and their longest lag in seconds, used and free bytes of the disk."""

    jobs: Callable[[], dict[tuple[str, State], int]]
    totals: Callable[[], list[TotalRow]]
    live_sessions: Callable[[], int]
    live_lag_s: Callable[[], float]
    used_bytes: Callable[[], int]
    free_bytes: Callable[[], int]


class Metrics:
    """The counters of a server."""

    def __init__(self, current: CurrentValues) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Stored(current))
        self._requests = Counter(
            "studio_http_requests",
            "HTTP requests.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._request_s = Histogram(
            "studio_http_request_seconds",
            "Time to the first byte of the response, including the time of ?wait=.",
            ["method", "route"],
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._load_s = Histogram(
            "studio_model_load_seconds",
            "Time to load a model.",
            ["model"],
            buckets=LOAD_BUCKETS_S,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)

    def request_answered(self, method: str, route: str, status: int, took_s: float) -> None:
        self._requests.labels(method, route, status).inc()
        # The time of a WebSocket is that of its session.
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            self._request_s.labels(method, route).observe(took_s)

    def model_loaded(self, name: str, took_s: float) -> None:
        self._load_s.labels(name).observe(took_s)


class _Stored(Collector):
    """What the database, the disk and the scheduler say at every scrape."""

    def __init__(self, current: CurrentValues) -> None:
        self._current = current

    def collect(self) -> Iterator[Metric]:
        counted = self._current.jobs()
        jobs = GaugeMetricFamily(
            "studio_jobs", "Jobs in the database, by model and state.", labels=["model", "state"]
        )
        for (model, state), count in sorted(counted.items()):
            jobs.add_metric([model, state.value], count)
        yield jobs
        yield from _sums(self._current.totals())
        waiting = sum(count for (_, state), count in counted.items() if state is State.QUEUED)
        for name, about, value in (
            ("studio_queue_depth", "Queued jobs.", waiting),
            ("studio_live_sessions", "Open live sessions.", self._current.live_sessions()),
            (
                "studio_live_lag_seconds",
                "Lag of the slowest live session behind its speaker, in seconds.",
                self._current.live_lag_s(),
            ),
            (
                "studio_disk_used_bytes",
                "Size of uploads and results.",
                self._current.used_bytes(),
            ),
            ("studio_disk_free_bytes", "Free disk space.", self._current.free_bytes()),
        ):
            yield GaugeMetricFamily(name, about, value=value)


def _sums(totals: Sequence[TotalRow]) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "studio_jobs_ended", "Jobs that have ended.", labels=["model", "state"]
    )
    audio = CounterMetricFamily(
        "studio_audio_seconds", "Seconds of audio in completed jobs.", labels=["model"]
    )
    processing = CounterMetricFamily(
        "studio_processing_seconds", "Processing time of completed jobs.", labels=["model"]
    )
    for row in totals:
        ended.add_metric([row.model, row.state], row.jobs)
        if row.state == State.COMPLETED:
            audio.add_metric([row.model], row.audio_s)
            processing.add_metric([row.model], row.worked_s)
    yield from (ended, audio, processing)
