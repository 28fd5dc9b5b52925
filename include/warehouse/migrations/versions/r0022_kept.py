"""Which models and mutes are noted in the lake as they are now. The SQL is beside this file."""

from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql)


def downgrade() -> None:
    raise NotImplementedError("the warehouse is rebuilt from the lake, never downgraded")
