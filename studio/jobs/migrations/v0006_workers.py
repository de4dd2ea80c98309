"""The workers that run jobs on many machines, and what they can run."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.String, primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queues", sa.JSON, nullable=False),
        sa.Column("device", sa.String, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
    )
