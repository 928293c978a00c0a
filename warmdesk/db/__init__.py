"""PostgreSQL: a pool, SQL files as functions, migrations."""
