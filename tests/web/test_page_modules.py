"""Modules of the studio page in Node, against a server: edits of a transcript, and the jobs."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from studio.web.assets import STATIC
from tests.support.server import ROOT, Server
from tests.support.sounds import noise, write_wav

BROWSER = ROOT / "tests" / "support" / "javascript" / "page.mjs"
MODULES = ROOT / "node_modules"
LINE = {"start_s": 0.0, "end_s": 1.0, "text": " as it was"}
# The store of a transcript, what somebody writes into it, and what the server has.
STORE = """
const { TranscriptStore } = await import("./js/data/transcript_store.js");
const { edited } = await import("./js/data/transcript.js");
const { wouldLose } = await import("./js/data/leaving.js");
const [, , id] = process.argv;
const write = (store, text) => store.change(edited(store.lines, 0, text));
const textOf = (lines) => lines.map((line) => line.text.trim()).join();
const saved = async () =>
  textOf((await (await page.ask(`/download/${id}/transcription?format=json`)).json()).segments);
const open = async () => {
  const store = new TranscriptStore(id);
  await store.load();
  return store;
};
const isPut = (init) => init?.method === "PUT";
const lost = async () => { throw new TypeError("The connection is lost."); };
"""
# Somebody else saves while a line is changed here.
CONFLICT = """
const first = await open();
const line = { start_s: 0, end_s: 1, text: " theirs" };
await page.ask(`/files/${id}/transcription`, {
  method: "PUT",
  headers: { "Content-Type": "application/json", "If-Match": "*" },
  body: JSON.stringify({ segments: [line] }),
});
write(first, "mine");
await first.save();
"""

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not MODULES.is_dir(),
    reason="Node or the JavaScript packages are missing; .ci/run and `make page` install them",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules, where Node takes them as such."""
    folder = tmp_path_factory.mktemp("modules")
    shutil.copytree(STATIC / "js", folder / "js")
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture(scope="module")
def transcribed(live_server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a transcript."""
    file_id = live_server.upload(write_wav(tmp_path_factory.mktemp("noise") / "n.wav", noise(2)))
    live_server.process(file_id, "whisper")
    assert live_server.wait(file_id)["status"] == "completed"
    return file_id


@pytest.fixture
def file_id(live_server: Server, transcribed: str) -> str:
    """A file whose transcript has one line."""
    live_server.edit(transcribed, [LINE])
    return transcribed


def run(folder: Path, server: Server, script: str, *arguments: str) -> Any:
    """What a script gives to `done`."""
    script = f"const done = (...found) => {{ console.log(JSON.stringify(found)); }};\n{script}"
    command = ["node", "--import", str(BROWSER), "--input-type=module", "--eval"]
    done = subprocess.run(
        [*command, f"{script}\nprocess.exit();", server.url, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_edits_that_no_browser_stores_are_saved_after_their_page_was_left(
    folder: Path, live_server: Server, file_id: str
) -> None:
    script = """
    page.refusesStorage = true;
    const store = await open();
    const { answer } = page;
    page.answer = lost;
    write(store, "mine");
    store.close();
    await store.save();
    const isAtRisk = wouldLose();
    page.answer = answer;
    await page.until(async () => (await saved()) === "mine");
    await page.until(() => !wouldLose());
    done(isAtRisk);
    """
    assert run(folder, live_server, STORE + script, file_id) == [True]


@pytest.mark.parametrize("refuses_storage", [False, True])
def test_a_conflict_that_was_left_is_shown_again(
    folder: Path, live_server: Server, file_id: str, refuses_storage: bool
) -> None:
    """With the text of the line that was open."""
    script = f"""
    page.refusesStorage = {json.dumps(refuses_storage)};
    {CONFLICT}
    first.close();
    write(first, "mine until the end");
    await first.save();
    const second = await open();
    const states = [first.state.value, second.state.value];
    const texts = [textOf(second.lines), textOf(second.theirs.value.lines)];
    if (second.state.value === "conflict") second.keepMine();
    await second.save();
    done(states, texts, await saved(), wouldLose());
    """
    assert run(folder, live_server, STORE + script, file_id) == [
        ["conflict", "conflict"],
        ["mine until the end", "theirs"],
        "mine until the end",
        False,
    ]


def test_a_page_that_is_left_while_it_loads_takes_no_edits(
    folder: Path, live_server: Server, file_id: str
) -> None:
    script = f"""
    page.refusesStorage = true;
    {CONFLICT}
    first.close();
    await first.save();
    const second = new TranscriptStore(id);
    const loading = second.load();
    second.close();
    await loading;
    const wouldAsk = wouldLose();
    const third = await open();
    done(wouldAsk, third.state.value, textOf(third.lines));
    """
    assert run(folder, live_server, STORE + script, file_id) == [True, "conflict", "mine"]


def test_a_proxy_that_compresses_only_long_answers_makes_no_conflict(
    folder: Path, live_server: Server, file_id: str
) -> None:
    """It makes the ETags weak of what it compresses."""
    script = """
    page.answer = async (path, init) => {
      const answer = await page.ask(path, init);
      if (isPut(init) || answer.status !== 200) return answer;
      const headers = new Headers(answer.headers);
      headers.set("ETag", `W/${headers.get("ETag")}`);
      return new Response(await answer.text(), { headers });
    };
    const first = await open();
    write(first, "first");
    const isSaved = await first.save();
    const { answer } = page;
    page.answer = lost;
    write(first, "second");
    first.close();
    await first.save();
    page.answer = answer;
    const second = await open();
    const state = second.state.value;
    await second.save();
    done(isSaved, state, await saved());
    """
    assert run(folder, live_server, STORE + script, file_id) == [True, "unsaved", "second"]


def test_edits_are_saved_after_somebody_has_signed_in(
    folder: Path, live_server: Server, file_id: str
) -> None:
    script = """
    const { returns } = await import("./js/data/connection.js");
    const { answer } = page;
    const problem = { code: "unauthorized", error: "The session has expired." };
    page.answer = async () => new Response(JSON.stringify(problem), { status: 401 });
    const store = new TranscriptStore(id);
    await store.load();
    page.answer = answer;
    returns.value += 1;
    await page.until(() => store.state.value === "saved");
    page.answer = async () => new Response(JSON.stringify(problem), { status: 401 });
    write(store, "mine");
    await store.save();
    const state = store.state.value;
    page.answer = answer;
    returns.value += 1;
    await page.until(async () => (await saved()) === "mine");
    done(state);
    """
    assert run(folder, live_server, STORE + script, file_id) == ["failed"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_transcript_that_a_busy_server_refuses_is_loaded_later(
    folder: Path, live_server: Server, file_id: str, status: int
) -> None:
    """Nothing is unsaved meanwhile, unless an earlier page left a draft."""
    script = f"""
    const {{ answer }} = page;
    const problem = JSON.stringify({{ code: "overloaded", error: "The server is busy." }});
    const busy = {{ status: {status}, headers: {{ "Retry-After": "1" }} }};
    page.answer = async () => new Response(problem, busy);
    const store = await open();
    const refused = [store.state.value, store.error.value, store.isOnServer, await store.save()];
    localStorage.setItem(`studio.draft.${{id}}`, "null");
    const withDraft = store.isOnServer;
    localStorage.removeItem(`studio.draft.${{id}}`);
    page.answer = answer;
    await page.until(() => store.state.value === "saved");
    done(...refused, withDraft, textOf(store.lines));
    """
    assert run(folder, live_server, STORE + script, file_id) == [
        "unloaded",
        "The server is busy.",
        True,
        True,
        False,
        "as it was",
    ]


def test_a_refused_subscription_is_tried_again_once(folder: Path, live_server: Server) -> None:
    """However often songs change until then. `retries` has the timers of refusals."""
    script = """
    const wait = setTimeout;
    const retries = [];
    globalThis.setTimeout = (run, ms, ...more) =>
      ms === 3000 ? retries.push(run) : wait(run, ms, ...more);
    const { subscribe } = await import("./js/data/jobs_socket.js");
    const handlers = { onJob() {}, onRefused() { void subscribe(["0".repeat(32)], handlers); } };
    handlers.onRefused();
    await page.until(() => retries.length === 1);
    for (let n = 0; n < 10; n += 1) {
      handlers.onRefused();
      await (await page.ask("/health")).text();
    }
    const count = retries.length;
    retries[0]();
    await page.until(() => retries.length > count);
    done(count, retries.length);
    """
    assert run(folder, live_server, script) == [1, 2]
