"""Which build of PyTorch is installed, and from which index."""

from __future__ import annotations

import os
import platform
import re
import ssl
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from scripts.install.installer import Installer, asks_no_index
from scripts.install.sizes import CUDA_MB

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_S = 5.0


@dataclass(frozen=True)
class Torch:
    """The installed build of PyTorch; its version is empty if there is none."""

    version: str = ""
    has_cuda: bool = False

    def is_release(self, version: str) -> bool:
        return self.version.partition("+")[0] == version

    def fits(self, version: str, gpu: bool) -> bool:
        if gpu:
            return self.version == version
        return self.is_release(version) and not self.has_cuda


def installed_torch(site: Path) -> Torch:
    """The build of PyTorch in a folder of packages."""
    for metadata in site.glob("torch-*.dist-info"):
        text = (metadata / "METADATA").read_text("utf-8")
        needs_cuda = re.search(r"^Requires-Dist: (nvidia|cuda)-", text, re.M)
        return Torch(metadata.stem.partition("-")[2], needs_cuda is not None)
    return Torch()


def install_torch(
    installer: Installer, version: str, gpu: bool, site: Path, explicit: bool = True
) -> None:
    """Install PyTorch, unless the right build is there. Only Linux has builds to choose from.

    If the build was not asked for explicitly, one with CUDA may stay in the place of a CPU build.
    """
    if platform.system() != "Linux":
        return
    present = installed_torch(site)
    stays = not gpu and not explicit and present.is_release(version)
    if stays or present.fits(version, gpu):
        print(f"torch {present.version} is installed.", flush=True)
        return
    if gpu:
        print(f"Installing torch {version} with CUDA (about {CUDA_MB} MB).", flush=True)
        # `==` would also take a CPU build, if pip finds one.
        installer.install([f"torch==={version}"])
        return
    probe = find_cpu_build(version, installer.configured)
    if probe.build:
        size = f" ({probe.megabytes} MB)" if probe.megabytes else ""
        print(f"Installing torch {probe.build}{size} from {probe.index}.", flush=True)
        # A CPU build may have the same version as the build with CUDA.
        again = ["--force-reinstall"] if probe.build == present.version else []
        installer.install_from(probe.index, f"torch==={probe.build}", *again)
        return
    if present.is_release(version):
        print(
            f"torch {present.version} is installed. It includes CUDA, and no CPU build can replace "
            f"it: {probe.reason}.",
            flush=True,
        )
        return
    print(
        f"Installing torch {version} from the indexes that pip is configured with: {probe.reason}."
        f"\nFrom PyPI, this includes CUDA libraries (about {CUDA_MB} MB).",
        flush=True,
    )
    installer.install([f"torch=={version}"])


def find_cpu_build(version: str, configured: dict[str, str]) -> Probe:
    """What the index with CPU builds has; it is not asked if pip must ask none."""
    index = os.environ.get("TORCH_INDEX")
    probe = Probe(CPU_INDEX if index is None else index, version, configured)
    if index == "":
        probe.reason = "TORCH_INDEX is empty"
    elif index is None and asks_no_index(configured):
        probe.reason = "pip is configured with no-index"
    else:
        probe.run()
    return probe


class Probe:
    """Asks an index, within PROBE_S, for a build of PyTorch that fits this Python and machine."""

    def __init__(self, index: str, version: str, configured: dict[str, str]) -> None:
        self.build = ""
        self.megabytes = 0
        self.index = index
        self.reason = f"{index} did not answer within {PROBE_S:.0f} s"
        self._version = version
        self._configured = configured

    def run(self) -> None:
        # Looking up a name may take longer than any time-out of a connection.
        thread = Thread(target=self._ask, daemon=True)
        thread.start()
        thread.join(PROBE_S)

    def _ask(self) -> None:
        page = f"{self.index.rstrip('/')}/torch/"
        try:
            opener = self._opener()
            text = opener.open(page, timeout=PROBE_S).read().decode("utf-8", "replace")
            tag = "cp{}{}".format(*sys.version_info[:2])
            pattern = (
                rf'href="([^"]*?torch-({re.escape(self._version)}(?:(?:%2B|\+)\w+)?)'
                rf'-{tag}-{tag}-[^"#]*{platform.machine()}\.whl)'
            )
            found = re.search(pattern, text, re.I)
            if found is None:
                self.reason = f"{page} has no build of torch {self._version} for this computer"
                return
            head = urllib.request.Request(urllib.parse.urljoin(page, found[1]), method="HEAD")
            size = opener.open(head, timeout=PROBE_S).headers.get("Content-Length", "0")
            self.megabytes = round(int(size) / 1e6)
            self.build = urllib.parse.unquote(found[2])
        except (OSError, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            self.reason = f"{self.index} cannot be reached ({cause})"

    def _opener(self) -> urllib.request.OpenerDirector:
        """With pip's proxy and certificates."""
        handlers: list[urllib.request.BaseHandler] = []
        if proxy := self._configured.get("proxy"):
            handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        if certificates := self._configured.get("cert"):
            context = ssl.create_default_context(cafile=certificates)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)
