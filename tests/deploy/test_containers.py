"""The container files: each step of the Dockerfile runs, its server starts, Compose takes its file.

There is no Docker engine here. In place of the base image stands this machine's own system with a
Python that has the production requirements alone, in a sandbox that forgets what is written. There
the steps run as they stand, as root, one after the other, and then the command as its user.
Replaced are: the download of packages (pip runs, and must find every pin satisfied by the tested
environment), and the user 1000 of this machine, who makes room.
"""

import fnmatch
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import venv
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from config import Config
from scripts.services.children import free_port
from studio.web.pages import SOCKETIO_CLIENT
from tests.support import sandbox
from tests.support.server import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BACKEND, NGINX = COMPOSE["services"]["ai-backend"], COMPOSE["services"]["nginx"]
IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line and not line.startswith("#")
]
SECRET = "0123456789abcdef0123456789abcdef"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their values, in order."""
    text = (ROOT / "Dockerfile.simple").read_bytes()
    parser = DockerfileParser(fileobj=BytesIO(text))
    return [
        (one["instruction"], one["value"])
        for one in parser.structure
        if one["instruction"] != "COMMENT"
    ]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path into the build: the last pattern that fits decides."""
    sent = True
    parts = path.split("/")
    leading = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for line in IGNORED:
        pattern = line.lstrip("!").removeprefix("**/")
        candidates = parts if "**" in line else leading
        if any(fnmatch.fnmatch(one, pattern) for one in candidates):
            sent = line.startswith("!")
    return sent


def context(folder: Path) -> Path:
    """What the builder is sent, of what lies here."""
    for line in IGNORED:
        if not line.startswith("!"):
            continue
        path, target = ROOT / line[1:], folder / line[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target)
    return folder


def production_packages() -> set[str]:
    """The packages of the image by name: those of requirements.lock, and PyTorch."""
    lock = (ROOT / "requirements.lock").read_text()
    return {"torch", *re.findall(r"^([\w.-]+)==", lock, re.M)}


