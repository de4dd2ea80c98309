"""Models that callers name on the hub cannot take the memory or the disk of the server."""

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from studio.separation import limits
from tests.support.demucs_models import save_network
from tests.support.hub import Hub, serving
from tests.support.problems import assert_problem
from tests.support.server import ROOT, Server, until
from tests.support.sounds import noise, write_wav

# Loads the bag of each folder and runs one window, in a process that cannot take the machine's
# memory.
CHILD = """
import json, resource, sys
from pathlib import Path
from studio.errors import StudioError
from studio.separation.catalogue import DemucsCatalogue
from studio.inference.engine_settings import EngineSettings
from studio.separation.load import load

resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
answers = []
for folder in map(Path, sys.argv[2:]):
    try:
        engine = EngineSettings(sys.argv[1], "f32", 0, folder / "graphs")
        load(DemucsCatalogue(Path("pretrained/demucs-mini"), folder), "evil", engine).rehearse()
        answers.append(["loaded", ""])
    except StudioError as error:
        answers.append([error.code, error.sentence])
    except MemoryError as error:
        answers.append(["out_of_memory", str(error)])
    except RuntimeError as error:
        answers.append(["crashed", str(error)])
print(json.dumps(answers))
"""
STEMS = ["drums", "vocals"]
WAVE, TRANSFORMER = "demucs.demucs.Demucs", "demucs.htdemucs.HTDemucs"
PLAIN = {"sources": STEMS, "channels": 4, "depth": 2, "segment": 1}
ATTENTIVE = {"sources": STEMS, "channels": 8, "t_layers": 1, "t_heads": 2}

# Class of the network, its arguments, the bag, and what the refusal names.
EVIL: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    *(
        (WAVE, PLAIN, {"segment": value}, "between 0.1 and 44 seconds")
        for value in (100_000, 0, -1, "x")
    ),
    *(
        (WAVE, PLAIN, {"segment": value}, "between 0.1 and 44 seconds")
        for value in (math.inf, math.nan)
    ),
    (WAVE, PLAIN, {"models": ["net"] * 1000}, "1000 networks"),
    (WAVE, PLAIN, {"models": ["../../secret"]}, "'../../secret'"),
    (WAVE, PLAIN, {"weights": [[math.inf, 1.0]]}, "row of numbers"),
    (WAVE, PLAIN, {"weights": [["much", 1.0]]}, "row of numbers"),
    (WAVE, {**PLAIN, "segment": 100_000}, {}, "segment"),
    (WAVE, {**PLAIN, "channels": 100_000}, {}, "channels"),
    (WAVE, {**PLAIN, "depth": 12}, {}, "depth"),
    (WAVE, {**PLAIN, "growth": 40.0}, {}, "growth"),
    (WAVE, {**PLAIN, "samplerate": 10**9}, {}, "samplerate"),
    (WAVE, {**PLAIN, "kernel_size": 10**7}, {}, "kernel_size"),
    (WAVE, {**PLAIN, "lstm_layers": 9000}, {}, "lstm_layers"),
    (WAVE, {**PLAIN, "channels": 512, "segment": 44}, {}, "product"),
    (WAVE, {**PLAIN, "channels": 256, "depth": 8}, {}, "parameters"),
    (WAVE, {**PLAIN, "sources": ["../../x"]}, {}, "sources"),
    (WAVE, {**PLAIN, "sources": ["a"] * 10_000}, {}, "sources"),
    (TRANSFORMER, {**ATTENTIVE, "segment": 40}, {}, "attention"),
    (TRANSFORMER, {**ATTENTIVE, "depth": 1}, {}, "attention"),
    (TRANSFORMER, {**ATTENTIVE, "nfft": 1 << 28}, {}, "nfft"),
]


def write_bag(folder: Path, network: str, arguments: dict[str, Any], **bag: Any) -> Path:
    """A bag `evil` of one network, which is small in the file whatever its arguments say."""
    folder.mkdir()
    (folder / "evil.yaml").write_text(yaml.safe_dump({"models": ["net"], **bag}))
    if arguments == PLAIN:
        save_network(Demucs(**PLAIN), PLAIN, folder / "net.safetensors")
    else:
        metadata = {"klass": network, "args": "[]", "kwargs": json.dumps(arguments)}
        save_file({"x": torch.zeros(1)}, str(folder / "net.safetensors"), metadata)
    return folder


