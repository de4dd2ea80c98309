"""The command line: `audio-studio`, or `python -m studio`. A front door like `app.py`."""

import logging
import os
import sys

from config import Config, ConfigError
from models import FORMATS, OPTIONS, SETTINGS, Models
from studio import logs
from studio.cli.main import Interface, main, parse
from studio.cli.run import FAILED
from studio.inference.registry import Registry

COMMAND_SETTINGS = SETTINGS | {"LOG_FORMAT", "FONTS_DIR"}
AGENT_SETTINGS = frozenset({"MCP_SERVER", "MCP_KEY"})


def run() -> None:
    """Run the command line with the settings of the environment and `.env`."""
    # First of all, because help needs no settings.
    given = parse(OPTIONS)
    if given.command == "serve":
        serve()
        return
    used = COMMAND_SETTINGS | (AGENT_SETTINGS if given.command == "mcp" else frozenset())
    try:
        config = Config.load(only=used)
    except ConfigError as error:
        sys.exit(f"audio-studio: {error}")
    logs.configure(config.LOG_FORMAT, logging.ERROR)
    for warning in Config.misspelled(only=used):
        print(f"audio-studio: {warning}", file=sys.stderr)
    # Shared, so that models stay loaded between the calls of an agent.
    registry = Registry(config.MODEL_IDLE_S)
    interface = Interface(
        lambda storage, store: Models(config, storage, store, registry=registry),
        OPTIONS,
        FORMATS,
        config.fonts_dir,
        config.MCP_SERVER,
        config.MCP_KEY,
    )
    try:
        code = main(interface, given)
    except BrokenPipeError:
        # The program that read the output has ended, as `| head` does. What Python would still
        # write at its exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def serve() -> None:
    """Start the production server."""
    if sys.platform == "win32":
        sys.exit("audio-studio: The production server does not run on Windows. Use WSL or Docker.")
    import production

    production.main()


if __name__ == "__main__":
    run()
