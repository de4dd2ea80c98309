"""`generate-ssl.sh` makes a certificate for what it is asked for, and never loses one."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ROOT

SHELL = shutil.which("sh") or "/bin/sh"
OPENSSL = shutil.which("openssl")
ALWAYS = {"DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"}
BATCH = (ROOT / "generate-ssl.bat").read_text("utf-8")
SCRIPT = (ROOT / "generate-ssl.sh").read_text("utf-8")

needs_openssl = pytest.mark.skipif(
    OPENSSL is None, reason="openssl is missing; .ci/run installs it"
)


class Place:
    """A folder with a copy of the script, as a person has it."""

    def __init__(self, folder: Path) -> None:
        self.script = Path(shutil.copy(ROOT / "generate-ssl.sh", folder))
        self.certificate = folder / "nginx" / "ssl" / "cert.pem"
        self.key = folder / "nginx" / "ssl" / "key.pem"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHELL, str(self.script), *arguments],
            cwd="/",
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def says(self, *what: str) -> str:
        """What openssl says of the certificate."""
        assert OPENSSL is not None
        command = [OPENSSL, "x509", "-in", str(self.certificate), "-noout", *what]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def names(self) -> set[str]:
        listed = self.says("-ext", "subjectAltName").splitlines()[-1]
        return {name.strip() for name in listed.split(",")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@needs_openssl
@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ([], set()),
        (["studio.example.org", "nas"], {"DNS:studio.example.org", "DNS:nas"}),
        (["192.168.1.20"], {"IP Address:192.168.1.20"}),
        (["fd00::7"], {"IP Address:FD00:0:0:0:0:0:0:7"}),
        (["*.example.org"], {"DNS:*.example.org"}),
    ],
)
def test_the_certificate_is_for_these_names(place: Place, asked: list[str], more: set[str]) -> None:
    done = place.run(*asked)
    assert done.returncode == 0, done.stderr
    assert place.names() == ALWAYS | more
    assert "Created" in done.stdout and "docs/operations.md" in done.stdout


@needs_openssl
def test_the_key_is_the_owners_alone_and_fits(place: Place) -> None:
    assert place.run().returncode == 0
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.certificate.stat().st_mode) == 0o644
    assert [path.name for path in sorted(place.key.parent.iterdir())] == ["cert.pem", "key.pem"]
    assert OPENSSL is not None
    command = [OPENSSL, "pkey", "-in", str(place.key), "-pubout"]
    public = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert public == place.says("-pubkey")
    extensions = place.says("-ext", "basicConstraints,keyUsage,extendedKeyUsage")
    assert "CA:FALSE" in extensions
    assert "Digital Signature, Key Encipherment" in extensions
    assert "TLS Web Server Authentication" in extensions


@needs_openssl
def test_a_certificate_is_replaced_only_with_force(place: Place) -> None:
    assert place.run().returncode == 0
    before = (place.certificate.read_text(), place.key.read_text())
    refused = place.run("nas")
    assert refused.returncode == 1
    assert "--force" in refused.stderr and refused.stdout == ""
    place.certificate.unlink()
    assert place.run().returncode == 1
    place.certificate.write_text(before[0])
    assert (place.certificate.read_text(), place.key.read_text()) == before
    assert place.run("--force", "nas").returncode == 0
    assert place.key.read_text() != before[1]
    assert "DNS:nas" in place.names()
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600


@needs_openssl
def test_a_failure_leaves_the_old_certificate(place: Place) -> None:
    assert place.run().returncode == 0
    before = place.key.read_text()
    failed = place.run("--force", "1.2.3.4.5")
    assert failed.returncode == 1
    assert "1.2.3.4.5" in failed.stderr
    assert place.key.read_text() == before
    assert [path.name for path in sorted(place.key.parent.iterdir())] == ["cert.pem", "key.pem"]


def test_openssl_that_is_missing_is_told(place: Place, tmp_path: Path) -> None:
    done = place.run(PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("openssl is not installed.")
    assert "apt install openssl" in done.stderr and "brew install openssl" in done.stderr
    assert not place.key.exists()


@pytest.mark.parametrize("argument", ["-x", "--forced", "a b", "a,DNS:b", "", "a/b"])
def test_what_is_no_name_is_refused(place: Place, argument: str) -> None:
    done = place.run(argument)
    assert done.returncode == 2
    assert argument in done.stderr
    assert not place.key.parent.exists()


@pytest.mark.root
def test_a_renewed_key_belongs_to_the_user_who_makes_backups(place: Place, tmp_path: Path) -> None:
    """certbot runs the hook as root; only the `sudo` of the user's shell is replaced."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    [certbot] = re.findall(r"^sudo certbot certonly .*?[^\\]\n", page, re.M | re.S)
    told = f'sudo() {{ for last; do :; done; echo "$last"; }}\n{certbot}'
    as_user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", SHELL]
    environment = {"PATH": "/usr/bin:/bin", "PWD": str(tmp_path)}
    hook = subprocess.run(
        as_user, input=told, cwd=tmp_path, env=environment, text=True, check=True,
        stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    place.key.parent.mkdir(parents=True)
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).write_text(name)
    renewed = hook.replace("/etc/letsencrypt/live/your-domain.com", str(tmp_path))
    subprocess.run([SHELL, "-c", renewed], check=True)
    assert place.certificate.read_text() == "fullchain.pem"
    assert place.key.read_text() == "privkey.pem"
    assert (place.key.stat().st_uid, stat.S_IMODE(place.key.stat().st_mode)) == (1000, 0o600)


