"""Weights in the usual caches are used; without them and without a network a job fails at once.

Each case runs in a process of its own, because the caches are chosen when libraries are imported.
"""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from demucs.hf import load_safetensors_model
from safetensors.torch import save_file

from tests.support.server import ROOT

CHILD = """
import json, sys
from pathlib import Path
from studio.errors import StudioError
from config import Config
from studio.separation.catalogue import DemucsCatalogue
from studio.inference.engine_settings import EngineSettings
from studio.separation.load import load

answers = {}
catalogue = DemucsCatalogue(
    Path("pretrained/demucs-mini"), Path(sys.argv[1]), Config().torch_checkpoints
)
engine = EngineSettings(sys.argv[2], "f32", 0, Path(sys.argv[1]).parent / "graphs")
for name in sys.argv[3:]:
    found = catalogue.find(name)
    answer = {"where": found.where, "stems": found.stems, "size_bytes": found.size_bytes}
    try:
        bag = load(catalogue, name, engine)
        answer["engine"] = bag.engine
        answer["members"] = [member.weights for member in bag.members]
        answer["segments"] = [member.network.segment_samples for member in bag.members]
    except StudioError as error:
        answer |= {"code": error.code, "sentence": error.sentence, **error.extra}
    answers[name] = answer
print(json.dumps(answers))
"""
# A proxy where nobody listens: no host can be reached, whatever machine this runs on.
NO_NETWORK = "http://127.0.0.1:9"


