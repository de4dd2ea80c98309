"""An agent that uses the commands over the Model Context Protocol, as the SDK's own client."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult

from tests.support.commands import environment


@asynccontextmanager
async def agent(folder: Path, weights: Path, **settings: str) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "studio", "mcp"],
        cwd=folder,
        env={**environment(weights), **settings},
    )
    async with Client(stdio_client(parameters), read_timeout_seconds=240) as client:
        yield client


def with_agent(
    act: Callable[[Client], Awaitable[None]], folder: Path, weights: Path, **settings: str
) -> None:
    async def session() -> None:
        async with agent(folder, weights, **settings) as client:
            await act(client)

    anyio.run(session)


def content(result: CallToolResult) -> dict[str, Any]:
    """The answer of a tool, which is the same for programs and for models."""
    [text] = result.content
    assert text.type == "text"
    assert json.loads(text.text) == result.structured_content
    answer: dict[str, Any] = json.loads(text.text)
    return answer
