"""What running jobs have produced so far, for web servers on other machines."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
# It only adds to the tables.
oldest_program = "0005"


def upgrade() -> None:
    op.create_table(
        "partials",
        sa.Column("job_id", sa.String, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("items", sa.JSON, nullable=False),
    )