def load(engine: str, *folders: Path) -> list[list[str]]:
    """Code and sentence of loading each folder's bag."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, engine, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_what_a_bag_and_its_networks_say_is_bounded(tmp_path: Path) -> None:
    folders = [
        write_bag(tmp_path / f"{number:02}", network, arguments, **bag)
        for number, (network, arguments, bag, _) in enumerate(EVIL)
    ]
    for evil, (code, sentence) in zip(EVIL, load("torch", *folders), strict=True):
        assert (code, evil[3] in sentence) == ("model_unusable", True), (evil, code, sentence)
        assert "evil.yaml" in sentence or "net.safetensors is not allowed" in sentence


def test_a_network_is_refused_before_it_is_converted(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", TRANSFORMER, {**ATTENTIVE, "depth": 1})
    [[code, sentence]] = load("openvino", folder)
    assert (code, "attention" in sentence) == ("model_unusable", True), sentence


def test_the_bounds_admit_what_is_released() -> None:
    for network in (Demucs, HDemucs, HTDemucs):
        bound = inspect.signature(network).bind(["drums", "bass", "other", "vocals"])
        bound.apply_defaults()
        limits.check_arguments({**bound.arguments, "segment": Fraction(39, 5)})
        if network is not HTDemucs:
            limits.check_arguments(bound.arguments, limits.MAX_SEGMENT_S)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with the bags `swift` and `huge`, which says that it has 2 GB."""
    path = tmp_path / "net.safetensors"
    metadata = {"klass": WAVE, "args": "[]", "kwargs": json.dumps(PLAIN), "note": "x" * 1_600_000}
    save_file(Demucs(**PLAIN).state_dict(), str(path), metadata)
    network = path.read_bytes()
    swift, huge = "someone/Demucs-swift", "someone/Demucs-huge"
    files = {
        f"{swift}/swift.yaml": b"models: [net]",
        f"{huge}/huge.yaml": b"models: [huge]",
        f"{swift}/net.safetensors": network,
        f"{huge}/huge.safetensors": network,
    }
    with serving(Hub(files, {f"{huge}/huge.safetensors": 2_000_000_000})) as hub:
        yield hub


def failure(server: Server, song: Path, variant: str) -> dict[str, Any]:
    file_id = server.upload(song)
    assert server.process(file_id, model_variant=variant).status_code == 202
    error: dict[str, Any] = server.wait(file_id)["error"]
    return error


def used_bytes(server: Server) -> float:
    """What the bound on stored bytes counts; it is measured once a second."""
    lines = server.get("/metrics").text.splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("studio_disk_used_bytes ")
    )


@pytest.mark.slow
def test_hub_downloads_are_bounded_and_counted(tmp_path: Path, hub: Hub) -> None:
    song = write_wav(tmp_path / "song.wav", noise(1.0))
    server = Server(
        tmp_path,
        HF_HOME=tmp_path / "hf",
        HF_ENDPOINT=hub.url,
        SEPARATION_ENGINE="torch",
        HUB_REPOSITORIES="someone/Demucs-swift,someone/Demucs-huge",
        MAX_STORED_BYTES=3_000_000,
    ).start()
    try:
        refused = server.process(server.upload(song), model_variant="hf://other/swift")
        assert_problem(refused, "unknown_variant", "'other/Demucs-swift'")
        error = failure(server, song, "hf://someone/huge")
        assert error["code"] == "model_unusable"
        assert "1,000,000,000 bytes" in error["error"]
        assert hub.downloaded == ["huge.yaml"]

        ballast = server.upload(write_wav(tmp_path / "large.wav", noise(8.0)))
        until(lambda: used_bytes(server) > 1_400_000)
        assert failure(server, song, "hf://someone/swift")["code"] == "disk_full"
        server.delete(f"/cleanup/{ballast}")
        until(lambda: used_bytes(server) < 1_400_000)
        file_id = server.upload(song)
        server.process(file_id, model_variant="hf://someone/swift", stems=["vocals"])
        assert server.wait(file_id)["status"] == "completed"
        assert hub.downloaded == ["huge.yaml", "swift.yaml", "net.safetensors"]
        until(lambda: used_bytes(server) > 2_000_000)
    finally:
        server.stop_later()


def test_production_fetches_no_repository_unless_set(production: Server, short_wav: Path) -> None:
    answer = production.process(production.upload(short_wav), model_variant="hf://evil/evil")
    assert_problem(answer, "unknown_variant", "'evil/Demucs-evil'")
    assert "HUB_REPOSITORIES" in answer.json()["error"]
