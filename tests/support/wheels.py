"""Small wheels, and an index of them on this machine, for tests of the installation."""

import platform
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, unquote

from tests.support.listening import listening

PYTHON_TAG = "cp{}{}".format(*sys.version_info[:2])
# As the builds of PyTorch are tagged, and as pip takes them on this machine.
NATIVE = f"{PYTHON_TAG}-{PYTHON_TAG}-linux_{platform.machine()}"
ANY = "py3-none-any"


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    tag: str = ANY,
    padding_bytes: int = 0,
) -> Path:
    """Write a wheel with a module of that name, which holds its version."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {one}" for one in requires]
    files = {
        f"{module}.py": f"VERSION = {version!r}\n" + "#" * padding_bytes,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = [f"{path},," for path in [*files, f"{info}/RECORD"]]
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
    return path


class Index:
    """A running index: its address, and the paths that were asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []


@contextmanager
def index_of(
    wheels: Sequence[Path], before: Callable[[str], None] = lambda _: None
) -> Iterator[Index]:
    """Serve wheels as a package index does. `before` is called with each path that is asked for."""
    by_name = {path.name: path for path in wheels}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            path = unquote(self.path)
            index.asked.append(path)
            before(path)
            name = path.strip("/").rpartition("/")[2]
            listed = [one for one in by_name if one.startswith(f"{name.replace('-', '_')}-")]
            if name in by_name:
                body, kind = by_name[name].read_bytes(), "application/octet-stream"
            elif listed:
                links = (f'<a href="../files/{quote(one)}">{one}</a>' for one in listed)
                body, kind = "\n".join(links).encode(), "text/html"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    with listening(Handler) as port:
        index = Index(f"http://127.0.0.1:{port}")
        yield index
