"""The device of the networks: CUDA where it works, else the CPU with the reason."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import create_app
from config import Config, ConfigError
from studio.inference import devices
from studio.inference.device_use import device_use
from studio.inference.engine_settings import EngineSettings
from studio.inference.worker_threads import WorkerThreads
from studio.separation.torch_engine import TorchNetwork
from tests.support.in_process import application
from tests.support.server import ROOT, until

torch = pytest.importorskip("torch")
MINI = ROOT / "pretrained"
NO_DEVICE = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@pytest.fixture
def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DRIVERS", ())


@pytest.mark.usefixtures("without_driver")
def test_without_a_driver_the_cpu_is_nothing_to_remark_on() -> None:
    assert devices.choose_device("auto") == devices.Device("cpu")
    assert devices.choose_device("cpu") == devices.Device("cpu")
    note = devices.choose_device("cuda").note
    assert note is not None
    assert "no driver" in note


@pytest.mark.usefixtures("with_driver")
@NO_DEVICE
@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:1"])
def test_a_driver_without_a_device_that_works_is_remarked_on(wanted: str) -> None:
    device = devices.choose_device(wanted)
    assert device.is_cpu
    assert device.note is not None
    assert "PyTorch" in device.note
    assert devices.choose_device("cpu").note is None


@pytest.mark.usefixtures("with_driver")
@NO_DEVICE
def test_demucs_and_musicgen_say_why_they_run_on_the_cpu(tmp_path: Path) -> None:
    from studio.generation.catalogue import MusicGenCatalogue
    from studio.generation.load import load as load_music
    from studio.separation.catalogue import DemucsCatalogue
    from studio.separation.load import load

    catalogue = DemucsCatalogue(MINI / "demucs-mini", tmp_path, tmp_path)
    bag = load(catalogue, "mini", EngineSettings("torch", "f32", 0, tmp_path))
    assert bag.engine == "torch"
    assert "CUDA" in (bag.note or "")
    music = load_music(
        MusicGenCatalogue(MINI / "musicgen-mini", tmp_path),
        "mini",
        EngineSettings("torch", "f32", 0, tmp_path),
    )
    assert music.engine == "torch"
    assert "CUDA" in (music.note or "")


@pytest.mark.usefixtures("with_driver")
@NO_DEVICE
def test_whisper_says_why_it_runs_on_the_cpu() -> None:
    from studio.transcription.faster_engine import FasterWhisper

    engine = FasterWhisper(MINI / "whisper-mini" / "ctranslate2", 0)
    assert "CUDA" in (engine.note or "")
    assert engine.precision != "float16"
    assert FasterWhisper(MINI / "whisper-mini" / "ctranslate2", 0, device="cpu").note is None


@pytest.mark.usefixtures("without_driver")
def test_a_server_that_demands_a_device_does_not_start_without_one(tmp_path: Path) -> None:
    config = Config(
        DEVICE="cuda", UPLOAD_FOLDER=str(tmp_path / "in"), OUTPUT_FOLDER=str(tmp_path / "out")
    )
    with pytest.raises(ConfigError, match=r"DEVICE='cuda' cannot be used.*DEVICE=cpu"):
        create_app(config)


@pytest.mark.skipif(sys.platform == "darwin", reason="this machine is a Mac")
def test_a_server_that_demands_the_gpu_of_a_mac_does_not_start_elsewhere(tmp_path: Path) -> None:
    config = Config(
        DEVICE="mps", UPLOAD_FOLDER=str(tmp_path / "in"), OUTPUT_FOLDER=str(tmp_path / "out")
    )
    message = r"DEVICE='mps' cannot be used: this machine is not a Mac.*Set DEVICE=auto or"
    with pytest.raises(ConfigError, match=message):
        create_app(config)


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac, as far as the choice of a device knows, whose PyTorch does not find its GPU."""
    monkeypatch.setattr(devices, "has_apple_gpu", lambda: True)
    monkeypatch.setattr(devices, "_refusals", {})


NO_MPS = pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine is a Mac")


