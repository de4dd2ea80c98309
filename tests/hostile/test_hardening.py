"""What holds where an attack succeeds in part: containers, packages, pages, the decoder's child."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.lock import OF_CUDA, entries
from tests.support.server import ROOT, Server

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["pids_limit"] > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["driver"] == "json-file"
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_only_nginx_gets_capabilities_back() -> None:
    assert "cap_add" not in SERVICES["ai-backend"]
    wanted = {"NET_BIND_SERVICE", "DAC_READ_SEARCH", "CHOWN", "SETUID", "SETGID"}
    assert set(SERVICES["nginx"]["cap_add"]) == wanted


def test_every_package_of_the_server_is_locked_with_its_hash() -> None:
    locked = {}
    for entry in entries(LOCK):
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()  # type: ignore[union-attr]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
        locked[name.lower()] = version
    for line in (ROOT / "requirements-prod.txt").read_text().splitlines():
        if line and not line.startswith(("#", "torch==")):
            name, version = line.partition(";")[0].split("==")
            assert locked[name] == version
    assert not [name for name in locked if name.startswith((*OF_CUDA, "torch"))]


def test_pip_finds_the_tested_packages_in_the_lock() -> None:
    """Nothing would be fetched: the locked versions are those that the tests run with."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--no-index", "-r", "requirements.lock"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Collecting" not in done.stdout and "Would install" not in done.stdout


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/nowhere", "/upload"])
def test_every_answer_has_a_policy(server: Server, path: str) -> None:
    policy = server.get(path, allow_redirects=False).headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    scripts = [rule for rule in policy.split("; ") if rule.startswith("script-src")]
    assert len(scripts) == (path in ("/", "/docs"))
    assert "'unsafe-inline'" not in "".join(scripts)


def test_the_live_page_runs_its_own_script_alone(server: Server) -> None:
    answer = server.get("/websocket-test.html")
    (script,) = re.findall(r"<script>(.*?)</script>", answer.content.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = answer.headers["Content-Security-Policy"].split("; ")
    (allowed,) = [rule for rule in rules if rule.startswith("script-src ")]
    assert f"'sha256-{digest}'" in allowed
    assert "unsafe" not in allowed


def test_the_decoder_knows_nothing_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is empty but for its locale, and it has no descriptor but its three."""
    from studio.audio import child

    monkeypatch.setenv("API_KEYS", "not-for-the-decoder")
    seen = tmp_path / "seen"
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n(env; ls /proc/self/fd) > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setattr(child, "ffmpeg_path", lambda: str(program))
    kept = os.open(program, os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        with open(program, "rb") as source:
            process = child._start([str(program)], source)
            process.communicate()
    finally:
        os.close(kept)
    told = seen.read_text()
    assert "not-for-the-decoder" not in told
    assert "API_KEYS" not in told and "SECRET" not in told
    descriptors = {int(line) for line in told.splitlines() if line.isdigit()}
    # `ls` itself has the folder open.
    assert descriptors == {0, 1, 2, 3}


READ_PARENT = """
import os
for name in ("environ", "mem", "maps"):
    try:
        with open(f"/proc/{os.getppid()}/{name}", "rb") as file:
            print(name, "open")
    except PermissionError:
        print(name, "closed")
"""
PARENT = f"""
import subprocess, sys
from studio.inference import process
process.prevent_inspection()
subprocess.run([sys.executable, "-c", {READ_PARENT!r}], check=True)
"""


# gunicorn's first process, from which it forks the one that serves.
ARBITER = f"""
import subprocess, sys
import production
command = [sys.executable, "-c", {READ_PARENT!r}]
production.Launcher.run = lambda _: subprocess.run(command, check=True)
production.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("parent", [PARENT, ARBITER], ids=["server", "arbiter"])
def test_a_child_of_the_same_user_reads_nothing_of_the_server(
    parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without capabilities, as in the container: with them, root may read everything."""
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef")
    for key in ("UPLOAD_FOLDER", "OUTPUT_FOLDER", "MODEL_DIR"):
        monkeypatch.setenv(key, str(tmp_path / key))
    command = [sys.executable, "-c", parent]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    expected = ["environ", "closed", "mem", "closed", "maps", "closed"]
    assert done.stdout.split() == expected, done.stderr
