"""The number of a job's current attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("attempt", sa.Integer, nullable=False, server_default="1"))
