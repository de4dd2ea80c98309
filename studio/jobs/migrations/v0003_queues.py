"""The queue of a job, its priority and its entry in the queue; one unfinished job a request."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ACTIVE = "state IN ('queued', 'processing')"


def upgrade() -> None:
    queue = sa.Column("queue", sa.String, nullable=False, server_default="default")
    op.add_column("jobs", queue)
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("entry", sa.BigInteger))
    # Servers that shared a database could start a job twice.
    op.execute(
        f"UPDATE jobs SET state = 'canceled', finished_at = created_at WHERE {ACTIVE} AND number "
        f"NOT IN (SELECT min(number) FROM jobs WHERE {ACTIVE} GROUP BY file_id, fingerprint)"
    )
    op.create_index(
        "one_unfinished_job",
        "jobs",
        ["file_id", "fingerprint"],
        unique=True,
        sqlite_where=sa.text(ACTIVE),
        postgresql_where=sa.text(ACTIVE),
    )
