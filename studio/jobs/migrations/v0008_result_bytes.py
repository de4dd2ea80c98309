"""The size of the results of an upload, for storages that would have to list them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    results = sa.Column("result_bytes", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("uploads", results)
