"""The versions of the job database, one module each (Alembic). A released module never changes."""
