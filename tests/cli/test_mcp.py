"""Agents use the commands over the Model Context Protocol: the SDK's own client, on stdio."""

import json
import signal
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
import soundfile
from mcp import Client

from config import Config
from models import FORMATS, OPTIONS, Models
from studio.cli import mcp_server
from studio.cli.backend import open_backend
from studio.cli.commands import COMMANDS
from studio.cli.main import main, parse
from studio.cli.run import Canceled
from studio.cli.tools import Tools
from studio.jobs.job import Report
from studio.jobs.store import JobStore
from studio.storage.storage import Storage
from tests.support.agents import content, with_agent
from tests.support.commands import environment
from tests.support.server import WAIT_S
from tests.support.sounds import noise, write_wav
from tests.support.speech import RECORDING


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".audio-studio-*")]


def test_an_agent_finds_the_commands_and_gets_errors_for_mistakes(
    tmp_path: Path, weights: Path
) -> None:
    async def act(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {*(command.name for command in COMMANDS), "models"}
        for command in COMMANDS:
            schema = tools[command.name].input_schema
            assert not schema["additionalProperties"]
            expected = set(OPTIONS[command.model].model_fields) - command.excluded
            if command.formats:
                expected -= {"format"}
            assert expected <= set(schema["properties"])
        answer = content(await client.call_tool("models", {}))
        assert answer["models"]["demucs"]["variants"]["mini"]["weights"] == "bundled"
        assert list(tmp_path.iterdir()) == []
        await mistakes(client, str(write_wav(tmp_path / "song.wav", noise(0.5))))

    with_agent(act, tmp_path, weights)
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["song.wav"]


@pytest.mark.slow
def test_an_agent_transcribes_and_generates_on_this_machine(tmp_path: Path, weights: Path) -> None:
    recording = tmp_path / "留言.flac"
    recording.write_bytes(RECORDING.read_bytes())

    async def act(client: Client) -> None:
        arguments = {"path": str(recording), "formats": ["txt", "srt"], "language": None}
        answer = content(await client.call_tool("transcribe", arguments))
        assert answer["sources"][0]["outputs"] == [
            str(tmp_path / "留言.txt"),
            str(tmp_path / "留言.srt"),
        ]
        assert answer["text"] == (tmp_path / "留言.txt").read_text("utf-8")
        assert answer["text_is_complete"]
        assert len(answer["text"].split()) > 10
        again = content(await client.call_tool("transcribe", arguments))
        assert (again["skipped"], again["text"]) == (1, answer["text"])
        order = {"prompt": "Slow piano", "output": str(tmp_path / "music"), "duration": 1.0}
        made = content(await client.call_tool("generate", {**order, "seed": 7}))
        [path] = made["sources"][0]["outputs"]
        assert soundfile.info(path).duration == pytest.approx(1.0, abs=0.05)

    with_agent(act, tmp_path, weights)
    assert hidden(tmp_path) == []


async def mistakes(client: Client, song: str) -> None:
    """Mistakes get the errors of the API."""
    for name, arguments, code, named in (
        ("separate", {"path": f"{song}.absent"}, "unknown_file", "song.wav.absent"),
        ("separate", {"path": "~nosuchuser/a.wav"}, "unknown_file", "'~nosuchuser/a.wav'"),
        ("separate", {}, "invalid_option", "`path`"),
        ("separate", {"path": song, "volume": 11}, "unknown_option", "'volume'"),
        ("separate", {"path": song, "source": "music"}, "unknown_option", "'source'"),
        ("transcribe", {"path": song, "formats": ["doc"]}, "unknown_format", "'doc'"),
        ("generate", {"prompt": "piano"}, "invalid_option", "`output`"),
        (
            "generate",
            {"prompt": "piano", "output": str(Path(song).parent), "continue_from": "absent.wav"},
            "unknown_file",
            "absent.wav",
        ),
        ("mix", {"path": song}, "unknown_option", "'mix'"),
    ):
        result = await client.call_tool(name, arguments)
        answer = content(result)
        assert result.is_error
        assert answer["code"] == code, answer
        assert named in answer["error"]
    result = await client.call_tool("separate", {"path": "x" * 300})
    # Since Python 3.14, such a path is one that does not exist.
    assert (result.is_error, content(result)["code"]) in (
        (True, "file_error"), (True, "unknown_file"),
    )  # fmt: skip
    result = await client.call_tool("separate", {"path": song, "overlap": 2.0})
    [failed] = content(result)["sources"]
    assert (result.is_error, failed["code"]) == (True, "invalid_option")


def test_a_call_reports_its_progress_and_can_be_canceled(tmp_path: Path, weights: Path) -> None:
    song = str(write_wav(tmp_path / "long.wav", noise(120.0, channels=1)))
    short = str(write_wav(tmp_path / "short.wav", noise(0.5)))
    told: list[float] = []

    async def act(client: Client) -> None:
        async def cancel_at_first_progress(
            progress: float, total: float | None, message: str | None
        ) -> None:
            assert total == 1.0
            assert "long" in str(message)
            told.append(progress)
            scope.cancel()

        with anyio.CancelScope() as scope:
            await client.call_tool(
                "separate",
                {"path": song, "model_variant": "tiny", "shifts": 4},
                progress_callback=cancel_at_first_progress,
            )
        assert scope.cancelled_caught
        answer = content(await client.call_tool("separate", {"path": short, "stems": ["bass"]}))
        [path] = answer["sources"][0]["outputs"]
        assert Path(path) == tmp_path / "separated" / "short" / "bass.wav"

    with_agent(act, tmp_path, weights)
    assert 0 < told[0] < 1
    assert not (tmp_path / "separated" / "long").exists()
    assert hidden(tmp_path) == []


def test_progress_increases_with_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download of weights is a small part; afterwards the progress of the job begins at 0."""
    monkeypatch.setattr(mcp_server, "REPORT_EVERY_S", 0.0)
    name, told = "song.wav", list[tuple[float, str]]()

    class Staged(Tools):
        def call(self, _name: str, _arguments: Any, report: Report) -> dict[str, Any]:
            for part in (0.0, 0.5, 1.0):
                report(f"{name}: downloading model", part)
            for part in (0.0, 0.5):
                report(f"{name}: separating", part)
            return {"done": 1}

    async def session() -> None:
        tools = Staged(OPTIONS, FORMATS, partial(open_backend, fail), dict)
        server = mcp_server.make_server(tools, anyio.CapacityLimiter(1), Event())

        async def note(progress: float, total: float | None, message: str | None) -> None:
            assert total == 1.0
            told.append((progress, str(message)))

        async with Client(server) as client:
            await client.call_tool("separate", {"path": name}, progress_callback=note)

    anyio.run(session)
    assert [stage.split()[1] for _, stage in told] == ["downloading"] * 3 + ["separating"] * 2
    progress = [one for one, _ in told]
    assert all(one < other for one, other in pairwise(progress))
    assert progress[2] == pytest.approx(0.1) and progress[-1] == 0.5


def test_a_call_that_waits_for_another_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models are described at once, so an agent can plan while a job runs."""
    monkeypatch.setattr(mcp_server, "MAX_SILENCE_S", 0.01)
    begun, ending = Event(), Event()
    told: list[tuple[float, float | None]] = []

    class Lasting(Tools):
        def call(self, name: str, _arguments: Any, _report: Report) -> dict[str, Any]:
            if name == "generate":
                begun.set()
                assert ending.wait(WAIT_S)
            return {"done": 1}

    async def session() -> None:
        tools = Lasting(OPTIONS, FORMATS, partial(open_backend, fail), dict)
        server = mcp_server.make_server(tools, anyio.CapacityLimiter(1), Event())
        twice = anyio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            assert message == mcp_server.WAITING
            told.append((progress, total))
            if len(told) == 2:
                twice.set()

        async with Client(server) as client, anyio.create_task_group() as group:
            call = partial(client.call_tool, "generate", {"prompt": "piano"})
            group.start_soon(call)
            await anyio.to_thread.run_sync(begun.wait, WAIT_S)
            group.start_soon(partial(call, progress_callback=note))
            await twice.wait()
            assert content(await client.call_tool("models", {})) == {"done": 1}
            ending.set()

    anyio.run(session)
    assert all(one < other for (one, _), (other, _) in pairwise(told))
    assert {total for _, total in told} == {1.0}


def fail(_storage: Storage, _store: JobStore) -> Models:
    raise AssertionError


@pytest.fixture
def tools(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """The tools in this process."""
    for name, value in environment(weights).items():
        monkeypatch.setenv(name, value)
    config = Config.load()

    def make(storage: Storage, store: JobStore) -> Models:
        return Models(config, storage, store)

    return Tools(OPTIONS, FORMATS, partial(open_backend, make), dict)


def test_a_canceled_call_ends_the_whole_folder(tmp_path: Path, tools: Tools) -> None:
    def report(stage: str, _progress: float) -> None:
        if stage.endswith(": separating"):
            raise Canceled

    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, noise(0.5))
    with pytest.raises(Canceled):
        tools.call("separate", {"path": str(tmp_path)}, report)
    assert hidden(tmp_path) == []


def test_files_are_replaced_only_if_the_agent_says_so(tmp_path: Path, tools: Tools) -> None:
    mine = tmp_path / "separated" / "song" / "bass.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    order = {"path": str(write_wav(tmp_path / "song.wav", noise(0.5))), "stems": ["bass"]}
    for overwrite in (None, False, "false"):
        answer = tools.call("separate", {**order, "overwrite": overwrite}, lambda *_: None)
        assert answer["sources"][0]["code"] == "file_exists"
        assert mine.read_text() == "mine"
    answer = tools.call("separate", {**order, "overwrite": True}, lambda *_: None)
    assert answer["sources"][0]["outputs"] == [str(mine)]
    assert soundfile.info(mine).frames == 22_050


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_program_leaves_nothing_behind(
    tmp_path: Path, weights: Path, ending: signal.Signals
) -> None:
    """Agents terminate a program that does not end by itself, while its input is still open.

    The system ends it with SIGHUP if its terminal is closed.
    """
    song = str(write_wav(tmp_path / "long.wav", noise(120.0, channels=1)))
    process = subprocess.Popen(
        [sys.executable, "-m", "studio", "mcp"],
        cwd=tmp_path,
        env=environment(weights),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    client = {"protocolVersion": "2025-06-18", "capabilities": {}}
    client["clientInfo"] = {"name": "test", "version": "1"}
    call = {"name": "separate", "arguments": {"path": song, "model_variant": "tiny", "shifts": 4}}
    for message in (
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {**call, "_meta": {"progressToken": "a"}}},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    while "notifications/progress" not in process.stdout.readline():
        pass
    assert hidden(tmp_path) != []
    process.send_signal(ending)
    assert process.wait(timeout=60) == 0
    assert hidden(tmp_path) == []
    process.stdin.close()
    process.stdout.close()


def test_without_the_package_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studio.cli.main import Interface

    monkeypatch.setattr(mcp_server, "is_installed", lambda: False)
    unused: Any = None
    assert main(Interface(unused, OPTIONS, {}), parse(OPTIONS, ["mcp"])) == 1
    assert "-m pip install -r requirements-mcp.txt" in capsys.readouterr().err
