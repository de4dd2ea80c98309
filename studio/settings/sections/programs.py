"""Programs with other protocols."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import secret, setting


@dataclass(frozen=True)
class Programs:
    """Programs with other protocols."""

    WYOMING_PORT: int = setting(
        0,
        values.integer(0, 65535),
        "TCP port for speech to text over the Wyoming protocol (Home Assistant); 0: off.",
    )
    WYOMING_HOST: str = setting(
        "127.0.0.1",
        values.name,
        "Address for WYOMING_PORT. The protocol has no keys: whoever reaches it can use it.",
    )
    MCP_SERVER: str = setting(
        "",
        values.url,
        "URL of a server on which `audio-studio mcp` runs its jobs; empty: on this machine.",
    )
    MCP_KEY: str = secret("", values.key, "API key for MCP_SERVER; empty: none.")
