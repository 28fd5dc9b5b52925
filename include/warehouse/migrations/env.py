"""Alembic's entry point; run through `include.warehouse.migrate`, never by hand."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="migrations",
    version_table_schema="ops",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
