"""docs/command-line.md names every command, and its examples are accepted."""

import re
import shlex

import pytest

from models import OPTIONS
from studio.cli.commands import COMMANDS
from studio.cli.main import parser_of
from tests.support.server import ROOT

TEXT = (ROOT / "docs" / "command-line.md").read_text("utf-8")
EXAMPLES = re.findall(r"^audio-studio (.*?)(?:\s+#.*)?$", TEXT, re.M)


def test_every_command_has_an_example() -> None:
    shown = {example.split()[0] for example in EXAMPLES}
    assert shown == {*(command.name for command in COMMANDS), "models", "serve", "mcp"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(example: str) -> None:
    parser_of(OPTIONS).parse_args(shlex.split(example))
