"""Downloads the weights that a command needs, or falls back to the bundled model."""

from studio.cli.backend import Backend
from studio.cli.show import Display
from studio.errors import WeightsMissing
from studio.inference.variants import BUNDLED


def fetch(backend: Backend, screen: Display, model: str, variant: str | None) -> str | None:
    """The variant to ask for, after its weights were downloaded if they are not on this machine.

    If the default (None) cannot be downloaded, it is the bundled one, and the screen says so.
    Raises UnknownVariant, WeightsMissing, ModelUnusable or DiskFull.
    """
    try:
        with screen.download(model if variant is None else f"{model} {variant}") as on_transfer:
            backend.fetch(model, variant, on_transfer)
    except WeightsMissing as error:
        if variant is not None:
            raise
        name, reason = error.extra["variant"], error.extra["reason"]
        screen.remark(
            model,
            f"The bundled variant {BUNDLED!r} is used, because {name!r} is not on this machine "
            f"and cannot be downloaded: {reason}.",
        )
        return BUNDLED
    return variant
