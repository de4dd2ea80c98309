"""Audio Studio. `from studio import separate, transcribe, generate` works without a server."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.library import (
        Generated,
        Separated,
        Transcribed,
        generate,
        separate,
        transcribe,
    )

__version__ = "0.1.0"
__all__ = ["Generated", "Separated", "Transcribed", "generate", "separate", "transcribe"]


def __getattr__(name: str) -> Any:
    """Load the library when one of its names is first used: importing this package does nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        library = import_module("studio.library")
    except ImportError as error:
        if error.name not in ("config", "models"):
            raise
        raise ImportError(
            f"{error.path or error.name} has the name of a module of Audio Studio and is found "
            "first. Rename it, or start Python in another folder.",
            name=error.name,
        ) from error
    return getattr(library, name)
