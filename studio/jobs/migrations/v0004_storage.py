"""The records of uploads, and results that have the files of others, for object storage."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("shares", sa.String, nullable=False, server_default=""))
    op.create_index("ix_jobs_shares", "jobs", ["shares"])
    op.create_table(
        "uploads",
        sa.Column("file_id", sa.String, primary_key=True),
        sa.Column("owner", sa.String),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_index("ix_uploads_owner", "uploads", ["owner"])
