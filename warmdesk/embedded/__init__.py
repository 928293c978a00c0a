"""PostgreSQL and Valkey from their wheels: start, wait, stop, recover."""