def test_help_is_given(place: Place) -> None:
    done = place.run("--help")
    assert done.returncode == 0
    assert "Usage: ./generate-ssl.sh [--force] [NAME-OR-ADDRESS ...]" in done.stdout


def openssl_options(text: str) -> dict[str, list[str]]:
    """The options of `openssl req` in a script, with their values."""
    joined = re.sub(r"[\\^]\s*\n\s*", " ", text)
    command = re.search(r"openssl req (.*)", joined)
    assert command
    found: dict[str, list[str]] = {}
    for name, quoted, plain in re.findall(r'-(\w+)(?: (?:"([^"]*)"|([^\s"-]\S*)))?', command[1]):
        found.setdefault(name, []).append(quoted or plain)
    return found


def test_the_windows_script_asks_for_the_same() -> None:
    """It cannot run here: its command, its defaults and its refusals are compared by their text."""
    ours, theirs = openssl_options(SCRIPT), openssl_options(BATCH)
    for options in (ours, theirs):
        del options["keyout"], options["out"]
    assert [value.replace("%names%", "$names") for value in theirs.pop("addext")] == ours.pop(
        "addext"
    )
    assert (ours.pop("days"), theirs.pop("days")) == (["$days"], ["%days%"])
    assert theirs == ours
    assert set(ours) == {"x509", "newkey", "nodes", "sha256", "subj"}
    for name in ("names", "days", "force"):
        default = re.search(rf'^{name}="?([^"\n]*)"?$', SCRIPT, re.M)
        assert default and f'set "{name}={default[1]}"' in BATCH
    for words in ("openssl is not installed.", "is neither a host name nor an address."):
        assert words in SCRIPT and words in BATCH
    for words in ("Unknown option", "A certificate already exists in", "--force"):
        assert words in SCRIPT and words in BATCH
    refused = re.search(r"\*\[!(\S+?)\]\*", SCRIPT)
    assert refused and f"[^{refused[1]}]" in BATCH
    assert re.findall(r"exit (\d)", SCRIPT).count("2") == len(re.findall(r"exit /b 2", BATCH))
    # The key is closed to others before it gets its name.
    assert BATCH.index("icacls") < BATCH.index('move /y "%folder%\\key.new"')
    assert "/inheritance:r" in BATCH
