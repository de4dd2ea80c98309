"""Install the server and its dependencies; `make setup`, `make dev` and Dockerfile.simple run this.

    python3 scripts/install.py [--dev] [--venv FOLDER | --image]

It needs nothing but Python. PyTorch is installed first, by a separate command: PyPI's builds for
Linux include gigabytes of CUDA libraries, which a computer without an NVIDIA GPU never uses. Two
variables of the environment choose the build:

    TORCH_INDEX   the index with CPU builds; empty: use only the indexes that pip is configured with
    GPU           1: the CUDA build, and cuBLAS for Whisper; 0: the CPU build. Without it, and
                  without TORCH_INDEX, the build that is installed stays; the first time, it is the
                  CPU build

With `--image`, SCALE=1 adds the packages for PostgreSQL and object stores.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_S = 5.0
# The downloads as `python -m scripts.platforms` measures them, on Linux without PyTorch, which has
# several builds there. Below, those that `--dev` adds; on Linux x86_64 they include Triton.
OTHERS_MB = {
    ("Linux", "x86_64"): 350,
    ("Linux", "aarch64"): 283,
    ("Darwin", "arm64"): 295,
}
DEV_MB = {("Linux", "x86_64"): 440}
DEV_ELSEWHERE_MB = 245
# PyTorch's CUDA build, and cuBLAS 12 for Whisper.
CUDA_MB = 2700
CUBLAS_MB = 580
NEEDED = "Python 3.11, 3.12, 3.13 or 3.14"

# Demucs requires packages that only its command line uses. One of them, sphn, has no build for
# Linux on ARM64. The requirements files name those that its networks use. Of audio-separator, the
# tests use the client of its remote API, which needs nothing more than they do.
WITHOUT_DEPENDENCIES = {"demucs", "audio-separator"}

# What pip may be configured with, as options of uv. The other settings that matter are not known
# to uv: with one of them, pip is used.
UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
}
UV_VARIABLES = {"cert": "SSL_CERT_FILE", "timeout": "UV_HTTP_TIMEOUT"}
PRECEDENCE = ["global", "install", ":env:"]
IGNORED = {
    "disable-pip-version-check",
    "no-color",
    "quiet",
    "progress-bar",
    "retries",
    "cache-dir",
    "config-file",
}


class SetupError(Exception):
    """Why the installation cannot continue, as a sentence."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dev", action="store_true", help="install what the tests need, too")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="default: .venv")
    parser.add_argument(
        "--image",
        action="store_true",
        help="into a container image: with the pip on PATH, and exactly requirements.lock",
    )
    options = parser.parse_args()
    gpu = os.environ.get("GPU", "")
    try:
        if gpu not in ("", "0", "1"):
            raise SetupError(f"GPU is {gpu!r}; it must be 1 (CUDA), 0 (CPU only) or empty.")
        check_machine(gpu == "1")
        if options.image:
            install_image(gpu == "1")
        else:
            install_venv(options.venv, options.dev, gpu)
    except SetupError as error:
        raise SystemExit(f"Cannot install: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            "Cannot install: a command failed; its messages are above. Run the same command again "
            "to continue: what was installed or completely downloaded is kept."
        ) from error
    except KeyboardInterrupt:
        raise SystemExit("\nInterrupted. Run the same command again to continue.") from None


