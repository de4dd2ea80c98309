"""A name of the database, which a bucket remembers."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    table = op.create_table(
        "installation", sa.Column("installation_id", sa.String, primary_key=True)
    )
    op.bulk_insert(table, [{"installation_id": uuid4().hex}])