@pytest.mark.usefixtures("on_a_mac")
@NO_MPS
def test_a_mac_whose_gpu_does_not_work_uses_its_cpu_and_says_why(tmp_path: Path) -> None:
    from studio.generation.catalogue import MusicGenCatalogue
    from studio.generation.load import load as load_music
    from studio.separation.catalogue import DemucsCatalogue
    from studio.separation.load import load

    settings = EngineSettings("torch", "f32", 0, tmp_path, "mps")
    for model in (
        load(DemucsCatalogue(MINI / "demucs-mini", tmp_path, tmp_path), "mini", settings),
        load_music(MusicGenCatalogue(MINI / "musicgen-mini", tmp_path), "mini", settings),
    ):
        assert model.engine == "torch"
        assert (model.note or "").startswith("The GPU of this Mac was not used: PyTorch ")


@pytest.mark.usefixtures("on_a_mac")
@NO_MPS
def test_a_network_that_the_gpu_of_a_mac_cannot_run_runs_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch finds the GPU, and lacks an operation of the network for it."""
    from studio.generation.catalogue import MusicGenCatalogue
    from studio.generation.load import load as load_music
    from studio.separation.catalogue import DemucsCatalogue
    from studio.separation.load import load

    monkeypatch.setattr(devices, "_refusals", {"mps": None})
    settings = EngineSettings("torch", "f32", 0, tmp_path, "mps")
    assert devices.choose_device("mps") == devices.Device("mps")
    for model in (
        load(DemucsCatalogue(MINI / "demucs-mini", tmp_path, tmp_path), "mini", settings),
        load_music(MusicGenCatalogue(MINI / "musicgen-mini", tmp_path), "mini", settings),
    ):
        assert model.engine == "torch"
        assert (model.note or "").startswith("The GPU of this Mac was not used: ")


def test_whisper_uses_the_cpu_of_a_mac_and_says_so() -> None:
    from studio.transcription.faster_engine import FasterWhisper

    engine = FasterWhisper(MINI / "whisper-mini" / "ctranslate2", 0, device="mps")
    assert engine.note == "The GPU of this Mac was not used: Whisper has no engine for it."
    assert engine.precision != "float16"


def test_one_step_shows_whether_a_device_runs_the_networks() -> None:
    """Here the device is the CPU, which does; what follows for a GPU is tested above."""
    from studio.generation import parts
    from studio.generation.torch_engine import TorchDecoder

    folder = MINI / "musicgen-mini"
    config = parts.read_config(folder)
    TorchDecoder(folder, config, "cpu").rehearse(parts.read_codec_spec(folder, config))
    network = TorchNetwork(_Full(1_000), "cpu", 1)
    network._device = "meta"
    network.try_device()
    assert network.module.calls == [1]


@pytest.mark.usefixtures("with_driver")
@NO_DEVICE
def test_readiness_says_why_the_models_run_on_the_cpu(tmp_path: Path) -> None:
    with application(
        tmp_path,
        warm_up=True,
        DEVICE="cuda",
        DEMUCS_MODEL="mini",
        WHISPER_MODEL="mini",
        MUSICGEN_MODEL="mini",
        # Which need no conversion.
        SEPARATION_ENGINE="torch",
        WHISPER_RUNTIME="ctranslate2",
    ) as app:
        client = app.test_client()
        until(lambda: client.get("/ready").get_json()["ready"])
        answer = client.get("/ready").get_json()
    # MusicGen is loaded by its first job.
    assert set(answer["models"]) == {"demucs/mini", "whisper/mini"}
    assert set(answer["notes"]) == {"demucs/mini", "whisper/mini", "musicgen/mini"}
    for note in answer["notes"].values():
        assert note.startswith("The CUDA device was not used: ")


@pytest.mark.usefixtures("with_driver")
@NO_DEVICE
@pytest.mark.parametrize("whisper", ["faster-whisper", "openai-whisper"])
def test_a_server_that_loads_no_models_at_the_start_says_why_too(
    tmp_path: Path, whisper: str
) -> None:
    names = {"demucs/mini", "whisper/mini", "musicgen/mini"}
    with application(
        tmp_path,
        DEMUCS_MODEL="mini",
        WHISPER_MODEL="mini",
        MUSICGEN_MODEL="mini",
        WHISPER_ENGINE=whisper,
    ) as app:
        client = app.test_client()
        until(lambda: set(client.get("/ready").get_json()["notes"]) == names)
        answer = client.get("/ready").get_json()
    assert answer["ready"] is True
    assert answer["models"] == {}
    for note in answer["notes"].values():
        assert note.startswith("The CUDA device was not used: ")


@pytest.mark.usefixtures("without_driver")
@pytest.mark.parametrize("engine", ["faster-whisper", "openai-whisper"])
def test_whisper_has_nothing_to_say_without_a_driver(engine: str) -> None:
    from studio.transcription.load import device_note

    assert device_note(engine, "auto") is None
    assert device_note(engine, "cpu") is None
    assert device_note(engine, "mps") == (
        "The GPU of this Mac was not used: Whisper has no engine for it."
    )


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:x", "", "0", "mps:0"])
def test_devices_that_do_not_exist_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"DEVICE=.*use auto, cpu, cuda"):
        Config.load({"DEVICE": value}, None)


def test_devices_are_read_from_the_settings() -> None:
    assert Config.load({"DEVICE": "CUDA:1"}, None).DEVICE == "cuda:1"
    assert Config.load({"DEVICE": "MPS"}, None).DEVICE == "mps"
    assert Config.load({}, None).DEVICE == "auto"


class _Full(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A network whose device has memory for `most` windows."""

    samplerate, segment, audio_channels = 8, 1, 2

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.calls: list[int] = []

    def forward(self, windows: Any) -> Any:
        self.calls.append(len(windows))
        if len(windows) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return windows[:, None] * 2

    def __deepcopy__(self, _memo: Any) -> "_Full":
        return _Full(1_000)