def check_machine(gpu: bool) -> None:
    """Raise SetupError where the packages have no builds."""
    version = ".".join(map(str, sys.version_info[:2]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise SetupError(f"this is Python {version}; {NEEDED} is needed. Set PYTHON=python3.13.")
    if sys.maxsize < 2**32:
        raise SetupError("this Python is 32-bit; install a 64-bit operating system or Python.")
    system, machine = platform.system(), platform.machine()
    if system == "Windows":
        raise SetupError("not possible on Windows itself. Use WSL or containers.")
    if (system, machine) == ("Darwin", "x86_64"):
        raise SetupError("PyTorch has no builds for Macs with an Intel processor any more.")
    if gpu and system != "Linux":
        raise SetupError(f"GPU=1 is for NVIDIA GPUs on Linux; this is {system}.")


def install_image(gpu: bool) -> None:
    """Install everything into the Python whose pip is on PATH, in the tested versions."""
    pip = Installer(["pip", "install", "--no-cache-dir"], {})
    version = torch_version(requirements("requirements-prod.txt"))
    install_torch(pip, version, gpu, packages_of(Path(sys.executable)))
    if gpu:
        pip.install(requirements("requirements-gpu.txt", nested=False))
    if os.environ.get("SCALE") == "1":
        pip.install(requirements("requirements-scale.txt", nested=False))
    pip.run("--no-deps", "--require-hashes", "-r", "requirements.lock")


def install_venv(venv: Path, dev: bool, gpu: str) -> None:
    """Install everything into a virtual environment, unless it is there already."""
    stamp = Stamp(venv)
    wants_gpu = gpu == "1" or (gpu == "" and stamp.gpu)
    level = "dev" if dev else "setup"
    digest = digest_of(level, wants_gpu)
    # An empty TORCH_INDEX asks for no build in particular.
    explicit = gpu != "" or bool(os.environ.get("TORCH_INDEX"))
    if stamp.levels.get(level) == digest and is_set_up(venv, wants_gpu, explicit):
        return
    python, site = make_venv(venv)
    stamp.write(wants_gpu, {})
    remove_incomplete(site)
    installer = choose_installer(python)
    wanted = requirements("requirements-dev.txt" if dev else "requirements.txt")
    version = torch_version(wanted)
    install_torch(installer, version, wants_gpu, site, explicit)
    if wants_gpu:
        wanted += requirements("requirements-gpu.txt", nested=False)
    has_setup = stamp.levels.get("setup") == digest_of("setup", wants_gpu)
    size_mb = packages_mb(wants_gpu, dev, has_setup)
    print(f"Installing the other packages (about {size_mb} MB).", flush=True)
    bare = [one for one in wanted if name_of(one) in WITHOUT_DEPENDENCIES]
    installer.install([one for one in wanted if one not in bare])
    # On every machine: the marker in the file is for commands that install dependencies.
    installer.install([one.partition(";")[0].strip() for one in bare], "--no-deps")
    levels = {"setup": digest_of("setup", wants_gpu)}
    stamp.write(wants_gpu, levels if not dev else {**levels, "dev": digest})
    print(f"Installed {len(list(site.glob('*.dist-info')))} packages into {venv}.", flush=True)


def is_set_up(venv: Path, wants_gpu: bool, explicit: bool) -> bool:
    """Whether nothing is left to do. The build of PyTorch is checked only if it was asked for."""
    python = python_of(venv)
    if not python.exists():
        return False
    # If no CPU build was available, the CUDA build was installed in its place.
    if explicit and platform.system() == "Linux":
        version = torch_version(requirements("requirements.txt"))
        return installed_torch(packages_of(python)).fits(version, wants_gpu)
    return True


class Stamp:
    """What was installed into a virtual environment, so that nothing is done twice."""

    def __init__(self, venv: Path) -> None:
        self._path = venv / "installed.json"
        try:
            known = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        self.gpu: bool = known.get("gpu", False)
        self.levels: dict[str, str] = known.get("levels", {})

    def write(self, gpu: bool, levels: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"gpu": gpu, "levels": levels}) + "\n", "utf-8")


def digest_of(level: str, gpu: bool) -> str:
    """A digest of everything that decides what is installed."""
    lines = requirements("requirements-dev.txt" if level == "dev" else "requirements.txt")
    if gpu:
        lines += requirements("requirements-gpu.txt", nested=False)
    text = "\n".join([platform.python_version(), str(gpu), *lines])
    return hashlib.sha256(text.encode()).hexdigest()


def requirements(name: str, nested: bool = True) -> list[str]:
    """The requirements in a file, and in those that it refers to."""
    found: list[str] = []
    for line in (ROOT / name).read_text("utf-8").splitlines():
        text = line.strip()
        if text.startswith("-r "):
            found += requirements(text[3:].strip()) if nested else []
        elif text and not text.startswith("#"):
            found.append(text)
    return found