def ask(
    folder: Path,
    *names: str,
    engine: str = "torch",
    proxy: str = NO_NETWORK,
    **environment: str,
) -> dict[str, Any]:
    """What the catalogue and the loader say in a fresh process with caches of its own."""
    caches = {"HF_HOME": str(folder / "hf"), "TORCH_HOME": str(folder / "torch")}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    removed = ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "NO_PROXY", "no_proxy", "HF_ENDPOINT")
    inherited = {name: value for name, value in os.environ.items() if name not in removed}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder / "demucs"), engine, *names],
        cwd=ROOT,
        env={**inherited, **caches, **proxies, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def in_hub_cache(folder: Path, repository: str, *files: Path) -> None:
    """Place files as huggingface_hub keeps what it has downloaded: as links to their content."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = folder / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    for file in files:
        blob = home / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))


def bag_file(folder: Path, name: str, **bag: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(bag))
    return path


def test_what_the_hub_cache_holds_is_used(tmp_path: Path, weights: Path) -> None:
    ours = weights / "demucs"
    htdemucs = bag_file(tmp_path / "a", "htdemucs", models=["tiny0"], segment=0.5)
    in_hub_cache(tmp_path, "adefossez/HTDemucs", htdemucs, ours / "tiny0.safetensors")
    theirs = bag_file(tmp_path / "b", "my_model", models=["tiny1"], weights=[[1, 2, 3, 4]])
    in_hub_cache(tmp_path, "someone/Demucs-my_model", theirs, ours / "tiny1.safetensors")
    half = bag_file(tmp_path / "c", "mdx", models=["tiny0", "tiny1"])
    in_hub_cache(tmp_path, "adefossez/Demucs-mdx", half, ours / "tiny0.safetensors")
    broken = bag_file(tmp_path / "d", "mdx_extra")
    in_hub_cache(tmp_path, "adefossez/Demucs-mdx_extra", broken)
    found = ask(tmp_path, "htdemucs", "hf://someone/my_model", "mdx", "mdx_extra")
    assert found["htdemucs"] == {
        "where": "downloaded",
        "stems": ["drums", "bass", "other", "vocals"],
        "size_bytes": (ours / "tiny0.safetensors").stat().st_size,
        "engine": "torch",
        "members": [[1, 1, 1, 1]],
        "segments": [22_050],
    }
    assert found["hf://someone/my_model"]["where"] == "downloaded"
    assert found["hf://someone/my_model"]["members"] == [[1, 2, 3, 4]]
    for name in ("mdx", "mdx_extra"):
        assert (found[name]["where"], found[name]["code"]) == ("available", "weights_missing")


@pytest.mark.slow
def test_what_the_hub_cache_holds_becomes_a_graph(tmp_path: Path, weights: Path) -> None:
    bag = bag_file(tmp_path / "a", "my_model", models=["tiny0"])
    in_hub_cache(tmp_path, "someone/Demucs-my_model", bag, weights / "demucs" / "tiny0.safetensors")
    found = ask(tmp_path, "hf://someone/my_model", engine="openvino")["hf://someone/my_model"]
    assert (found["where"], found["engine"]) == ("downloaded", "openvino")


ENGINES = pytest.mark.parametrize(
    "engine", ["torch", pytest.param("openvino", marks=pytest.mark.slow)]
)


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@ENGINES
def test_a_pickle_under_the_name_of_safetensors_is_not_run(tmp_path: Path, engine: str) -> None:
    bag = bag_file(tmp_path / "a", "evil", models=["x"])
    network = tmp_path / "a" / "x.safetensors"
    torch.save({"klass": Runs(tmp_path / "was run")}, network)
    in_hub_cache(tmp_path, "evil/Demucs-evil", bag, network)
    found = ask(tmp_path, "hf://evil/evil", engine=engine)["hf://evil/evil"]
    assert found["code"] == "model_unusable"
    assert not (tmp_path / "was run").exists()
    torch.load(shutil.copy(network, tmp_path / "x.th"), weights_only=False)
    assert (tmp_path / "was run").exists(), "it runs where nobody looks first"


@pytest.mark.slow
@ENGINES
def test_a_hub_model_with_a_foreign_class_is_refused(tmp_path: Path, engine: str) -> None:
    bag = bag_file(tmp_path / "a", "evil", models=["x"])
    network = tmp_path / "a" / "x.safetensors"
    arguments = {"args": json.dumps([str(tmp_path / "was run")]), "kwargs": "{}"}
    save_file({"x": torch.zeros(1)}, str(network), {"klass": "os.mkdir", **arguments})
    in_hub_cache(tmp_path, "evil/Demucs-evil", bag, network)
    found = ask(tmp_path, "hf://evil/evil", engine=engine)["hf://evil/evil"]
    assert (found["where"], found["code"]) == ("downloaded", "model_unusable")
    assert not (tmp_path / "was run").exists()


def checkpoint(path: Path) -> bytes:
    """A pickled checkpoint as demucs publishes it, of the network in a safetensors file."""
    network = load_safetensors_model(path)
    arguments, named = network._init_args_kwargs
    buffer = io.BytesIO()
    state = network.state_dict()
    torch.save({"klass": type(network), "args": arguments, "kwargs": named, "state": state}, buffer)
    return buffer.getvalue()


@pytest.mark.slow
def test_what_the_torch_cache_holds_is_used_if_its_checksum_is_right(
    tmp_path: Path, weights: Path
) -> None:
    content = checkpoint(weights / "demucs" / "tiny0.safetensors")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    checksum = hashlib.sha256(content).hexdigest()[:8]
    (folder / f"955717e8-{checksum}.th").write_bytes(content)
    (folder / "5c90dfd2-01234567.th").write_bytes(content)
    found = ask(tmp_path, "htdemucs", "htdemucs_6s", "htdemucs_ft")
    assert found["htdemucs"]["where"] == "downloaded"
    assert found["htdemucs"]["size_bytes"] == len(content)
    assert found["htdemucs"]["members"] == [[1, 1, 1, 1]]
    assert found["htdemucs_6s"]["code"] == "model_unusable"
    assert "checksum" in found["htdemucs_6s"]["sentence"]
    assert found["htdemucs_ft"]["code"] == "weights_missing"


FT = ["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"]


@pytest.mark.parametrize("offline", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_without_a_network_the_missing_files_are_named(tmp_path: Path, offline: str) -> None:
    names = ("htdemucs", "htdemucs_ft", "hf://someone/thing", "mini")
    found = ask(tmp_path, *names, HF_HUB_OFFLINE=offline)
    assert found["mini"]["where"] == "bundled"
    assert "code" not in found["mini"]
    for name in names[:3]:
        assert (found[name]["where"], found[name]["code"]) == ("available", "weights_missing")
        for part in (repr(name), "no network", str(tmp_path / "demucs"), "'mini'"):
            assert part in found[name]["sentence"]
    assert found["htdemucs"]["missing"] == ["955717e8.safetensors"]
    assert "htdemucs.yaml and 955717e8.safetensors" in found["htdemucs"]["sentence"]
    assert found["htdemucs_ft"]["missing"] == [f"{signature}.safetensors" for signature in FT]
    assert "thing.yaml" in found["hf://someone/thing"]["sentence"]


@contextmanager
def silent_proxy() -> Iterator[str]:
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_network_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    """The process ends, although the requests to the hosts are still open."""
    with silent_proxy() as proxy:
        found = ask(tmp_path, "htdemucs", proxy=proxy)
    assert found["htdemucs"]["code"] == "weights_missing"


def test_a_hub_that_answers_with_errors_is_told(tmp_path: Path) -> None:
    """A captive portal or a firewall: every request is answered, with a refusal."""
    refusing = """
import http.server, sys
class Refusing(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.send_error(403)
    do_GET = do_HEAD = do_CONNECT = answer
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
print(server.server_port, flush=True)
server.serve_forever()
"""
    with subprocess.Popen(
        [sys.executable, "-c", refusing], stdout=subprocess.PIPE, text=True
    ) as portal:
        assert portal.stdout is not None
        endpoint = f"http://127.0.0.1:{int(portal.stdout.readline())}"
        try:
            names = ("htdemucs", "hf://someone/thing")
            found = ask(tmp_path, *names, HF_ENDPOINT=endpoint, NO_PROXY="127.0.0.1")
        finally:
            portal.kill()
    for name in names:
        assert found[name]["code"] == "weights_missing", found[name]
        assert "'mini'" in found[name]["sentence"]
