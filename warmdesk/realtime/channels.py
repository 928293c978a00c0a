"""The names that events are sent to. In Redis each begins with `warmdesk.link.names_of`."""

CONTROL = "control"


def project_channel(project_id: int) -> str:
    """Everybody who has the project open."""
    return f"project:{project_id}"


def user_channel(user_id: int) -> str:
    """Every socket of one user."""
    return f"user:{user_id}"
