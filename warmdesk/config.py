"""Settings: config/warmdesk.toml (or --config FILE), overridden by ``WARMDESK_*`` in the environment. Unknown keys are an error."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Every setting with its default; config/warmdesk.toml explains each in a sentence."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    data_dir: Path = Path("var")
    database_url: str = ""
    redis_url: str = ""
    jwt_secret: str = ""
    secret_key: str = ""
    database_pool: int = 10
    base_url: str = ""
    allowed_origins: str = ""
    trusted_proxies: str = ""
    rate_limits: bool = True
    access_token_ttl: int = 900
    refresh_token_ttl: int = 604800
    presence_leave_delay: float = 5.0
    event_retention_days: float = 7.0
    default_locale: str = "en"
    log_level: str = "info"
    log_format: str = "text"
    tls_cert: str = ""
    tls_key: str = ""
