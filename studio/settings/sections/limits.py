"""Limits of requests and clients."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import secret, setting


@dataclass(frozen=True)
class Limits:
    """Limits of requests and clients."""

    RATE_LIMIT: str = setting(
        "600/minute",
        values.rate,
        "Requests per client, not counting polling, downloads and health checks; empty: no limit.",
    )
    RATE_LIMIT_WORK: str = setting(
        "60/minute", values.rate, "Uploads and job requests per client; empty: no limit."
    )
    RATE_STORAGE: str = secret(
        "",
        values.redis_url,
        "Redis in which several servers share the counts of requests per client, as "
        "redis://HOST:PORT; empty: each server counts on its own.",
    )
    MAX_CONTENT_LENGTH: int = setting(
        500 * 1024 * 1024, values.integer(1, 2**50), "Largest request body, in bytes."
    )
    ALLOWED_EXTENSIONS: frozenset[str] = setting(
        values.AUDIO_FILE_TYPES | values.MORE_FILE_TYPES | {"txt"},
        values.file_types,
        "Accepted file extensions.",
    )
    MAX_UPLOADS: int = setting(8, values.integer(1, 1000), "Simultaneous uploads.")
    MAX_DURATION_S: int = setting(
        21_600, values.integer(1, 10**7), "Longest accepted audio, in seconds."
    )
    MAX_DECODED_BYTES: int = setting(
        8 * 1024**3,
        values.integer(1, 2**62),
        "Largest accepted audio once decoded, in bytes (4 per sample and channel).",
    )
    MAX_SEPARATION_S: int = setting(
        43_200,
        values.integer(1, 10**9),
        "Largest separation, also for transcripts of the vocals: seconds of audio times shifts, "
        "divided by 1 - overlap.",
    )
    MAX_QUEUED_JOBS: int = setting(
        100, values.integer(1, 1_000_000), "Length of the job queue; further jobs get 429."
    )
    MAX_CLIENT_UPLOADS: int = setting(
        3,
        values.integer(0, 1000),
        "Simultaneous uploads per client; 0: no limit.",
    )
    MAX_CLIENT_JOBS: int = setting(
        20, values.integer(0, 1_000_000), "Queued and processing jobs per client; 0: no limit."
    )
    MAX_CLIENT_BYTES: int = setting(
        0,
        values.integer(0, 2**62),
        "Storage per API key for uploads and results, in bytes; 0: no limit.",
    )
    MAX_CLIENT_MINUTES: int = setting(
        0,
        values.integer(0, 10**6),
        "Processing time per client within 24 hours, in minutes; 0: no limit.",
    )
    MAX_CLIENT_WEBHOOKS: int = setting(
        500, values.integer(0, 1_000_000), "Pending webhooks per client; 0: no limit."
    )
