"""Every statement that reaches PostgreSQL. Read by warmdesk.db through importlib.resources."""
