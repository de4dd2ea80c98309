"""docs/command-line.md names every command, and its examples are accepted."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from models import OPTIONS
from studio.cli.commands import COMMANDS
from studio.cli.main import parser_of
from tests.support.server import ROOT

TEXT = (ROOT / "docs" / "command-line.md").read_text("utf-8")
EXAMPLES = re.findall(r"^\| `audio-studio (.*?)` \|", TEXT, re.M)


def test_every_command_has_an_example() -> None:
    shown = {example.split()[0] for example in EXAMPLES}
    assert shown == {*(command.name for command in COMMANDS), "models", "serve", "mcp"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(example: str) -> None:
    parser_of(OPTIONS).parse_args(shlex.split(example))


def test_the_configuration_of_agents_starts_a_checkout_from_any_folder(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```", page.partition("\n## Agents")[2], re.M | re.S)
    servers = [json.loads(block)["mcpServers"]["audio-studio"] for block in blocks]
    assert all(server["command"].startswith("/") for server in servers)
    checkout = "/path/to/audio-studio"
    [server] = [one for one in servers if one["command"] == f"{checkout}/.venv/bin/python"]
    environment = {
        name: value.replace(checkout, str(ROOT)) for name, value in server["env"].items()
    }
    command = [sys.executable, *server["args"], "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "usage: audio-studio mcp" in done.stdout, done.stderr
