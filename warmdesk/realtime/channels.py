"""The names that events are sent to. On Redis a channel is ``warmdesk:<channel>``."""

CONTROL = "control"


def project_channel(project_id: int) -> str:
    """Everybody who has the project open."""
    return f"project:{project_id}"


def user_channel(user_id: int) -> str:
    """Every socket of one user."""
    return f"user:{user_id}"