def packages_mb(gpu: bool, dev: bool, has_setup: bool = False) -> int:
    """The download of all packages but PyTorch on Linux; `has_setup`: only what `--dev` adds."""
    computer = (platform.system(), platform.machine())
    setup_mb = OTHERS_MB.get(computer, max(OTHERS_MB.values())) + gpu * CUBLAS_MB
    dev_mb = DEV_MB.get(computer, DEV_ELSEWHERE_MB)
    return (not has_setup) * setup_mb + dev * dev_mb


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def torch_version(wanted: list[str]) -> str:
    return next(one for one in wanted if name_of(one) == "torch").partition("==")[2]


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def make_venv(venv: Path) -> tuple[Path, Path]:
    """The Python of a virtual environment and its packages' folder; made, if it is not complete."""
    python = python_of(venv)
    if not python.exists() or not (packages_of(python) / "pip" / "__main__.py").exists():
        print(f"Making the virtual environment {venv}.", flush=True)
        # venv keeps a link to a Python that was removed, and the packages for an older one, which
        # an upgrade of the operating system has replaced.
        removed = python.is_symlink() and not python.exists()
        clear = ["--clear"] if removed or is_of_another_python(venv) else []
        subprocess.run([sys.executable, "-m", "venv", *clear, str(venv)], check=True)
    return python, packages_of(python)


def is_of_another_python(venv: Path) -> bool:
    """Whether a virtual environment has packages for another minor version than this Python's."""
    path = venv / "pyvenv.cfg"
    configuration = path.read_text("utf-8") if path.exists() else ""
    version = re.search(r"^version(?:_info)? = (\d+)\.(\d+)", configuration, re.M)
    return version is not None and tuple(map(int, version.groups())) != sys.version_info[:2]


def packages_of(python: Path) -> Path:
    """The folder into which a Python's packages are installed."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(python), "-c", code]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def remove_incomplete(site: Path) -> None:
    """Remove the metadata of packages whose installation was interrupted, so that it is repeated.

    The list of a package's files is the last that is written.
    """
    for metadata in site.glob("*.dist-info"):
        if not (metadata / "RECORD").exists():
            shutil.rmtree(metadata)


class Installer:
    """pip or uv."""

    def __init__(
        self,
        command: list[str],
        configured: dict[str, str],
        sources: list[str] | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.configured = configured
        self._command = command
        self._sources = sources or []
        self._environment = {**os.environ, **(variables or {})}

    def install(self, wanted: list[str], *options: str) -> None:
        """Install from the indexes that pip is configured with."""
        self.run(*self._sources, *options, *wanted)

    def install_from(self, index: str, wanted: str, *options: str) -> None:
        """Install one package from an index, without its dependencies."""
        # Otherwise pip would not ask the index, if it is configured to ask none.
        self.run("--index-url", index, "--no-deps", *options, wanted, PIP_NO_INDEX="0")

    def run(self, *arguments: str, **variables: str) -> None:
        environment = {**self._environment, **variables}
        subprocess.run([*self._command, *arguments], check=True, cwd=ROOT, env=environment)


def choose_installer(python: Path) -> Installer:
    """uv, if it is installed and can do what pip is configured to do; else pip."""
    python = python.absolute()
    pip = [str(python), "-m", "pip"]
    configured = pip_settings(pip)
    uv = shutil.which("uv")
    unknown = configured.keys() - UV_OPTIONS.keys() - UV_VARIABLES.keys() - IGNORED - {"no-index"}
    if uv is None or unknown:
        if uv:
            print(f"Using pip: uv has no setting for pip's {', '.join(sorted(unknown))}.")
        return Installer([*pip, "install", "--disable-pip-version-check"], configured)
    sources = [
        part
        for key, option in UV_OPTIONS.items()
        for value in configured.get(key, "").split()
        for part in (option, value)
    ]
    if sources:
        # As pip does it: the best version of all indexes, and not the first index.
        sources += ["--index-strategy", "unsafe-best-match"]
    if asks_no_index(configured):
        sources.append("--no-index")
    variables = {
        UV_VARIABLES[key]: value for key, value in configured.items() if key in UV_VARIABLES
    }
    command = [uv, "pip", "install", "--python", str(python)]
    return Installer(command, configured, sources, variables)


def asks_no_index(configured: dict[str, str]) -> bool:
    return configured.get("no-index", "").lower() in ("1", "true", "t", "yes", "y", "on")


def pip_settings(pip: list[str]) -> dict[str, str]:
    """What pip is configured with for installing, by files and by the environment."""
    done = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True)
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", done.stdout, re.M)
    found.sort(key=lambda line: PRECEDENCE.index(line[0]))
    settings = {key: str(ast.literal_eval(value)) for _, key, value in found}
    if "default-timeout" in settings:
        settings["timeout"] = settings.pop("default-timeout")
    return settings


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


if __name__ == "__main__":
    main()
