"""A real Firefox, driven over WebDriver BiDi, which it speaks without another program."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import websocket

BINARY = shutil.which("firefox-esr") or shutil.which("firefox")
START_S, STOP_S = 120.0, 120.0
# Sound is played without a click, and nothing is fetched but the page.
PREFERENCES = {
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.block-webaudio": False,
    # Sound is played as if there were a sound card.
    "media.cubeb.force_mock_context": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "intl.accept_languages": "en-GB",
}
LOADED = "browsingContext.load"
_ADDRESS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


def is_loaded(event: dict[str, Any]) -> bool:
    """Whether it tells that a page is complete, other than the empty one of the beginning."""
    return event.get("method") == LOADED and event["params"]["url"] != "about:blank"


class Firefox:
    """One page of a headless Firefox with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        assert BINARY is not None
        profile = folder / "profile"
        profile.mkdir()
        lines = [f"user_pref({json.dumps(n)}, {json.dumps(v)});" for n, v in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines))
        log = folder / "firefox.log"
        command = [BINARY, "--headless", "--no-remote", "--profile", str(profile)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--remote-debugging-port", "0", "about:blank"],
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(folder)},
            )
        address = self._address(log)
        self._socket = websocket.create_connection(
            f"{address}/session", timeout=120, suppress_origin=True
        )
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=[LOADED])
        self._context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def _address(self, log: Path) -> str:
        ends_s = time.monotonic() + START_S
        while not (found := _ADDRESS.search(log.read_text(errors="replace"))):
            if time.monotonic() > ends_s or self._process.poll() is not None:
                self.close()
                raise AssertionError(log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)
        return found[1]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while (answer := self._receive()).get("id") != self._number:
            self._events.append(answer)
        assert answer["type"] == "success", answer
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        return message

    def open(self, url: str) -> None:
        """Load a page, and return once it is complete.

        The wait of `browsingContext.navigate` itself would end when the page that is left
        changes its own address with `history.replaceState`.
        """
        self._events.clear()
        self.call("browsingContext.navigate", context=self._context, url=url, wait="none")
        while not any(is_loaded(event) for event in self._events):
            self._events.append(self._receive())

    def run(self, expression: str) -> Any:
        """The value of an expression that JSON can hold; promises are awaited."""
        answer = self.call(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((value) => JSON.stringify(value))",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait(self, condition: str, timeout_s: float = 120.0) -> None:
        """Return once an expression is true."""
        ends_s = time.monotonic() + timeout_s
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < ends_s, f"{condition}: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("input.performActions", context=self._context, actions=[keyboard])

    def click(self, selector: str) -> None:
        """Move the mouse to the middle of an element, once there is one, and click."""
        found = json.dumps(selector)
        self.wait(f"document.querySelector({found})")
        box = self.run(f"document.querySelector({found}).getBoundingClientRect().toJSON()")
        x, y = round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
        actions: list[dict[str, Any]] = [{"type": "pointerMove", "x": x, "y": y}]
        actions += [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        self.call("input.performActions", context=self._context, actions=[mouse])

    def close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
