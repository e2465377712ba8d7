"""Alembic's scripts. They are run by ``ringline.storage.migrate``."""
