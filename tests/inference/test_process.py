"""A process that models run in: it tells nobody, and leaves the cores to the models."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from studio.inference.process import mappings, release_pages
from tests.support.server import ROOT

CONVERT = """
import sys
from pathlib import Path
from studio.separation.openvino.conversion import keep_graph
assert keep_graph(Path(sys.argv[1]), None, Path("graphs"))
"""
USE = """
from studio.inference.process import prepare_process
prepare_process()
import openvino, sys
from openvino import convert_model
assert sys.modules["openvino_telemetry"] is None
"""
# Nothing listens there, so that nothing leaves this machine.
NOWHERE = "http://127.0.0.1:9"
CI_VARIABLES = {"CI", "TF_BUILD", "JENKINS_URL"}


@pytest.mark.parametrize(
    ("code", "is_sent"),
    [
        pytest.param("from openvino import convert_model", True, id="without preparation"),
        pytest.param(USE, False, id="the server"),
        pytest.param(CONVERT, False, id="a conversion", marks=pytest.mark.slow),
    ],
)
def test_openvino_sends_no_telemetry(
    tmp_path: Path, weights: Path, code: str, is_sent: bool
) -> None:
    """Before its telemetry sends anything, it makes a folder in the user's home."""
    # Telemetry is off where these are set.
    environment = {name: value for name, value in os.environ.items() if name not in CI_VARIABLES}
    home = tmp_path / "home"
    home.mkdir()
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "HTTPS_PROXY": NOWHERE}
    command = [sys.executable, "-c", code, str(weights / "demucs" / "tiny0.safetensors")]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (home / "intel").exists() == is_sent


@pytest.mark.parametrize(("before", "is_sent"), [("", True), ("prepare_process()", False)])
def test_onnx_runtime_sends_no_telemetry(tmp_path: Path, before: str, is_sent: bool) -> None:
    """Before it sends anything, it keeps a number of this machine in the folder for such files."""
    code = f"""
import numpy as np
from studio.inference.process import prepare_process
from studio.transcription.voice_activity import VoiceActivity
{before}
VoiceActivity().probabilities(np.zeros(512, np.float32))
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in CI_VARIABLES | {"ORT_DISABLE_TELEMETRY"}
    }
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "HTTPS_PROXY": NOWHERE}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert any(tmp_path.iterdir()) == is_sent


@pytest.mark.skipif(os.cpu_count() == 1, reason="NumPy has one thread on a single core")
def test_numpy_multiplies_on_one_thread() -> None:
    code = """
import ctypes
from pathlib import Path
import numpy as np
from studio.inference.process import BLAS, prepare_process
(path,) = Path(np.__file__).parents[1].glob(BLAS)
count = ctypes.CDLL(str(path)).scipy_openblas_get_num_threads64_
before = count()
prepare_process()
print(before, count())
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"2", b"1"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the pages")
def test_pages_of_a_mapped_file_are_returned_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a graph.bin"
    content = os.urandom(1 << 20)
    path.write_bytes(content)

    def resident_bytes() -> int:
        [mapping] = [one for one in psutil.Process().memory_maps() if one.path == str(path)]
        return int(mapping.rss)

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == content
        assert resident_bytes() == len(content)
        release_pages(mappings(path))
        assert resident_bytes() == 0
        assert mapped[:] == content
