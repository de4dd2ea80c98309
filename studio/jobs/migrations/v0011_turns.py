"""The last turns of clients in queues, apart from their jobs, which may be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("queue", sa.String, primary_key=True),
        sa.Column("client", sa.String, primary_key=True),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
    )
