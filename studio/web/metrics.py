"""What Prometheus may know of one server, in a registry of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from studio.jobs.job import Job, State

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LOAD_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


@dataclass(frozen=True)
class Present:
    """What is looked up when somebody asks: jobs by model and state, live sessions and the longest
    lag of one in seconds, bytes of the disk that are used and free."""

    jobs: Callable[[], dict[tuple[str, State], int]]
    live_sessions: Callable[[], int]
    live_lag_s: Callable[[], float]
    used_bytes: Callable[[], int]
    free_bytes: Callable[[], int]


class Metrics:
    """The counters of a server."""

    def __init__(self, present: Present) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(present))
        self._requests = Counter(
            "studio_http_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._request_s = Histogram(
            "studio_http_request_seconds",
            "Time until an answer began, with the time that a caller asked to wait.",
            ["method", "route"],
            buckets=REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._ended = Counter(
            "studio_jobs_ended",
            "Jobs that ended since the start.",
            ["model", "state"],
            registry=self._registry,
        )
        self._audio_s = Counter(
            "studio_audio_seconds",
            "Seconds of sound in completed jobs.",
            ["model"],
            registry=self._registry,
        )
        self._processing_s = Counter(
            "studio_processing_seconds",
            "Seconds that completed jobs took.",
            ["model"],
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
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def request_answered(self, method: str, route: str, status: int, took_s: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._request_s.labels(method, route).observe(took_s)

    def job_ended(self, job: Job) -> None:
        model = job.request.model
        self._ended.labels(model, job.state.value).inc()
        if job.state is State.COMPLETED and job.started_at and job.finished_at:
            self._audio_s.labels(model).inc((job.result or {}).get("duration_s", 0.0))
            self._processing_s.labels(model).inc(max(0.0, job.finished_at - job.started_at))

    def model_loaded(self, name: str, took_s: float) -> None:
        self._load_s.labels(name).observe(took_s)


class _Gauges(Collector):
    """The present state, looked up at every scrape."""

    def __init__(self, present: Present) -> None:
        self._present = present

    def collect(self) -> Iterator[Metric]:
        counted = self._present.jobs()
        jobs = GaugeMetricFamily(
            "studio_jobs", "Jobs that are known, by model and state.", labels=["model", "state"]
        )
        for (model, state), count in sorted(counted.items()):
            jobs.add_metric([model, state.value], count)
        yield jobs
        waiting = sum(count for (_, state), count in counted.items() if state is State.QUEUED)
        for name, about, value in (
            ("studio_queue_depth", "Jobs that wait.", waiting),
            ("studio_live_sessions", "Open live sessions.", self._present.live_sessions()),
            (
                "studio_live_lag_seconds",
                "Seconds that the slowest live session is behind its speaker.",
                self._present.live_lag_s(),
            ),
            (
                "studio_disk_used_bytes",
                "What uploads and results take.",
                self._present.used_bytes(),
            ),
            ("studio_disk_free_bytes", "What is left on the disk.", self._present.free_bytes()),
        ):
            yield GaugeMetricFamily(name, about, value=value)
