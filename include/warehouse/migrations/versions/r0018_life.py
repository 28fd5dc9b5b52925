"""Findings are kept, and alerts follow from them: their life, its history, mutes. The SQL is beside this file."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0016"


def upgrade() -> None:
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))


def downgrade() -> None:
    raise NotImplementedError("the warehouse is rebuilt from the lake, never downgraded")
