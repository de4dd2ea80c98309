"""Jobs, their machines and webhooks."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import secret, setting


@dataclass(frozen=True)
class Jobs:
    """Jobs, their machines and webhooks."""

    WORKERS: int = setting(1, values.integer(1, 64), "Jobs that run at the same time.")
    ROLE: str = setting(
        "all",
        values.one_of("all", "web", "live", "worker", "keeper"),
        "Role of this process: all (a server on one machine), or web, live, worker or keeper, "
        "which share a PostgreSQL database, and the folders or a bucket (docs/scaling.md).",
    )
    NODE: str = setting(
        "",
        values.node,
        "Name of a process with ROLE=live: the prefix of its Socket.IO connection IDs, by which "
        "nginx routes. Clients can see it. Empty: made from host name and PORT.",
    )
    ROUTES: tuple[tuple[str, str], ...] = setting(
        (),
        values.routes,
        "Queues of jobs: MODEL.VARIANT=QUEUE, separated by commas, with * for any; the first match "
        "counts, and other jobs are in the queue default.",
    )
    WORKER_QUEUES: tuple[str, ...] = setting(
        (),
        values.queues,
        "Queues that a worker takes jobs from, separated by commas; empty: all.",
    )
    WORKER_HEARTBEAT_S: int = setting(
        10, values.integer(1, 600), "Seconds between the heartbeats of a worker."
    )
    WORKER_STALLED_S: int = setting(
        45,
        values.integer(2, 3600),
        "Seconds without a heartbeat after which the jobs of a worker run again elsewhere; at "
        "least twice WORKER_HEARTBEAT_S.",
    )
    WEBHOOK_URL: str = setting(
        "",
        values.url,
        "Webhook URL of jobs that name none, which is called when they end; empty: none.",
    )
    WEBHOOK_SECRET: str = secret(
        "",
        values.webhook_secret,
        "Signs webhooks: whsec_ followed by base64; empty: webhooks are off.",
    )
    WEBHOOK_ALLOW_PRIVATE: bool = setting(
        False, values.boolean, "Allow the webhooks of jobs to go to private and local addresses."
    )
