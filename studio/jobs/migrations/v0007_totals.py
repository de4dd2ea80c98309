"""The sums of all jobs that have ended, for metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    op.create_table(
        "totals",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("state", sa.String, primary_key=True),
        sa.Column("jobs", sa.BigInteger, nullable=False),
        sa.Column("audio_s", sa.Double, nullable=False),
        sa.Column("worked_s", sa.Double, nullable=False),
    )