LITTLE = "has little free memory: segments are separated"


@pytest.mark.parametrize("most", [0, 1, 2, 8])
def test_too_little_memory_means_smaller_batches_and_then_the_cpu(most: int) -> None:
    network = TorchNetwork(_Full(most), "cpu", batch=8)
    windows = np.random.default_rng(0).normal(size=(8, 2, 8)).astype(np.float32)
    with device_use() as use, WorkerThreads(1) as threads:
        separated = threads.submit(network, windows).result()
        assert network.batch == max(1, most)
    assert np.array_equal(separated, windows[:, None] * 2)
    notes = {
        0: "The CUDA device failed (CUDA out of memory. Tried to allocate 2 GiB); the CPU was used "
        "instead.",
        1: f"The CUDA device {LITTLE} 1 at a time, which is slower.",
        2: f"The CUDA device {LITTLE} 2 at a time, which is slower.",
        8: None,
    }
    assert use.note == notes[most]
    # Another job, when there is memory again.
    network.module.most = 8
    calls = len(network.module.calls)
    with device_use() as use:
        assert network.batch == 8
        network(windows)
    assert network.module.calls[calls:] == [8]
    assert use.note is None


def test_memory_of_a_device_that_is_lost_is_not_released(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The job that it failed goes on on the CPU."""
    calls: list[str] = []

    def fail() -> None:
        calls.append("empty_cache")
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    devices.release_memory()
    assert calls == ["empty_cache"]
    assert "GPU memory cannot be released: CUDA error: an illegal memory access" in caplog.text


def test_unloading_does_not_import_pytorch() -> None:
    code = (
        "import sys; from studio.inference.devices import release_memory, choose_device\n"
        "from studio.inference.registry import Registry\n"
        "registry = Registry(0.0)\n"
        "with registry.lease('a', object): pass\n"
        "release_memory(); choose_device('cpu'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ}, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"False"


def test_notes_are_joined() -> None:
    assert json.dumps(devices.join_notes(None, "a.", None, "b.")) == '"a. b."'
    assert devices.join_notes("a.", "b.", "a.") == "a. b."
    assert devices.join_notes(None, None) is None
