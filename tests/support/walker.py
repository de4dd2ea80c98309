"""Somebody who asks for anything in any order, over HTTP and Socket.IO, from a seed."""

import base64
import json
import random
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import requests
import websocket

from tests.support.problems import BOUNDARY, FORM, part
from tests.support.server import Server

NAMES = ["ä" * 50, "a\x00b", "../../etc/passwd", "%2e%2e", "all.zip", "", "mini", "0" * 32]
VALUES: list[Any] = [
    None, True, 0, -1, 1, 3, 0.5, 1e308, "", "x", "wav", "mini", "en", [], [0.0], ["vocals"], {},
    {"a": []}, "ü" * 300, "http://127.0.0.1:9/", "http://a..b/",
]  # fmt: skip
HEADERS = {
    "Range": ["bytes=0-9", "bytes=5-2", "bytes=-1", "bytes=99999999-", "x"],
    "If-None-Match": ["*", '"x"', "x"],
    "Origin": ["https://other.example", "null", "x"],
    "X-Request-ID": ["one", "a b", "x" * 300],
    "Accept": ["text/html", "*/*"],
}
FORMATS = ["wav", "flac", "mp3", "ogg", "txt", "srt", "json", "exe", ""]
OPTIONS = ["model_variant", "shifts", "overlap", "stems", "format", "temperature", "webhook"]
OPTIONS += ["source", "seed", "language", "continue_from", "no_such_option"]
EVENTS = ["audio", "configure", "finish", "keepalive", "connect", "no_such_event"]
RAW = ["4x", "40/transcribe,", "42/transcribe,[]", "2", "9", "41/transcribe,", '42["audio"]', ""]


