"""A real Chromium, driven over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import requests
import websocket

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 120.0


class Browser:
    """One page of a headless Chromium that hears `microphone`, a WAV file, once and again.

    `events` has what the browser told of by itself, up to the last call.
    """

    def __init__(self, folder: Path, microphone: Path, *options: str) -> None:
        assert BINARY is not None
        command = [BINARY, "--headless=new", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage"]
        command += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        command += [f"--use-file-for-fake-audio-capture={microphone}%noloop"]
        command += ["--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run"]
        command += [f"--user-data-dir={folder / 'profile'}", *options, "about:blank"]
        log = folder / "chromium.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        port_file = folder / "profile" / "DevToolsActivePort"
        ends_s = time.monotonic() + START_S
        while not (port_file.is_file() and port_file.read_text().strip()):
            if time.monotonic() > ends_s or self._process.poll() is not None:
                self.close()
                raise AssertionError(log.read_text()[-2000:])
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        pages = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=30).json()
        address = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"]
        self._socket = websocket.create_connection(address, timeout=120, suppress_origin=True)
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self.call("Page.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv())).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 120.0) -> None:
        """Return once an expression is true."""
        ends_s = time.monotonic() + timeout_s
        while not self.run(condition):
            assert time.monotonic() < ends_s, f"{condition}: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def answer_request(self, body: bytes, kind: str) -> None:
        """Answer the next request that `Fetch.enable` holds back."""
        paused = "Fetch.requestPaused"
        ends_s = time.monotonic() + START_S
        while not (held := [event for event in self.events if event["method"] == paused]):
            assert time.monotonic() < ends_s, "no request was held back"
            self.run("1")
        headers = {"Content-Type": kind, "Access-Control-Allow-Origin": "*"}
        self.call(
            "Fetch.fulfillRequest",
            requestId=held[0]["params"]["requestId"],
            responseCode=200,
            responseHeaders=[{"name": name, "value": headers[name]} for name in headers],
            body=base64.b64encode(body).decode(),
        )
        self.events.remove(held[0])

    def look(self, width: int, dark: bool) -> None:
        """Show the page at a width, in light or dark colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=30)
