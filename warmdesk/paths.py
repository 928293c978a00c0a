"""Where the web application shows things: paths behind the installation's own address. Those of
notifications are made in SQL, by `page_of` in sql/shapes/notifications.sql.
"""

from __future__ import annotations


def project_page(slug: str) -> str:
    """The page of a project."""
    return f"/p/{slug}"


def card_page(slug: str, key: str) -> str:
    """The page of a card."""
    return f"{project_page(slug)}/c/{key}"
