"""The library of CUDA that Whisper needs: where it is missing, and where a wheel has it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.transcription import cuda
from tests.support.in_process import application
from tests.support.server import ROOT, until
from tests.support.speech import MINI, RECORDING, TRACK

# What CTranslate2 raises where cuBLAS is missing.
MISSING = "Library libcublas.so.12 is not found or cannot be loaded"


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device that CTranslate2 finds, without cuBLAS; the model is on the CPU.

    The library is looked for at the first product, after the model was loaded.
    """
    import ctranslate2
    import faster_whisper

    class WithoutLibrary(faster_whisper.WhisperModel):  # type: ignore[misc]
        def __init__(self, folder: str, device: str, **settings: Any) -> None:
            settings["compute_type"] = "int8"
            super().__init__(folder, device="cpu", local_files_only=True, compute_type="int8")
            self.wanted = device

        def encode(self, features: Any) -> Any:
            if self.wanted == "cuda":
                raise RuntimeError(MISSING)
            return super().encode(features)

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(faster_whisper, "WhisperModel", WithoutLibrary)


@pytest.mark.usefixtures("with_driver", "without_library")
def test_whisper_goes_on_where_its_library_is_missing() -> None:
    from studio.transcription.engine import DecodeOptions
    from studio.transcription.faster_engine import FasterWhisper

    engine = FasterWhisper(MINI / "ctranslate2", 0)
    assert engine.note == f"The CUDA device was not used: {MISSING}."
    assert engine.precision != "float16"
    assert list(engine.transcribe([np.zeros(16_000, np.float32)], DecodeOptions("en"))) == [[]]


@pytest.mark.usefixtures("with_driver", "without_library")
def test_a_job_says_why_the_device_was_not_used(tmp_path: Path) -> None:
    """A job with the bundled model, from the upload to the text and the note of the result."""
    with application(
        tmp_path,
        WHISPER_MODEL="mini",
        WHISPER_RUNTIME="ctranslate2",
    ) as app:
        client = app.test_client()
        with open(RECORDING, "rb") as file:
            answer = client.post("/upload", data={"file": (file, RECORDING.name)})
        file_id = answer.get_json()["file_id"]
        answer = client.post(f"/process/whisper/{file_id}", json={"temperature": 0.0})
        assert answer.status_code == 202, answer.get_json()
        until(lambda: client.get(f"/status/{file_id}").get_json()["status"] == "completed")
        result = client.get(f"/status/{file_id}").get_json()["jobs"][0]["result"]
        with client.get(TRACK.format(file_id)) as download:
            text = download.get_data(as_text=True)
    assert result["note"] == f"The CUDA device was not used: {MISSING}."
    assert len(text.split()) > 10


# Any small library, with the name of cuBLAS written into it in the place of its own.
STAND_IN = "libpthread.so.0"
FOLDERS = ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib")
FOUND = next((path for folder in FOLDERS if (path := Path(folder, STAND_IN)).exists()), None)


@pytest.mark.skipif(FOUND is None, reason=f"this system has no {STAND_IN}")
def test_a_wheel_with_cublas_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    """CTranslate2 asks for the library by its name only."""
    assert FOUND is not None
    name = cuda.CUBLAS[-1]
    assert len(STAND_IN) == len(name)
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(FOUND.read_bytes().replace(STAND_IN.encode(), name.encode()))
    code = (
        "import ctypes\n"
        "from studio.transcription import cuda\n"
        "cuda.preload_cublas()\n"
        f"ctypes.CDLL({name!r})\n"
    )
    for path in (None, str(tmp_path)):
        environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (path is not None), done.stderr
