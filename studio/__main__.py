"""The command line: `audio-studio`, or `python -m studio`. A front door like `app.py`."""

import logging
import sys

from config import Config, ConfigError
from models import FORMATS, OPTIONS, Models
from studio import logs
from studio.cli.main import Interface, main
from studio.inference.registry import Registry


def run() -> None:
    """Run the command line with the settings of the environment and `.env`."""
    try:
        config = Config.load()
    except ConfigError as error:
        sys.exit(f"audio-studio: {error}")
    logs.configure(config.LOG_FORMAT, logging.ERROR)
    for warning in Config.misspelled():
        print(f"audio-studio: {warning}", file=sys.stderr)
    # Shared, so that models stay loaded between the calls of an agent.
    registry = Registry(config.MODEL_IDLE_S)
    interface = Interface(
        lambda storage, store: Models(config, storage, store, registry=registry),
        OPTIONS,
        FORMATS,
        serve,
        config.fonts_dir,
        config.MCP_SERVER,
        config.MCP_KEY,
    )
    sys.exit(main(interface))


def serve() -> None:
    """Start the production server."""
    import production

    production.main()


if __name__ == "__main__":
    run()
