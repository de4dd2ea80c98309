"""Where the weights of a variant can be; the same for every model."""

from enum import StrEnum

BUNDLED = "mini"
MIT = "MIT"


def or_bundled(name: str) -> str:
    """Advice for when a variant does not work, unless it is the bundled one itself."""
    return "" if name == BUNDLED else f", or use the bundled variant {BUNDLED!r}"


class Where(StrEnum):
    """Where a variant's weights are: shipped, put there by hand, in a cache, or to be fetched."""

    BUNDLED = "bundled"
    LOCAL = "local"
    DOWNLOADED = "downloaded"
    AVAILABLE = "available"
