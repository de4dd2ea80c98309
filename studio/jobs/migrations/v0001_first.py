"""The tables of the versions before migrations were numbered, and columns that early ones lack."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def tables() -> dict[str, tuple[sa.Column[object], ...]]:
    """The columns of each table."""
    return {
        "jobs": (
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
            sa.Column("job_id", sa.String, nullable=False, unique=True),
            sa.Column("file_id", sa.String, nullable=False, index=True),
            sa.Column("model", sa.String, nullable=False),
            sa.Column("variant", sa.String, nullable=False),
            sa.Column("options", sa.JSON, nullable=False),
            sa.Column("fingerprint", sa.String, nullable=False, index=True),
            sa.Column("state", sa.String, nullable=False, index=True),
            sa.Column("stage", sa.String, nullable=False),
            sa.Column("progress", sa.Double, nullable=False),
            sa.Column("eta_s", sa.Double),
            sa.Column("created_at", sa.Double, nullable=False),
            sa.Column("started_at", sa.Double),
            sa.Column("finished_at", sa.Double),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("error", sa.JSON),
            sa.Column("result", sa.JSON),
            sa.Column("client", sa.String),
        ),
        "messages": (
            sa.Column("message_id", sa.String, primary_key=True),
            sa.Column("job_id", sa.String, nullable=False, index=True),
            sa.Column("url", sa.String, nullable=False),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("due_at", sa.Double, nullable=False),
            sa.Column("client", sa.String),
        ),
        "probes": (
            sa.Column("probe_id", sa.String, primary_key=True),
            sa.Column("data", sa.String, nullable=False),
        ),
        "usage": (
            sa.Column("client", sa.String, primary_key=True),
            sa.Column("hour", sa.Integer, primary_key=True),
            sa.Column("worked_s", sa.Double, nullable=False),
        ),
    }


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    existing = inspector.get_table_names()
    for name, columns in tables().items():
        if name not in existing:
            op.create_table(name, *columns)
            continue
        known = {column["name"] for column in inspector.get_columns(name)}
        for column in columns:
            if column.name not in known:
                op.add_column(name, column)
