"""docs/installing.md on a Debian without containers: the commands, the unit and the nginx site.

So are the commands of docs/operations.md for its backup.

The commands run unchanged, as root, in a sandbox with a separate network that discards what is
written. Programs that change the system are replaced: apt-get, git, make and systemctl.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import nginx_site, page
from tests.support import sandbox
from tests.support.server import ROOT
from tests.support.sounds import noise, write_wav

PAGE = (ROOT / "docs" / "installing.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Debian without containers\n")[2].partition("\n## ")[0]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
BACKUP = OPERATIONS.partition("\n## Backup on Debian\n")[2].partition("\n## ")[0]
UNIT = ROOT / "deploy" / "audio-studio.service"
LOCAL_HEALTH = "curl -so /dev/null http://127.0.0.1:8000/health"
# A directive in the `http` block of Debian 13 that Debian 12 does not have.
DEBIAN_13 = "http {\n\tserver_tokens build;\n"

SUDO = """#!/bin/sh
[ "$1" = -u ] || exec "$@"
user=$2
shift 2
exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
"""
NOTHING = "#!/bin/sh\n"
GIT = """#!/bin/sh
case "$1" in
  clone) mkdir -p "$3" && cp -r "$SOURCE/." "$3" ;;
  pull) cp -r "$SOURCE/." . ;;
  -C) echo "version of $2" ;;
  reset) echo "back to the $3" ;;
esac
"""
MAKE = """#!/bin/sh
case "$1" in
  setup) ln -sfn "$VENV" .venv ;;
  page) cp -r "$VENDOR" studio/web/static/ ;;
esac
"""
SYSTEMCTL = """#!/bin/sh -e
unit=/etc/systemd/system/audio-studio.service
get() { sed -n "s/^$1=//p" "$unit"; }
case "$*" in
  daemon-reload) systemd-analyze verify --man=no "$unit" ;;
  "enable --now audio-studio" | "start audio-studio")
    install -d -o "$(get User)" -m "$(get StateDirectoryMode)" "/var/lib/$(get StateDirectory)"
    cd "$(get WorkingDirectory)"
    setpriv --reuid="$(get User)" --regid="$(get Group)" --init-groups --no-new-privs \\
      --bounding-set=-all env -i PATH=/usr/bin:/bin $(get Environment) $(get ExecStart) \\
      >> /tmp/server.log 2>&1 &
    echo $! > /tmp/server.pid
    ;;
  "stop audio-studio")
    kill "$(cat /tmp/server.pid)"
    while kill -0 "$(cat /tmp/server.pid)" 2> /dev/null; do sleep 0.1; done
    ;;
  "restart audio-studio") systemctl stop audio-studio; systemctl start audio-studio ;;
  "restart nginx") nginx ;;
  "reload nginx") nginx -s reload ;;
  *) echo "unknown: $*"; exit 1 ;;
esac
"""


# A new version whose site and unit differ. nginx uses its new site a moment later.
NEW_VERSION = r"""
echo 'server { listen 127.0.0.1:8081; return 204; }' >> "$SOURCE/deploy/nginx-site.conf"
sed -i 's/^Environment=HOST/Environment=LOG_FORMAT=json\n&/' "$SOURCE/deploy/audio-studio.service"
"""
UPDATED = """
curl -sk --retry 10 --retry-all-errors -w 'new site %{http_code}\\n' http://127.0.0.1:8081/
curl -sk --retry 60 --retry-all-errors -f -o /dev/null https://localhost/health
grep -c '^{"time"' /tmp/server.log
"""
UPLOAD = (
    'FILE=$(curl -skf -F file=@%s https://localhost/upload | sed \'s/.*file_id":"//; s/".*//\')'
)
RESTORED = """
curl -sk --retry 60 --retry-all-errors -f -o /dev/null https://localhost/health
curl -sk -o /dev/null -w 'restored %{http_code}\\n' "https://localhost/files/$FILE"
stat -c 'owned by %U' /var/lib/audio-studio/outputs/.jobs.sqlite3
"""
BACKED_UP = {
    *("opt/audio-studio/.env", "opt/audio-studio/.backup-version", "etc/nginx/ssl/names.conf"),
    *("etc/nginx/sites-available/audio-studio", "etc/systemd/system/audio-studio.service"),
}


def blocks(section: str = SECTION) -> list[str]:
    """The commands of a section, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)


def test_the_site_is_made_from_the_configuration_of_the_containers() -> None:
    assert nginx_site.SITE.read_text("utf-8") == nginx_site.content()


def test_the_site_has_every_directive_of_that_configuration() -> None:
    def directives(text: str) -> set[str]:
        return set(re.findall(r"^ *([a-z0-9_]+) [^{;\n]*;$", text, re.M))

    missing = directives(nginx_site.SOURCE.read_text()) - directives(nginx_site.content())
    assert missing == {
        *("worker_processes", "pid", "error_log", "worker_connections"),
        *("tcp_nodelay", "keepalive_timeout", "http2"),
    }


