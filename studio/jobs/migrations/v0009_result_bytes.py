"""The size of the results of an upload, for storages that would have to list them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    results = sa.Column("result_bytes", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("uploads", results)
