"""A process that models run in: it tells nobody, and leaves the cores to the models."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.server import ROOT

WEIGHTS = next((ROOT / "pretrained" / "demucs-mini").glob("*.safetensors"))
CONVERT = f"""
from pathlib import Path
from studio.separation.openvino.conversion import keep_graph
assert keep_graph(Path({str(WEIGHTS)!r}), None, Path("graphs"))
"""
USE = """
from studio.inference.process import prepare_process
prepare_process()
import openvino, sys
from openvino import convert_model
assert sys.modules["openvino_telemetry"] is None
"""


@pytest.mark.parametrize("code", [USE, CONVERT], ids=["the server", "a conversion"])
def test_openvino_tells_its_makers_nothing(tmp_path: Path, code: str) -> None:
    """Before it sends anything, its telemetry makes a folder in the user's home."""
    assert version("openvino-telemetry"), "it is there, and would be used"
    # There it would not be used in any case.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    home = tmp_path / "home"
    home.mkdir()
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert not [path for path in home.rglob("*") if "intel" in path.parts]


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
    assert done.stdout.split()[1] == b"1"