def test_the_site_listens_on_ipv6_as_well() -> None:
    listens = re.findall(r"^ *listen (.*);$", nginx_site.content(), re.M)
    assert len(listens) == 8
    for four, six in zip(listens[::2], listens[1::2], strict=True):
        assert six == f"[::]:{four}"


def test_the_unit_has_the_settings_of_the_containers() -> None:
    text = UNIT.read_text("utf-8")
    settings = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.M))
    assert settings["HOST"] == "127.0.0.1"
    assert f"server {settings['HOST']}:{settings['PORT']};" in nginx_site.content()
    assert settings["TRUSTED_PROXIES"] == "1"
    state = re.search(r"^StateDirectory=(.*)$", text, re.M)
    assert state is not None
    for name in ("UPLOAD_FOLDER", "OUTPUT_FOLDER", "MODEL_DIR", "HOME"):
        assert settings[name].startswith(f"/var/lib/{state[1]}")
    assert re.search(r"^MemoryMax=4G$", text, re.M)
    assert re.search(r"^KillMode=mixed$", text, re.M), "SIGTERM must not reach ffmpeg"


@pytest.mark.root
@pytest.mark.nginx
@pytest.mark.parametrize("debian", [12, pytest.param(13, marks=pytest.mark.slow)])
def test_the_commands_set_up_a_server_behind_nginx(tmp_path: Path, debian: int) -> None:
    """The slow case also updates the server, makes a backup and restores it."""
    for program in ("nginx", "systemd-analyze", "ip", "curl"):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"{program} is not installed; .ci/run installs it")
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("the kernel has no IPv6")
    if not page.VENDOR.is_dir():
        pytest.skip("the packages of the pages are not installed; `make page` installs them")
    sound = write_wav(tmp_path / "sound.wav", noise(1.0))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {
        "sudo": SUDO,
        "apt-get": NOTHING,
        "git": GIT,
        "make": MAKE,
        "systemctl": SYSTEMCTL,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in tracked.stdout.decode().split("\0"):
        if name.split("/")[0] not in ("", "tests", "bench", "training", "samples"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    # The user of the service must be able to enter folders that are readable by root only.
    entered = (Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve())
    opened = {parent for path in entered for parent in (path, *path.parents)}
    lines = [
        "ip link set lo up",
        *(f"chmod o+rx {path}" for path in sorted(opened)),
        f"export PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin SOURCE={source}",
        f"export VENV={Path(sys.prefix).resolve()} VENDOR={page.VENDOR}",
        "unset PYTHONPATH PYTHONHOME",
        "ls /etc/nginx/sites-enabled",
    ]
    if debian == 13:
        lines.append(f"printf '%b' {DEBIAN_13!r} > /tmp/http")
        lines.append("sed -i -e '/^http {/{r /tmp/http' -e 'd}' /etc/nginx/nginx.conf")
        lines.append("grep -A1 '^http' /etc/nginx/nginx.conf")
    # Without compiled modules, a slow machine starts the server later than the commands wait.
    lines += [blocks()[0], f"until {LOCAL_HEALTH}; do sleep 1; done", blocks()[1]]
    lines += [
        "echo && curl -sk -o /dev/null -w '%{http_code} %{http_version}\\n' https://localhost/docs",
        "curl -sk https://localhost/ | grep -o importmap",
        "curl -skg -o /dev/null -w 'ipv6 %{http_code}\\n' 'https://[::1]/health'",
        "curl -sk -o /dev/null -w 'other name %{http_code}\\n' -H 'Host: evil.test' https://localhost/",
        "curl -sk -o /dev/null -w 'own name %{http_code}\\n' "
        "--resolve your-domain.com:443:127.0.0.1 https://your-domain.com/health",
        "ps -o user= -p $(pgrep -f production.py | head -1)",
        "stat -c '%U %a' .env /var/lib/audio-studio",
        "tail -n1 /var/log/nginx/audio-studio.log",
    ]
    if debian == 13:
        backup, restore = blocks(BACKUP)
        lines += [NEW_VERSION, blocks()[2], UPDATED, UPLOAD % sound, "cd /root", backup]
        lines += ["tar tzf audio-studio-backup.tar.gz", restore, RESTORED]
    inside = "\n".join(["set -e", *lines])
    (tmp_path / "inside").write_text(f"{inside}\n")
    done = sandbox.run(
        f"unshare --net sh {tmp_path / 'inside'} || {{ cat /tmp/server.log; exit 1; }}",
        tmp_path / "root",
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    assert '"status":"healthy"' in told
    assert "200 2\n" in told
    assert "importmap\n" in told
    assert "ipv6 200" in told
    assert "other name 421" in told
    assert "own name 200" in told
    assert "audio-studio" in told.split("own name 200\n")[1].splitlines()[0]
    assert "root 640" in told and "audio-studio 750" in told
    assert '"path":"/health"' in told
    if debian == 13:
        assert "new site 204" in told
        assert "restored 200" in told
        assert "back to the version of /opt/audio-studio" in told
        assert set(told.splitlines()) >= BACKED_UP
        assert "owned by audio-studio" in told