def python_of_the_image(folder: Path) -> Path:
    """A Python that has the production requirements alone, as links to the tested ones; its bin."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = next(folder.glob("lib/python3*/site-packages"))
    for name in production_packages():
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    pip.chmod(0o755)
    return folder / "bin"


def script(build: Path, binaries: Path, port: int) -> str:
    """The Dockerfile as a shell script, and then its command, watched by its health check."""
    lines = [
        f"export PATH={binaries}:$PATH",
        'for name in $(getent passwd 1000 | cut -d: -f1); do userdel -f "$name"; done',
        # Another user is to enter folders that here are root's alone.
        *(
            f"chmod o+rx {parent}"
            for place in (binaries, Path(sys.base_prefix), ROOT)
            for parent in (place, *place.parents)
        ),
        "unset PYTHONPATH PYTHONHOME",
    ]
    user, folder = "root", "/"
    arguments, environment = dict[str, str](), dict[str, str]()
    for instruction, value in instructions():
        match instruction:
            case "ARG" | "ENV":
                given = dict(part.split("=", 1) for part in shlex.split(value) if "=" in part)
                arguments |= given
                environment |= given if instruction == "ENV" else {}
            case "WORKDIR":
                folder = value
                lines.append(f"mkdir -p {folder}")
            case "COPY":
                *sources, target = shlex.split(value)
                into = f"{folder}/{target}"
                # The stages share the sandbox, so what another one made lies here.
                if sources[0].startswith("--from="):
                    # Of a folder, its content is copied.
                    [source] = sources[1:]
                    lines += [f"mkdir -p {into}", f"cp -r {source}/. {into} || cp {source} {into}"]
                    continue
                for source in sources:
                    inside = f"{source}/." if (build / source).is_dir() else source
                    is_folder = inside != source or target.endswith("/")
                    lines.append(f"mkdir -p {into if is_folder else folder}")
                    lines.append(f"cp -r {build}/{inside} {into}")
            case "RUN":
                lines += [f"echo '==> {len(lines)}'", in_place(folder, arguments, value)]
            case "USER":
                user = value
    environment |= {"PORT": str(port), "HOST": "127.0.0.1", "SECRET_KEY": SECRET}
    environment |= {"DEMUCS_MODEL": "mini", "WHISPER_MODEL": "mini"}
    command, check = json.loads(values("CMD")[0]), health_command()
    as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    there = ["env", "-C", folder, *(f"{name}={value}" for name, value in environment.items())]
    start = shlex.join([*there, *as_user, *command])
    healthy = shlex.join([*there, *as_user, *check]) + " 2> /dev/null"
    names = ("websocket-test.html", "socket.io-client.js", "studio")
    pages = [f"http://127.0.0.1:{port}/{name}" for name in names]
    lines += [
        f"if {healthy}; then echo 'healthy too early'; fi",
        f"{start} & server=$!",
        f"until {healthy}; do kill -0 $server; sleep 2; done; echo '==> healthy'",
        *(f"curl -sS {page} -o /dev/null -w 'page %{{http_code}}\\n'" for page in pages),
        'echo "runs as $(ps -o user= -p $server)"',
        f"kill -{values('STOPSIGNAL')[0].removeprefix('SIG')} $server",
        "wait $server && echo '==> stopped' || echo \"==> ended with $?\"",
    ]
    return "\n".join(lines)


def in_place(folder: str, environment: dict[str, str], command: str) -> str:
    """A command in a folder with an environment, as `RUN` does it."""
    given = shlex.join([f"{name}={value}" for name, value in environment.items()])
    return f"env -C {folder} {given} sh -c {shlex.quote(command)}"


def health_command() -> list[str]:
    found: list[str] = json.loads(values("HEALTHCHECK")[0].partition("CMD ")[2])
    return found


@pytest.mark.slow
@pytest.mark.root
def test_every_step_of_the_dockerfile_runs_and_its_server_starts(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed; .ci/run installs it")
    build = context(tmp_path / "context")
    binaries = python_of_the_image(tmp_path / "image")
    done = sandbox.run(script(build, binaries, free_port()), tmp_path / "root")
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    assert told.count("==> ") == len(values("RUN")) + 2, told[-3000:]
    assert f"torch {importlib.metadata.version('torch')} is installed" in told
    assert "Requirement already satisfied: demucs==" in told
    assert "Collecting" not in told and "Installing" not in told
    assert "ffmpeg version" in told
    assert "healthy too early" not in told
    assert "==> healthy" in told, told[-3000:]
    assert told.count("page 200") == 3
    assert "runs as studio" in told
    assert "==> stopped" in told, told[-3000:]


@pytest.mark.root
def test_the_sandbox_leaves_nothing(tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    assert sandbox.run(f"touch /{mark} && test -e /{mark}", tmp_path / "root").returncode == 0
    assert not Path(f"/{mark}").exists()


def test_what_the_image_is_made_of() -> None:
    assert re.fullmatch(r"python:3\.11-slim\S*", values("FROM")[-1])
    page = SOCKETIO_CLIENT.parent.relative_to(ROOT)
    assert [value for value in values("COPY") if value.endswith(f"{page} ./{page}")]
    assert values("USER") == ["studio"]
    assert values("STOPSIGNAL") == ["SIGTERM"]
    order = [name for name, _ in instructions()]
    # The server's own files come last: a change of them does not install everything anew.
    assert order.index("COPY") < order.index("RUN", order.index("WORKDIR")) < len(order) - 8
    assert json.loads(values("VOLUME")[0]) == ["/home/studio/.cache"]


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", "nginx/ssl/key.pem", "uploads/a/source.wav", "outputs/.jobs.sqlite3",
     "weights/demucs/own.yaml", "tests/support/server.py", "training/mix.py", ".venv/pyvenv.cfg",
     "studio/web/__pycache__/rest.pyc", "node_modules/ws/index.js"],
)  # fmt: skip
def test_secrets_sound_and_the_rest_stay_out_of_the_image(path: str) -> None:
    assert not is_sent(path)


def test_all_that_is_copied_is_sent() -> None:
    for value in values("COPY"):
        *sources, _ = shlex.split(value)
        if sources[0].startswith("--from="):
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert is_sent(source), source


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.scale.yml"]
)
def test_the_compose_files_are_valid(name: str) -> None:
    """Against the Compose Specification's own schema, which check-jsonschema carries."""
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(ROOT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_override_for_a_gpu_changes_the_build_and_the_device() -> None:
    """Compose merges maps; of lists of settings it takes the later value of a name."""
    override = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
    (name,) = override["services"]
    assert name == "ai-backend"
    service = override["services"][name]
    assert set(service) == {"build", "environment", "deploy"}
    arguments = service["build"]["args"]
    assert set(arguments) <= {value.partition("=")[0] for value in values("ARG")}
    assert arguments == {"GPU": "1"}
    given = dict(line.split("=") for line in service["environment"])
    assert Config.load({**given, "SECRET_KEY": SECRET}, None).DEVICE == "cuda"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_choices_for_compose_in_the_settings_are_no_misspelled_settings(tmp_path: Path) -> None:
    """Every command has to find them, so they are in .env, which the server reads too."""
    page = (ROOT / "docs" / "installing.md").read_text("utf-8")
    [files] = re.findall(r'^echo "COMPOSE_FILE=(.*)" >> \.env$', page, re.M)
    assert all((ROOT / name).is_file() for name in files.split(":"))
    settings = tmp_path / ".env"
    settings.write_text(f"COMPOSE_FILE={files}\nCJK=1\n")
    assert Config.load({"SECRET_KEY": SECRET}, settings).SECRET_KEY == SECRET
    assert Config.misspelled({}, settings) == []


def test_an_invalid_compose_file_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("volumes:", "volume:"))
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*checker, str(wrong)], capture_output=True, check=False).returncode == 1


