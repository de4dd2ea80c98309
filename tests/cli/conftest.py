"""Runs commands in the process of the tests."""

import json
from pathlib import Path

import pytest

from config import Config
from models import FORMATS, OPTIONS, Models
from studio.cli.main import Interface, main, parse
from tests.support.commands import Call, Show, environment


@pytest.fixture
def show(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Show:
    """Run a command in this process, which saves the imports; what it prints."""

    def show(folder: Path, *arguments: str, code: int = 0, **settings: str) -> str:
        for name, value in {**environment(weights), **settings}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        config = Config.load()
        interface = Interface(
            lambda storage, store: Models(config, storage, store), OPTIONS, FORMATS
        )
        assert main(interface, parse(OPTIONS, arguments)) == code
        return capsys.readouterr().out

    return show


@pytest.fixture
def call(show: Show) -> Call:
    """Like `show`, but returns the lines of JSON that it prints."""
    return lambda *given, **more: list(map(json.loads, show(*given, **more).splitlines()))
