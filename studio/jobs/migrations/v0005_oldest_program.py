"""The oldest version whose programs can use the tables."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    table = op.create_table("oldest_program", sa.Column("version", sa.String, primary_key=True))
    op.bulk_insert(table, [{"version": revision}])
