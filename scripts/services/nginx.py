"""nginx: its upstreams for several servers, and nginx as a child process with its own folder."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

BINARY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def command(folder: Path) -> list[str]:
    """The command that runs nginx with `nginx.conf` of a folder, as a child."""
    assert BINARY is not None
    # Started by root, nginx would give its workers a user who may not enter the folder.
    options = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    return [BINARY, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", options]


def temporary_paths(folder: Path) -> str:
    """The directives in `http` for temporary files in a folder."""
    return "".join(f"    {kind}_temp_path {folder / kind};\n" for kind in TEMPORARY)


def upstreams(web: Iterable[str], live: Mapping[str, str]) -> str:
    """The directives in `http` that choose the server of each request, as `$server_group`.

    `web` has addresses as HOST:PORT, `live` those of live nodes by name (the setting `NODE`).
    """
    owners = "".join(rf"        ~^/socket\.io/:{name}\. {name};" + "\n" for name in live)
    return "".join(
        [
            _upstream("backend", web),
            "    # New live connections go to the live nodes in turn.\n",
            _upstream("live", live.values(), "        zone live 64k;\n"),
            *(_upstream(name, [address]) for name, address in live.items()),
            "    # The ID of a Socket.IO connection begins with the name of its node.\n",
            "    map $uri:$arg_sid $server_group {\n",
            "        default backend;\n",
            owners,
            "        ~^/(socket\\.io/|v1/realtime:) live;\n",
            "    }\n",
        ]
    )


def _upstream(name: str, addresses: Iterable[str], more: str = "") -> str:
    servers = "".join(f"        server {address};\n" for address in addresses)
    return f"    upstream {name} {{\n{more}{servers}        keepalive 32;\n    }}\n"
