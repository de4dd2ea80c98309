"""Offers the tools to agents over the Model Context Protocol, on standard input and output.

The protocol is that of the package `mcp`, which is an extra: it is imported when it is needed.
"""

import json
import os
import sys
import time
from functools import partial
from importlib.util import find_spec
from math import ceil
from threading import Event
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.cli.run import FILE_ERROR, UNREACHABLE, Canceled, file_sentence
from studio.cli.signals import ending_signals
from studio.cli.tools import MODELS, Tools, absolute
from studio.errors import StudioError

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from mcp.server import ServerRequestContext
    from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult

NAME = "audio-studio"
INSTRUCTIONS = (
    "Separates songs into stems, transcribes speech and the words of songs, generates music, and "
    "finds tempo, key and chords. Tools read and write files on this machine and return the paths "
    "of what they wrote. A file takes seconds to minutes; progress is reported."
)
REPORT_EVERY_S = 0.5
# Agents may give up a call that reports nothing for a while.
MAX_SILENCE_S = 5.0
WAITING = "waiting for another call"
# What the download of weights counts of a source, and the least step of the progress.
DOWNLOAD_SHARE, MIN_STEP = 0.1, 1e-6


def is_installed() -> bool:
    return find_spec("mcp") is not None


def serve(tools: Tools) -> None:
    """Answer an agent until it closes the connection, or until SIGTERM or SIGHUP."""
    import anyio

    anyio.run(partial(_serve, tools))


async def _serve(tools: Tools) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    # One at a time: a network uses all cores.
    limiter = anyio.CapacityLimiter(1)
    stopping = Event()
    server = make_server(tools, limiter, stopping)

    async def end_on_signal() -> None:
        with anyio.open_signal_receiver(*ending_signals()) as signals:
            async for _ in signals:
                stopping.set()
                # Wait until the running job has ended and has removed incomplete files.
                await limiter.acquire()
                # A thread that waits for input cannot be ended otherwise.
                os._exit(0)

    async with anyio.create_task_group() as group:
        if sys.platform != "win32":
            group.start_soon(end_on_signal)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
        group.cancel_scope.cancel()


def make_server(tools: Tools, limiter: "CapacityLimiter", stopping: Event) -> Any:
    """The protocol's server. `limiter` limits its jobs, and `stopping` ends them."""
    import anyio
    from mcp import types
    from mcp.server.lowlevel import Server

    async def list_tools(_context: "ServerRequestContext[Any]", _params: Any) -> "ListToolsResult":
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=tool.input_schema,
                    annotations=types.ToolAnnotations(
                        read_only_hint=tool.is_read_only, open_world_hint=False
                    ),
                )
                for tool in tools.all()
            ]
        )

    async def call_tool(
        context: "ServerRequestContext[Any]", params: "CallToolRequestParams"
    ) -> "CallToolResult":
        canceled = Event()
        arguments = params.arguments or {}
        progress = _Progress(context, (canceled, stopping), _total(arguments))
        call = partial(_call, tools, params.name, arguments, progress)

        async def note_cancellation() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                canceled.set()

        # The thread is not abandoned when the call is canceled: it ends at its next report, and
        # removes incomplete files.
        async with anyio.create_task_group() as group:
            group.start_soon(note_cancellation)
            group.start_soon(progress.report_waiting)
            turn = None if params.name == MODELS else limiter
            answer, is_error = await anyio.to_thread.run_sync(call, limiter=turn)
            group.cancel_scope.cancel()
        # A file name may have bytes that are not UTF-8, and so cannot be sent.
        text = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
        return types.CallToolResult(
            content=[types.TextContent(text=text)],
            structured_content=json.loads(text),
            is_error=is_error,
        )

    return Server(
        NAME,
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _call(
    tools: Tools, name: str, arguments: dict[str, Any], progress: "_Progress"
) -> tuple[dict[str, Any], bool]:
    """The answer of a tool, and whether it is an error."""
    progress.has_begun.set()
    try:
        answer = tools.call(name, arguments, progress.report)
    except StudioError as error:
        return {"code": error.code, "error": error.sentence}, True
    except ConnectionError as error:
        return {"code": UNREACHABLE, "error": str(error)}, True
    except OSError as error:
        return {"code": FILE_ERROR, "error": file_sentence(error)}, True
    except Canceled:
        return {"code": "canceled", "error": "The call was canceled."}, True
    return answer, bool(answer.get("failed")) and not (answer["done"] or answer["skipped"])


def _total(arguments: dict[str, Any]) -> float | None:
    """The progress at the end: 1 for one source, unknown for a folder."""
    path = arguments.get("path")
    try:
        return None if isinstance(path, str) and absolute(path).is_dir() else 1.0
    except OSError:
        # The call itself reports it.
        return 1.0


class _Progress:
    """Reports the progress of a call to the agent. What it sends always increases."""

    def __init__(
        self,
        context: "ServerRequestContext[Any]",
        ends: tuple[Event, Event],
        total: float | None,
    ) -> None:
        self.has_begun = Event()
        self._send = context.session.report_progress
        self._ends = ends
        self._total = total
        self._sent = self._sent_s = 0.0
        self._stage = ""

    async def report_waiting(self) -> None:
        """Report that the call waits, until its thread begins."""
        import anyio

        await anyio.sleep(MAX_SILENCE_S)
        while not self.has_begun.is_set():
            self._sent += MIN_STEP
            await self._send(self._sent, self._total, WAITING)
            await anyio.sleep(MAX_SILENCE_S)

    def report(self, stage: str, progress: float) -> None:
        """Report a stage, on the thread of the call. Raises Canceled."""
        from anyio import from_thread

        if any(end.is_set() for end in self._ends):
            raise Canceled
        if stage.endswith(": downloading model"):
            begun = ceil(progress) - 1
            progress = begun + DOWNLOAD_SHARE * (progress - begun)
        silent_s = time.monotonic() - self._sent_s
        is_news = progress > self._sent or stage != self._stage or silent_s >= MAX_SILENCE_S
        if is_news and silent_s >= REPORT_EVERY_S:
            self._sent = max(progress, self._sent + MIN_STEP)
            self._sent_s, self._stage = time.monotonic(), stage
            from_thread.run(self._send, self._sent, self._total, stage)
