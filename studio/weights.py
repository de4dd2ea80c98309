"""Where the weights of a variant can be; the same for every model."""

from enum import StrEnum

BUNDLED = "mini"
MIT = "MIT"


class Where(StrEnum):
    """Where a variant's weights are: shipped, put there by hand, in a cache, or to be fetched."""

    BUNDLED = "bundled"
    LOCAL = "local"
    DOWNLOADED = "downloaded"
    AVAILABLE = "available"
