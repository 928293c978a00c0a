"""Changes that more than one entry point makes."""
