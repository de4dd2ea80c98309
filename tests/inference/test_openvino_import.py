"""First inferences of a process on two threads at once come to their end."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT

pytest.importorskip("openvino")

PROCESSES = 20
# A child that hangs is ended by its alarm; a good one takes a tenth of a second.
CHILD_S = 20
SCRIPT = f"""
import os, signal, sys, threading
import numpy as np
import openvino  # The children share this import; each initialises the binding by itself.
from studio.inference.openvino_import import import_openvino

def infer(ready):
    openvino = import_openvino()
    x = openvino.opset15.parameter([1, 4], np.float32)
    graph = openvino.Model([openvino.opset15.relu(x)], [x], "small")
    request = openvino.Core().compile_model(graph, "CPU").create_infer_request()
    ready.wait()
    request.infer([np.ones((1, 4), np.float32)], share_inputs=True)

def child():
    signal.alarm({CHILD_S})
    threading.excepthook = lambda failure: os._exit(1)
    sys.setswitchinterval(1e-6)
    ready = threading.Barrier(2)
    threads = [threading.Thread(target=infer, args=(ready,)) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

for _ in range({PROCESSES}):
    if not (process := os.fork()):
        child()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if status:
        sys.exit("a child ended with status %s" % status)
"""


def test_two_threads_may_infer_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
