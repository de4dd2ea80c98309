"""Large transfers through nginx: nothing is collected on the way, and downloads can be resumed."""

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from bench.measure import forget_peak, peak_bytes
from tests.support.problems import BOUNDARY, FORM
from tests.support.proxy import Proxy
from tests.support.server import Server
from tests.support.sounds import RATE_HZ

pytestmark = pytest.mark.nginx

UPLOAD_BYTES = 500_000_000
BLOCK_BYTES = 1 << 20
# Far below the size of the upload, above what processes do besides.
MAX_GROWTH_BYTES = 48_000_000
SPILLED = "buffered to a temporary file"


def connect(proxy: Proxy) -> http.client.HTTPSConnection:
    trust = ssl.create_default_context(cafile=str(proxy.certificate))
    return http.client.HTTPSConnection("127.0.0.1", proxy.port, context=trust, timeout=300)


def workers(server: Server) -> list[int]:
    return [child.pid for child in psutil.Process(server.pid).children()]


def silent_form(folder: Path) -> tuple[int, Iterator[bytes]]:
    """A form with a silent WAV, made while it is sent: its length in bytes, and its blocks."""
    frames = (UPLOAD_BYTES - 44) // 4
    short = folder / "head.wav"
    soundfile.write(short, np.zeros((1, 2), np.int16), RATE_HZ, subtype="PCM_16")
    head = bytearray(short.read_bytes()[:44])
    head[4:8] = (36 + 4 * frames).to_bytes(4, "little")
    head[40:44] = (4 * frames).to_bytes(4, "little")
    begin = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="long.wav"'
    begin += "\r\n\r\n"
    end = f"\r\n--{BOUNDARY}--\r\n".encode()

    def blocks() -> Iterator[bytes]:
        yield begin.encode() + bytes(head)
        left, block = 4 * frames, bytes(BLOCK_BYTES)
        while left:
            yield block[:left]
            left -= len(block[:left])
        yield end

    return len(begin) + len(head) + 4 * frames + len(end), blocks()


@pytest.mark.slow
def test_an_upload_of_500_mb_passes_through(
    proxy: Proxy, production: Server, tmp_path: Path
) -> None:
    """nginx hands it on as it comes, the server writes it as it comes: memory stays as it was."""
    length, blocks = silent_form(tmp_path)
    before = {pid: forget_peak(pid) for pid in (*proxy.workers(), *workers(production))}
    caller = connect(proxy)
    caller.request("POST", "/upload", blocks, {**FORM, "Content-Length": str(length)})
    answer = caller.getresponse()
    body = json.loads(answer.read())
    caller.close()
    try:
        assert answer.status == 201, body
        assert body["bytes"] == UPLOAD_BYTES
        assert body["duration_s"] == pytest.approx(UPLOAD_BYTES / 4 / RATE_HZ, abs=0.1)
        grown = {pid: peak_bytes(pid) - resident for pid, resident in before.items()}
        assert max(grown.values()) < MAX_GROWTH_BYTES, grown
        assert SPILLED not in proxy.errors()
    finally:
        production.delete(f"/cleanup/{body['file_id']}")


def test_a_download_is_resumed(
    proxy: Proxy, production: Server, short_wav: Path, tmp_path: Path
) -> None:
    """By curl, as a person would, after a transfer that was cut."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed; .ci/run installs it")
    file_id = production.separate(short_wav)
    whole = production.get(f"/download/{file_id}/vocals").content
    url = f"{proxy.url}/download/{file_id}/vocals"
    part = tmp_path / "vocals.wav"
    part.write_bytes(whole[: len(whole) // 3])

    def fetch(*options: str) -> str:
        command = [curl, "-k", "-sS", "-D", "-", "-o", str(part), *options, url]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    told = fetch("-C", "-")
    assert "206" in told.splitlines()[0]
    start, total = len(whole) // 3, len(whole)
    assert f"content-range: bytes {start}-{total - 1}/{total}" in told.lower()
    assert part.read_bytes() == whole
    assert "416" in fetch("-r", f"{total}-").splitlines()[0]
    part.unlink()
    assert "200" in fetch().splitlines()[0]
    assert part.read_bytes() == whole


def test_a_large_download_is_not_collected(
    proxy: Proxy, production: Server, tmp_path: Path
) -> None:
    """A client that reads slowly holds back the server; nothing goes to nginx's disk."""
    sound = tmp_path / "minute.wav"
    soundfile.write(sound, np.zeros((RATE_HZ * 60, 2), np.int16), RATE_HZ, subtype="PCM_16")
    file_id = production.separate(sound, model_variant="swift", stems=["vocals"])
    caller = connect(proxy)
    caller.request("GET", f"/download/{file_id}/vocals")
    answer = caller.getresponse()
    size = int(answer.headers["Content-Length"])
    # More than the buffers of the sockets on the way hold.
    assert size > 20_000_000
    first = answer.read(BLOCK_BYTES)
    assert production.get(f"/status/{file_id}?wait=1").status_code == 200
    rest = answer.read()
    caller.close()
    assert len(first) + len(rest) == size
    assert SPILLED not in proxy.errors()


def test_mixes_and_videos_pass_through(proxy: Proxy, production: Server, short_wav: Path) -> None:
    """A mix arrives whole; a video is made once, and its parts are those of the whole."""
    file_id = production.upload(short_wav)
    options = {"source": "vocals", "separation_variant": "swift"}
    production.process(file_id, "whisper", **options)
    assert production.wait(file_id)["status"] == "completed"
    production.edit(file_id, [{"start_s": 1.0, "end_s": 2.0, "text": "Sing"}])

    def fetch(name: str, **headers: str) -> tuple[int, bytes]:
        caller = connect(proxy)
        caller.request("GET", f"/download/{file_id}/{name}", headers=headers)
        answer = caller.getresponse()
        body = answer.read()
        assert len(body) == int(answer.headers.get("Content-Length", len(body)))
        caller.close()
        return answer.status, body

    status, mix = fetch("mix.wav?vocals=0")
    assert status == 200 and mix == production.get(f"/download/{file_id}/mix.wav?vocals=0").content
    status, video = fetch("karaoke.mp4?size=160x160")
    assert status == 200 and video[4:8] == b"ftyp"
    half = len(video) // 2
    status, rest = fetch("karaoke.mp4?size=160x160", Range=f"bytes={half}-")
    assert status == 206 and rest == video[half:]
    assert SPILLED not in proxy.errors()
