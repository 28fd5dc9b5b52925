"""Portfolios, listed corporate actions, and the last word of each model and test. The SQL is beside this file."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql)


def downgrade() -> None:
    raise NotImplementedError("the warehouse is rebuilt from the lake, never downgraded")