def mounts(service: dict[str, Any]) -> dict[str, str]:
    return dict(volume.split(":")[:2][::-1] for volume in service["volumes"])


def test_the_services_fit_the_image_and_the_configuration() -> None:
    assert mounts(BACKEND) == {
        "/app/uploads": "./uploads",
        "/app/outputs": "./outputs",
        "/app/weights": "./weights",
        "/home/studio/.cache": "ai_models",
    }
    assert mounts(NGINX) == {
        "/etc/nginx/nginx.conf": "./nginx/nginx.conf",
        "/etc/nginx/ssl": "./nginx/ssl",
    }
    assert BACKEND["build"] == {
        "context": ".",
        "dockerfile": "Dockerfile.simple",
        "args": {"CJK": "${CJK:-}"},
    }
    assert "server ai-backend:8000;" in (ROOT / "nginx" / "nginx.conf").read_text()
    assert BACKEND["expose"] == ["8000"] and "ports" not in BACKEND
    assert NGINX["ports"] == ["80:80", "443:443"]
    limits = {"limits": {"memory": "4G"}, "reservations": {"memory": "2G"}}
    assert BACKEND["deploy"]["resources"] == limits
    assert COMPOSE["volumes"] == {"ai_models": None}
    for folder in ("uploads", "outputs", "weights"):
        # Made by Docker it would be root's.
        assert (ROOT / folder / ".gitkeep").is_file()


def test_the_settings_of_the_services_are_settings() -> None:
    given = dict(line.partition("=")[::2] for line in BACKEND["environment"])
    message = given["SECRET_KEY"]
    assert message.startswith("${SECRET_KEY:?") and ".env" in message
    config = Config.load({**given, "SECRET_KEY": SECRET}, None)
    for name in given:
        assert str(getattr(config, name)) == {**given, "SECRET_KEY": SECRET}[name]
    assert BACKEND["env_file"] == ".env"


def test_both_services_are_watched() -> None:
    kind, *command = BACKEND["healthcheck"]["test"]
    assert kind == "CMD"
    told = "'http://127.0.0.1:' + os.environ['PORT'] + '/health'"
    expected = health_command()[-1].replace(told, "'http://127.0.0.1:8000/health'")
    assert command[:2] == ["python", "-c"]
    assert command[2] == expected.replace("import os, ", "import ")
    assert NGINX["healthcheck"]["test"][-1] == "https://127.0.0.1/health"
    assert NGINX["depends_on"] == {"ai-backend": {"condition": "service_healthy", "restart": True}}
    for service in (BACKEND, NGINX):
        assert service["restart"] == "unless-stopped"
        assert re.fullmatch(r"\d+[MG]", service["deploy"]["resources"]["limits"]["memory"])
