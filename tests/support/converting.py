"""A module as `convert_in_subprocess` runs it, which does as its second argument says."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from studio.inference.convert_process import answer
from studio.inference.graph_cache import NotConvertible


def convert(graphs: Path, how: str) -> Callable[[], object]:
    sys.stdout.write("a library speaks\n")
    sys.stderr.write("a library warns\n")
    errors = {
        "refuses": NotConvertible("it is too odd"),
        "lacks weights": KeyError("lm_heads.0.weight"),
        "breaks": RuntimeError("no such operation"),
    }
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how in errors:
        raise errors[how]
    return lambda: (graphs / how).write_text("a graph")


if __name__ == "__main__":
    sys.exit(answer(lambda: convert(Path(sys.argv[1]), sys.argv[2])))