class Walker:
    """One caller. `others` are the ids of other callers' files; `key` is empty for a stranger.

    `wrong` collects what must not happen: an answer of 500 or more, a success with another's file,
    and another's name in an answer.
    """

    def __init__(
        self, server: Server, name: str, key: str, seed: str, sounds: dict[str, bytes]
    ) -> None:
        self.name = name
        self.mark = f"mark-of-{name}"
        self.own: list[str] = []
        self.others: list[str] = []
        self.foreign_marks: list[str] = []
        self.wrong: list[str] = []
        self.steps = 0
        self._server = server
        self._key = key
        self._random = random.Random(f"{seed} {name}")
        self._sounds = sounds
        self._sockets: list[websocket.WebSocket] = []
        paths = server.get("/openapi.json").json()["paths"]
        self._routes = [
            (method.upper(), path, [one["name"] for one in about.get("parameters", [])])
            for path, methods in paths.items()
            for method, about in methods.items()
            if path != "/upload"
        ]

    def step(self) -> None:
        """Do one thing; most of them make sense, so that others find something to do."""
        self.steps += 1
        action = self._random.choices(
            [self._upload, self._process, self._route, self._connect, self._emit, self._send_raw],
            [3, 4, 14, 2, 8, 1],
        )[0]
        try:
            action()
        except Exception as error:
            self.wrong.append(f"{self.name}: {action.__name__}: {error!r}")

    def ask(self, method: str, path: str, **more: Any) -> requests.Response | None:
        """Send a request and judge the answer; None where it cannot be sent."""
        headers = {"X-API-Key": self._key} if self._key else {}
        headers |= more.pop("headers", {})
        try:
            answer = requests.request(
                method, self._server.url + path, headers=headers, timeout=120,
                allow_redirects=False, **more,
            )  # fmt: skip
        except (UnicodeError, requests.exceptions.InvalidHeader):
            return None
        self._judge(method, path, answer)
        return answer

    def _judge(self, method: str, path: str, answer: requests.Response) -> None:
        told = f"{self.name}: {method} {path}: {answer.status_code} {answer.text[:200]!r}"
        if answer.status_code >= 500 and path != "/ready":
            self.wrong.append(told)
        is_theirs = any(file_id in path for file_id in self.others)
        if answer.ok and is_theirs and method != "OPTIONS":
            self.wrong.append(f"another's file: {told}")
        if any(mark.encode() in answer.content for mark in self.foreign_marks):
            self.wrong.append(f"another's name: {told}")

    def _upload(self) -> None:
        kind = self._random.choice([*self._sounds, "garbage", "empty", "nothing"])
        content = self._sounds.get(kind, self._random.randbytes(3000) if kind == "garbage" else b"")
        ending = kind if kind in ("wav", "txt") else "wav"
        filename = f"{self.mark}.{ending}"
        body = b"" if kind == "nothing" else part(filename, content)
        answer = self.ask(
            "POST", "/upload", data=body + f"--{BOUNDARY}--\r\n".encode(), headers=FORM
        )
        if answer is not None and answer.status_code == 201:
            self.own.append(answer.json()["file_id"])

    def _process(self) -> None:
        """Ask for a job that can be done, on a file of its own if there is one."""
        model, options = self._random.choice(
            [
                ("demucs", {"overlap": self._random.choice([0.1, 0.2, 0.3])}),
                ("demucs", {"stems": ["vocals"], "format": "flac"}),
                ("whisper", {"model_variant": "mini", "beam_size": 1}),
                ("musicgen", {"duration": 1.0}),
            ]
        )
        file_id = self._random.choice(self.own) if self.own else "0" * 32
        self.ask("POST", f"/process/{model}/{file_id}", json=options)

    def _route(self) -> None:
        method, path, parameters = self._random.choice(self._routes)
        path = path.replace("{file_id}", self._file_id())
        path = path.replace(
            "{model}", self._random.choice(["demucs", "whisper", "musicgen", "analysis", "x"])
        )
        tracks = ["vocals", "no_vocals", "transcription", "music", *NAMES]
        path = path.replace("{track}", self._random.choice(tracks))
        query = {}
        for name in parameters:
            if self._random.random() < 0.5:
                query[name] = {
                    "wait": self._random.choice(["0", "1", "-1", "nan", "x"]),
                    "format": self._random.choice(FORMATS),
                }.get(name, str(self._random.choice(VALUES)))
        more: dict[str, Any] = {"params": query}
        if self._random.random() < 0.3:
            name = self._random.choice([*HEADERS])
            more["headers"] = {name: self._random.choice(HEADERS[name])}
        if method == "POST" and self._random.random() < 0.7:
            more |= self._body()
        if self._random.random() < 0.05:
            method = self._random.choice(["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
        answer = self.ask(method, path, **more)
        if method == "DELETE" and answer is not None and answer.ok:
            self.own = [file_id for file_id in self.own if file_id not in path]

    def _body(self) -> dict[str, Any]:
        body = {
            self._random.choice(OPTIONS): self._random.choice([*VALUES, self._file_id()])
            for _ in range(self._random.randint(0, 2))
        }
        if self._random.random() < 0.2:
            return {"data": self._random.randbytes(40), "headers": {"Content-Type": "text/plain"}}
        return {"json": body}

    def _file_id(self) -> str:
        kind = self._random.random()
        if kind < 0.6 and self.own:
            return self._random.choice(self.own)
        if kind < 0.85 and self.others:
            return self._random.choice(self.others)
        return quote(self._random.choice(NAMES), safe="")

    def _connect(self) -> None:
        """Open a live connection, and close the oldest of several."""
        url = f"ws://127.0.0.1:{self._server.port}/socket.io/?EIO=4&transport=websocket"
        with suppress(websocket.WebSocketException, OSError):
            opened = websocket.create_connection(url, timeout=5, suppress_origin=True)
            self._sockets.append(opened)
            opened.send(f"40/transcribe,{json.dumps({'token': self._key})}")
        if len(self._sockets) > 2:
            self._sockets.pop(0).shutdown()

    def _emit(self) -> None:
        if not self._sockets:
            return
        sound = base64.b64encode(self._random.randbytes(self._random.choice([0, 1, 3200])))
        payload = {"data": sound.decode(), "mimeType": "audio/pcm;rate=16000"}
        message = self._random.choice(
            [{"payload": payload}, {"payload": {"data": "?"}}, {"language": "en"}, *VALUES]
        )
        event = json.dumps([self._random.choice(EVENTS), message])
        self._say(f"42/transcribe,{self._random.randint(0, 99)}{event}")

    def _send_raw(self) -> None:
        self._say(self._random.choice(RAW))

    def _say(self, text: str) -> None:
        if self._sockets:
            opened = self._random.choice(self._sockets)
            try:
                opened.send(text)
            except (websocket.WebSocketException, OSError):
                self._sockets.remove(opened)
                opened.shutdown()

    def leave(self) -> None:
        """Remove all that is its own, and close its connections."""
        for file_id in self.own:
            self.ask("DELETE", f"/cleanup/{file_id}")
        self.own = []
        for opened in self._sockets:
            opened.shutdown()
        self._sockets = []
