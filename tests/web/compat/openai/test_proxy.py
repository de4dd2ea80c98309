"""OpenAI's client through nginx: its answers, its streams, and a file that stays whole."""

import json
import ssl
from pathlib import Path

import pytest
import websocket
from openai import DefaultHttpxClient, OpenAI

from tests.support.proxy import Proxy
from tests.support.speech import write_speech

pytestmark = pytest.mark.nginx


def test_a_stream_arrives_while_the_job_runs(proxy: Proxy, tmp_path: Path) -> None:
    path = write_speech(tmp_path / "夜曲.wav", times=3, rate_hz=44_100)
    trust = ssl.create_default_context(cafile=str(proxy.certificate))
    address = f"{proxy.url}/v1"
    with OpenAI(
        base_url=address, api_key="any", http_client=DefaultHttpxClient(verify=trust)
    ) as client:
        stream = client.audio.transcriptions.create(model="whisper-1", file=path, stream=True)
        deltas, done = [], ""
        for event in stream:
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            elif event.type == "transcript.text.done":
                done = event.text
        plain = client.audio.transcriptions.create(model="whisper-1", file=path)
    assert len(deltas) >= 3 and "".join(deltas) == done == plain.text


def test_a_websocket_opens(proxy: Proxy) -> None:
    socket = websocket.create_connection(
        f"wss://127.0.0.1:{proxy.port}/v1/realtime?intent=transcription",
        sslopt={"ca_certs": str(proxy.certificate)},
        timeout=30,
    )
    assert json.loads(socket.recv())["type"] == "session.created"
    socket.close()
