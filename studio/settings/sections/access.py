"""Addresses, keys and hosts."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import secret, setting


@dataclass(frozen=True)
class Access:
    """Addresses, keys and hosts."""

    DEBUG: bool = setting(False, values.boolean, "Log debug messages. Not allowed in production.")
    LOG_FORMAT: str = setting(
        "text",
        values.one_of("text", "json"),
        "Format of log lines: text, or json for log processors.",
    )
    SECRET_KEY: str = secret(
        "change-me",
        values.name,
        "Signs links and sessions. Set a long random string in production.",
    )
    HOST: str = setting(
        "127.0.0.1", values.name, "Address to listen on; 0.0.0.0 listens on all network interfaces."
    )
    PORT: int = setting(8000, values.integer(1, 65535), "Port to listen on.")
    CORS_ORIGINS: str = setting(
        "*", values.origins, "Web origins that may call the server: * or a comma-separated list."
    )
    ALLOWED_HOSTS: str = setting(
        "auto",
        values.hosts,
        "Host names the server answers to: a comma-separated list, or * for any; auto: any if "
        "API_KEYS is set, otherwise localhost and IP addresses.",
    )
    TRUSTED_PROXIES: int = setting(
        0,
        values.integer(0, 10),
        "Number of proxies in front whose X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    API_KEYS: frozenset[str] = secret(
        frozenset(),
        values.api_keys,
        "Accepted API keys, separated by commas; empty: no authentication.",
    )
    METRICS_KEY: str = secret(
        "", values.key, "Key for /metrics; empty: /metrics serves only this machine."
    )

    @property
    def cors_origins(self) -> str | list[str]:
        """As Flask-CORS and Flask-SocketIO take it: "*" or a list."""
        origins = self.CORS_ORIGINS.split(",")
        return "*" if "*" in origins else origins

    @property
    def address(self) -> str:
        """The address and port to listen on, as in a URL."""
        host = f"[{self.HOST}]" if ":" in self.HOST else self.HOST
        return f"{host}:{self.PORT}"

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Host names the server answers to, besides localhost and IP addresses; None: any."""
        if self.ALLOWED_HOSTS == "*" or (self.ALLOWED_HOSTS == "auto" and self.API_KEYS):
            return None
        return frozenset([] if self.ALLOWED_HOSTS == "auto" else self.ALLOWED_HOSTS.split(","))
